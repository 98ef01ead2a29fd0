"""A linear state as a forecaster says what a latent model says whose networks add nothing to that state."""

from __future__ import annotations

import numpy as np
from latent_fakes import COLUMNS, ROWS, linear_state, untrained

from procmodel.data.window import Scaler
from procmodel.evaluation.baselines import LinearForecast, ModelForecast


def test_a_linear_forecast_is_that_of_a_model_whose_networks_are_silent() -> None:
    rng = np.random.default_rng(3)
    scaler = Scaler(centre=rng.normal(size=COLUMNS.count), spread=rng.uniform(0.5, 2.0, size=COLUMNS.count))
    rows, u, d = rng.normal(size=(4, ROWS, COLUMNS.count)), rng.normal(size=(4, 9, 2)), rng.normal(size=(4, 9, 1))
    rows[1, 2] = np.nan  # a gap holds the value before it, in both
    linear = LinearForecast(state=linear_state(), scaler=scaler, columns=COLUMNS)
    model = ModelForecast(model=untrained(), scaler=scaler, columns=COLUMNS)
    np.testing.assert_allclose(linear(rows, u, d), model(rows, u, d), rtol=1e-9)
