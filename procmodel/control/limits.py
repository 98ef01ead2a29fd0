"""Soft limits: CVs and constraint heads, given up lowest rank first when they cannot all hold.

Shapes: K plans tried at once, N rows of the horizon, R soft limits, P blocked changes, Y CVs, G heads, Q segments,
I ranks.

A limit's excess is its violation divided by the span of its tag, with the margin for doubt already taken off. The
horizon is cut into segments; the largest excess in a segment is that segment's slack s, and

    penalty = advices in the segment * (s + SLACK_CURVATURE / 2 * s^2),    merit = cost + WEIGHT * sum of penalties.

The linear term makes it exact: a limit that can be kept is kept. One slack per segment instead of one per row keeps the
quadratic program small. Ranks are not told apart by weights: two decades per rank are soon more than a solver's digits
hold. The program is solved rank by rank instead (`ranks.py`), and plans are compared rank by rank (`Score`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from procmodel.control.horizon import Horizon, span
from procmodel.control.plan import GiveUp
from procmodel.control.sensitivities import Forecast, Head, Sensitivity
from procmodel.data.window import Columns, Scaler
from procmodel.plant import Plant

# An excess of 1 % of a span then costs ten times what a typical change of the objective earns.
WEIGHT = 1e3
SLACK_CURVATURE = 1.0
# Longer ones would let every row be as bad as the worst of a long, far block.
LONGEST_SEGMENT = 8
# Below this share of the span neither a violation nor a distance counts [-].
TOLERANCE = 1e-4
# Penalties of one rank that differ by less count as the same; the merit then decides [advices * spans].
SAME_PENALTY = 1e-3
# Two-sided margins for doubt may use up to this share of the room between the limits [-].
MOST_BACKOFF = 0.9


@dataclass(frozen=True, kw_only=True)
class SoftLimit:
    """One side of a CV, or the zero of a head's margin.

    Attributes:
        tag, unit, side, at, rank: As for a `GiveUp`.
        column: Index among the CVs or the heads.
        is_head: Which of the two.
        scale: Violation that counts as one [unit].
        backoff_N: Distance kept for doubt [unit].
        most_backoff: Largest distance that leaves room between two limits [unit]; infinite for a lone one.
        funnel_N: By how much the limit still stands open [unit]; 0 where it has no funnel.
    """

    tag: str
    unit: str
    side: str
    at: float
    rank: int
    column: int
    is_head: bool
    scale: float
    backoff_N: np.ndarray
    most_backoff: float = np.inf
    funnel_N: np.ndarray | float = 0.0

    @property
    def sign(self) -> float:
        """+1 where a larger value is worse."""
        return 1.0 if self.side == "high" else -1.0

    def __str__(self) -> str:
        if self.is_head:
            return f"{self.tag} margin (rank {self.rank})"
        return f"{self.tag} {self.side} {self.at:g} {self.unit} (rank {self.rank})"


@dataclass(frozen=True, kw_only=True)
class Score:
    """What makes one plan better than another.

    Attributes:
        penalty_I: By rank, the most important first.
        merit: Cost and weighted penalties; infinite where a forecast is not finite.
    """

    penalty_I: np.ndarray
    merit: float

    @classmethod
    def of(cls, cost: float, penalty_I: np.ndarray) -> Self:
        """From the cost without penalties."""
        merit = cost + WEIGHT * float(penalty_I.sum())
        return cls(penalty_I=penalty_I, merit=merit if np.isfinite(merit) else np.inf)

    def beats(self, other: Score, by: float = 0.0) -> bool:
        """Whether this plan is better: less given up of the first rank in which they differ, else less merit."""
        if not np.isfinite(self.merit) or not np.isfinite(other.merit):
            return bool(np.isfinite(self.merit))
        differs = np.abs(self.penalty_I - other.penalty_I) > SAME_PENALTY
        if len(self.penalty_I) > 1 and differs.any():
            first = int(differs.argmax())
            return bool(self.penalty_I[first] < other.penalty_I[first])
        return self.merit < other.merit - by


@dataclass(frozen=True, kw_only=True)
class SoftLimits:
    """All soft limits that are in force.

    Attributes:
        limits: In order of the CVs, low before high, then the heads.
        segment_N: Segment of each row.
        advices_Q: Advices in each segment.
    """

    limits: tuple[SoftLimit, ...]
    segment_N: np.ndarray
    advices_Q: np.ndarray

    @classmethod
    def of(cls, plant: Plant, scaler: Scaler, heads: Sequence[Head], horizon: Horizon, backoff_NY: np.ndarray) -> Self:
        """The limits of the plant file and of the heads."""
        spread_Y = scaler.spread[list(Columns.of(plant).cv)]
        limits = []
        for y, name in enumerate(plant.cvs):
            limits += _limits_of_cv(plant, y, span(plant.tags[name], float(spread_Y[y])), backoff_NY[:, y])
        limits += [_limit_of_head(head, g, horizon.steps) for g, head in enumerate(heads)]
        segment_N, advices_Q = _segments(horizon)
        return cls(limits=tuple(limits), segment_N=segment_N, advices_Q=advices_Q)

    @cached_property
    def _lines(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Each excess as a line of its value: slope [R], offset [N, R]; column and whether it is a head's [2, R]."""
        slope_R = np.array([limit.sign / limit.scale for limit in self.limits])
        offsets = [
            (limit.backoff_N - limit.funnel_N - limit.sign * limit.at) / limit.scale + np.zeros(len(self.segment_N))
            for limit in self.limits
        ]
        at_R = np.array([[limit.column for limit in self.limits], [limit.is_head for limit in self.limits]], dtype=int)
        return slope_R, np.array(offsets).reshape(len(self.limits), len(self.segment_N)).T, at_R

    @cached_property
    def rank_R(self) -> np.ndarray:
        """Rank of each limit, [R]."""
        return np.array([limit.rank for limit in self.limits], dtype=int)

    @cached_property
    def ranks(self) -> np.ndarray:
        """The ranks there are, [I], the most important first."""
        return np.array(sorted({limit.rank for limit in self.limits}), dtype=int)

    @cached_property
    def _starts(self) -> np.ndarray:
        """First row of each segment, [Q]."""
        return np.searchsorted(self.segment_N, np.arange(len(self.advices_Q)))

    def without(self, tags: frozenset[str]) -> SoftLimits:
        """The limits less those of some tags."""
        kept = tuple(limit for limit in self.limits if limit.tag not in tags)
        return SoftLimits(limits=kept, segment_N=self.segment_N, advices_Q=self.advices_Q)

    def keeping(self, backoff_NY: np.ndarray) -> SoftLimits:
        """The limits with at least so much distance kept from those of CVs, as far as there is room [unit]."""
        kept = []
        for limit in self.limits:
            if not limit.is_head:
                wider_N = np.minimum(backoff_NY[:, limit.column], limit.most_backoff)
                limit = replace(limit, backoff_N=np.maximum(limit.backoff_N, wider_N))
            kept.append(limit)
        return SoftLimits(limits=tuple(kept), segment_N=self.segment_N, advices_Q=self.advices_Q)

    def excess(self, forecast: Forecast) -> np.ndarray:
        """Violation over span, [K, N, R]; negative where the limit is kept."""
        slope_R, offset_NR, at_R = self._lines
        outputs = forecast.y_KNY.shape[2]
        values = np.concatenate([forecast.y_KNY, forecast.margins_KNG], axis=2) if at_R[1].any() else forecast.y_KNY
        return np.asarray(slope_R * values[:, :, at_R[0] + outputs * at_R[1]] + offset_NR)

    def gradient(self, sensitivity: Sensitivity) -> np.ndarray:
        """d(excess)/dx, [N, R, P]."""
        slope_R, _, at_R = self._lines
        outputs = sensitivity.y_NYP.shape[1]
        values = sensitivity.y_NYP
        if at_R[1].any():
            values = np.concatenate([values, sensitivity.margins_NGP], axis=1)
        return np.asarray(slope_R[:, None] * values[:, at_R[0] + outputs * at_R[1]])

    def by_output(self, price_NR: np.ndarray, outputs: int, heads: int) -> tuple[np.ndarray, np.ndarray]:
        """Prices of the limits as derivatives by the CVs [N, Y] and by the margins [N, G]."""
        y_NY, margins_NG = np.zeros((len(price_NR), outputs)), np.zeros((len(price_NR), heads))
        for r, limit in enumerate(self.limits):
            target = margins_NG if limit.is_head else y_NY
            target[:, limit.column] += limit.sign / limit.scale * price_NR[:, r]
        return y_NY, margins_NG

    def slack(self, excess_KNR: np.ndarray) -> np.ndarray:
        """Largest excess of each segment, not below zero, [K, Q, R]."""
        return np.maximum(np.maximum.reduceat(excess_KNR, self._starts, axis=1), 0.0)

    def penalties(self, excess_KNR: np.ndarray) -> np.ndarray:
        """Of each plan by rank, [K, I] [advices * spans], the most important rank first."""
        slack_KQR = self.slack(excess_KNR)
        penalty_KR = (self.advices_Q[:, None] * (slack_KQR + 0.5 * SLACK_CURVATURE * slack_KQR**2)).sum(axis=1)
        penalty_KI = np.empty((len(penalty_KR), len(self.ranks)))
        for i, rank in enumerate(self.ranks):
            penalty_KI[:, i] = penalty_KR[:, self.rank_R == rank].sum(axis=1)
        return penalty_KI

    def give_ups(self, forecast: Forecast) -> tuple[GiveUp, ...]:
        """Limits that the (only) plan of a forecast exceeds, rank 1 first; the distance for doubt does not count."""
        given, excess_NR = [], self.excess(forecast)[0]
        for r, limit in enumerate(self.limits):
            excess_N = excess_NR[:, r] - limit.backoff_N / limit.scale
            if (worst := float(excess_N.max())) > TOLERANCE:
                amount = worst * limit.scale
                given.append(GiveUp(tag=limit.tag, side=limit.side, limit=limit.at, amount=amount, rank=limit.rank))
        return tuple(sorted(given, key=lambda give_up: give_up.rank))

    def touched(self, forecast: Forecast) -> list[str]:
        """Limits that the (only) plan of a forecast reaches, in words."""
        words = []
        for limit, excess_N in zip(self.limits, self.excess(forecast)[0].T, strict=True):
            at = int(excess_N.argmax())
            if excess_N[at] < -TOLERANCE:
                continue
            kept = limit.backoff_N[at]
            doubt = f", {kept:.3g} {limit.unit} kept for doubt" if kept > TOLERANCE * limit.scale else ""
            words.append(f"{limit}{doubt}")
        return words


