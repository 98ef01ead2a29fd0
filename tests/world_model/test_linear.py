"""Least squares finds what made the record, with and without feedback, and reads across no gap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from linear_systems import Innovations, arx_record, arx_records, known_arx

from procmodel.errors import DatasetError
from procmodel.world_model.linear import Arx, LinearState, fit_arx, fit_linear_state, innovation_gain


def assert_same(found: Arx, true: Arx, atol: float) -> None:
    for part in ("a", "b", "bias"):
        np.testing.assert_allclose(getattr(found, part), getattr(true, part), rtol=0, atol=atol, err_msg=part)


def test_a_noise_free_arx_is_found_exactly() -> None:
    true = known_arx()
    found = fit_arx([arx_record(true, 400, seed=0)], lags=3, ridge=0.0)
    assert_same(found, true, 1e-9)
    assert np.abs(found.noise).max() < 1e-18


@pytest.mark.parametrize("feedback", [0.0, 0.8])
def test_a_noisy_arx_is_found_ever_better_with_and_without_feedback(feedback: float) -> None:
    true = known_arx()

    def error(runs: int) -> float:
        found = fit_arx(arx_records(true, runs, 500, seed=1, noise=0.5, feedback=feedback), lags=3)
        np.testing.assert_allclose(found.noise, 0.25 * np.eye(2), atol=0.04)
        return float(np.sqrt(np.mean(np.concatenate([found.a - true.a, found.b - true.b]) ** 2)))

    assert error(192) < 0.005
    assert error(192) < error(3) / 4  # 64 times the rows: an eighth, give or take


@given(seed=st.integers(0, 1000), ahead=st.integers(1, 6), lags=st.integers(1, 4))
def test_a_forecast_is_the_recursion_row_by_row(seed: int, ahead: int, lags: int) -> None:
    rng = np.random.default_rng(seed)
    arx = Arx(
        a=0.3 * rng.normal(size=(lags, 2, 2)),
        b=rng.normal(size=(lags, 2, 3)),
        bias=rng.normal(size=2),
        noise=np.eye(2),
    )
    y, v = rng.normal(size=(1, lags + 2, 2)), rng.normal(size=(1, lags + 2 + ahead, 3))
    known = list(y[0])
    for t in range(lags + 2, lags + 2 + ahead):
        row = arx.bias.copy()
        for i in range(lags):
            row += arx.a[i] @ known[t - 1 - i] + arx.b[i] @ v[0, t - i]
        known.append(row)
    found = arx.forecast(y, v[:, : lags + 2], v[:, lags + 2 :])
    np.testing.assert_allclose(found[0], known[lags + 2 :], rtol=1e-12, atol=1e-12)


def test_rows_with_a_gap_in_their_history_are_left_out_and_no_others() -> None:
    rng = np.random.default_rng(5)
    y, v = arx_record(known_arx(2), 300, seed=2, noise=0.3)
    other = arx_record(known_arx(2), 100, seed=3, noise=0.3)
    y[rng.random(y.shape) < 0.02] = np.nan
    v[rng.random(v.shape) < 0.02] = np.nan
    found = fit_arx([(y, v), other], lags=2, ridge=0.0)
    table, target = [], []
    for ys, vs in ((y, v), other):
        for t in range(2, len(ys)):
            row = np.concatenate([vs[t], ys[t - 1], vs[t - 1], ys[t - 2], [1.0]])
            if np.isfinite(row).all() and np.isfinite(ys[t]).all():
                table.append(row)
                target.append(ys[t])
    assert len(table) < 380
    theta = np.linalg.lstsq(np.array(table), np.array(target))[0].T
    np.testing.assert_allclose(found.b[0], theta[:, 0:2], atol=1e-10)
    np.testing.assert_allclose(found.a[0], theta[:, 2:4], atol=1e-10)
    np.testing.assert_allclose(found.b[1], theta[:, 4:6], atol=1e-10)
    np.testing.assert_allclose(found.a[1], theta[:, 6:8], atol=1e-10)
    np.testing.assert_allclose(found.bias, theta[:, 8], atol=1e-10)


def test_the_steady_gain_is_its_closed_form_and_where_a_long_forecast_ends() -> None:
    one = Arx(a=np.full((1, 1, 1), 0.5), b=np.full((1, 1, 1), 0.3), bias=np.zeros(1), noise=np.zeros((1, 1)))
    assert one.steady_gain().item() == pytest.approx(0.6)
    arx = known_arx()
    rest = arx.forecast(np.zeros((1, 3, 2)), np.zeros((1, 3, 2)), np.zeros((1, 300, 2)))[0, -1]
    for mv in (0, 1):
        held = np.zeros((1, 300, 2))
        held[..., mv] = 1.0
        moved = arx.forecast(np.zeros((1, 3, 2)), np.zeros((1, 3, 2)), held)[0, -1]
        np.testing.assert_allclose(arx.steady_gain()[:, mv], moved - rest, atol=1e-9)


def test_an_input_that_never_moved_gets_no_gain_and_harms_nothing() -> None:
    y, v = arx_record(known_arx(), 400, seed=0)
    found = fit_arx([(y, np.concatenate([v, np.full((400, 1), 7.0)], axis=1))], lags=3, ridge=1e-12)
    assert np.abs(found.b[..., 2]).max() < 1e-12
    np.testing.assert_allclose(found.b[..., :2], known_arx().b, atol=1e-6)


def test_a_record_shorter_than_the_history_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"No stretch is longer than the 5 rows .* training.window"):
        fit_arx([(np.zeros((5, 2)), np.zeros((5, 2)))], lags=5)


def test_too_few_whole_rows_are_refused_with_their_number() -> None:
    y, v = arx_record(known_arx(), 60, seed=0)
    y[::4] = np.nan
    with pytest.raises(DatasetError, match=r"Only 0 rows have a whole history of 3 rows .* at least 24"):
        fit_arx([(y, v)], lags=3)


def test_whole_rows_that_never_follow_each_other_give_no_state() -> None:
    y, v = arx_record(known_arx(1), 900, seed=0, noise=0.1)
    y[::3] = np.nan  # pairs of rows: enough for an ARX of one lag, none for a state and its successor
    assert np.isfinite(fit_arx([(y, v)], lags=1).a).all()
    with pytest.raises(DatasetError, match=r"Gaps leave 0 stretches .* max_gap"):
        fit_linear_state([(y, v)], lags=1, order=2)


# ---- the innovations state


@pytest.fixture(scope="module")
def found_under_feedback() -> LinearState:
    records = Innovations().records(40, 5_000, seed=0, noise=0.2, feedback=0.6)
    return fit_linear_state(records, lags=15, order=2)


def test_gains_and_eigenvalues_are_found_under_feedback(found_under_feedback: LinearState) -> None:
    true, found = Innovations(), found_under_feedback
    np.testing.assert_allclose(
        np.sort(np.linalg.eigvals(found.A)), np.sort(np.linalg.eigvals(true.A)), rtol=0, atol=0.01
    )
    np.testing.assert_allclose(found.steady_gain(), true.steady_gain(), atol=0.03 * np.abs(true.steady_gain()).max())
    # C A^i K does not depend on the basis of the state.
    for power in range(3):
        mine, theirs = (s.C @ np.linalg.matrix_power(s.A, power) @ s.K for s in (found, true))
        np.testing.assert_allclose(mine, theirs, atol=0.01)
    assert found.values[1] > 10 * found.values[2]  # two states, and the singular values say so


def run_filter(state: LinearState, x_N: np.ndarray, y: np.ndarray, v: np.ndarray) -> np.ndarray:
    """State after these rows by the innovations form, row by row."""
    for y_Y, v_V in zip(y, v, strict=True):
        x_N = state.A @ x_N + state.B @ v_V + state.bias
        x_N = x_N + state.K @ (y_Y - state.C @ x_N - state.offset)
    return x_N


def encoded(state: LinearState, y: np.ndarray, v: np.ndarray) -> np.ndarray:
    rows = np.concatenate([v, y], axis=1)[-len(state.encoder) :]
    return np.einsum("lc,lcn->n", rows, state.encoder) + state.encoder_bias


def test_the_encoder_gives_what_the_filter_gives(found_under_feedback: LinearState) -> None:
    [(y, v)] = Innovations().records(1, 400, seed=9, noise=0.2, feedback=0.6)
    filtered, x = [], np.zeros(2)
    for t in range(400):
        x = run_filter(found_under_feedback, x, y[t : t + 1], v[t : t + 1])
        filtered.append(x)
    at_once = [encoded(found_under_feedback, y[: t + 1], v[: t + 1]) for t in range(50, 400)]
    gap = np.sqrt(np.mean((np.array(filtered[50:]) - at_once) ** 2, axis=0))
    assert (gap < 0.03 * np.std(at_once, axis=0)).all()  # the past beyond 15 rows


def test_the_gain_on_innovations_outlives_a_nearly_singular_a() -> None:
    # The second state is forgotten almost at once, but a CV sees it a thousandfold; the third does nothing to any CV.
    a, c = np.diag([0.99, 0.004, 1e-9]), np.array([[1.0, 0.0, 0.0], [0.3, 1000.0, 0.0]])
    k = np.array([[0.5, 0.1], [0.0, 0.04], [0.2, 0.1]])
    found = innovation_gain(a, c, a @ k, rows=10)
    for ahead in range(1, 6):
        to_cvs = c @ np.linalg.matrix_power(a, ahead)
        np.testing.assert_allclose(to_cvs @ found, to_cvs @ k, rtol=0, atol=1e-6)
    assert np.abs(found).max() < 1.0  # and nothing is blown up that no CV sees


@pytest.fixture(scope="module")
def full_order() -> tuple[LinearState, Arx]:
    record = arx_record(known_arx(2), 3000, seed=4, noise=0.2, feedback=0.3)
    return fit_linear_state([record], lags=2, order=4, ridge=0.0), fit_arx([record], lags=2, ridge=0.0)


def test_a_state_of_full_order_filters_exactly_as_it_encodes(full_order: tuple[LinearState, Arx]) -> None:
    state, _ = full_order
    y, v = arx_record(known_arx(2), 40, seed=5, noise=0.2)
    filtered = run_filter(state, encoded(state, y[:3], v[:3]), y[3:], v[3:])
    np.testing.assert_allclose(encoded(state, y, v), filtered, atol=1e-9)


def test_a_state_of_full_order_runs_free_as_the_arx_does(full_order: tuple[LinearState, Arx]) -> None:
    state, arx = full_order
    y, v = arx_record(known_arx(2), 40, seed=6, noise=0.2)
    x, expected = encoded(state, y[:10], v[:10]), arx.forecast(y[None, :10], v[None, :10], v[None, 10:])[0]
    for ahead in range(30):
        x = state.A @ x + state.B @ v[10 + ahead] + state.bias
        # The state is fitted on pairs of rows, one fewer than the ARX had: they differ by a few 1 / T.
        np.testing.assert_allclose(state.C @ x + state.offset, expected[ahead], atol=1e-3)
    np.testing.assert_allclose(state.steady_gain(), arx.steady_gain(), atol=1e-3)


def test_every_state_has_unit_spread(full_order: tuple[LinearState, Arx]) -> None:
    y, v = arx_record(known_arx(2), 3000, seed=4, noise=0.2, feedback=0.3)
    states = [encoded(full_order[0], y[t - 3 : t], v[t - 3 : t]) for t in range(3, 3000)]
    np.testing.assert_allclose(np.std(states, axis=0), 1.0, atol=0.15)  # of the filtered state; predicted: 1 exactly
