"""Open loop: errors of free runs whose answers are known in closed form."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from evaluation_fakes import FirstOrderWorld

from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.window import Columns, Scaler
from procmodel.errors import DatasetError
from procmodel.evaluation.baselines import ArxForecast, ModelForecast, Persistence, carried, last_good
from procmodel.evaluation.open_loop import open_loop, starts_in
from procmodel.plant import Plant
from procmodel.world_model.linear import fit_arx

GAIN = torch.tensor([[0.5, 0.0, 0.2], [-0.3, 0.4, 0.0]], dtype=torch.float64)
KEEP = torch.tensor([0.9, 0.8], dtype=torch.float64)


def dataset_of(values: np.ndarray, plant: Plant) -> Dataset:
    return Dataset(
        columns=tuple(plant.columns),
        values=values,
        good_fraction=np.isfinite(values).astype(np.float32),
        start=datetime(2026, 1, 1, tzinfo=UTC),
        step=plant.sample_time,
        stretches=(Stretch(name="record", start=0, stop=len(values)),),
    )


@pytest.fixture
def first_order(small_plant: Plant) -> tuple[Dataset, FirstOrderWorld, Scaler]:
    """A record that the first-order world makes without an error."""
    rng, columns = np.random.default_rng(3), Columns.of(small_plant)
    scaler = Scaler(centre=np.array([40.0, 30.0, 50.0, 60.0, 10.0]), spread=np.array([5.0, 4.0, 8.0, 6.0, 2.0]))
    inputs = np.repeat(rng.standard_normal((60, 3)), 10, axis=0)
    y, rows = np.zeros(2), []
    for held in inputs:
        y = KEEP.numpy() * y + (1 - KEEP.numpy()) * (GAIN.numpy() @ held)
        rows.append([*held[:2], *y, held[2]])
    values = scaler.unscale(np.array(rows))
    return dataset_of(values, small_plant), FirstOrderWorld(GAIN, KEEP, columns), scaler


def test_a_model_that_is_the_plant_has_no_error_at_any_step_of_its_free_run(first_order, small_plant) -> None:
    dataset, model, scaler = first_order
    forecast = ModelForecast(model=model, scaler=scaler, columns=model.columns)
    result = open_loop(dataset, small_plant, {"model": forecast}, dataset.stretches, history=3, ahead=120)
    np.testing.assert_allclose(result.rms["model"], 0.0, atol=1e-11)
    np.testing.assert_allclose(result.forecast, result.measured, atol=1e-10)
    assert result.to_dict()["LI1.PV"]["model"].keys() == {"1", "30", "120"}


def test_an_arx_of_enough_lags_forecasts_a_linear_plant_exactly(first_order, small_plant) -> None:
    dataset, model, scaler = first_order
    scaled, at = scaler.scale(dataset.values), model.columns
    arx = fit_arx([(scaled[:, list(at.cv)], scaled[:, [*at.mv, *at.dv]])], lags=3, ridge=1e-12)
    forecast = ArxForecast(arx=arx, scaler=scaler, columns=at)
    result = open_loop(dataset, small_plant, {"arx": forecast}, dataset.stretches, history=3, ahead=120)
    np.testing.assert_allclose(result.rms["arx"], 0.0, atol=1e-4)


def test_the_error_of_standing_still_on_a_ramp_grows_by_its_slope(small_plant) -> None:
    values = np.full((200, 5), 7.0)
    values[:, 2] = 3.0 * np.arange(200)
    values[:, 3] = -0.5 * np.arange(200)
    dataset = dataset_of(values, small_plant)
    still = Persistence(columns=Columns.of(small_plant))
    result = open_loop(dataset, small_plant, {"persistence": still}, dataset.stretches, history=4, ahead=30)
    ahead = np.arange(1, 31)
    np.testing.assert_allclose(result.rms["persistence"], np.stack([3.0 * ahead, 0.5 * ahead], axis=1))
    np.testing.assert_allclose(result.band[0, :, 0], 3.0 * ahead)  # measured minus forecast: signed
    np.testing.assert_allclose(result.spread, np.std(values[:, 2:4], axis=0))
    entry = result.to_dict(steps=(1, 30, 120))["LI1.PV"]["persistence"]
    assert entry["30"] == {"error": pytest.approx(90.0), "over_std": pytest.approx(90.0 / np.std(values[:, 2]))}
    assert "120" not in entry  # beyond what was run


def test_no_start_reads_across_the_border_of_a_stretch_or_over_a_missing_input() -> None:
    values = np.zeros((60, 3))
    values[40, 1] = np.nan
    stretches = [Stretch(name="a", start=0, stop=20), Stretch(name="b", start=25, stop=60)]
    found = starts_in(values, [0, 1], stretches, history=5, ahead=6)
    expected = [
        t for s in stretches for t in range(60)
        if s.start <= t - 5 and t + 6 <= s.stop and np.isfinite(values[t : t + 6, :2]).all()
    ]  # fmt: skip
    assert found.tolist() == expected
    assert 41 in expected  # a gap behind is the model's affair, one ahead is not


def test_rows_without_a_measurement_do_not_count_and_nothing_known_is_none(small_plant) -> None:
    values = np.full((80, 5), 2.0)
    values[:, 3] = np.nan
    values[::2, 2] = np.nan
    values[1::2, 2] = 5.0
    still = Persistence(columns=Columns.of(small_plant))
    dataset = dataset_of(values, small_plant)
    result = open_loop(dataset, small_plant, {"persistence": still}, dataset.stretches, history=3, ahead=4)
    np.testing.assert_allclose(result.rms["persistence"][:, 0], 0.0)
    assert np.isnan(result.rms["persistence"][:, 1]).all()
    assert result.to_dict()["TI1.PV"]["persistence"]["1"] == {"error": None, "over_std": None}


def test_a_test_part_that_is_too_short_is_an_error_that_says_what_to_change(small_plant) -> None:
    dataset = dataset_of(np.ones((50, 5)), small_plant)
    still = Persistence(columns=Columns.of(small_plant))
    with pytest.raises(DatasetError, match=r"split\.test"):
        open_loop(dataset, small_plant, {"persistence": still}, dataset.stretches, history=10, ahead=120)


def test_a_short_history_is_filled_up_with_a_gap_and_never_with_a_number(first_order) -> None:
    dataset, model, scaler = first_order
    seen = []

    class Spy(FirstOrderWorld):
        def encode(self, window):  # type: ignore[no-untyped-def]
            seen.append(window)
            return super().encode(window)

    forecast = ModelForecast(model=Spy(GAIN, KEEP, model.columns, rows=5), scaler=scaler, columns=model.columns)
    forecast(dataset.values[None, :2], dataset.values[None, 2:6, :2], dataset.values[None, 2:6, 4:])
    assert seen[0].mask[0].sum(dim=1).tolist() == [0, 0, 0, 5, 5]


def test_last_good_and_carried_values_skip_gaps() -> None:
    rows = np.array([[[1.0, np.nan, np.nan], [2.0, 5.0, np.nan], [np.nan, 6.0, np.nan]]])
    np.testing.assert_array_equal(last_good(rows), [[2.0, 6.0, np.nan]])
    np.testing.assert_array_equal(carried(rows)[0, :, :2], [[1.0, 5.0], [2.0, 5.0], [2.0, 6.0]])
    assert np.isnan(carried(rows)[0, :, 2]).all()
