"""Figures of a closed-loop trial, and paired comparison of two of them.

Shapes: T ticks, Y CVs, U MVs, E episodes. A violation is an excess over a limit in units of the CV's span, so that
limits of different CVs add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class LimitTrace:
    """One limit of one CV and how far it was exceeded.

    Attributes:
        rank: Of the limit; 1 is given up last.
        excess: [T] excess over the limit, 0 where it is kept [unit]; NaN in a gap.
        span: What scales it [unit].
    """

    rank: int
    excess: np.ndarray
    span: float


@dataclass(frozen=True, kw_only=True)
class LoopFigures:
    """One episode.

    Attributes:
        cost: Mean over ticks.
        violation: By rank: integral of the scaled excess over time [s].
        violated: By rank: share of ticks in which any limit of that rank was exceeded [-].
        travel: [U] mean absolute move per tick, in units of the MV's span [-].
        holds: Share of ticks in which nothing was advised [-].
    """

    cost: float
    violation: dict[int, float]
    violated: dict[int, float]
    travel: np.ndarray
    holds: float


@dataclass(frozen=True, kw_only=True)
class RatioInterval:
    """A ratio of means over paired episodes, with a bootstrap interval."""

    ratio: float
    low: float
    high: float


def excess(y_T: np.ndarray, low: float | None = None, high: float | None = None) -> np.ndarray:
    """How far a CV lies outside its limits, [T] [unit]; 0 inside, NaN in a gap."""
    below = low - y_T if low is not None else np.where(np.isnan(y_T), np.nan, 0.0)
    above = y_T - high if high is not None else np.where(np.isnan(y_T), np.nan, 0.0)
    return np.maximum(np.maximum(below, above), 0.0)


def loop_figures(
    cost_T: np.ndarray,
    limits: Sequence[LimitTrace],
    u_TU: np.ndarray,
    mv_span_U: np.ndarray,
    sample_time: float,
    held_T: np.ndarray | None = None,
) -> LoopFigures:
    """Figures of one episode.

    Args:
        cost_T: Cost of each tick.
        u_TU: MVs held in each tick [unit].
        mv_span_U: What scales them [unit].
        sample_time: Of a tick [s].
        held_T: True where advice was a hold.
    """
    violation: dict[int, float] = {}
    exceeded: dict[int, np.ndarray] = {}
    for limit in limits:
        scaled = np.nan_to_num(limit.excess / limit.span, nan=0.0)  # a gap shows no excess
        violation[limit.rank] = violation.get(limit.rank, 0.0) + float(scaled.sum()) * sample_time
        exceeded[limit.rank] = exceeded.get(limit.rank, np.zeros(len(scaled), dtype=np.bool_)) | (scaled > 0)
    moves_TU = np.abs(np.diff(u_TU, axis=0)) / mv_span_U
    known = np.isfinite(cost_T)
    return LoopFigures(
        cost=float(cost_T[known].mean()) if known.any() else float("nan"),
        violation=dict(sorted(violation.items())),
        violated={rank: float(flag.mean()) for rank, flag in sorted(exceeded.items())},
        travel=np.nansum(moves_TU, axis=0) / max(1, len(u_TU) - 1),
        holds=float(np.mean(held_T)) if held_T is not None and len(held_T) else 0.0,
    )


def ratio_interval(
    ours_E: np.ndarray, theirs_E: np.ndarray, *, confidence: float = 0.95, draws: int = 2000, seed: int = 0
) -> RatioInterval:
    """Ratio of two mean costs over the same episodes, with a percentile bootstrap interval.

    Episodes are drawn in pairs: the seed that made one hard made the other hard as well, and drawing them apart would
    hide that in a wide interval. The ratio means something only where the costs are positive.

    Raises:
        ValueError: The two do not hold the same episodes.
    """
    if ours_E.shape != theirs_E.shape or ours_E.ndim != 1 or not len(ours_E):
        raise ValueError(f"paired episodes need two equal lists, got {ours_E.shape} and {theirs_E.shape}")
    drawn = np.random.default_rng(seed).integers(0, len(ours_E), (draws, len(ours_E)))
    ratios = ours_E[drawn].mean(axis=1) / theirs_E[drawn].mean(axis=1)
    low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    return RatioInterval(ratio=float(ours_E.mean() / theirs_E.mean()), low=float(low), high=float(high))
