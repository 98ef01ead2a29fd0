"""Directions of a latent that few labels may choose among, found from the many unlabelled latents.

Forty labels cannot find their way among sixty latent directions unaided. Three things help, none of which needs a
label: how the latents spread; which directions carry the plant's own variables ("guides": CVs, MVs and DVs, regressed
linearly on the latents); and that a margin bends, if at all, along those.

Shapes: M unlabelled rows, D latent, K directions, G guides, N rows, F features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

# A direction with less than this share of the largest variance is rounding, and whitening would blow it up.
_RANK = 1e-8
# Prior spread of what the guides don't explain, relative to theirs.
_REST = 0.3
# With fewer labels, leaving some out leaves nothing to judge by.
LEAST_TO_JUDGE = 5
# A bent head must beat the best straight one by this much, or the straight one extrapolates more safely.
_BEND_GAIN = 0.95
# Products grow with the square of the directions.
_MOST_CURVED = 16


@dataclass(frozen=True, kw_only=True)
class Features:
    """`f = project z - centre`, each of unit spread on unlabelled rows; then products of the first `curved` ones.

    Attributes:
        product_mean, product_spread: Of the products f_i f_j, i <= j, on unlabelled rows.
    """

    form: str
    project_KD: np.ndarray
    centre_K: np.ndarray
    curved: int
    product_mean: np.ndarray
    product_spread: np.ndarray

    def of(self, z_ND: np.ndarray) -> np.ndarray:
        """Features [N, F] of latents; NaN rows stay NaN."""
        flat_NK: np.ndarray = z_ND @ self.project_KD.T - self.centre_K
        if not self.curved:
            return flat_NK
        products = (_products(flat_NK, self.curved) - self.product_mean) / self.product_spread
        return np.concatenate([flat_NK, products], axis=1)

    def collapse(self, weights_F: np.ndarray, offset: float) -> tuple[np.ndarray, float, np.ndarray]:
        """Linear part [D], offset and curvature [curved, curved] of a weighted sum of the features."""
        k, q = len(self.centre_K), self.curved
        flat, curved = weights_F[:k], weights_F[k:] / self.product_spread
        curvature = np.zeros((q, q))
        rows, columns = np.triu_indices(q)
        curvature[rows, columns] = curved
        total = offset - flat @ self.centre_K - curved @ self.product_mean
        return self.project_KD.T @ flat, float(total), (curvature + curvature.T) / 2


@dataclass(frozen=True, kw_only=True)
class Flat:
    """Weights of the features [F] and an offset: the score is positive where it is safe."""

    weights_F: np.ndarray
    offset: float

    def score(self, features_NF: np.ndarray) -> np.ndarray:
        return np.asarray(features_NF @ self.weights_F + self.offset)


def _products(flat_NK: np.ndarray, curved: int) -> np.ndarray:
    rows, columns = np.triu_indices(curved)
    return np.asarray(flat_NK[:, rows] * flat_NK[:, columns])


def _features(form: str, z_MD: np.ndarray, project_KD: np.ndarray, curved: int = 0) -> Features:
    raw_MK = z_MD @ project_KD.T
    flat_MK = raw_MK - raw_MK.mean(axis=0)
    products = _products(flat_MK, curved) if curved else np.empty((1, 0))
    spread = products.std(axis=0)
    return Features(
        form=form + (" and their products" if curved else ""),
        project_KD=project_KD,
        centre_K=raw_MK.mean(axis=0),
        curved=curved,
        product_mean=products.mean(axis=0),
        product_spread=np.where(spread > 0, spread, 1.0),
    )


def candidates(z_MD: np.ndarray, guides_MG: np.ndarray | None) -> Iterator[Features]:
    """Families of features: the one to begin with, other plain ones, bent ones."""
    whiten_KD = _whitening(z_MD)
    standard_KD = _unit(np.eye(z_MD.shape[1]), z_MD)
    guide_GD = np.empty((0, z_MD.shape[1])) if guides_MG is None else _guide_directions(z_MD, guides_MG, whiten_KD)
    if guide_GD.size:
        yield _features("guides", z_MD, guide_GD)
    yield _features("latent", z_MD, standard_KD)
    yield _features("whitened latent", z_MD, whiten_KD)
    if guide_GD.size:
        rest_KD = np.concatenate([guide_GD, _REST * whiten_KD])
        curved = min(len(guide_GD), _MOST_CURVED)
        yield _features("guides and whitened latent", z_MD, rest_KD)
        yield _features("guides", z_MD, guide_GD, curved)
        yield _features("guides and whitened latent", z_MD, rest_KD, curved)
    else:
        yield _features("whitened latent", z_MD, whiten_KD, min(4, len(whiten_KD)))


def choose(families: Sequence[Features], left_out: Callable[[Features], float], *, count: int) -> Features:
    """The family that serves `count` labels best, by its error on labels left out.

    The first family is the one to begin with; another must beat it by more than what so few labels can tell of an
    error, 1 / sqrt(2 count) of it. Choosing by the least error alone lost on the quadruple tank to keeping to the
    plant's own variables: at 5 labels (0.40 against 0.32 cm), and up to 10 for classes.
    """
    if count < LEAST_TO_JUDGE:
        return families[0]
    share = 1 - 1 / math.sqrt(2 * count)

    def error(features: Features) -> float:
        asked = (1.0 if features is families[0] else share) * (_BEND_GAIN if features.curved else 1.0)
        return left_out(features) / asked

    return min(families, key=error)


def _whitening(z_MD: np.ndarray) -> np.ndarray:
    """Principal directions [K, D] scaled to unit spread, widest first."""
    centred = z_MD - z_MD.mean(axis=0)
    variance, axes = np.linalg.eigh(centred.T @ centred / len(z_MD))
    keep = np.flatnonzero(variance > _RANK * variance.max())[::-1]
    return np.asarray((axes[:, keep] / np.sqrt(variance[keep])).T)


def _unit(directions_KD: np.ndarray, z_MD: np.ndarray) -> np.ndarray:
    """Directions scaled to unit spread; those along which nothing varies fall out."""
    spread = (z_MD @ directions_KD.T).std(axis=0)
    keep = spread > np.sqrt(_RANK) * spread.max(initial=0.0)
    return np.asarray(directions_KD[keep] / spread[keep, None])


def _guide_directions(z_MD: np.ndarray, guides_MG: np.ndarray, whiten_KD: np.ndarray) -> np.ndarray:
    """Directions [<= G, D] that carry the guides, by least squares on rows where all are known; unit spread."""
    known = np.isfinite(guides_MG).all(axis=1)
    if known.sum() < 2 * len(whiten_KD):
        return np.empty((0, z_MD.shape[1]))
    white_MK = (z_MD[known] - z_MD[known].mean(axis=0)) @ whiten_KD.T
    guide_MG = guides_MG[known] - guides_MG[known].mean(axis=0)
    moves = guide_MG.std(axis=0) > 0
    weights_KG = np.linalg.lstsq(white_MK, guide_MG[:, moves] / guide_MG[:, moves].std(axis=0), rcond=None)[0]
    return _unit((whiten_KD.T @ weights_KG).T, z_MD)
