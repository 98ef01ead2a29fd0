"""The state of smallest prediction errors: known plants under feedback, and what a window cannot hold."""

from __future__ import annotations

import bent_plants
import numpy as np
import pytest
from bent_plants import BEND, at_rest, bent_record
from hypothesis import given
from hypothesis import strategies as st
from linear_systems import Innovations
from scipy.linalg import solve_discrete_are

from procmodel.errors import DatasetError
from procmodel.world_model import filter_search, prediction_error
from procmodel.world_model.filter_search import plain
from procmodel.world_model.held_back import one_row_error
from procmodel.world_model.linear import LinearState, fit_linear_state
from procmodel.world_model.prediction_error import (
    filtered,
    fit_bent_state,
    fit_prediction_error_state,
    memory_beyond,
)
from procmodel.world_model.products import next_state, window_state
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


def test_a_window_leads_to_the_state_in_which_the_filter_would_be() -> None:
    records = Innovations().records(4, 3_000, seed=0, noise=0.2, feedback=0.6)
    found = fit_prediction_error_state(fit_linear_state(records, lags=15, order=2), records)
    ((y, v),), length = Innovations().records(1, 400, seed=9, noise=0.2, feedback=0.6), len(found.encoder)
    along = filtered(plain(found), y, v)
    for end in range(length, 400, 30):
        rows = np.concatenate([v, y], axis=1)[end - length : end]
        x = np.einsum("lc,lcn->n", rows, found.encoder) + found.encoder_bias
        np.testing.assert_allclose(x, along[end - 1], atol=0.01 * np.abs(along).max())


def test_what_bends_is_found_with_the_state_under_feedback_and_noise() -> None:
    """A lag between input and level, and a sensor whose noise is ten times what the level does by itself in a row."""
    record, held = [bent_record(12_000, 0)], [bent_record(12_000, 1)]
    start = fit_linear_state(record, lags=20, order=3)
    linear, products = fit_bent_state(start, record)
    for v in (-1.5, 0.0, 1.5):
        x = np.zeros((1, 3))
        for _ in range(2_000):
            x = next_state(linear, products, x, np.array([[v]]))
        assert (x @ linear.C.T + linear.offset).item() == pytest.approx(at_rest(v), abs=0.1)
    assert at_rest(1.5) > 2.0 * BEND * 1.5, "the plant itself bends as far as that"
    straight = fit_prediction_error_state(start, record)
    bent_error, straight_error = (one_row_error(s, p, held) for s, p in ((linear, products), (straight, None)))
    assert bent_error is not None
    assert straight_error is not None
    assert bent_error < straight_error - 0.02
    assert np.exp(bent_error) < 1.1 * bent_plants.NOISE**2
    assert products.gain > 0.0


def test_the_filter_along_a_window_leads_to_where_it_is_along_the_record() -> None:
    y, v = bent_record(6_000, 0)
    linear, products = fit_bent_state(fit_linear_state([(y, v)], lags=30, order=3), [(y, v)])
    rows = np.concatenate([v, y], axis=1)
    near, far = (window_state(linear, products, rows[None, 3_000 - length : 3_000]) for length in (40, 1_000))
    assert np.abs(linear.C @ (near - far)[0]) < 0.05
    assert linear.begin is not None
    assert linear.begin.shape == (2, 3)


def test_a_record_with_too_few_rows_for_its_products_is_refused() -> None:
    record = [bent_record(1_500, 0)]
    start = fit_linear_state(record, lags=20, order=3)
    fit_prediction_error_state(start, record)
    with pytest.raises(DatasetError, match="too few for a state of 3"):
        fit_bent_state(start, record)


def test_a_search_for_too_many_numbers_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    record = [bent_record(6_000, 0)]
    start = fit_linear_state(record, lags=20, order=3)
    numbers = 9 + 3 + 3 + 3 + 3 + 1 + 3 * 3  # A, B, bias, K, C, offset, and three products into three states
    monkeypatch.setattr(prediction_error, "WORTHWHILE", numbers - 1)
    with pytest.raises(DatasetError, match="too many to search"):
        fit_bent_state(start, record)
    monkeypatch.setattr(prediction_error, "WORTHWHILE", numbers)
    fit_bent_state(start, record)


def test_rows_in_which_a_cv_is_missing_say_nothing_of_it() -> None:
    whole = Innovations().records(6, 3_000, seed=0, noise=0.2, feedback=0.6)
    torn = [(y.copy(), v) for y, v in whole]
    for y, _ in torn:
        y[::17, 0] = np.nan
    start = fit_linear_state(whole, lags=8, order=2)
    found = fit_prediction_error_state(start, torn)
    true = Innovations().steady_gain()
    np.testing.assert_allclose(found.steady_gain(), true, atol=0.06 * np.abs(true).max())


def test_a_step_that_would_take_long_runs_along_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    records = Innovations().records(8, 4_000, seed=0, noise=0.2, feedback=0.6)
    start = fit_linear_state(records, lags=8, order=2)
    numbers = 4 + 4 + 2 + 4 + 4 + 2
    run_along, cut = list[int](), filter_search.cut

    def counted(runs: Runs, most: int) -> filter_search.Pieces:
        run_along.append(most)
        return cut(runs, most)

    monkeypatch.setattr(prediction_error, "cut", counted)
    monkeypatch.setattr(filter_search, "WORK", 4_000.0 * 2 * numbers**2)
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
