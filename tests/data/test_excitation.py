"""The audit tells moves that answer the plant from moves of their own, on loops whose feedback is known."""

from __future__ import annotations

import csv
import itertools
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from procmodel.data.conditioning import Accumulator
from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.excitation import Excitation, excitation_audit
from procmodel.data.rules import Rule
from procmodel.data.split import Parts
from procmodel.errors import DatasetError
from procmodel.plant import Plant

TURBINE = Path(os.environ.get("PROCMODEL_DATA", Path(__file__).parents[2].parent / "shared/data")) / "micro_gas_turbine"


def dataset_of(plant: Plant, values: np.ndarray, step: float = 10.0, parts: int = 1) -> Dataset:
    edges = np.linspace(0, len(values), parts + 1).astype(int)
    return Dataset(
        columns=tuple(plant.columns),
        values=values,
        good_fraction=np.isfinite(values).astype(np.float32),
        start=datetime(2026, 3, 1, tzinfo=UTC),
        step=step,
        stretches=tuple(
            Stretch(name=str(i), start=int(a), stop=int(b)) for i, (a, b) in enumerate(itertools.pairwise(edges))
        ),
    )


def audit(plant: Plant, dataset: Dataset) -> dict[str, Excitation]:
    return excitation_audit(dataset, plant, Parts(train=dataset.stretches, validation=(), test=()))


def loop(kind: str, rows: int = 8000, seed: int = 0) -> np.ndarray:
    """A plant of two states under PI loops (MV 1 on CV 1, MV 2 on CV 2), or moved by what `kind` says.

    Columns as in the small plant: two MVs, two CVs, the disturbance.
    """
    rng = np.random.default_rng(seed)
    y, u, slow, d, old = np.zeros(2), np.zeros(2), np.zeros(2), 0.0, np.zeros(2)
    setpoint, seen = np.zeros(2), np.zeros(2)
    out = np.empty((rows, 5))
    for t in range(rows):
        if t % 600 == 0:
            setpoint = rng.normal(size=2)
        d = 0.99 * d + 0.1 * rng.normal()
        slow = 0.98 * slow + 0.1 * rng.normal(size=2)
        if kind == "controlled":
            error = setpoint - seen
            u, old = u + 0.8 * (error - old) + 0.05 * error, error
        elif kind == "stepped":
            u = np.where(rng.random(2) < 0.01, rng.normal(size=2), u)
        elif kind == "wandering":
            u = 0.98 * u + 0.1 * rng.normal(size=2)
        elif kind == "feedforward":
            u = np.array([-0.5 * d, 0.3 * d])
        y = 0.95 * y + np.array([[0.1, 0.03], [0.02, 0.08]]) @ u + 0.05 * d + 0.1 * slow
        seen = y + 0.02 * rng.normal(size=2)
        out[t] = [*u, *seen, d]
    return out


@pytest.mark.parametrize("seed", [0, 1])
def test_moves_of_a_controller_are_called_answers(small_plant: Plant, seed: int) -> None:
    found = audit(small_plant, dataset_of(small_plant, loop("controlled", seed=seed)))
    for mv, own_cv, other_cv in (("FC1.SP", "LI1.PV", "TI1.PV"), ("FC2.SP", "TI1.PV", "LI1.PV")):
        assert found[mv].moves_answer_cvs
        assert found[mv].gain > 0.5
        assert found[mv].f > 1000
        assert found[mv].answers[own_cv].gain > 0.5  # the loop it belongs to
        assert found[mv].answers[other_cv].gain < 0.02


@pytest.mark.parametrize("kind", ["stepped", "wandering", "feedforward"])
def test_moves_that_do_not_look_at_the_cvs_are_called_their_own(small_plant: Plant, kind: str) -> None:
    for mv, found in audit(small_plant, dataset_of(small_plant, loop(kind))).items():
        assert not found.moves_answer_cvs, mv
        assert found.gain < 0.01
        assert found.own > 0.9


