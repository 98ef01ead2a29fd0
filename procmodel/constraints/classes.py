"""Heads that are only told what was safe and what was not: logistic or squared-hinge, with ridge.

    minimise  mean loss(s_i (w . f_i + b)) + strength / 2 |w|^2,    s_i = +1 safe, -1 unsafe

Both losses are convex and nearly or piecewise quadratic, so Newton steps end in a handful. The work is done in the span
of the labels' features, which has no more directions than there are labels.

Shapes: N labels, D latent, H steps ahead (column 0 encoded), F features, K directions of their span.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from procmodel.constraints.blend import Blend
from procmodel.constraints.blocks import Blocks
from procmodel.constraints.features import Features, Flat, choose
from procmodel.errors import GateError, LabelError

STRENGTHS = np.logspace(-2, 1, 4)
_STEPS, _SETTLED = 30, 1e-7
# Parts of the labels that are left out in turn to choose features and strength.
_PARTS = 5
# Nearly no pull on the offset; without any, labels of one kind alone would send it to infinity.
_OFFSET_STRENGTH = 1e-4


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Latents ahead of each label, [N, 1 + H, D], column 0 encoded; +1 safe and -1 unsafe [N]; where they lie."""

    ahead_NHD: np.ndarray
    safe_N: np.ndarray
    blocks: Blocks

    def only(self, kept_N: np.ndarray) -> Labelled:
        """Some of the labels."""
        return replace(
            self, ahead_NHD=self.ahead_NHD[kept_N], safe_N=self.safe_N[kept_N], blocks=self.blocks.only(kept_N)
        )


def fit_flat(kind: str, features_NF: np.ndarray, safe_N: np.ndarray, strength: float) -> Flat:
    """The least loss at one strength; classes weigh alike however many labels each has."""
    weight_N = np.where(safe_N > 0, 0.5 / max((safe_N > 0).sum(), 1), 0.5 / max((safe_N < 0).sum(), 1))
    basis_KF = _span(features_NF)
    x = np.concatenate([features_NF @ basis_KF.T, np.ones((len(safe_N), 1))], axis=1)
    pull = np.append(np.full(len(basis_KF), strength), _OFFSET_STRENGTH)
    w = np.zeros(x.shape[1])
    value = _value(kind, x, safe_N, weight_N, pull, w)
    for _ in range(_STEPS):
        slope_N, bend_N = _loss_model(kind, safe_N * (x @ w))
        gradient = x.T @ (weight_N * safe_N * slope_N) + pull * w
        step = np.linalg.solve((x.T * (weight_N * bend_N)) @ x + np.diag(pull), gradient)
        length = 1.0
        while (found := _value(kind, x, safe_N, weight_N, pull, w - length * step)) > value and length > 1e-6:
            length *= 0.5
        if value - found <= _SETTLED * max(value, 1e-12):
            break
        w, value = w - length * step, found
    return Flat(weights_F=basis_KF.T @ w[:-1], offset=float(w[-1]))


def _span(features_NF: np.ndarray) -> np.ndarray:
    """Orthonormal directions [K, F] that hold the labels' features; of few features, those themselves."""
    count, size = features_NF.shape
    if size <= count:
        return np.eye(size)
    return np.asarray(np.linalg.svd(features_NF, full_matrices=False)[2])


def _value(
    kind: str, x: np.ndarray, safe_N: np.ndarray, weight_N: np.ndarray, pull: np.ndarray, w: np.ndarray
) -> float:
    return float(weight_N @ loss(kind, safe_N * (x @ w)) + 0.5 * pull @ w**2)


def loss(kind: str, margin_N: np.ndarray) -> np.ndarray:
    """Of each label, by how far its score is on the right side."""
    if kind == "logistic":
        return np.asarray(np.logaddexp(0.0, -margin_N))
    return np.asarray(0.5 * np.maximum(1.0 - margin_N, 0.0) ** 2)


def _loss_model(kind: str, margin_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and curvature of the loss by the margin."""
    if kind == "logistic":
        wrong_N = 0.5 * (1.0 - np.tanh(0.5 * margin_N))
        return -wrong_N, wrong_N * (1.0 - wrong_N)
    return -np.maximum(1.0 - margin_N, 0.0), (margin_N < 1.0).astype(float)


def classify(name: str, kind: str, families: list[Features], labelled: Labelled) -> tuple[Blend, np.ndarray]:
    """What tells the classes, and the scores [N, 1 + H] of each label by heads that never saw its fold.

    Raises:
        LabelError: All labels are of one kind.
    """
    unsafe = int((labelled.safe_N < 0).sum())
    if unsafe in (0, len(labelled.safe_N)):
        raise LabelError(
            f"Constraint {name!r}: {unsafe} of its {len(labelled.safe_N)} labels are unsafe. A {kind} head needs both "
            "kinds; label some of the other."
        )
    score_NH = np.full(labelled.ahead_NHD.shape[:2], np.nan)
    for out_N in labelled.blocks.folds():
        kept = labelled.only(~out_N)
        if len(np.unique(kept.safe_N)) < 2:  # only labels of one kind are left: it says nothing of the other
            score_NH[out_N] = kept.safe_N[0]
            continue
        score_NH[out_N] = _chosen(kind, families, kept).told(labelled.ahead_NHD[out_N])
    return _chosen(kind, families, labelled), score_NH


def _chosen(kind: str, families: list[Features], labelled: Labelled) -> Blend:
    """One family, and its strength, by their left-out loss."""
    every = list(labelled.blocks.folds())
    parts = [np.any(every[i::_PARTS], axis=0) for i in range(min(_PARTS, len(every)))]

    def by_strength(features: Features) -> tuple[float, float]:
        features_NF = features.of(labelled.ahead_NHD[:, 0])
        features_NF = features_NF @ _span(features_NF).T  # a turn, which ridge does not notice
        return min((_left_out_loss(kind, features_NF, labelled, parts, float(s)), float(s)) for s in STRENGTHS)

    features = choose(families, lambda each: by_strength(each)[0], count=len(labelled.safe_N))
    strength = by_strength(features)[1]
    flat = fit_flat(kind, features.of(labelled.ahead_NHD[:, 0]), labelled.safe_N, strength)
    return Blend.of_one(features, flat)


def _left_out_loss(
    kind: str, features_NF: np.ndarray, labelled: Labelled, parts: list[np.ndarray], strength: float
) -> float:
    lost_N = np.empty(len(features_NF))
    for out_N in parts:
        flat = fit_flat(kind, features_NF[~out_N], labelled.safe_N[~out_N], strength)
        lost_N[out_N] = loss(kind, labelled.safe_N[out_N] * flat.score(features_NF[out_N]))
    return float(np.mean([lost_N[labelled.safe_N == side].mean() for side in (-1.0, 1.0)]))


def judge_classes(name: str, score_N: np.ndarray, margins_N: np.ndarray) -> tuple[float, float]:
    """Share of left-out labels misjudged, classes alike, and skill: 2 AUC - 1; refuses a head that knows nothing."""
    unsafe, safe = score_N[margins_N < 0], score_N[margins_N >= 0]
    below = (unsafe[:, None] < safe).mean() + 0.5 * (unsafe[:, None] == safe).mean()
    error = 0.5 * float((unsafe >= 0).mean() + (safe < 0).mean())
    if not below > 0.5:
        raise GateError(
            f"Constraint {name!r}: its {len(margins_N)} labels are told apart no better than by chance when left out "
            f"(area under the curve {below:.2f}). Label clearer cases, or record a tag that it depends on; until then "
            "take the constraint out of the plant file."
        )
    return error, 2.0 * float(below) - 1.0
