"""Many problems solved at once: the optimizer's plans, and never a silently different one."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batched_columns import COLUMN_PARTS, COLUMN_PLANT, CURVED, OBJECTIVES, RECORD
from control_fakes import COLUMN, gru_model, latent_model, make_plant

from experiments.latency_sizes import LARGE, SMALL, Rig, Size, rig
from procmodel.control.batched import BatchedOptimizer
from procmodel.control.batched_data import load_problems, save_problems
from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Status
from procmodel.control.requests import Orders, Request
from procmodel.control.watch import Watch
from procmodel.errors import DatasetError, InputError, PlantFileError
from procmodel.plant import Status as TagStatus
from procmodel.world_model.correction import BiasFilter, LastingTrust, Trust

ROOT = Path(__file__).resolve().parents[2]
# Within this share of the optimizer's merit, both stop looking [-].
SAME_MERIT = 1e-3


def batched(rig: Rig) -> BatchedOptimizer:
    return BatchedOptimizer(plant=rig.plant, model=rig.model, scaler=rig.scaler)


@pytest.fixture(scope="module")
def small() -> Rig:
    return rig(SMALL)


def requests_of(rig: Rig, count: int, *, gaps: bool = False) -> list[Request]:
    """Histories from all over the record, with setpoints that some limits forbid."""
    rng, wanted = np.random.default_rng(4), rig.make().rows_wanted
    found = []
    for end in rng.integers(wanted, len(rig.record_TC), size=count):
        rows_RC = rig.record_TC[end - wanted : end].copy()
        if gaps:
            rows_RC[rng.random(rows_RC.shape) < 0.1] = np.nan
        setpoints = {name: float(rng.uniform(-0.9, 0.9)) for name in ("CV0", "CV1")}
        found.append(Request(rows_RC=rows_RC, orders=Orders(setpoints=setpoints)))
    return found


def merit(optimizer: Optimizer, request: Request, moves_NU: np.ndarray) -> float:
    """Cost and penalties of moves, by the serial code."""
    problem = optimizer.problem(
        request.rows_RC,
        request.orders,
    )
    return problem.evaluate(problem.as_changes(moves_NU)[None]).score.merit


@pytest.mark.parametrize(("size", "count"), [(SMALL, 96), (LARGE, 4)], ids=lambda each: getattr(each, "name", each))
def test_plans_are_as_good_as_those_of_one_at_a_time(size: Size, count: int) -> None:
    made = rig(size)
    optimizer, requests = made.make(), requests_of(made, count)
    found = batched(made).solve(requests)
    assert not found.alone
    binding = 0
    for b, request in enumerate(requests):
        alone = optimizer.plan(request.rows_RC, request.orders)
        known = merit(optimizer, request, alone.moves)
        assert found.merit_B[b] == pytest.approx(known, rel=SAME_MERIT)
        assert merit(optimizer, request, found.moves_BNU[b]) == pytest.approx(found.merit_B[b], rel=1e-9)
        binding += any("CV" in words for words in alone.active)
    assert binding > count / 4  # limits bind often enough for the programs to matter


def test_moves_never_leave_the_hard_bounds(small: Rig) -> None:
    optimizer, requests = batched(small), requests_of(small, 64)
    given = optimizer.given(requests)
    moves_BNU = optimizer.solve(requests).moves_BNU
    reached = 0
    for bounds, moves_NU in zip(given.bounds, moves_BNU, strict=True):
        assert (moves_NU >= bounds.low_NU).all()
        assert (moves_NU <= bounds.high_NU).all()
        steps_NU = np.diff(moves_NU, axis=0, prepend=bounds.start_U[None])
        assert (np.abs(steps_NU) <= 0.3 + 1e-12).all()
        reached += int((np.abs(steps_NU) > 0.3 - 1e-6).any())
    assert reached > 10


@pytest.mark.parametrize("place", [0, 17, 63])
def test_a_problem_has_the_same_plan_in_any_company(small: Rig, place: int) -> None:
    optimizer, requests = batched(small), requests_of(small, 64)
    together = optimizer.solve(requests).moves_BNU[place]
    np.testing.assert_allclose(optimizer.solve([requests[place]]).moves_BNU[0], together, atol=1e-8)


def test_histories_with_gaps_are_read_as_by_the_optimizer(small: Rig) -> None:
    optimizer, requests = batched(small), requests_of(small, 12, gaps=True)
    problems = optimizer.given(requests).problems
    for b, request in enumerate(requests):
        now = small.make().formulation.observer.now(request.rows_RC, None, Watch())
        torch.testing.assert_close(problems.latent_BD[b], now.latent_D, atol=1e-12, rtol=0.0)
        np.testing.assert_allclose(problems.bias_BNY[b].numpy(), now.bias_NY, atol=1e-12)
        np.testing.assert_array_equal(problems.start_BU[b].numpy(), now.start_U)


def test_errors_are_believed_as_by_the_optimizer(small: Rig) -> None:
    """With trust and a long memory, over gaps."""
    rng, shape = np.random.default_rng(6), (20, len(small.plant.cvs))
    lasting = LastingTrust(memory=17, gain_HY=rng.uniform(size=shape), ratio_HY=rng.uniform(size=shape))
    trust = Trust(gain_HY=rng.uniform(size=shape), usual_HY=0.3 * rng.uniform(size=shape), lasting=lasting)
    parts: dict[str, Any] = {
        "plant": small.plant, "model": small.model, "scaler": small.scaler, "bias": BiasFilter(trust=trust)
    }  # fmt: skip
    alone, optimizer = Optimizer(**parts), BatchedOptimizer(**parts)
    assert alone.rows_wanted == small.make().rows_wanted + 13
    record = small.record_TC[:300].copy()
    record[rng.random(record.shape) < 0.1] = np.nan
    requests = [Request(rows_RC=record[end - alone.rows_wanted : end]) for end in (200, 240, 300)]
    problems = optimizer.given(requests).problems
    for b, request in enumerate(requests):
        now = alone.formulation.observer.now(request.rows_RC, None, Watch())
        np.testing.assert_allclose(problems.bias_BNY[b].numpy(), now.bias_NY, atol=1e-12)


def test_after_errors_beyond_the_usual_ones_limits_are_kept_as_by_the_optimizer(small: Rig) -> None:
    shape = (20, len(small.plant.cvs))
    trust = Trust(gain_HY=np.zeros(shape), usual_HY=np.full(shape, 1e-3))
    parts: dict[str, Any] = {
        "plant": small.plant, "model": small.model, "scaler": small.scaler, "bias": BiasFilter(trust=trust),
        "backoff_HY": np.full(shape, 0.01),
    }  # fmt: skip
    alone, optimizer = Optimizer(**parts), BatchedOptimizer(**parts)
    requests = [Request(rows_RC=small.record_TC[end - alone.rows_wanted : end]) for end in (200, 240, 300)]
    kept = [[limit.backoff_N for limit in limits.limits] for limits in optimizer.given(requests).limits]
    for mine, request in zip(kept, requests, strict=True):
        theirs = [limit.backoff_N for limit in alone.problem(request.rows_RC).limits.limits]
        np.testing.assert_allclose(mine, theirs, atol=1e-15)
    assert np.max(kept) == pytest.approx(0.02)


ONE_RANK = {
    name: {**tag, "limits": {side: {**limit, "rank": 1} for side, limit in tag["limits"].items()}}
    if tag["role"] == "CV"
    else tag
    for name, tag in COLUMN.items()
}


class Elsewhere:
    """A head of a form of its own."""

    name, unit, rank, allowance_H = "elsewhere", "%", 1, np.zeros(1)

    def margin(self, z_BD: torch.Tensor) -> torch.Tensor:
        return z_BD[:, 0]


@pytest.mark.parametrize(
    ("objective", "heads", "most_alone"),
    [("linear", [], 0), ("bent", [], 0), ("linear", [CURVED], 9), ("bent", [CURVED], 9), ("cornered", [CURVED], 9)],
)
def test_economic_plans_are_as_good_as_one_at_a_time(objective: str, heads: list[Any], most_alone: int) -> None:
    """A limit that nothing can keep on this bent network lets iterations end early; such problems are solved alone."""
    plant = make_plant(ONE_RANK, horizon="60 s", blocks=4, objective=OBJECTIVES[objective])
    parts = COLUMN_PARTS | {"plant": plant, "heads": heads}
    requests = [Request(rows_RC=0.5 * RECORD[at : at + 18]) for at in range(0, 40, 2)]
    optimizer, serial = BatchedOptimizer(**parts), Optimizer(**parts)
    found = optimizer.solve(requests)
    assert len(found.alone) <= most_alone
    by_head = 0
    for b, request in enumerate(requests):
        alone = serial.plan(request.rows_RC)
        known = merit(serial, request, alone.moves)
        # A cost may be near zero: relative to what the typical size of the objective costs over the horizon, too.
        assert merit(serial, request, found.moves_BNU[b]) <= known + SAME_MERIT * max(abs(known), 12.0)
        by_head += any("foam" in words for words in alone.active)
    assert (by_head > 0) == bool(heads)


def test_limits_and_statuses_of_a_tick_are_followed() -> None:
    orders = Orders(limits={"Purity": {"high": 0.3}}, statuses={"Level": TagStatus.HIGH})
    requests = [Request(rows_RC=RECORD[at : at + 18], orders=orders) for at in range(6)]
    optimizer, serial = BatchedOptimizer(**COLUMN_PARTS), Optimizer(**COLUMN_PARTS)
    assert len(optimizer.solve(requests).alone) < len(requests)
    for request, plan in zip(requests, optimizer.plan(requests), strict=True):
        alone = serial.plan(request.rows_RC, orders)
        assert plan.limits == alone.limits
        assert merit(serial, request, plan.moves) == pytest.approx(merit(serial, request, alone.moves), rel=SAME_MERIT)


def column_requests() -> list[Request]:
    announced = np.linspace(0.0, 0.4, 8)[:, None]
    return [
        Request(
            rows_RC=RECORD[at : at + 18],
            orders=Orders(
                setpoints={"Purity": 0.02 * at},
                out_of_service=("Steam",) if at % 3 == 0 else ("Level",) if at % 3 == 1 else (),
                future_dv_HV=announced if at % 2 else None,
            ),
        )
        for at in range(24)
    ]


def test_plans_say_what_the_optimizer_says() -> None:
    """Tags out of service, announced DVs, ranks in conflict or not: the same plan, told in the same words."""
    optimizer = BatchedOptimizer(**COLUMN_PARTS)
    requests = column_requests()
    assert len(optimizer.solve(requests).alone) < len(requests)
    for request, plan in zip(requests, optimizer.plan(requests), strict=True):
        alone = Optimizer(**COLUMN_PARTS).plan(
            request.rows_RC,
            request.orders,
        )
        serial = Optimizer(**COLUMN_PARTS)
        assert plan.status is alone.status is Status.CONVERGED
        assert merit(serial, request, plan.moves) == pytest.approx(merit(serial, request, alone.moves), rel=SAME_MERIT)
        np.testing.assert_allclose(plan.unmoved, alone.unmoved, atol=1e-9)
        np.testing.assert_allclose(plan.steady_gain, alone.steady_gain, atol=1e-9)
        assert plan.limits == alone.limits
        assert plan.cost == pytest.approx(alone.cost, rel=0.01, abs=1e-6)
        assert sum(plan.cost_shares.values()) == pytest.approx(plan.cost)
        assert {(each.tag, each.side) for each in plan.give_ups} == {(each.tag, each.side) for each in alone.give_ups}
        if "Steam" in request.orders.out_of_service:
            np.testing.assert_array_equal(plan.moves[:, 1], request.rows_RC[-1, 1])


def test_ranks_in_conflict_are_solved_one_by_one() -> None:
    """A limit of rank 1 and one of rank 3 that cannot both hold: the batch does not trade one for the other."""
    limits = {"high": {"at": -0.2, "rank": 1}}
    crossed = {"low": {"at": 0.6, "rank": 3}}
    tags = COLUMN | {
        "Purity": {"role": "CV", "unit": "%", "limits": limits},
        "Yield": {"role": "CV", "unit": "%", "limits": crossed},
    }
    parts = COLUMN_PARTS | {"plant": make_plant(tags, horizon="60 s", blocks=4)}
    requests = [Request(rows_RC=RECORD[at : at + 18]) for at in range(0, 24, 2)]
    found = BatchedOptimizer(**parts).solve(requests)
    assert found.alone
    for b, request in enumerate(requests):
        alone = Optimizer(**parts).plan(request.rows_RC)
        given_up = [each.rank for each in alone.give_ups]
        if 1 in given_up:
            assert b in found.alone
            np.testing.assert_allclose(found.moves_BNU[b], alone.moves, atol=1e-9)


def test_previous_plans_and_ramps_are_followed() -> None:
    tags = COLUMN | {"Purity": COLUMN["Purity"] | {"funnel": "20 s", "ramp": 1.2}}
    parts = COLUMN_PARTS | {"plant": make_plant(tags, horizon="60 s", blocks=4)}
    optimizer = Optimizer(**parts)
    first = [optimizer.plan(RECORD[at : at + 18]) for at in range(6)]
    before = [replace(plan, limits=plan.limits | {("Purity", "high"): 0.8}) for plan in first]
    requests = [Request(rows_RC=RECORD[at + 1 : at + 19], previous=plan) for at, plan in enumerate(before)]
    for request, plan in zip(requests, BatchedOptimizer(**parts).plan(requests), strict=True):
        alone = Optimizer(**parts).plan(request.rows_RC, previous=request.previous)
        assert plan.limits == alone.limits
        assert plan.limits["Purity", "high"] == pytest.approx(0.7)
        assert plan.cost == pytest.approx(alone.cost, rel=2 * SAME_MERIT)
        assert {each.tag for each in plan.give_ups} == {each.tag for each in alone.give_ups}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": gru_model(COLUMN_PLANT)}, "GruModel"),
        ({"model": latent_model(COLUMN_PLANT).float()}, "float64"),
        ({"heads": [Elsewhere()]}, "margins of elsewhere"),
        ({"members": [latent_model(COLUMN_PLANT, seed=2)]}, "members"),
        ({"plant": make_plant(COLUMN, horizon="60 s", blocks=4, scenarios=["members"])}, "scenarios"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_the_batch_does_not_solve_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        BatchedOptimizer(**COLUMN_PARTS | change)


def test_single_problems_that_ask_more_have_the_optimizers_answer() -> None:
    rows = RECORD[20:38]
    unmeasured = rows.copy()
    unmeasured[:, 1] = np.nan
    requests = [
        Request(rows_RC=rows[-5:]),
        Request(rows_RC=rows, deadline=60.0),
        Request(rows_RC=rows, orders=Orders(out_of_service=("Reflux", "Steam"))),
        Request(rows_RC=unmeasured),
        Request(rows_RC=rows),
    ]
    optimizer = BatchedOptimizer(**COLUMN_PARTS)
    found, plans = optimizer.solve(requests), optimizer.plan(requests)
    assert set(found.alone) == {0, 1, 2, 3}
    for b, request in enumerate(requests[:4]):
        alone = Optimizer(**COLUMN_PARTS).plan(request.rows_RC, request.orders)
        assert plans[b].status is found.status_B[b] is alone.status
        assert plans[b].reason == alone.reason
        np.testing.assert_allclose(found.moves_BNU[b], alone.moves, atol=1e-9)
    assert [plan.status.usable for plan in plans] == [True, True, False, False, True]


def test_a_forecast_that_is_no_number_is_no_plan_and_harms_no_other(small: Rig) -> None:
    optimizer = batched(small)
    problems = optimizer.given(requests_of(small, 5)).problems
    known = optimizer.solve_tensors(problems)
    latent_BD = problems.latent_BD.clone()
    latent_BD[2, 0] = np.nan
    found = optimizer.solve_tensors(replace(problems, latent_BD=latent_BD))
    assert found.converged_B.tolist() == [True, True, False, True, True]
    sound = torch.tensor([0, 1, 3, 4])
    torch.testing.assert_close(found.changes_BP[sound], known.changes_BP[sound], atol=1e-8, rtol=0.0)


def test_wrong_requests_are_told_as_by_the_optimizer() -> None:
    optimizer = BatchedOptimizer(**COLUMN_PARTS)
    with pytest.raises(PlantFileError, match="unknown CV"):
        optimizer.plan([Request(rows_RC=RECORD[:18], orders=Orders(setpoints={"Nothing": 1.0}))])
    with pytest.raises(DatasetError, match="columns"):
        optimizer.plan([Request(rows_RC=RECORD[:18, :3])])
    with pytest.raises(InputError, match="deadline"):
        optimizer.given([Request(rows_RC=RECORD[:18], deadline=1.0)])


def test_nothing_asked_is_nothing_planned() -> None:
    optimizer = BatchedOptimizer(**COLUMN_PARTS)
    assert optimizer.plan([]) == []
    assert optimizer.solve([]).moves_BNU.shape == (0, 12, 2)


def test_stored_problems_have_the_same_solution(tmp_path: Path) -> None:
    optimizer = BatchedOptimizer(**COLUMN_PARTS, bias=BiasFilter(memory=2))
    problems = optimizer.given([Request(rows_RC=RECORD[at : at + 18]) for at in range(5)]).problems
    save_problems(tmp_path / "problems.npz", optimizer.shared, problems, merit_B=np.arange(5.0))
    _, again, more = load_problems(tmp_path / "problems.npz")
    np.testing.assert_array_equal(more["merit_B"], np.arange(5.0))
    solved = optimizer.solve_tensors(problems), optimizer.solve_tensors(again)
    torch.testing.assert_close(solved[0].changes_BP, solved[1].changes_BP, atol=0.0, rtol=0.0)


def test_the_core_needs_no_more_than_torch_and_numpy() -> None:
    program = (
        "import sys\n"
        "class Nothing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('casadi', 'polars', 'mlflow', 'pydantic', 'pint', 'ruamel', 'pyarrow'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Nothing())\n"
        "import procmodel.control.batched_core, procmodel.control.batched_data\n"
        "print(*sorted(name for name in sys.modules if name.startswith('procmodel.')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    names = ("", *(f".batched_{part}" for part in ("bends", "core", "cost", "data", "model", "moves", "qp")))
    assert set(done.stdout.split()) == {f"procmodel.control{name}" for name in names}