def _limits_of_cv(plant: Plant, column: int, scale: float, backoff_N: np.ndarray) -> list[SoftLimit]:
    tag = plant.tags[plant.cvs[column]]
    low, high = tag.limits.low, tag.limits.high
    # Doubt never closes the room between the limits.
    most = 0.5 * MOST_BACKOFF * (high.at - low.at) if low and high else np.inf
    return [
        SoftLimit(
            tag=tag.name,
            unit=tag.unit,
            side=side,
            at=limit.at,
            rank=limit.rank,
            column=column,
            is_head=False,
            scale=scale,
            backoff_N=np.minimum(backoff_N, most),
            most_backoff=most,
        )
        for side, limit in (("low", low), ("high", high))
        if limit
    ]


def _limit_of_head(head: Head, column: int, steps: int) -> SoftLimit:
    """A head has no span; its allowance says what size of margin it can tell apart."""
    allowance = float(np.mean(np.abs(head.allowance_H))) if np.size(head.allowance_H) else 0.0
    return SoftLimit(
        tag=head.name,
        unit=head.unit,
        side="low",
        at=0.0,
        rank=head.rank,
        column=column,
        is_head=True,
        scale=allowance if allowance > 1e-6 else 1.0,
        backoff_N=np.zeros(steps),  # its allowance is deducted in the forecast
    )


def _segments(horizon: Horizon) -> tuple[np.ndarray, np.ndarray]:
    """Segment of each row, [N], and the advices in each segment, [Q]: the blocks, with long ones cut up."""
    longest = LONGEST_SEGMENT * horizon.interval
    cuts, start = [], 0
    for end in horizon.ends:
        cuts += list(range(start, end, longest))
        start = end
    segment_N = np.searchsorted(np.array(cuts), np.arange(horizon.steps), side="right") - 1
    return segment_N, np.bincount(segment_N) / horizon.interval
