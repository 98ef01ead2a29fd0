"""Soft limits: CVs, calculated values and constraint heads, given up lowest rank first when they cannot all hold.

Shapes: K plans tried at once, N rows of the horizon, R soft limits, P blocked changes, Y CVs, U MVs, E calculated
values, G heads, Q segments, I ranks.

A limit's excess is its violation divided by the span of its tag, with the margin for doubt already taken off. The
horizon is cut into segments; the largest excess in a segment is that segment's slack s, and

    penalty = advices in the segment * (s + SLACK_CURVATURE / 2 * s^2),    merit = cost + WEIGHT * sum of penalties.

The linear term makes it exact: a limit that can be kept is kept. One slack per segment instead of one per row keeps the
quadratic program small. Ranks are not told apart by weights: two decades per rank are soon more than a solver's digits
hold. The program is solved rank by rank instead (`ranks.py`), and plans are compared rank by rank (`Score`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np

from procmodel.control.calculated import Calculated
from procmodel.control.horizon import Horizon, span
from procmodel.control.plan import GiveUp
from procmodel.control.sensitivities import Forecast, Head, Sensitivity
from procmodel.control.soft_limit import SoftLimit, Source, limit_of_head, sides_of
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
        limits: In order of the CVs and the calculated values, low before high, then the heads.
        segment_N: Segment of each row.
        advices_Q: Advices in each segment.
        calculated: What some of the limits are on; None where none is.
        now_E: Calculated values as measured; empty where that is not known.
    """

    limits: tuple[SoftLimit, ...]
    segment_N: np.ndarray
    advices_Q: np.ndarray
    calculated: Calculated | None = None
    now_E: np.ndarray = field(default_factory=lambda: np.empty(0))

    @classmethod
    def of(cls, plant: Plant, scaler: Scaler, heads: Sequence[Head], horizon: Horizon, backoff_NY: np.ndarray) -> Self:
        """The limits of the plant file and of the heads."""
        spread_Y = scaler.spread[list(Columns.of(plant).cv)]
        limits = []
        for y, name in enumerate(plant.cvs):
            tag = plant.tags[name]
            limits += sides_of(
                name, tag.unit, tag.limits, Source.CV, y, span(tag, float(spread_Y[y])), backoff_NY[:, y]
            )
        calculated = Calculated.of(plant, scaler)
        if calculated is not None:
            doubt_NE = calculated.doubt(backoff_NY)
            for e, (name, one) in enumerate(plant.advice.constraints.items()):
                low, high = one.limits.low, one.limits.high
                scale = high.at - low.at if low and high else float(calculated.size_E[e]) or 1.0
                limits += sides_of(name, one.unit, one.limits, Source.CALCULATED, e, scale, doubt_NE[:, e])
        limits += [limit_of_head(head, g, horizon.steps) for g, head in enumerate(heads)]
        segment_N, advices_Q = _segments(horizon)
        return cls(limits=tuple(limits), segment_N=segment_N, advices_Q=advices_Q, calculated=calculated)

    @cached_property
    def _lines(self) -> tuple[np.ndarray, np.ndarray]:
        """Each excess as a line of its value: slope [R], offset [N, R]."""
        slope_R = np.array([limit.sign / limit.scale for limit in self.limits])
        offsets = [
            (limit.backoff_N - limit.funnel_N - limit.sign * limit.at) / limit.scale + np.zeros(len(self.segment_N))
            for limit in self.limits
        ]
        return slope_R, np.array(offsets).reshape(len(self.limits), len(self.segment_N)).T

    @cached_property
    def _place_R(self) -> tuple[np.ndarray, np.ndarray]:
        """Source and column of each limit, [R] both."""
        sources = np.array([limit.source for limit in self.limits], dtype=int)
        return sources, np.array([limit.column for limit in self.limits], dtype=int)

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
        return replace(self, limits=tuple(limit for limit in self.limits if limit.tag not in tags))

    def keeping(self, backoff_NY: np.ndarray) -> SoftLimits:
        """The limits with at least so much distance kept from those of CVs, as far as there is room [unit]."""
        backoff = {Source.CV: backoff_NY}
        if self.calculated is not None:
            backoff[Source.CALCULATED] = self.calculated.doubt(backoff_NY)
        kept = []
        for limit in self.limits:
            if limit.source in backoff:
                wider_N = np.minimum(backoff[limit.source][:, limit.column], limit.most_backoff)
                limit = replace(limit, backoff_N=np.maximum(limit.backoff_N, wider_N))
            kept.append(limit)
        return replace(self, limits=tuple(kept))

    def in_unrest(self, unrest: float, now_Y: np.ndarray) -> SoftLimits:
        """The limits of CVs and calculated values that hold at present, kept by so many times their distance.

        One that is broken is not made harder to regain: there the last bit of distance costs as much as the limit.

        Args:
            unrest: As `procmodel.world_model.unrest` has it [-].
            now_Y: Measured CVs; NaN where unknown.
        """
        if unrest <= 1.0:
            return self
        now = {Source.CV: now_Y} | ({Source.CALCULATED: self.now_E} if len(self.now_E) else {})
        kept = []
        for limit in self.limits:
            value = now[limit.source][limit.column] if limit.source in now else np.nan
            if limit.sign * (limit.at - value) >= 0.0:
                limit = replace(limit, backoff_N=np.minimum(unrest * limit.backoff_N, limit.most_backoff))
            kept.append(limit)
        return replace(self, limits=tuple(kept))

    def measured(self, y_Y: np.ndarray, u_U: np.ndarray, d_V: np.ndarray) -> SoftLimits:
        """The limits, with what is calculated from measured values."""
        return self if self.calculated is None else replace(self, now_E=self.calculated.of_row(y_Y, u_U, d_V))

    def excess(self, forecast: Forecast) -> np.ndarray:
        """Violation over span, [K, N, R]; negative where the limit is kept."""
        slope_R, offset_NR = self._lines
        parts = [forecast.y_KNY]
        if self._place_R[0].any():
            parts += [forecast.y_KNY[:, :, :0] if self.calculated is None else self.calculated.along(forecast)]
            parts += [forecast.margins_KNG]
        return np.asarray(slope_R * self._picked(parts, axis=2) + offset_NR)

    def gradient(self, forecast: Forecast, sensitivity: Sensitivity) -> np.ndarray:
        """d(excess)/dx along the (only) plan of a forecast, [N, R, P]."""
        parts = [sensitivity.y_NYP]
        if self._place_R[0].any():
            none = sensitivity.y_NYP[:, :0]
            parts += [none if self.calculated is None else self.calculated.gradient(forecast, sensitivity)]
            parts += [sensitivity.margins_NGP]
        return np.asarray(self._lines[0][:, None] * self._picked(parts, axis=1))

    def _picked(self, parts: Sequence[np.ndarray], axis: int) -> np.ndarray:
        """The value that each limit is on, from those of each source."""
        source_R, column_R = self._place_R
        starts = np.cumsum([0, *(part.shape[axis] for part in parts)])
        values = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=axis)
        return np.asarray(np.take(values, column_R + starts[source_R], axis=axis))

    def by_output(self, price_NR: np.ndarray, forecast: Forecast) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Prices of the limits as derivatives by the CVs [N, Y], the margins [N, G] and, directly, the MVs [N, U]."""
        outputs, mvs = forecast.y_KNY.shape[2], forecast.moves_KNU.shape[2]
        y_NY, u_NU = np.zeros((len(price_NR), outputs)), np.zeros((len(price_NR), mvs))
        margins_NG = np.zeros((len(price_NR), forecast.margins_KNG.shape[2]))
        for r, limit in enumerate(self.limits):
            if limit.source is not Source.CALCULATED:
                target = margins_NG if limit.is_head else y_NY
                target[:, limit.column] += limit.sign / limit.scale * price_NR[:, r]
        weight_NE = self._weights(price_NR)
        if self.calculated is not None and weight_NE.any():
            by_NS = (weight_NE[:, None] @ self.calculated.slopes(forecast))[:, 0]
            y_NY, u_NU = y_NY + by_NS[:, :outputs], u_NU + by_NS[:, outputs:]
        return y_NY, margins_NG, u_NU

    def bend(self, price_NR: np.ndarray, forecast: Forecast) -> np.ndarray | float:
        """Second derivatives of priced calculated values by the CVs and MVs, [N, S, S]; 0 where there are none."""
        weight_NE = self._weights(price_NR)
        if self.calculated is None or not weight_NE.any():
            return 0.0
        return np.asarray(self.calculated.bend(forecast, weight_NE))

    def _weights(self, price_NR: np.ndarray) -> np.ndarray:
        """Prices of the limits as derivatives by the calculated values, [N, E]."""
        weight_NE = np.zeros((len(price_NR), len(self.calculated.names) if self.calculated else 0))
        for r, limit in enumerate(self.limits):
            if limit.source is Source.CALCULATED:
                weight_NE[:, limit.column] += limit.sign / limit.scale * price_NR[:, r]
        return weight_NE

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


def _segments(horizon: Horizon) -> tuple[np.ndarray, np.ndarray]:
    """Segment of each row, [N], and the advices in each segment, [Q]: the blocks, with long ones cut up."""
    longest = LONGEST_SEGMENT * horizon.interval
    cuts, start = [], 0
    for end in horizon.ends:
        cuts += list(range(start, end, longest))
        start = end
    segment_N = np.searchsorted(np.array(cuts), np.arange(horizon.steps), side="right") - 1
    return segment_N, np.bincount(segment_N) / horizon.interval
