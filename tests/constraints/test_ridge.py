"""Ridge against its definition: the closed forms must equal the fits they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from procmodel.constraints.ridge import STRENGTHS, fit_ridge

# N labels, F features


def refit(features_NF: np.ndarray, margins_N: np.ndarray, strength: float) -> tuple[np.ndarray, float]:
    """Normal equations with a free offset, solved as they are written."""
    count, size = features_NF.shape
    design = np.concatenate([features_NF, np.ones((count, 1))], axis=1)
    penalty = strength * np.diag([1.0] * size + [0.0])
    solved = np.linalg.solve(design.T @ design + penalty, design.T @ margins_N)
    return solved[:-1], float(solved[-1])


def sample(seed: int, count: int = 20, size: int = 30) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features_NF = rng.normal(size=(count, size)) + 2.0
    return features_NF, features_NF @ rng.normal(size=size) / 5 + rng.normal(size=count) + 7.0


@pytest.mark.parametrize("seed", range(4))
def test_the_weights_solve_the_normal_equations(seed: int) -> None:
    features_NF, margins_N = sample(seed)
    ridge = fit_ridge(features_NF, margins_N, np.arange(20))
    weights_F, offset = refit(features_NF, margins_N, 20 * ridge.strength)
    np.testing.assert_allclose(ridge.weights_F, weights_F, atol=1e-9)
    assert ridge.offset == pytest.approx(offset, abs=1e-8)


@pytest.mark.parametrize("blocks", [np.arange(20), np.arange(20) // 3, np.repeat([0, 1], [15, 5])])
def test_the_left_out_errors_equal_those_of_fits_without_the_block(blocks: np.ndarray) -> None:
    features_NF, margins_N = sample(1)
    ridge = fit_ridge(features_NF, margins_N, blocks)
    for block in np.unique(blocks):
        out = blocks == block
        # The penalty stays what it was: 20 labels times the strength.
        weights_F, offset = refit(features_NF[~out], margins_N[~out], 20 * ridge.strength)
        np.testing.assert_allclose(ridge.left_out_N[out], margins_N[out] - features_NF[out] @ weights_F - offset)


def test_the_strength_is_the_best_of_its_grid() -> None:
    features_NF, margins_N = sample(2)

    def error(strength: float) -> float:
        squares = []
        for n in range(20):
            rest = np.arange(20) != n
            weights_F, offset = refit(features_NF[rest], margins_N[rest], 20 * strength)
            squares.append((margins_N[n] - features_NF[n] @ weights_F - offset) ** 2)
        return float(np.mean(squares))

    assert fit_ridge(features_NF, margins_N, np.arange(20)).strength == min(STRENGTHS, key=error)


def test_noise_is_shrunk_to_the_mean_of_the_labels() -> None:
    rng = np.random.default_rng(5)
    features_NF, margins_N = rng.normal(size=(40, 50)), rng.normal(size=40) + 3.0
    ridge = fit_ridge(features_NF, margins_N, np.arange(40))
    assert ridge.error < 1.15 * margins_N.std()
