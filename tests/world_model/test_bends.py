"""Products of CVs and inputs: their slopes, the form the latent model has them in, and coordinates with CVs first."""

from __future__ import annotations

import numpy as np
import pytest
from bent_plants import bent_record
from linear_systems import Innovations

from procmodel.world_model.bends import Bends, all_pairs, with_cvs_first
from procmodel.world_model.linear import fit_linear_state

STATES, INPUTS = 4, 2


@pytest.fixture
def bends() -> Bends:
    rng = np.random.default_rng(0)
    size = STATES + INPUTS
    return Bends(
        centre=rng.normal(size=size), rate=rng.uniform(0.1, 0.8, size=size), first=np.array([0, 0, 1, 4]),
        second=np.array([0, 5, 1, 5]),
    )  # fmt: skip


def points(count: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width))


def test_slopes_are_those_of_the_values(bends: Bends) -> None:
    x, v, step = points(7, STATES, 1), points(7, INPUTS, 2), 1e-6
    found = bends.slopes(bends.bounded(x, v), STATES)
    for n in range(STATES):
        up, down = (bends.values(bends.bounded(x + sign * step * np.eye(STATES)[n], v)) for sign in (1, -1))
        np.testing.assert_allclose(found[:, :, n], (up - down) / (2 * step), atol=1e-8)


def test_the_latent_models_products_add_the_same(bends: Bends) -> None:
    x, v, weights = points(9, STATES, 3), points(9, INPUTS, 4), points(STATES, 4, 5)
    products = bends.products(weights, gain=0.1, leading=2, ridge=0.001)
    np.testing.assert_allclose(products.added(x, v), bends.values(bends.bounded(x, v)) @ weights.T, atol=1e-12)
    np.testing.assert_allclose(products.quadratic, products.quadratic.transpose(0, 2, 1))


def test_with_cvs_first_a_state_forecasts_the_same_and_begins_with_the_cvs() -> None:
    records = Innovations().records(3, 2_000, seed=0, noise=0.1, feedback=0.3)
    old = fit_linear_state(records, lags=8, order=5)
    new = with_cvs_first(old)
    np.testing.assert_allclose(new.C, np.eye(2, 5), atol=1e-9)
    for power in range(4):
        for name in ("B", "K"):
            mine, theirs = (s.C @ np.linalg.matrix_power(s.A, power) @ getattr(s, name) for s in (new, old))
            np.testing.assert_allclose(mine, theirs, atol=1e-9)
    rows = points(9 * 4, 1, 6).reshape(9, 4)
    seen = [s.C @ (np.einsum("lc,lcn->n", rows, s.encoder) + s.encoder_bias) for s in (new, old)]
    np.testing.assert_allclose(*seen, atol=1e-9)


def test_all_pairs_are_of_cvs_and_inputs_about_their_means_and_of_no_other_state() -> None:
    y, v = bent_record(3_000, 0)
    y[100:150] = np.nan
    linear = with_cvs_first(fit_linear_state([(y, v)], lags=8, order=3))
    found = all_pairs(linear, [(y, v)])
    assert sorted(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [(0, 0), (0, 3), (3, 3)]
    h = found.bounded(np.array([[np.nanmean(y) - linear.offset[0], 5.0, -5.0]]), v.mean(axis=0)[None])
    np.testing.assert_allclose(found.values(h), 0.0, atol=1e-12)