def test_the_share_of_its_own_is_one_minus_the_share_that_is_feedback(small_plant: Plant) -> None:
    # u[t+1] - u[t] = -(feedback on y[t]) + own, both white and of known size: 1 - R2 is their share exactly.
    rng = np.random.default_rng(4)
    rows, share = 20_000, 0.3
    y = rng.normal(size=rows)
    moves = -np.sqrt(1 - share) * y + np.sqrt(share) * rng.normal(size=rows)
    u = np.concatenate([[0.0], np.cumsum(moves)[:-1]])
    values = np.stack([u, rng.normal(size=rows), y, rng.normal(size=rows), rng.normal(size=rows)], axis=1)
    found = audit(small_plant, dataset_of(small_plant, values))["FC1.SP"]
    assert found.own == pytest.approx(share, abs=0.02)
    assert found.gain == pytest.approx(1 - share, abs=0.05)
    assert found.answers["LI1.PV"].gain == pytest.approx(1 - share, abs=0.05)
    assert found.answers["TI1.PV"].f < 3


def test_f_of_an_empty_answer_is_about_one(small_plant: Plant) -> None:
    # Under the null hypothesis F has mean d2 / (d2 - 2), here 1.0.
    rng = np.random.default_rng(7)
    values = [np.cumsum(rng.normal(size=(1500, 5)), axis=0) * [1, 1, 0, 0, 0] for _ in range(20)]
    for v in values:
        v[:, 2:] = rng.normal(size=(1500, 3))
    f = [e.f for v in values for e in audit(small_plant, dataset_of(small_plant, v)).values()]
    assert np.mean(f) == pytest.approx(1.0, abs=0.15)


def test_an_mv_that_never_moved_has_nothing_of_its_own(small_plant: Plant) -> None:
    values = loop("stepped", rows=2000)
    values[:, 0] = 40.0
    found = audit(small_plant, dataset_of(small_plant, values))["FC1.SP"]
    assert (found.own, found.moved, found.moves_answer_cvs) == (0.0, 0.0, False)


def test_gaps_and_stretches_do_not_make_moves(small_plant: Plant) -> None:
    values = loop("stepped", rows=6000)
    values[3000:] += 50.0  # the second campaign runs elsewhere
    values[1000:1040, 2] = np.nan
    found = audit(small_plant, dataset_of(small_plant, values, parts=2))["FC1.SP"]
    assert found.moved == pytest.approx(0.01, abs=0.004)
    assert not found.moves_answer_cvs


def test_a_disturbance_without_a_good_row_does_not_stop_the_audit(small_plant: Plant) -> None:
    values = loop("controlled", rows=4000)
    values[:, 4] = np.nan
    assert audit(small_plant, dataset_of(small_plant, values))["FC1.SP"].moves_answer_cvs


def test_too_few_rows_for_an_audit_is_an_error_with_the_figures(small_plant: Plant) -> None:
    with pytest.raises(DatasetError, match=r"'FC1.SP' needs 112 training rows without a gap.*has 55"):
        audit(small_plant, dataset_of(small_plant, loop("stepped", rows=100)))


def test_the_test_signal_of_the_micro_gas_turbine_does_not_answer() -> None:
    if not TURBINE.exists():
        pytest.skip(f"the micro gas turbine recording is not at {TURBINE}")
    tags = {"input_voltage": {"role": "MV", "unit": "V"}, "el_power": {"role": "CV", "unit": "W"}}
    plant = Plant.model_validate({"name": "turbine", "sample_time": 1, "tags": tags})
    runs = []
    for path in sorted((TURBINE / "train").glob("*.csv")):
        accumulator = Accumulator(plant.columns, [Rule(step=True), Rule(step=False)], 1_000_000)
        with path.open() as stream:
            rows = np.array([[float(x) for x in row] for row in list(csv.reader(stream))[1:]])
        times = np.round(rows[:, 0] * 1e6).astype(np.int64)
        for c in (0, 1):
            accumulator.add(np.full(len(rows), c), times, rows[:, 1 + c].copy(), np.ones(len(rows), dtype=np.bool_))
        runs.append(accumulator.finish(accumulator.bridged(accumulator.intervals_CB)).values)
    assert len(runs) == 6
    edges = np.cumsum([0, *map(len, runs)]).tolist()
    stretches = tuple(Stretch(name=str(i), start=edges[i], stop=edges[i + 1]) for i in range(6))
    dataset = Dataset(**{**vars(dataset_of(plant, np.concatenate(runs), step=1.0)), "stretches": stretches})
    found = audit(plant, dataset)["input_voltage"]
    assert not found.moves_answer_cvs
    assert found.gain < 0.005
    assert found.own > 0.8
