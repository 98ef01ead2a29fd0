"""The state of smallest prediction errors: known plants under feedback, and what a window cannot hold."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from linear_systems import Innovations
from scipy.linalg import solve_discrete_are

from procmodel.errors import DatasetError
from procmodel.world_model import prediction_error
from procmodel.world_model.linear import LinearState, fit_linear_state
from procmodel.world_model.prediction_error import (
    filtered,
    fit_prediction_error_state,
    innovations,
    memory_beyond,
)
from procmodel.world_model.realisation import fit_realised_state

Runs = list[tuple[np.ndarray, np.ndarray]]
POLE, DRIFT, NOISE = 0.998, 0.01, 1.0  # a level that hardly settles, read by a noisy sensor


def noisy_level(rows: int, seed: int) -> Runs:
    """`x+ = POLE x + 0.02 v + DRIFT w`, `y = x + NOISE e`, moved by steps and by an answer to the reading before."""
    rng = np.random.default_rng(seed)
    steps = np.repeat(rng.normal(size=rows // 40 + 1), 40)[:rows]
    x, y, v = 0.0, np.zeros((rows, 1)), np.zeros((rows, 1))
    for t in range(1, rows):
        v[t] = steps[t] - 0.3 * y[t - 1]
        x = POLE * x + 0.02 * v[t, 0] + DRIFT * rng.normal()
        y[t] = x + NOISE * rng.normal()
    return [(y, v)]


def kalman_variance() -> float:
    """Variance of the best forecast of `noisy_level`'s next row, by SciPy's Riccati solver."""
    a, c = np.array([[POLE]]), np.array([[1.0]])
    ahead = solve_discrete_are(a.T, c.T, np.array([[DRIFT**2]]), np.array([[NOISE**2]]))
    return float(ahead[0, 0] + NOISE**2)


def missed(state: LinearState, runs: Runs) -> np.ndarray:
    """Innovations of the state's own filter along whole records, without their first 200 rows [T, Y]."""
    rows = []
    for y, v in runs:
        x = np.linalg.pinv(state.C) @ (y[0] - state.offset)
        for t in range(1, len(y)):
            ahead = state.A @ x + state.B @ v[t] + state.bias
            e = y[t] - state.C @ ahead - state.offset
            x = ahead + state.K @ e
            rows += [e] if t >= 200 else []
    return np.array(rows)


def test_gains_eigenvalues_and_innovations_are_found_under_feedback() -> None:
    true = Innovations()
    records = true.records(8, 4_000, seed=0, noise=0.2, feedback=0.6)
    found = fit_prediction_error_state(fit_linear_state(records, lags=8, order=2), records)
    np.testing.assert_allclose(np.sort(np.linalg.eigvals(found.A)), np.sort(np.linalg.eigvals(true.A)), atol=0.02)
    np.testing.assert_allclose(found.steady_gain(), true.steady_gain(), atol=0.08 * np.abs(true.steady_gain()).max())
    for power in range(3):  # C A^i K does not depend on the basis of the state
        mine, theirs = (s.C @ np.linalg.matrix_power(s.A, power) @ s.K for s in (found, true))
        np.testing.assert_allclose(mine, theirs, atol=0.03)


def test_a_noisy_level_is_foreseen_as_well_as_by_the_kalman_filter_that_knows_the_plant() -> None:
    """Its best forecast averages over some hundred rows; a window of 12 cannot, whatever is fitted to it."""
    runs, held = noisy_level(12_000, 0), noisy_level(12_000, 1)
    window = fit_realised_state(runs, lags=12, order=2, horizon=40)
    found = fit_prediction_error_state(window, runs)
    best = kalman_variance()
    assert np.mean(missed(found, held) ** 2) < 1.01 * best
    assert np.mean(missed(found, held) ** 2) - best < 0.2 * (np.mean(missed(window, held) ** 2) - best)


def test_what_a_move_does_to_a_noisy_level_is_found_where_a_window_has_it_wrong() -> None:
    true = 0.02 * POLE ** np.arange(120)

    def pulse(state: LinearState) -> np.ndarray:
        return np.array([(state.C @ np.linalg.matrix_power(state.A, i) @ state.B)[0, 0] for i in range(120)])

    runs = noisy_level(12_000, 0)
    window = fit_realised_state(runs, lags=12, order=2, horizon=40)
    found = fit_prediction_error_state(window, runs)
    wrong, left = (np.abs(np.cumsum(pulse(s) - true)).max() / true.sum() for s in (window, found))
    assert left < 0.1 < wrong


@given(pole=st.floats(0.1, 0.99), gain=st.floats(0.05, 0.9), rows=st.integers(1, 60))
def test_the_memory_of_one_state_is_a_power_of_its_predictors_pole(pole: float, gain: float, rows: int) -> None:
    one = np.ones((1, 1))
    state = LinearState(
        A=pole * one, B=one, C=one, K=gain * one, bias=np.zeros(1), offset=np.zeros(1),
        encoder=np.zeros((2, 2, 1)), encoder_bias=np.zeros(1), values=np.ones(1),
    )  # fmt: skip
    assert memory_beyond(state, rows) == pytest.approx((pole * (1.0 - gain)) ** rows, abs=1e-5)


