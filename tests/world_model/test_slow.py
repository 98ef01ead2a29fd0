"""Slow rows: means over many samples, and what the fast latent says at the end of each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.window import Columns, Scaler
from procmodel.errors import DatasetError, PlantFileError
from procmodel.plant import Plant, Slow
from procmodel.plant.slow import slow_plant
from procmodel.world_model.latent_model import LatentModel, ModelConfig
from procmodel.world_model.slow import SlowRows, block_means

START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def plant(small_plant: Plant) -> Plant:
    """Slow rows of six fast ones, with two components of the latent."""
    return small_plant.model_copy(update={"slow": Slow(row=60.0, latents=2)})


@pytest.fixture
def slow_rows(plant: Plant) -> SlowRows:
    columns = Columns.of(plant)
    config = ModelConfig(columns=columns, rows=8, lags=3, state=3, latent=2, hidden=8)
    model = LatentModel(config).double().eval().requires_grad_(False)
    model.to_state.copy_(model.to_state + 0.1)
    scaler = Scaler(centre=np.full(columns.count, 2.0), spread=np.full(columns.count, 3.0))
    return SlowRows.of(plant, model, scaler)


def record(rows: int, columns: int = 5) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(rows, columns)).cumsum(axis=0)


def dataset_of(plant: Plant, values: np.ndarray, *stretches: Stretch) -> Dataset:
    return Dataset(
        columns=tuple(plant.columns),
        values=values,
        good_fraction=np.isfinite(values).astype(np.float32),
        start=START,
        step=10.0,
        stretches=stretches or (Stretch(name="record", start=0, stop=len(values)),),
    )


def test_the_slow_means_are_those_of_numpy_counted_back_from_the_newest_row() -> None:
    rows = record(20)
    expected = np.array([rows[2:8].mean(axis=0), rows[8:14].mean(axis=0), rows[14:20].mean(axis=0)])
    np.testing.assert_allclose(block_means(rows, 6), expected)


def test_a_mean_is_over_the_good_rows_and_a_gap_where_less_than_half_are_good() -> None:
    rows = record(6, columns=2)
    rows[:3, 0], rows[:4, 1] = np.nan, np.nan
    np.testing.assert_allclose(block_means(rows, 6), [[rows[3:, 0].mean(), np.nan]])


def test_the_latent_of_a_slow_row_is_that_of_the_window_at_its_end(slow_rows: SlowRows) -> None:
    rows = record(20)
    made = slow_rows.make(rows)
    assert np.isfinite(made[0, 5:]).all()
    for slow, end in enumerate((8, 14, 20)):
        encoded = slow_rows.model.encode(slow_rows.scaler.window(rows[end - 8 : end]))[0, :2]
        np.testing.assert_allclose(made[slow, 5:], encoded.numpy())


def test_a_slow_row_before_the_fast_window_is_full_has_a_gap_for_its_latent(slow_rows: SlowRows) -> None:
    made = slow_rows.make(record(12))
    assert np.isnan(made[0, 5:]).all()
    assert np.isfinite(made[1]).all()


def test_each_stretch_becomes_slow_rows_of_its_own(plant: Plant, slow_rows: SlowRows) -> None:
    values = record(43)
    later = START + timedelta(hours=5)
    two = (Stretch(name="a", start=0, stop=20), Stretch(name="short", start=20, stop=24))
    slow = slow_rows.dataset(dataset_of(plant, values, *two, Stretch(name="b", start=24, stop=43, began=later)), plant)
    assert [(s.name, s.start, s.stop) for s in slow.stretches] == [("a", 0, 3), ("b", 3, 6)]
    assert slow.start == START + timedelta(seconds=20)
    assert slow.times()[3] == np.datetime64("2026-03-01T05:00:10")
    assert (slow.step, slow.columns[-2:]) == (60.0, ("latent.1", "latent.2"))
    np.testing.assert_allclose(slow.values[3:, :5], values[25:43].reshape(3, 6, 5).mean(axis=1))


def test_planning_sees_the_rows_that_training_saw(plant: Plant, slow_rows: SlowRows) -> None:
    values = record(60)
    trained_on = slow_rows.dataset(dataset_of(plant, values), plant).values
    np.testing.assert_allclose(slow_rows.make(values[-32:])[-4:], trained_on[-4:])


def test_a_record_without_a_whole_slow_row_is_refused(plant: Plant, slow_rows: SlowRows) -> None:
    with pytest.raises(DatasetError, match="as long as a slow row"):
        slow_rows.dataset(dataset_of(plant, record(5)), plant)


def test_more_components_than_the_latent_has_are_refused(plant: Plant, slow_rows: SlowRows) -> None:
    greedy = plant.model_copy(update={"slow": Slow(row=60.0, latents=9)})
    with pytest.raises(PlantFileError, match="latents is 9"):
        SlowRows.of(greedy, slow_rows.model, slow_rows.scaler)


def test_a_slow_row_may_move_by_all_its_fast_moves_together(plant: Plant) -> None:
    slow = slow_plant(plant)
    before, after = plant.tags["FC1.SP"].max_move, slow.tags["FC1.SP"].max_move
    assert before is not None
    assert after is not None
    assert (after.up, after.down) == (6 * before.up, 6 * before.down)
    assert (slow.sample_time, slow.advice.horizon, slow.training.window) == (60.0, 24 * 60.0, 12 * 60.0)
