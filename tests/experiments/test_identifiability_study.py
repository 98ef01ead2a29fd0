"""What the study of identifiability measures with is right on maps that are known."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.identifiability import KEPT, Budget, causes, found, from_orthogonal, mixing, r2


def test_causes_are_standard_normal_and_forget_at_the_stated_rate() -> None:
    x = causes(40_000, 0)
    np.testing.assert_allclose(np.cov(x.T), np.eye(4), atol=0.06)
    np.testing.assert_allclose((x[1:] * x[:-1]).mean(axis=0), KEPT, atol=0.03)


def test_the_mixing_is_nonlinear_and_can_be_undone() -> None:
    x, mix = causes(5000, 1), mixing(1)
    assert 0.5 < r2(mix(x), x) < 0.95
    # A small ball of causes comes out as a small, full ellipsoid everywhere: volume is kept, nothing folds.
    for at in x[:20]:
        slopes = np.stack([(mix(at + h) - mix(at - h)) / 2e-5 for h in np.eye(4)[:, None] * 1e-5])[:, 0]
        assert np.sqrt(np.linalg.det(slopes @ slopes.T)) == pytest.approx(1.0, rel=1e-6)


def test_both_directions_and_the_distance_from_a_rotation_are_those_of_known_maps() -> None:
    x = causes(4000, 2)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    assert r2(0.5 * x @ turn, x) == pytest.approx(1.0)
    assert from_orthogonal(x @ turn, x) < 0.1  # of a sample
    half = x[:, :2]
    assert r2(half, x) == pytest.approx(0.5, abs=0.03)
    assert r2(x, half) == pytest.approx(1.0)
    assert from_orthogonal(np.c_[x[:, :1]] @ np.ones((1, 4)), x) > 0.5


def test_without_an_anti_collapse_term_the_latent_shrinks_at_once() -> None:
    budget = Budget(epochs=1, batches=40, batch=64)
    with_it, without = found(0, 1.0, budget), found(0, 0.0, budget)
    assert without["spread"] < 0.3 < with_it["spread"]
