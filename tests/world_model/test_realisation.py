"""The realised state runs free as its ARX does, and finds the plant under feedback."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from linear_systems import Innovations, arx_record, known_arx

from procmodel.errors import DatasetError
from procmodel.world_model.linear import Arx, LinearState, fit_arx
from procmodel.world_model.realisation import fit_realised_state, free_runs


@given(seed=st.integers(0, 1000), horizon=st.integers(1, 7), lags=st.integers(1, 4))
def test_the_map_of_free_runs_is_the_forecast_without_further_inputs(seed: int, horizon: int, lags: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = 0.3 * rng.normal(size=(lags, 2, 2)), rng.normal(size=(lags, 2, 3))
    arx = Arx(a=a, b=b, bias=np.zeros(2), noise=np.eye(2))
    y, v = rng.normal(size=(1, lags, 2)), rng.normal(size=(1, lags, 3))
    newest = rng.normal(size=3)
    # The past of a row: its own input and the CVs of the row before come first.
    inputs = np.concatenate([v[0], newest[None]])
    past = np.concatenate([np.concatenate([inputs[lags - lag], y[0, lags - 1 - lag]]) for lag in range(lags)])
    ahead = np.concatenate([newest[None], np.zeros((horizon - 1, 3))])[None]
    expected = arx.forecast(y, v, ahead)[0]
    np.testing.assert_allclose((free_runs(arx, horizon) @ past).reshape(horizon, 2), expected, rtol=1e-9, atol=1e-9)


def test_gains_eigenvalues_and_innovations_are_found_under_feedback() -> None:
    true = Innovations()
    records = true.records(40, 5_000, seed=0, noise=0.2, feedback=0.6)
    found = fit_realised_state(records, lags=15, order=2, horizon=40)
    np.testing.assert_allclose(np.sort(np.linalg.eigvals(found.A)), np.sort(np.linalg.eigvals(true.A)), atol=0.01)
    np.testing.assert_allclose(found.steady_gain(), true.steady_gain(), atol=0.03 * np.abs(true.steady_gain()).max())
    for power in range(3):  # C A^i K does not depend on the basis of the state
        mine, theirs = (s.C @ np.linalg.matrix_power(s.A, power) @ s.K for s in (found, true))
        np.testing.assert_allclose(mine, theirs, atol=0.02)


def run_free(state: LinearState, y: np.ndarray, v: np.ndarray, v_ahead: np.ndarray) -> np.ndarray:
    x = np.einsum("lc,lcn->n", np.concatenate([v, y], axis=1), state.encoder) + state.encoder_bias
    out = []
    for now in v_ahead:
        x = state.A @ x + state.B @ now + state.bias
        out.append(state.C @ x + state.offset)
    return np.array(out)


def test_with_states_enough_it_runs_free_as_the_arx_does() -> None:
    """Three lags of two CVs and two inputs: ten numbers of the past decide what comes, so ten states hold all of it."""
    records = [arx_record(known_arx(), 4_000, seed=seed, noise=0.3, feedback=0.5) for seed in (0, 1)]
    arx = fit_arx(records, lags=3)
    state = fit_realised_state(records, lags=3, order=10, horizon=30)
    (y, v), length = arx_record(known_arx(), 40, seed=5, noise=0.3), len(state.encoder)
    expected = arx.forecast(y[None, :length], v[None, :length], v[None, length:])[0]
    found = run_free(state, y[:length], v[:length], v[length:])
    # The window's own last row corrects the state, so that the two agree exactly only where it was foreseen.
    surprise = y[length - 1] - arx.forecast(y[None, : length - 1], v[None, : length - 1], v[None, length - 1 : length])
    assert np.abs(surprise).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_a_record_without_whole_rows_is_refused() -> None:
    with pytest.raises(DatasetError, match="whole history"):
        fit_realised_state([(np.full((50, 1), np.nan), np.zeros((50, 1)))], lags=3, order=2, horizon=10)