def test_a_predictor_that_never_forgets_has_all_its_memory_before_the_window() -> None:
    one = np.ones((1, 1))
    state = LinearState(
        A=one, B=one, C=one, K=0 * one, bias=np.zeros(1), offset=np.zeros(1), encoder=np.zeros((2, 2, 1)),
        encoder_bias=np.zeros(1), values=np.ones(1),
    )  # fmt: skip
    assert memory_beyond(state, 10) == 1.0


def test_the_slope_of_the_search_is_that_of_the_squared_innovations() -> None:
    """Against differences of the cost itself, one number at a time."""
    runs = Innovations().records(1, 700, seed=3, noise=0.2, feedback=0.4)
    runs[0][0][300:310, 1] = np.nan
    model, pieces = fit_linear_state(runs, lags=4, order=2), prediction_error._cut(runs)
    weight = np.array([[2.0, 0.3], [0.3, 1.0]])
    _, slope = prediction_error._normal(model, pieces, weight)

    def cost(name: str, at: tuple[int, ...], step: float) -> float:
        moved = getattr(model, name).copy()
        moved[at] += step
        some = dataclasses.replace(model, **{name: moved})
        return prediction_error._cost(innovations(some, pieces) * pieces.counts, weight)

    place = 0
    for name in ("A", "B", "bias", "K", "C", "offset"):
        for at in np.ndindex(getattr(model, name).shape):
            measured = (cost(name, at, 1e-5) - cost(name, at, -1e-5)) / 4e-5  # the slope is that of half the cost
            assert slope[place] == pytest.approx(measured, rel=2e-3, abs=2e-3 * np.abs(slope).max())
            place += 1
    assert place == len(slope)


def test_a_window_leads_to_the_state_in_which_the_filter_would_be() -> None:
    records = Innovations().records(4, 3_000, seed=0, noise=0.2, feedback=0.6)
    found = fit_prediction_error_state(fit_linear_state(records, lags=15, order=2), records)
    ((y, v),), length = Innovations().records(1, 400, seed=9, noise=0.2, feedback=0.6), len(found.encoder)
    along = filtered(found, y, v)
    for end in range(length, 400, 30):
        rows = np.concatenate([v, y], axis=1)[end - length : end]
        x = np.einsum("lc,lcn->n", rows, found.encoder) + found.encoder_bias
        np.testing.assert_allclose(x, along[end - 1], atol=0.01 * np.abs(along).max())


def test_rows_in_which_a_cv_is_missing_say_nothing_of_it() -> None:
    whole = Innovations().records(6, 3_000, seed=0, noise=0.2, feedback=0.6)
    torn = [(y.copy(), v) for y, v in whole]
    for y, _ in torn:
        y[::17, 0] = np.nan
    start = fit_linear_state(whole, lags=8, order=2)
    found = fit_prediction_error_state(start, torn)
    true = Innovations().steady_gain()
    np.testing.assert_allclose(found.steady_gain(), true, atol=0.06 * np.abs(true).max())


def test_a_long_record_is_thinned_evenly() -> None:
    records = Innovations().records(8, 4_000, seed=0, noise=0.2, feedback=0.6)
    pieces = prediction_error._cut(records, most=12_000)
    assert 10_000 <= pieces.counts.any(axis=2).sum() <= 12_000
    lasts = [np.abs(pieces.y[-1, 100] - y).sum(axis=1).min() for y, _ in records]
    assert int(np.argmin(lasts)) == 7, "the last record has its part"


def test_a_step_that_would_take_long_runs_along_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    records = Innovations().records(8, 4_000, seed=0, noise=0.2, feedback=0.6)
    start = fit_linear_state(records, lags=8, order=2)
    numbers = 4 + 4 + 2 + 4 + 4 + 2
    run_along, cut = list[int](), prediction_error._cut

    def counted(runs: Runs, most: int) -> prediction_error._Pieces:
        run_along.append(most)
        return cut(runs, most)

    monkeypatch.setattr(prediction_error, "_cut", counted)
    monkeypatch.setattr(prediction_error, "WORK", 4_000.0 * 2 * numbers**2)
    some = fit_prediction_error_state(start, records)
    assert run_along == [4_000]
    true = Innovations().steady_gain()
    np.testing.assert_allclose(some.steady_gain(), true, atol=0.3 * np.abs(true).max())


def test_a_record_too_short_for_so_many_numbers_is_refused() -> None:
    records = Innovations().records(1, 200, seed=0, noise=0.2, feedback=0.6)
    start = fit_linear_state(Innovations().records(1, 2_000, seed=0, noise=0.2, feedback=0.6), lags=8, order=6)
    with pytest.raises(DatasetError, match="too few for a state of 6"):
        fit_prediction_error_state(start, records)


def test_a_record_in_scraps_is_refused() -> None:
    records = Innovations().records(4, 2_000, seed=0, noise=0.2, feedback=0.6)
    start = fit_linear_state(records, lags=8, order=2)
    for _, v in records:
        v[::50] = np.nan
    with pytest.raises(DatasetError, match="max_gap"):
        fit_prediction_error_state(start, records)
