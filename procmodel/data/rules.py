"""How the time between samples of a tag is filled, and what a cell of the grid tells of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from procmodel.data import kernels
from procmodel.plant import Kind, Plant, Summary
from procmodel.plant.units import circle, parse_duration, rate_gain

FLOOR_ROWS = 10  # an interval of at most so many rows is always bridged when a tag names no max_gap
NO_BOUND = int(np.iinfo(np.int64).max)
_CELL = {
    Summary.TIME_AVERAGE: kernels.MEAN,
    Summary.BRIDGED_AVERAGE: kernels.MEAN,
    Summary.INTERPOLATED: kernels.START,
    Summary.PREVIOUS: kernels.START,
    Summary.LAST: kernels.LAST,
    Summary.SAMPLE_MEAN: kernels.SAMPLES,
    Summary.MINIMUM: kernels.LEAST,
    Summary.MAXIMUM: kernels.MOST,
}
_HELD = (Summary.PREVIOUS, Summary.LAST)  # these look back only


class Beyond(StrEnum):
    """What is known after the last sample (OPC UA Part 13, 3.1.9: "the Historian may extend the last Raw value")."""

    NOTHING = "nothing"
    HOLD = "hold"  # stepped extrapolation
    SLOPE = "slope"  # sloped extrapolation; nothing but the published tables asks for it


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How the time between samples of one tag is filled.

    Attributes:
        step: The value holds until the next sample; otherwise it runs linearly.
        max_gap: Longest interval that is bridged [s]; None: no bound for a step tag, and for a linear one
            `max(10 rows, 6 x median, 2 x 99th percentile)` of its own intervals between good samples. The median
            alone would tear a compressed signal apart, whose quiet stretches have rare samples; an outage is too
            rare an interval to move the 99th percentile. With fewer than 5 intervals nothing is usual: 10 rows.
        bounded: Without `max_gap`, go by the intervals; None: where the tag does not step.
        summary: What a cell tells.
        beyond: None: a step tag holds after its last sample (a setpoint is written when it changes), a linear one ends
            with it (a line needs two ends).
        hold: At most so long [s]; None: to the end of the record, within the bound of gaps.
        low, high: Values outside are bad [unit]; of a totalizer, its rate.
        turn: One whole turn of an angle [unit]; 0: the tag is no angle.
        gain: Totalizer: rate of a counter that rises by 1 per second [unit]; 0: the tag is none.
        rollover: Where the counter starts again from zero; 0: it never does.
        aged: Also tell how old the value is at each row's end.
    """

    step: bool
    max_gap: float | None = None
    bounded: bool | None = None
    summary: Summary = Summary.TIME_AVERAGE
    beyond: Beyond | None = None
    hold: float | None = None
    low: float = -np.inf
    high: float = np.inf
    turn: float = 0.0
    gain: float = 0.0
    rollover: float = 0.0
    aged: bool = False

    @property
    def holds(self) -> bool:
        """Whether a value holds until the next sample, by the tag or by what a cell tells of it."""
        return self.step or self.summary in _HELD

    @property
    def bridges(self) -> bool:
        """Whether bad samples are passed over (interpolated bounding values, Part 13, 3.1.8)."""
        return self.summary in (Summary.BRIDGED_AVERAGE, Summary.INTERPOLATED)

    @property
    def by_intervals(self) -> bool:
        """Whether the longest interval bridged is found from the tag's own."""
        return self.max_gap is None and (not self.step if self.bounded is None else self.bounded)

    @property
    def after_last(self) -> Beyond:
        if self.beyond is not None:
            return self.beyond
        # A totalizer's next rate is known by its next reading only, unless the last one is what holds.
        return Beyond.HOLD if self.holds else Beyond.NOTHING


def rule_of(plant: Plant, name: str, max_gap: float | None = None) -> Rule:
    """The rule of a tag of the plant file.

    Args:
        max_gap: Bound to take where the tag names none [s].
    """
    tag, how = plant.tags[name], plant.conditioning
    low, high = tag.range or (-np.inf, np.inf)
    summary = tag.summary
    if summary is None:
        summary = how.summary if tag.kind is Kind.MEASUREMENT else Summary.TIME_AVERAGE
    totalizer = tag.kind is Kind.TOTALIZER and tag.source_unit is not None
    return Rule(
        # A totalizer's rate is the same all the way from one reading to the next; in a causal record, the one before's.
        step=how.causal or (tag.is_step and not totalizer),
        bounded=not tag.is_step,
        max_gap=max_gap if tag.max_gap is None else parse_duration(tag.max_gap),
        summary=summary,
        low=low,
        high=high,
        turn=circle(tag.unit) if tag.kind is Kind.ANGLE else 0.0,
        gain=rate_gain(tag.source_unit or "", tag.unit) if totalizer else 0.0,
        rollover=tag.rollover or 0.0,
        aged=tag.kind is Kind.LABORATORY,
    )


def compiled_rules(rules: Sequence[Rule], step: int) -> np.ndarray:
    """The rules as the loops read them, [C] of `RULE`."""
    found, aged = np.zeros(len(rules), dtype=kernels.RULE), 0
    for rule, each in zip(rules, found, strict=True):
        is_mean = _CELL[rule.summary] == kernels.MEAN
        each["cell"] = kernels.ROUND if is_mean and rule.turn else _CELL[rule.summary]
        each["holds"], each["bridges"], each["by_intervals"] = rule.holds, rule.bridges, rule.by_intervals
        # Bound while samples come in; what an automatic one postpones is decided at the end.
        unnamed = FLOOR_ROWS * step if rule.by_intervals else NO_BOUND
        each["max_gap"] = unnamed if rule.max_gap is None else round(rule.max_gap * 1e6)
        for name in ("low", "high", "turn", "gain", "rollover"):
            each[name] = getattr(rule, name)
        each["aged"] = aged if rule.aged else -1
        aged += rule.aged
    return found
