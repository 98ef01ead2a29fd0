"""Compiled loops over samples: a batch is laid out tag after tag, and each tag's samples become segments.

One tag at a time, since where it stands and the cell it is in then stay in the registers of the processor. N samples,
C tags, B bins.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from procmodel.data.kernels import (
    BAD,
    GOOD,
    MEAN,
    ONE_SAMPLE,
    PER_OCTAVE,
    SAMPLES,
    START,
    WHOLE,
    Block,
    Grid,
    Late,
    compiled,
    fill,
    fill_mean,
    inlined,
)

_SHIFT, _BIAS = 52 - 5, 1023 * PER_OCTAVE  # leave the exponent and as many bits as tell the bins of a doubling
_NEVER = -(2**63)
NEAR = 32_768
"""Samples that are laid out at once: half a megabyte, which a core keeps near."""


class Room(NamedTuple):
    """Memory for one batch, used again for the next.

    Attributes:
        times_N, values_N: `NEAR` of its samples tag after tag; NaN where a sample is bad or holds no number.
        late: Its segments that are postponed.
    """

    times_N: np.ndarray
    values_N: np.ndarray
    late: Late


def room_for(count: int) -> Room:
    """Room for a batch of so many samples; pages that are not written cost nothing."""
    late = Late(
        codes_N=np.empty(count, dtype=np.int64),
        times_N2=np.empty((count, 2), dtype=np.int64),
        values_N2=np.empty((count, 2)),
    )
    near = min(count, NEAR)
    return Room(times_N=np.empty(near, dtype=np.int64), values_N=np.empty(near), late=late)


@inlined
def _bin_of(interval: int) -> int:
    """Bin of an interval [us, 1 to 2^63]: octave, then linear within it, as its bits stand in a float (IEEE 754)."""
    bits: Any = np.float64(interval).view(np.int64)
    return int((bits >> _SHIFT) - _BIAS)


@inlined
def _rate(rule: Any, tag: Any, t: int, v: float) -> float:
    """Rate of a totalizer from its last reading to (t, v); NaN where it was set back or leaves its range."""
    rise = v - tag.value
    if rise < 0.0 and rule.rollover > 0.0 and rise + rule.rollover <= 0.5 * rule.rollover:
        rise += rule.rollover  # a counter that fell by less than half its size was set back, and did not roll over
    if rise < 0.0:
        return math.nan
    rate = rule.gain * rise / ((t - tag.time) * 1e-6)
    if rate < rule.low or rate > rule.high:
        tag.outside += 1
        return math.nan
    return float(rate)


@compiled
def _tag_after_tag(block: Block, begin: int, end: int, worst: int, room: Room, stops_C: np.ndarray) -> None:
    """Lay samples `[begin, end)` out by column, each one's in order of arrival; column c's end at `stops_C[c + 1]`."""
    # Unsigned, since a signed index is asked each time whether it counts from the end: 5 ns a sample in place of 10.
    column_D, codes_N, times_N, values_N, valid, first_bit, quality_N = block
    into_times_N, into_values_N = room.times_N, room.values_N
    some_missing = valid.shape[0] > 0
    stops_C[:] = 0
    for i in range(begin, end):
        stops_C[np.uint64(column_D[np.uint32(codes_N[i])] + 1)] += np.uint64(1)  # what is not ours stands in front
    before = stops_C[:-1].cumsum()
    stops_C[0], stops_C[1:] = 0, before
    for i in range(begin, end):
        c = np.uint64(column_D[np.uint32(codes_N[i])] + 1)
        at = stops_C[c]
        stops_C[c] = at + np.uint64(1)
        usable = quality_N[i] <= worst
        if some_missing:
            bit = np.uint64(first_bit + i)
            usable &= (valid[bit >> np.uint64(3)] >> (bit & np.uint64(7))) & np.uint8(1) == 1
        into_times_N[at] = times_N[i]
        into_values_N[at] = values_N[i] if usable else math.nan


@inlined
def _with_piece(held: float, area: float, filled: int, mean: float, time: int) -> tuple[float, float, int]:
    """A cell, as in `Grid`, with a piece of `time` added whose mean is `mean`."""
    if filled == 0:
        return mean, area, time
    return held, area + (mean - held) * time, filled + time


@inlined
def _add_mean(
    rule: Any, tag: Any, c: int, first: int, stop: int, intervals_CB: np.ndarray, room: Room, grid: Grid, postponed: int
) -> tuple[int, int]:
    """Samples of a tag whose cells hold their plain mean; as `add_block`."""
    times_N, values_N = room.times_N, room.values_N
    late_codes_N, late_times_N2, late_values_N2 = room.late
    held_TC, area_TC, good_TC, _, lo, hi, step, row0 = grid
    low, high, max_gap = rule.low, rule.high, rule.max_gap
    holds, bridges, by_intervals = rule.holds, rule.bridges, rule.by_intervals
    newest, is_good, t0, v0 = tag.newest, tag.now == GOOD, tag.time, tag.value
    time_before, value_before = tag.time_before, tag.value_before
    good_count, outside = 0, 0
    r, cell_stop, held, area, filled = -1, _NEVER, 0.0, 0.0, 0  # the cell of the newest sample, while it is open
    intervals_B = intervals_CB[c]
    for i in range(first, stop):
        t, v = times_N[np.uint64(i)], values_N[np.uint64(i)]
        if t < newest:
            return postponed, i
        newest = t
        good = low <= v <= high and abs(v) < math.inf
        if not good:
            outside += abs(v) < math.inf
            if bridges:
                continue
        good_count += good
        if is_good and t > t0:
            v1 = v if good and not holds else v0
            if good:
                intervals_B[np.uint64(_bin_of(t - t0))] += 1
            if t - t0 > max_gap:
                if by_intervals:
                    late_codes_N[postponed] = c
                    late_times_N2[postponed, 0], late_times_N2[postponed, 1] = t0, t
                    late_values_N2[postponed, 0], late_values_N2[postponed, 1] = v0, v1
                    postponed += 1
            elif t <= cell_stop:  # as most: within the cell
                held, area, filled = _with_piece(held, area, filled, v0 + 0.5 * (v1 - v0), t - t0)
            elif r >= 0 and t0 <= cell_stop and t <= cell_stop + step and t < hi:  # and most others: into the next cell
                slope, over = (v1 - v0) / (t - t0), cell_stop - t0
                if over > 0:
                    held, area, filled = _with_piece(held, area, filled, v0 + slope * (0.5 * over), over)
                held_TC[r, c], area_TC[r, c], good_TC[r, c] = held, area, filled
                r += 1
                held, area, filled = held_TC[r, c], area_TC[r, c], good_TC[r, c]
                mean = v0 + (slope * (0.5 * (over + (t - t0))) if over > 0 else 0.5 * (v1 - v0))
                held, area, filled = _with_piece(held, area, filled, mean, t - cell_stop)
                cell_stop = min(cell_stop + step, hi)
            else:
                if r >= 0:
                    held_TC[r, c], area_TC[r, c], good_TC[r, c] = held, area, filled
                fill_mean(c, t0, v0, t, v1, held_TC, area_TC, good_TC, lo, hi, step, row0)
                r, cell_stop = -1, _NEVER
                if lo <= t < hi:
                    row = t // step
                    r, cell_stop = row - row0, min((row + 1) * step, hi)
                    held, area, filled = held_TC[r, c], area_TC[r, c], good_TC[r, c]
            time_before, value_before = t0, v0
        is_good, t0, v0 = good, t, v
    if r >= 0:
        held_TC[r, c], area_TC[r, c], good_TC[r, c] = held, area, filled
    tag.newest, tag.now, tag.time, tag.value = newest, GOOD if is_good else BAD, t0, v0
    tag.time_before, tag.value_before = time_before, value_before
    tag.seen += stop - first
    tag.good += good_count
    tag.outside += outside
    return postponed, -1


@compiled
def _add_other(
    rule: Any, tag: Any, c: int, first: int, stop: int, intervals_CB: np.ndarray, room: Room, grid: Grid, postponed: int
) -> tuple[int, int]:
    """Samples of any tag; as `add_block`."""
    late_codes_N, late_times_N2, late_values_N2 = room.late
    for i in range(first, stop):
        t, v = room.times_N[i], room.values_N[i]
        if t < tag.newest:
            return postponed, i
        good = abs(v) < math.inf
        if good and rule.gain == 0.0 and (v < rule.low or v > rule.high):
            tag.outside += 1
            good = False
        tag.seen += 1
        tag.good += good
        tag.newest = t
        if not good and rule.bridges:
            continue
        if tag.now == GOOD and t > tag.time:
            t0, v0 = tag.time, tag.value
            v1 = v if good and not rule.holds else v0
            if good:
                intervals_CB[c, _bin_of(t - t0)] += 1
            if rule.gain > 0.0:
                before = tag.rate
                tag.rate = _rate(rule, tag, t, v) if good else math.nan
                v0 = before if rule.holds else tag.rate
                v1 = v0
            elif rule.turn > 0.0:
                v1 -= rule.turn * math.floor((v1 - v0) / rule.turn + 0.5)  # the shorter way round
            if not math.isnan(v0):
                if t - t0 <= rule.max_gap:
                    fill(rule, c, t0, v0, t, v1, grid)
                elif rule.by_intervals:
                    late_codes_N[postponed] = c
                    late_times_N2[postponed, 0], late_times_N2[postponed, 1] = t0, t
                    late_values_N2[postponed, 0], late_values_N2[postponed, 1] = v0, v1
                    postponed += 1
            tag.time_before, tag.value_before = tag.time, tag.value
        elif tag.now != GOOD:
            tag.rate = math.nan
        tag.now = GOOD if good else BAD
        tag.time, tag.value = t, v
        if good and rule.cell == SAMPLES and grid.lo <= t < grid.hi:
            r = t // grid.step - grid.row0
            grid.area_TC[r, c] += v
            grid.good_TC[r, c] += ONE_SAMPLE
        if good and rule.cell == START and rule.gain == 0.0 and grid.lo <= t < grid.hi and t % grid.step == 0:
            r = t // grid.step - grid.row0
            grid.held_TC[r, c], grid.good_TC[r, c] = v, WHOLE
    return postponed, -1


@compiled
def add_block(
    rules_C: np.ndarray, tags_C: np.ndarray, intervals_CB: np.ndarray, block: Block, worst: int, grid: Grid, room: Room
) -> tuple[int, int, int]:
    """Take in a batch.

    Args:
        worst: Samples of a quality above it are bad.
        room: At least for as many samples.

    Returns:
        How many segments were postponed; column and time of a sample that is out of order (column -1: none).
    """
    stops_C = np.zeros(rules_C.shape[0] + 1, dtype=np.uint64)
    edges_C = stops_C.view(np.int64)
    postponed = 0
    for begin in range(0, block.codes_N.shape[0], NEAR):
        _tag_after_tag(block, begin, min(begin + NEAR, block.codes_N.shape[0]), worst, room, stops_C)
        for c in range(rules_C.shape[0]):
            first, stop = edges_C[c], edges_C[c + 1]
            if first == stop:
                continue
            rule, tag = rules_C[c], tags_C[c]
            if rule.cell == MEAN and rule.aged < 0 and rule.gain == 0.0 and rule.turn == 0.0:
                postponed, wrong = _add_mean(rule, tag, c, first, stop, intervals_CB, room, grid, postponed)
            else:
                postponed, wrong = _add_other(rule, tag, c, first, stop, intervals_CB, room, grid, postponed)
            if wrong >= 0:
                return postponed, c, room.times_N[wrong]
    return postponed, -1, 0
