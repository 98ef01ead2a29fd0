"""The correction of forecasts by their own past errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from control_fakes import (
    COLUMN,
    TANKS,
    LinearModel,
    TanksModel,
    latent_model,
    make_plant,
    tanks_at_rest,
    tanks_next,
    tanks_scaler,
    unit_scaler,
)
from torch import Tensor

from procmodel.control.bias import encode_history, filled, past_errors
from procmodel.control.cells import cell_of
from procmodel.control.past import PastForecasts
from procmodel.data.window import Columns
from procmodel.world_model.correction import BiasFilter, correction
from procmodel.world_model.protocol import rollout

PLANT = make_plant(TANKS)
COLUMNS = Columns.of(PLANT)


def record(rows: int, *, inflow: float = 0.0, seed: int = 0) -> np.ndarray:
    """Tanks under moves that nobody explains."""
    rng = np.random.default_rng(seed)
    u, h = np.array([3.0, 3.0]), np.array([10.0, 8.0])
    found = []
    for _ in range(rows):
        u = np.clip(u + rng.normal(0, 0.1, 2), 1, 5)
        h = tanks_next(h, u, inflow)
        found.append(np.concatenate([u, h]))
    return np.array(found)


def errors_of(model: TanksModel, rows: np.ndarray, steps: int, memory: int) -> np.ndarray:
    scaler = tanks_scaler()
    return past_errors(model, scaler, COLUMNS, encode_history(model, scaler, rows), steps, memory)


def test_past_errors_are_those_of_forecasts_issued_one_by_one() -> None:
    """The batch over all windows, lags and targets against plain loops."""
    scaler, rows = tanks_scaler(), record(30, inflow=0.1)
    rows[12, 2] = rows[25, 3] = np.nan
    model = TanksModel(PLANT, scaler, gain=0.9)
    errors = errors_of(model, rows, steps=20, memory=5)
    assert errors.shape == (21, 5, 2)
    for k in range(21):
        for j in range(5):
            end = len(rows) - 1 - j
            z = model.encode(scaler.window(rows[: end - k + 1][-2:]))
            u = torch.as_tensor(scaler.scale(rows[end - k + 1 : end + 1, :2], (0, 1)))[None]
            if k:
                z = rollout(model, z, u, torch.zeros(1, k, 0))[:, -1]
            y = scaler.unscale(model.read_out(z).numpy()[0], (2, 3))
            np.testing.assert_allclose(errors[k, j], rows[end, 2:] - y, atol=1e-12)


def test_a_right_model_is_not_corrected() -> None:
    scaler = tanks_scaler()
    errors = errors_of(TanksModel(PLANT, scaler), record(75), steps=60, memory=8)
    np.testing.assert_allclose(errors, 0.0, atol=1e-10)


@pytest.mark.parametrize("inflow", [0.0, 0.15])
def test_at_rest_the_corrected_forecast_stays_where_the_plant_is(inflow: float) -> None:
    """Wrong gain, unmeasured inflow: with the MVs unmoved the forecast is the measured value at every step."""
    scaler = tanks_scaler()
    model = TanksModel(PLANT, scaler, gain=0.8)
    h = tanks_at_rest(np.array([3.0, 3.0]))
    for _ in range(3000):
        h = tanks_next(h, np.array([3.0, 3.0]), inflow)
    rows = np.tile(np.concatenate([[3.0, 3.0], h]), (69, 1))
    history = encode_history(model, scaler, rows)
    bias = correction(past_errors(model, scaler, COLUMNS, history, 60, 8), BiasFilter(memory=8))
    u = torch.as_tensor(scaler.scale(np.full((1, 60, 2), 3.0), (0, 1)))
    y = scaler.unscale(
        model.read_out(rollout(model, history.latents_WD[-1:], u, torch.zeros(1, 60, 0))[0]).numpy(), (2, 3)
    )
    assert np.abs(y - h).max() > 0.5  # the model alone would drift away
    np.testing.assert_allclose(y + bias, np.tile(h, (60, 1)), atol=1e-9)


def test_with_little_history_the_longest_known_lag_stands_for_longer_ones() -> None:
    scaler, model = tanks_scaler(), TanksModel(PLANT, tanks_scaler(), gain=0.9)
    rows = record(7)
    bias = correction(errors_of(model, rows, 60, 8), BiasFilter(memory=8))
    assert np.isfinite(bias).all()
    np.testing.assert_array_equal(bias[5:], np.tile(bias[4], (55, 1)))  # seven rows hold six windows, so five lags
    del scaler


def test_with_one_window_only_the_encoding_itself_is_corrected() -> None:
    class Off(LinearModel):
        def read_out(self, z_BD: Tensor) -> Tensor:
            return z_BD + 0.5

    scaler = unit_scaler(PLANT)
    model = Off(PLANT, np.eye(2), np.eye(2))
    history = encode_history(model, scaler, record(2))
    bias = correction(past_errors(model, scaler, COLUMNS, history, 60, 8), BiasFilter(memory=8))
    np.testing.assert_allclose(bias, -0.5)


def test_gaps_are_skipped_and_a_cv_without_samples_is_left_alone() -> None:
    scaler, model = tanks_scaler(), TanksModel(PLANT, tanks_scaler(), gain=0.9)
    rows = record(75)
    rows[-3:, 2] = np.nan
    rows[:, 3] = np.nan
    errors = errors_of(model, rows, 60, 8)
    assert np.isnan(errors[:, :3, 0]).all()
    bias = correction(errors, BiasFilter(memory=8))
    expected = np.average(errors[10, 3:, 0], weights=0.8 ** np.arange(3, 8))
    assert bias[9, 0] == pytest.approx(expected)
    np.testing.assert_array_equal(bias[:, 1], 0.0)
    del scaler


def test_a_forecast_without_a_number_does_not_spoil_the_others() -> None:
    errors = np.ones((5, 3, 1))
    errors[2] = np.nan
    np.testing.assert_array_equal(correction(errors, BiasFilter(memory=3)), np.ones((4, 1)))


def test_newer_errors_weigh_more() -> None:
    errors = np.array([4.0, 2.0, 0.0])[None, :, None].repeat(2, axis=0)
    assert correction(errors, BiasFilter(memory=3, decay=0.5))[0, 0] == pytest.approx((4 + 1) / 1.75)


def test_filled_takes_the_value_before_and_at_the_start_the_one_after() -> None:
    nan = np.nan
    rows = np.array([[nan, 1.0, nan], [2.0, nan, nan], [nan, 3.0, nan]])
    np.testing.assert_array_equal(filled(rows), [[2.0, 1.0, nan], [2.0, 1.0, nan], [2.0, 3.0, nan]])


@pytest.mark.parametrize("by_hand", [True, False])
@pytest.mark.parametrize("more", [3, 0])
def test_forecasts_carried_on_are_those_made_anew(more: int, by_hand: bool) -> None:
    """Over gaps, a late sample, a repeated tick and a jump, with a network whose encoder reads every row; also where
    history is too short for all targets."""
    plant = make_plant(COLUMN, horizon="60 s", blocks=4)
    model, scaler, columns = latent_model(plant), unit_scaler(plant), Columns.of(plant)
    rng = np.random.default_rng(8)
    record_TC = rng.normal(size=(90, 6))
    record_TC[rng.random(record_TC.shape) < 0.1] = np.nan
    length = model.rows + 12 + more

    def forecasts() -> PastForecasts:
        cell = cell_of(model) if by_hand else None
        return PastForecasts(model=model, scaler=scaler, columns=columns, steps=12, memory=4, most=2, cell=cell)

    carried, anew = forecasts(), []
    for end in (40, 41, 43, 43, 44, 60, 61, 62, 63):
        rows_RC = record_TC[end - length : end].copy()
        if end == 62:
            rows_RC[-2, 3] = 0.5  # came late
        fresh = forecasts()
        found, expected = carried.at(rows_RC), fresh.at(rows_RC)
        np.testing.assert_allclose(found.latent_D, expected.latent_D, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(found.errors_NmY, expected.errors_NmY, rtol=1e-10, atol=1e-12)
        anew.append(carried.made_anew)
    assert anew == [1, 1, 1, 1, 1, 2, 2, 3, 4]
