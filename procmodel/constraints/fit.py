"""Fit a constraint head from at most a few dozen labels, and calibrate it on rolled-out latents.

Shapes: N labels, M unlabelled rows, D latent, H horizon steps, G guides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from procmodel.constraints.calibration import allowances, folds, require_labels
from procmodel.constraints.classes import Flat, Labelled, classify, judge_classes
from procmodel.constraints.features import Features, candidates
from procmodel.constraints.head import ConstraintHead
from procmodel.constraints.ridge import Ridge, fit_ridge
from procmodel.errors import GateError, LabelError
from procmodel.plant import Constraint

# With fewer, leaving some out leaves nothing to learn from.
_LEAST_TO_FIT = 5
# A bent head must beat the best straight one by this much, or the straight one extrapolates more safely.
_BEND_GAIN = 0.95


@dataclass(frozen=True, kw_only=True)
class HeadSamples:
    """What a head is learned from; latents of the frozen model.

    Attributes:
        margins_N: Labels, in order of time [unit of the constraint].
        encoded_ND: Latents encoded at the labelled rows.
        rolled_NHD: Latents of the labelled rows as predicted 1..H rows ahead: [:, k - 1] starts from the encoding k
            rows before and steps over the recorded moves. NaN where the past is too short.
        background_MD: Latents of many unlabelled rows, encoded alike.
        guides_MG: Plant variables of those rows that a margin may follow (CVs, MVs, DVs); NaN in a gap.
        block_N: Labels of one block say much the same (`labels.time_blocks`); None: each stands for itself.
    """

    margins_N: np.ndarray
    encoded_ND: np.ndarray
    rolled_NHD: np.ndarray
    background_MD: np.ndarray
    guides_MG: np.ndarray | None = None
    block_N: np.ndarray | None = None

    def __post_init__(self) -> None:
        count, size = self.encoded_ND.shape
        rows = len(self.background_MD)
        shapes = {
            "margins_N": (self.margins_N.shape, (count,)),
            "rolled_NHD": (self.rolled_NHD.shape, (count, self.rolled_NHD.shape[1], size)),
            "background_MD": (self.background_MD.shape, (rows, size)),
            "guides_MG": ((rows,) if self.guides_MG is None else self.guides_MG.shape[:1], (rows,)),
            "block_N": ((count,) if self.block_N is None else self.block_N.shape, (count,)),
        }
        for key, (got, needed) in shapes.items():
            if got != needed:
                raise ValueError(f"{key} has shape {got} and needs {needed} beside encoded_ND {(count, size)}")


def fit_head(name: str, constraint: Constraint, samples: HeadSamples) -> ConstraintHead:
    """Head of one constraint: features and ridge strength by leave-block-out error, allowance by `calibration`.

    Raises:
        LabelError: Too few labels for the constraint's confidence, now or at some step of the horizon; latents or
            margins that are not finite.
        GateError: Left-out labels are predicted no better than by their mean.
    """
    count = len(samples.margins_N)
    require_labels(count, constraint.confidence, constraint=name)
    if count < _LEAST_TO_FIT:
        raise LabelError(
            f"Constraint {name!r}: {count} labelled samples are too few to learn from; give {_LEAST_TO_FIT}."
        )
    if not np.isfinite(samples.encoded_ND).all() or not np.isfinite(samples.margins_N).all():
        raise LabelError(
            f"Constraint {name!r}: a label stands where the record has no usable history. "
            "Take labels within outages and at the very start of the record out of its file."
        )
    block_N = np.arange(count) if samples.block_N is None else samples.block_N
    families = list(candidates(samples.background_MD, samples.guides_MG))
    flat: Ridge | Flat
    if constraint.kind == "regression":
        features, ridge = chosen(families, samples, block_N)
        flat = Flat(weights_F=ridge.weights_F, offset=ridge.offset)
        excess_NH = left_out_excess(families, samples, block_N)
        error, spread = _judge(name, excess_NH[:, 0], samples.margins_N)
        skill = 1 - (error / spread) ** 2
    else:
        features, flat, score_NH = classify(name, constraint.kind, families, samples_of(samples, block_N))
        error, skill = judge_classes(name, score_NH[:, 0], samples.margins_N)
        # An unsafe state is told where its score, less the allowance, is below zero: only unsafe labels count.
        excess_NH = score_NH[samples.margins_N < 0]
    allowance = allowances(excess_NH, constraint.confidence, constraint=name, first=0)
    linear_D, offset, curvature_QQ = features.collapse(flat.weights_F, flat.offset)
    return ConstraintHead(
        name=name,
        unit=constraint.unit,
        rank=constraint.rank,
        linear_D=linear_D,
        offset=offset,
        directions_QD=features.project_KD[: features.curved],
        centre_Q=features.centre_K[: features.curved],
        curvature_QQ=curvature_QQ,
        allowance_now=float(allowance[0]),
        allowance_H=allowance[1:],
        confidence=constraint.confidence,
        labels=count,
        error=error,
        skill=skill,
        form=features.form if constraint.kind == "regression" else f"{constraint.kind} on {features.form}",
    )


def samples_of(samples: HeadSamples, block_N: np.ndarray) -> Labelled:
    """What a classifier learns from: latents ahead [N, 1 + H, D], column 0 encoded, and whether each was safe."""
    return Labelled(ahead_NHD=_ahead(samples), safe_N=np.where(samples.margins_N < 0, -1.0, 1.0), block_N=block_N)


def _judge(name: str, left_out_N: np.ndarray, margins_N: np.ndarray) -> tuple[float, float]:
    """Left-out error and the spread of the labels, both root mean square; refuses a head that knows nothing."""
    error, spread = float(np.sqrt(np.mean(left_out_N**2))), float(margins_N.std())
    if not error < spread:
        raise GateError(
            f"Constraint {name!r}: its {len(margins_N)} labels are predicted no better than by their mean when left "
            f"out (error {error:.4g}, spread {spread:.4g}). Label stretches where the margin differs more, or record "
            "a tag that it depends on; until then take the constraint out of the plant file."
        )
    return error, spread


def _ahead(samples: HeadSamples) -> np.ndarray:
    """Latents of the labelled rows, encoded and as predicted before, [N, 1 + H, D]."""
    return np.concatenate([samples.encoded_ND[:, None], samples.rolled_NHD], axis=1)


def chosen(families: list[Features], samples: HeadSamples, block_N: np.ndarray) -> tuple[Features, Ridge]:
    """The family of features that serves all labels best, and its fit to them."""
    best = _family(families, _ahead(samples), samples.margins_N, block_N)
    return best, fit_ridge(best.of(samples.encoded_ND), samples.margins_N, block_N)


def _family(families: list[Features], ahead_NHD: np.ndarray, margins_N: np.ndarray, block_N: np.ndarray) -> Features:
    """The family with the least error on labels left out, over encoded and predicted latents alike; a bent one only
    where it clearly beats the straight ones.

    Plans are judged by predicted latents, and what the encoder tells well it need not predict well: on the quadruple
    tank heads on all of the latent were a tenth better when encoded and twice as bad 30 rows ahead.
    """

    def error(features: Features) -> float:
        if len(margins_N) < _LEAST_TO_FIT:  # leaving a fold out leaves too little; ridge leaves out one at a time
            missed = fit_ridge(features.of(ahead_NHD[:, 0]), margins_N, block_N).error
        else:
            left_out = [_left_out(features, ahead_NHD, margins_N, block_N, out_N) for out_N in folds(block_N)]
            missed = float(np.sqrt(np.nanmean(np.concatenate(left_out) ** 2)))
        return missed / (_BEND_GAIN if features.curved else 1.0)

    return min(families, key=error)


def _left_out(
    features: Features, ahead_NHD: np.ndarray, margins_N: np.ndarray, block_N: np.ndarray, out_N: np.ndarray
) -> np.ndarray:
    """Prediction minus label of those left out, [out, 1 + H]."""
    ridge = fit_ridge(features.of(ahead_NHD[~out_N, 0]), margins_N[~out_N], block_N[~out_N])
    flat = features.of(ahead_NHD[out_N].reshape(-1, ahead_NHD.shape[2])) @ ridge.weights_F + ridge.offset
    return np.asarray(flat.reshape(-1, ahead_NHD.shape[1]) - margins_N[out_N, None])


def left_out_excess(families: list[Features], samples: HeadSamples, block_N: np.ndarray) -> np.ndarray:
    """Prediction minus label [N, 1 + H] by heads that were chosen and fitted without the label's fold; column 0 is for
    the encoded latent. The choice of features and strength is made anew each time, so it hides no optimism."""
    ahead_NHD = _ahead(samples)
    excess_NH = np.full(ahead_NHD.shape[:2], np.nan)
    for out_N in folds(block_N):
        features = _family(families, ahead_NHD[~out_N], samples.margins_N[~out_N], block_N[~out_N])
        excess_NH[out_N] = _left_out(features, ahead_NHD, samples.margins_N, block_N, out_N)
    return excess_NH
