"""Forecast errors against sums done by hand."""

import numpy as np
import pytest

from procmodel.metrics.forecast import persistence_rmse, rmse


def test_rmse_is_the_root_of_the_mean_square_per_step_and_cv() -> None:
    truth = np.zeros((2, 2, 2))
    forecast = np.array([[[3.0, 1], [0, 2]], [[4.0, 1], [0, -2]]])
    np.testing.assert_allclose(rmse(forecast, truth), [[np.sqrt(12.5), 1], [0, 2]])
    np.testing.assert_allclose(rmse(forecast, truth, np.array([1.0, 4.0])), [[np.sqrt(12.5), 0.25], [0, 0.5]])


def test_a_gap_counts_for_nothing_and_nothing_known_is_nan() -> None:
    truth = np.array([[[0.0], [np.nan]], [[np.nan], [np.nan]]])
    np.testing.assert_array_equal(rmse(np.full((2, 2, 1), 5.0), truth), [[5.0], [np.nan]])


def test_persistence_of_a_ramp_grows_by_its_slope() -> None:
    last = np.arange(20.0)[:, None]
    truth = last[:, None] + 0.5 * np.arange(1, 11)[None, :, None]
    np.testing.assert_allclose(persistence_rmse(last, truth)[:, 0], 0.5 * np.arange(1, 11))


def test_persistence_of_a_random_walk_grows_with_the_root_of_time() -> None:
    steps = np.random.default_rng(0).normal(size=(20_000, 16, 1))
    error = persistence_rmse(np.zeros((20_000, 1)), steps.cumsum(axis=1))[:, 0]
    np.testing.assert_allclose(error, np.sqrt(np.arange(1, 17)), rtol=0.02)


@pytest.mark.parametrize("bias", [-2.0, 0.0, 3.0])
def test_rmse_of_a_constant_error_is_its_size(bias: float) -> None:
    truth = np.random.default_rng(1).normal(size=(7, 3, 2))
    np.testing.assert_allclose(rmse(truth + bias, truth), abs(bias), atol=1e-15)
