"""Products found by least squares: those that are there, none where there are none, and never without bound."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from procmodel.world_model import products as products_module
from procmodel.world_model.held_back import free_run_error
from procmodel.world_model.linear import LinearState, fit_linear_state
from procmodel.world_model.products import Products, fit_products

Runs = list[tuple[np.ndarray, np.ndarray]]


def record(curve: float, rows: int = 12_000, seed: int = 0, feedback: float = 0.5, noise: float = 0.02) -> Runs:
    """A tank whose gain depends on its level, run by a controller: `y+ = 0.9 y + 0.3 v + curve y v + noise`, where
    `v = -feedback y + steps`."""
    rng = np.random.default_rng(seed)
    steps = np.repeat(rng.normal(size=rows // 40 + 1), 40)[:rows]
    y, v = np.zeros(rows), np.zeros(rows)
    for t in range(1, rows):
        v[t] = -feedback * y[t - 1] + steps[t]
        y[t] = 0.9 * y[t - 1] + 0.3 * v[t] + curve * np.tanh(y[t - 1]) * np.tanh(v[t]) + noise * rng.normal()
    return [(y[:, None], v[:, None])]


def linear_of(runs: Runs) -> LinearState:
    return fit_linear_state(runs, 4, 2)


def test_a_gain_that_depends_on_the_level_is_found_under_feedback() -> None:
    runs = record(0.08)
    linear = linear_of(runs)
    found = fit_products(linear, runs)
    assert found is not None
    assert found.gain > 0.1
    # Free runs over moves that answer nothing, on the same tank without noise.
    (y, v), length, ahead = record(0.08, rows=3_000, seed=5, feedback=0.0, noise=0.0)[0], len(linear.encoder), 25
    missed = {True: 0.0, False: 0.0}
    for start in range(length, len(y) - ahead, 30):
        window = np.concatenate([v, y], axis=1)[start - length : start]
        for curved in missed:
            x = np.einsum("lc,lcn->n", window, linear.encoder) + linear.encoder_bias
            for at in v[start : start + ahead]:
                added = found.added(x[None], at[None])[0] if curved else 0.0
                x = linear.A @ x + linear.B @ at + linear.bias + added
            missed[curved] += float((linear.C @ x + linear.offset - y[start + ahead - 1])[0]) ** 2
    assert missed[True] < 0.6 * missed[False]


def test_where_nothing_curves_there_are_none() -> None:
    runs = record(0.0)
    assert fit_products(linear_of(runs), runs) is None


def test_what_they_add_is_bounded_and_their_form_symmetric() -> None:
    runs = record(0.08)
    found = fit_products(linear_of(runs), runs)
    assert found is not None
    np.testing.assert_allclose(found.quadratic, found.quadratic.transpose(0, 2, 1), rtol=0, atol=0)
    most = np.abs(found.quadratic).sum(axis=(1, 2)) + np.abs(found.slope).sum(axis=1) + np.abs(found.rest)
    far = found.added(1e6 * np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([[1e6], [-1e6]]))
    assert (np.abs(far) <= most + 1e-12).all()


def test_what_is_linear_in_the_record_is_left_as_it_is() -> None:
    runs = record(0.08)
    linear = linear_of(runs)
    found = fit_products(linear, runs)
    assert found is not None
    (y, v), length = runs[0], len(linear.encoder)
    rows = np.concatenate([v, y], axis=1)
    x = np.stack([np.einsum("lc,lcn->n", rows[t - length : t], linear.encoder) for t in range(length, 4000)])
    added = found.added(x + linear.encoder_bias, v[length:4000])
    seen = np.concatenate([x, v[length:4000], np.ones((len(x), 1))], axis=1)
    explained = seen @ np.linalg.lstsq(seen, added, rcond=None)[0]
    assert (explained.var(axis=0) < 0.2 * added.var(axis=0)).all()


def test_a_long_record_is_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = record(0.08)
    whole = fit_products(linear_of(runs), runs)
    monkeypatch.setattr(products_module, "MOST", 4_000)
    some = fit_products(linear_of(runs), runs)
    assert whole is not None
    assert some is not None
    assert some.leading == whole.leading
    x, v = np.random.default_rng(1).normal(size=(50, 2)), np.random.default_rng(2).normal(size=(50, 1))
    np.testing.assert_allclose(some.added(x, v), whole.added(x, v), rtol=0, atol=0.5 * np.abs(whole.added(x, v)).max())


def missed(linear: LinearState, products: Products | None, held: Runs) -> float:
    error = free_run_error(linear, products, held, horizon=25)
    assert error is not None
    return error


def test_a_cv_that_stays_where_it_was_is_missed_by_all_that_it_moved() -> None:
    """A state that says that nothing ever moves has an error of one in its own units, whatever the CV's size."""
    held = record(0.08, rows=3_000, seed=7)
    linear = linear_of(record(0.08))
    n, encoder = len(linear.A), np.zeros_like(linear.encoder)
    encoder[-1, -1, 0] = 1.0  # the newest CV
    still = dataclasses.replace(
        linear, A=np.eye(n), B=0 * linear.B, C=np.eye(1, n), bias=np.zeros(n), offset=np.zeros(1), encoder=encoder,
        encoder_bias=np.zeros(n),
    )  # fmt: skip
    np.testing.assert_allclose(missed(still, None, held), 1.0, rtol=1e-12)


def test_products_that_are_there_lower_free_runs_over_rows_held_back_and_their_opposite_does_not() -> None:
    runs, held = record(0.08), record(0.08, rows=3_000, seed=7)
    linear = linear_of(runs)
    found = fit_products(linear, runs)
    assert found is not None
    turned = dataclasses.replace(found, quadratic=-found.quadratic, slope=-found.slope, rest=-found.rest)
    assert missed(linear, found, held) < missed(linear, None, held) < missed(linear, turned, held)


def test_a_small_push_that_piles_up_over_the_horizon_is_taken_away() -> None:
    """A constant of a twentieth of the noise is nothing in one row; in a free run it adds up."""
    runs, held = record(0.0), record(0.0, rows=3_000, seed=7)
    linear = linear_of(runs)
    found = fit_products(linear, record(0.08))
    assert found is not None
    push = np.linalg.lstsq(linear.C, np.array([0.001]), rcond=None)[0]
    small = dataclasses.replace(found, quadratic=0 * found.quadratic, slope=0 * found.slope, rest=push)
    assert missed(linear, None, held) < missed(linear, small, held)


def test_a_free_run_that_meets_a_gap_says_nothing() -> None:
    runs = record(0.08)
    linear = linear_of(runs)
    found = fit_products(linear, runs)
    assert found is not None
    ((y, v),) = record(0.08, rows=400, seed=7)
    y[::20] = np.nan
    assert free_run_error(linear, found, [(y, v)], horizon=25) is None
    assert free_run_error(linear, found, [(y[:20], v[:20])], horizon=25) is None
