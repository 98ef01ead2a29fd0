"""Allowances against quantiles with known answers; heads from labels that the latent can tell."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from training_plants import START, STEP, linear_model, tiny_plant, tiny_record

from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.window import Columns, Scaler
from procmodel.errors import DatasetError, LabelError
from procmodel.plant import Constraint
from procmodel.training.calibrate import calibrate, learn_head
from procmodel.world_model.latent_model import LatentModel, ModelConfig

ROWS, HORIZON = 8, 10
SCALER = Scaler(centre=np.array([1.0, 100.0, 0.0, -3.0, 0.0]), spread=np.array([2.0, 5.0, 1.0, 0.2, 1.0]))


def says_the_mean() -> LatentModel:
    """A model that expects every CV at its centre, whatever it sees."""
    config = ModelConfig(columns=Columns.of(tiny_plant()), rows=ROWS, lags=ROWS - 1, state=2, latent=2, hidden=4)
    model = LatentModel(config).double().requires_grad_(False)
    model.offset.zero_()
    return model


def held(rows: int, start: int = 0) -> Stretch:
    return Stretch(name="held", start=start, stop=start + rows)


def test_white_noise_is_of_the_sensor_and_wants_no_distance() -> None:
    rows = SCALER.unscale(np.random.default_rng(0).normal(size=(8000, 5)))
    found = calibrate(says_the_mean(), SCALER, rows, [held(8000)], HORIZON, 0.9)
    assert found.trust is not None
    assert found.trust.gain_HY.max() < 0.1  # an old error says nothing of the next one
    assert (found.backoff_HY < 0.5 * np.array([5.0, 0.2])).all()
    # The mean of five squares of two CVs: chi-square with ten degrees of freedom, over ten; 29.588 is its 99.9 % point.
    assert found.surprise_limit == pytest.approx(1.5 * 29.588 / 10, rel=0.1)
    assert found.confidence == 0.9


def test_a_random_walk_gets_an_allowance_that_grows_with_the_root_of_the_time() -> None:
    steps = np.random.default_rng(1).normal(size=(40_000, 5))
    rows = SCALER.unscale(np.cumsum(0.1 * steps, axis=0))
    found = calibrate(says_the_mean(), SCALER, rows, [held(40_000)], HORIZON, 0.9)
    weights = 0.8 ** np.arange(4) / (0.8 ** np.arange(4)).sum()
    # k steps to come, and of the last three those that the mean of the newest four errors has not seen.
    unseen = sum(weights[i:].sum() ** 2 for i in (1, 2, 3))
    expected = 0.1 * 1.2816 * np.sqrt(np.arange(1, 11) + unseen)[:, None] * np.array([[5.0, 0.2]])
    np.testing.assert_allclose(found.backoff_HY, expected, rtol=0.12)


def test_a_steady_offset_is_corrected_away() -> None:
    rows = np.tile(SCALER.centre + 7 * SCALER.spread, (200, 1))
    found = calibrate(says_the_mean(), SCALER, rows, [held(200)], HORIZON, 0.9)
    assert found.backoff_HY.max() < 1e-9
    # The offset is what this model always shows: its square over its own mean square, of two CVs that go together.
    assert found.surprise_limit == pytest.approx(1.5 / 1.9, rel=1e-4)


def test_allowances_never_fall_and_gaps_leave_them_finite() -> None:
    dataset, plant = tiny_record(holes=60), tiny_plant()
    dataset.values[:, 3] = np.nan  # a CV that was never measured says nothing about doubt
    model, scaler = linear_model(tiny_record(), plant)
    found = calibrate(model, scaler, dataset.values, [held(400), held(15, 500), held(300, 900)], HORIZON, 0.9)
    assert np.isfinite(found.backoff_HY).all()
    assert (np.diff(found.backoff_HY, axis=0) >= 0).all()
    assert found.backoff_HY[0, 0] > 0
    assert (found.backoff_HY[:, 1] == 0).all()
    assert np.isfinite(found.surprise_limit)
    assert found.surprise_limit > 0


def test_higher_confidence_asks_for_more() -> None:
    model, scaler = linear_model(tiny_record(), tiny_plant())
    low, high = (
        calibrate(model, scaler, tiny_record().values, [held(600)], HORIZON, confidence) for confidence in (0.6, 0.95)
    )
    assert (high.backoff_HY > low.backoff_HY).all()


def test_no_stretch_long_enough_is_an_error_with_the_length_needed() -> None:
    with pytest.raises(DatasetError, match=r"no held-back stretch is longer than 18 rows.*advice.horizon"):
        calibrate(says_the_mean(), SCALER, np.zeros((100, 5)), [held(18)], HORIZON, 0.9)


# ---- heads


def write_labels(path: Path, dataset: Dataset, rows: list[int]) -> str:
    """Margins that are a straight line of what is measured at the end of the row."""
    lines = ["time,margin"]
    for row in rows:
        at = START + timedelta(seconds=STEP * (row + 1))
        lines.append(f"{at.isoformat()},{margin(dataset.values[row])}")
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def margin(row: np.ndarray) -> float:
    return float(3 + 0.2 * (row[1] - 80) - 0.5 * (row[3] - 2))


@pytest.fixture(scope="module")
def record() -> Dataset:
    return tiny_record(holes=0)


@pytest.fixture(scope="module")
def linear(record: Dataset) -> tuple[LatentModel, Scaler]:
    return linear_model(record, tiny_plant())


def spread_out(count: int) -> list[int]:
    return np.linspace(40, 1450, count).astype(int).tolist()


def test_a_head_tells_the_margin_of_rows_that_have_no_label(
    record: Dataset, linear: tuple[LatentModel, Scaler], tmp_path: Path
) -> None:
    model, scaler = linear
    constraint = Constraint(labels=write_labels(tmp_path / "labels.csv", record, spread_out(30)), confidence=0.8)
    remarks: list[str] = []
    head = learn_head("foaming", constraint, model, scaler, record, HORIZON, remark=remarks.append)
    assert remarks == []
    assert head.labels == 30
    assert head.skill > 0.9
    assert head.allowance_H.shape == (HORIZON,)
    fresh = [row for row in range(50, 1450, 7) if row not in spread_out(30)]
    windows = scaler.window(np.stack([record.values[row - ROWS + 1 : row + 1] for row in fresh]))
    told = head.margin(model.encode(windows)).numpy()
    true = np.array([margin(record.values[row]) for row in fresh])
    assert np.sqrt(np.mean((told - true) ** 2)) < 0.3 * true.std()


def test_labels_without_history_are_left_out_and_it_is_said(
    record: Dataset, linear: tuple[LatentModel, Scaler], tmp_path: Path
) -> None:
    rows = [2, 6, *spread_out(30)]
    constraint = Constraint(labels=write_labels(tmp_path / "labels.csv", record, rows), confidence=0.8)
    remarks: list[str] = []
    head = learn_head("foaming", constraint, *linear, record, HORIZON, remark=remarks.append)
    assert head.labels == 30
    assert remarks == [
        f"Constraint 'foaming': 2 of 32 labels in {tmp_path / 'labels.csv'} have less than 8 rows of history before "
        "them and were left out."
    ]
    plain = write_labels(tmp_path / "plain.csv", record, spread_out(30))
    alone = learn_head("foaming", Constraint(labels=plain, confidence=0.8), *linear, record, HORIZON)
    assert head.to_dict() == alone.to_dict()


def test_the_first_row_with_a_whole_window_counts_as_history(
    record: Dataset, linear: tuple[LatentModel, Scaler], tmp_path: Path
) -> None:
    rows = [ROWS - 1, *spread_out(29)]
    constraint = Constraint(labels=write_labels(tmp_path / "labels.csv", record, rows), confidence=0.8)
    assert learn_head("foaming", constraint, *linear, record, HORIZON).labels == 30


def test_labels_none_of_which_has_history_are_an_error_with_their_number(
    record: Dataset, linear: tuple[LatentModel, Scaler], tmp_path: Path
) -> None:
    path = write_labels(tmp_path / "labels.csv", record, [1, 3, 6])
    with pytest.raises(LabelError, match=r"Constraint 'foaming': 3 of 3 labels in .*labels.csv have less than 8 rows"):
        learn_head("foaming", Constraint(labels=path), *linear, record, HORIZON)


def test_history_does_not_reach_across_the_border_of_a_stretch(
    record: Dataset, linear: tuple[LatentModel, Scaler], tmp_path: Path
) -> None:
    cut = Dataset(
        **{
            **vars(record),
            "stretches": (
                Stretch(name="one", start=0, stop=700, began=START),
                Stretch(name="two", start=700, stop=1500, began=START + timedelta(seconds=700 * STEP)),
            ),
        }
    )
    rows = sorted([702, *spread_out(30)])
    constraint = Constraint(labels=write_labels(tmp_path / "labels.csv", record, rows), confidence=0.8)
    remarks: list[str] = []
    learn_head("foaming", constraint, *linear, cut, HORIZON, remark=remarks.append)
    assert "1 of 31 labels" in remarks[0]


def test_heads_are_judged_on_latents_rolled_out_over_the_recorded_moves(
    record: Dataset, linear: tuple[LatentModel, Scaler], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `fit_head` is given, against one rollout per label and horizon."""
    import procmodel.training.calibrate as module

    model, scaler = linear
    given = {}
    monkeypatch.setattr(module, "fit_head", lambda name, constraint, samples: given.update(samples=samples))
    rows = [ROWS + 2, 100, 801]
    path = write_labels(tmp_path / "labels.csv", record, rows)
    learn_head("foaming", Constraint(labels=path), model, scaler, record, HORIZON)
    samples = given["samples"]
    scaled = scaler.scale(record.values)
    columns = model.config.columns
    for n, row in enumerate(rows):
        for ahead in range(HORIZON + 1):
            found = samples.encoded_ND[n] if ahead == 0 else samples.rolled_NHD[n, ahead - 1]
            last = row - ahead
            if last - ROWS + 1 < 0:
                assert np.isnan(found).all()
                continue
            z = model.encode(scaler.window(record.values[last - ROWS + 1 : last + 1]))
            for step in range(last + 1, row + 1):
                u, d = (torch.from_numpy(scaled[step, list(at)])[None] for at in (columns.mv, columns.dv))
                z = model.step(z, u, d)
            np.testing.assert_allclose(found, z[0], rtol=1e-9, atol=1e-9)
