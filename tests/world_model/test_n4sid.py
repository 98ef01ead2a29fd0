"""N4SID finds a known system from moves of their own, and does not under feedback: the peer is what it should be."""

from __future__ import annotations

import numpy as np
import pytest
from linear_systems import Innovations, arx_record, known_arx

from procmodel.errors import DatasetError
from procmodel.world_model.linear import LinearState, fit_linear_state
from procmodel.world_model.n4sid import fit_n4sid


@pytest.fixture(scope="module")
def found() -> LinearState:
    return fit_n4sid(Innovations().records(10, 3_000, seed=0, noise=0.05, feedback=0.0), lags=30, order=2)


def gain_error(state: LinearState) -> float:
    true = Innovations().steady_gain()
    return float(np.abs(state.steady_gain() - true).max() / np.abs(true).max())


def test_gains_poles_and_noise_model_are_found_from_moves_of_their_own(found: LinearState) -> None:
    true = Innovations()
    np.testing.assert_allclose(np.sort(np.linalg.eigvals(found.A)), np.sort(np.linalg.eigvals(true.A)), atol=0.01)
    assert gain_error(found) < 0.03
    for power in range(3):  # C A^i B and C A^i K do not depend on the basis of the state
        step = np.linalg.matrix_power
        np.testing.assert_allclose(
            found.C @ step(found.A, power) @ found.B, true.C @ step(true.A, power) @ true.B, atol=0.01
        )
        np.testing.assert_allclose(
            found.C @ step(found.A, power) @ found.K, true.C @ step(true.A, power) @ true.K, atol=0.03
        )


def test_a_noise_free_system_is_found_to_what_its_centring_leaves() -> None:
    true = Innovations()
    clean = fit_n4sid(true.records(4, 600, seed=1, noise=0.0, feedback=0.0), lags=20, order=2, blocks=5, ridge=0.0)
    np.testing.assert_allclose(clean.steady_gain(), true.steady_gain(), rtol=1e-4)


def test_the_order_is_seen_in_the_singular_values() -> None:
    chosen = fit_n4sid(Innovations().records(4, 3_000, seed=1, noise=0.02, feedback=0.0), lags=20, blocks=5)
    assert len(chosen.A) == 2


def test_the_encoder_gives_what_the_filter_gives(found: LinearState) -> None:
    [(y, v)] = Innovations().records(1, 400, seed=9, noise=0.2, feedback=0.0)
    x, gaps = np.zeros(2), []
    for t in range(400):
        x = found.A @ x + found.B @ v[t] + found.bias
        x = x + found.K @ (y[t] - found.C @ x - found.offset)
        if t >= 60:
            rows = np.concatenate([v, y], axis=1)[t - 30 : t + 1]
            gaps.append(x - np.einsum("lc,lcn->n", rows, found.encoder) - found.encoder_bias)
    assert np.abs(gaps).max() < 1e-3


def test_under_feedback_it_is_worse_than_the_predictor_based_method_and_that_is_its_theory() -> None:
    records = Innovations().records(10, 2_000, seed=3, noise=0.5, feedback=0.6)
    assert gain_error(fit_n4sid(records, lags=30, order=2, blocks=8)) > 3 * gain_error(
        fit_linear_state(records, lags=15, order=2)
    )


def test_gaps_are_read_across_by_nobody() -> None:
    [(y, v)] = Innovations().records(1, 3_000, seed=4, noise=0.2, feedback=0.0)
    holed = y.copy()
    holed[1500] = np.nan
    apart = [(y[:1500], v[:1500]), (y[1501:], v[1501:])]
    np.testing.assert_allclose(
        fit_n4sid([(holed, v)], lags=20, order=2, blocks=5).steady_gain(),
        fit_n4sid(apart, lags=20, order=2, blocks=5).steady_gain(),
        rtol=1e-10,
    )


def test_a_record_too_short_is_refused_with_what_is_needed() -> None:
    with pytest.raises(DatasetError, match=r"only 71 rows have 15 rows .* 240 are needed"):
        fit_n4sid([arx_record(known_arx(), 100, seed=0)], lags=15, order=2)
    with pytest.raises(DatasetError, match=r"order 40 needs more block rows"):
        fit_n4sid([arx_record(known_arx(), 3000, seed=0)], lags=15, order=40)
