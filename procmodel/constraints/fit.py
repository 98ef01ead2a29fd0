"""Fit a constraint head from at most a few dozen labels, and calibrate it on rolled-out latents.

Shapes: N labels, M unlabelled rows, D latent, H horizon steps, G guides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from procmodel.constraints.blend import Blend, shares_of
from procmodel.constraints.blocks import Blocks
from procmodel.constraints.calibration import allowances, require_labels
from procmodel.constraints.classes import Labelled, classify, judge_classes
from procmodel.constraints.features import LEAST_TO_JUDGE, Features, Flat, candidates, choose
from procmodel.constraints.head import ConstraintHead
from procmodel.constraints.ridge import fit_ridge
from procmodel.errors import GateError, LabelError
from procmodel.plant import Constraint

# What is left of the fewest labels when one is left out.
_LEAST_LEFT = LEAST_TO_JUDGE - 1
LEAST_TO_AVERAGE = 20
"""Labels from which on families are averaged. Twelve draws on the quadruple tank: at 20 and 40 labels the average is
better on operators' campaigns and over random steps, at 5 and 10 the family that was chosen on the former."""


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
        blocks: Which labels are left out together (`labels.label_blocks`); None: each stands for itself.
    """

    margins_N: np.ndarray
    encoded_ND: np.ndarray
    rolled_NHD: np.ndarray
    background_MD: np.ndarray
    guides_MG: np.ndarray | None = None
    blocks: Blocks | None = None

    @property
    def where(self) -> Blocks:
        """The blocks, or each label on its own."""
        return Blocks.in_time(np.arange(len(self.margins_N))) if self.blocks is None else self.blocks

    def __post_init__(self) -> None:
        count, size = self.encoded_ND.shape
        rows = len(self.background_MD)
        shapes = {
            "margins_N": (self.margins_N.shape, (count,)),
            "rolled_NHD": (self.rolled_NHD.shape, (count, self.rolled_NHD.shape[1], size)),
            "background_MD": (self.background_MD.shape, (rows, size)),
            "guides_MG": ((rows,) if self.guides_MG is None else self.guides_MG.shape[:1], (rows,)),
            "blocks": ((count,) if self.blocks is None else self.blocks.near_N.shape, (count,)),
        }
        for key, (got, needed) in shapes.items():
            if got != needed:
                raise ValueError(f"{key} has shape {got} and needs {needed} beside encoded_ND {(count, size)}")


def fit_head(name: str, constraint: Constraint, samples: HeadSamples) -> ConstraintHead:
    """Head of one constraint: features and ridge strength by leave-block-out error, allowance by `calibration`.

    Raises:
        LabelError: Too few labels for the constraint's confidence, now or at some step of the horizon, or too few
            beside those of one campaign; latents or margins that are not finite.
        GateError: Left-out labels are predicted no better than by their mean.
    """
    count, kind = len(samples.margins_N), constraint.kind
    require_labels(count, constraint.confidence, constraint=name)
    if count < LEAST_TO_JUDGE:
        raise LabelError(
            f"Constraint {name!r}: {count} labelled samples are too few to learn from; give {LEAST_TO_JUDGE}."
        )
    if not np.isfinite(samples.encoded_ND).all() or not np.isfinite(samples.margins_N).all():
        raise LabelError(
            f"Constraint {name!r}: a label stands where the record has no usable history. "
            "Take labels within outages and at the very start of the record out of its file."
        )
    blocks = samples.where
    _require_some_left(name, blocks)
    if kind != "regression":
        _require_two_campaigns(name, kind, samples.margins_N < 0, blocks)
    families = list(candidates(samples.background_MD, samples.guides_MG))
    blend, told_NH = learn(name, kind, families, samples)
    if kind == "regression":
        error, spread = _judge(name, told_NH[:, 0] - samples.margins_N, samples.margins_N)
        skill = 1 - (error / spread) ** 2
    else:
        error, skill = judge_classes(name, told_NH[:, 0], samples.margins_N)
    excess_NH = excess(kind, told_NH, samples.margins_N)
    allowance = allowances(excess_NH, constraint.confidence, constraint=name, first=0)
    linear_D, offset, directions_QD, centre_Q, curvature_QQ = blend.collapse()
    return ConstraintHead(
        name=name,
        unit=constraint.unit,
        rank=constraint.rank,
        linear_D=linear_D,
        offset=offset,
        directions_QD=directions_QD,
        centre_Q=centre_Q,
        curvature_QQ=curvature_QQ,
        allowance_now=float(allowance[0]),
        allowance_H=allowance[1:],
        confidence=constraint.confidence,
        labels=count,
        error=error,
        skill=skill,
        form=blend.form if kind == "regression" else f"{kind} on {blend.form}",
        campaigns=blocks.campaigns,
    )


def learn(name: str, kind: str, families: list[Features], samples: HeadSamples) -> tuple[Blend, np.ndarray]:
    """What tells the margin, and what is said of each label, [N, 1 + H], by heads that never saw its block: its margin,
    or of a classifier its score; column 0 is for the encoded latent.

    Raises:
        LabelError: A classifier's labels are all of one kind.
    """
    ahead_NHD, blocks = _ahead(samples), samples.where
    if kind != "regression":
        safe_N = np.where(samples.margins_N < 0, -1.0, 1.0)
        return classify(name, kind, families, Labelled(ahead_NHD=ahead_NHD, safe_N=safe_N, blocks=blocks))
    fit = _averaged if len(samples.margins_N) >= LEAST_TO_AVERAGE else _chosen
    told_NH = np.full(ahead_NHD.shape[:2], np.nan)
    for out_N, kept in blocks.parted:  # made anew each time, so that it hides no optimism
        without = fit(families, ahead_NHD[~out_N], samples.margins_N[~out_N], kept)
        told_NH[out_N] = without.told(ahead_NHD[out_N])
    return fit(families, ahead_NHD, samples.margins_N, blocks), told_NH


def excess(kind: str, told_NH: np.ndarray, margins_N: np.ndarray) -> np.ndarray:
    """By how much each label that counts was told too safe, [n, 1 + H].

    A classifier tells an unsafe state where its score, less the allowance, is below zero: only unsafe labels count.
    """
    return told_NH - margins_N[:, None] if kind == "regression" else told_NH[margins_N < 0]


def _require_some_left(name: str, blocks: Blocks) -> None:
    for out_N in blocks.folds():
        left = int((~out_N).sum())
        if left < _LEAST_LEFT:
            raise LabelError(
                f"Constraint {name!r}: a head is judged on campaigns that it has not seen, and {out_N.sum()} of its "
                f"{len(out_N)} labels are of one campaign: without those, {left} are left to learn from and "
                f"{_LEAST_LEFT} are needed. Label more in another campaign."
            )


def _require_two_campaigns(name: str, kind: str, unsafe_N: np.ndarray, blocks: Blocks) -> None:
    """Where whole campaigns are left out, what only one of them has shown is never there to be judged by."""
    for side_N, word in ((unsafe_N, "unsafe"), (~unsafe_N, "safe")):
        if blocks.campaigns > 1 and blocks.only(side_N).campaigns == 1:
            raise LabelError(
                f"Constraint {name!r}: all its {word} labels are of one campaign, and a {kind} head is judged on "
                f"campaigns that it has not seen. Label {word} states in another campaign too."
            )


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


def _chosen(families: list[Features], ahead_NHD: np.ndarray, margins_N: np.ndarray, blocks: Blocks) -> Blend:
    """The family that tells left-out labels best, and its fit."""
    features = choose(families, lambda each: _left_out(each, ahead_NHD, margins_N, blocks), count=len(margins_N))
    return Blend.of_one(features, _fitted(features, ahead_NHD, margins_N, blocks))


def _averaged(families: list[Features], ahead_NHD: np.ndarray, margins_N: np.ndarray, blocks: Blocks) -> Blend:
    """All families, each by how well it tells left-out labels."""
    given = (ahead_NHD, margins_N, blocks)
    return Blend(
        families=tuple(families),
        flats=tuple(_fitted(each, *given) for each in families),
        shares=shares_of([_left_out(each, *given) for each in families]),
    )


def _left_out(features: Features, ahead_NHD: np.ndarray, margins_N: np.ndarray, blocks: Blocks) -> float:
    """Root mean square error on labels left out, over encoded and predicted latents alike.

    Plans are judged by predicted latents, and what the encoder tells well it need not predict well: on the quadruple
    tank heads on all of the latent were a tenth better when encoded and twice as bad 30 rows ahead.
    """
    missed = []
    for out_N, kept in blocks.parted:
        flat = _fitted(features, ahead_NHD[~out_N], margins_N[~out_N], kept)
        missed.append(Blend.of_one(features, flat).told(ahead_NHD[out_N]) - margins_N[out_N, None])
    return float(np.sqrt(np.nanmean(np.concatenate(missed) ** 2)))


def _fitted(features: Features, ahead_NHD: np.ndarray, margins_N: np.ndarray, blocks: Blocks) -> Flat:
    ridge = fit_ridge(features.of(ahead_NHD[:, 0]), margins_N, blocks.whole_N)
    return Flat(weights_F=ridge.weights_F, offset=ridge.offset)
