"""Exact time-weighted averages of irregular samples on a uniform grid.

What counts between two neighbouring samples of one tag is the simple bounding of OPC UA Part 13 (1.04, clauses 3.1.9
and 5.4.3.7, aggregate `TimeAverage2`), whose published tables are the test:

- a good sample and the next good one: the straight line between them, or for a step tag the first value, held;
- a good sample and a following bad one: the good value, held until the bad sample ("only the good starting value is
  used to calculate the area of the subinterval preceding the bad value");
- from a bad sample to the next good one: a gap, left out of the average, whose weight shrinks to the good part;
- an interval longer than `max_gap` is a gap as a whole: nobody knows when in it the source fell silent;
- after the last sample a step tag holds to the end of the record (a setpoint is written when it changes), a linear one
  ends with its last sample: a line needs two ends.

Samples arrive in batches, cut anywhere and with tags mixed at will; each tag's own in rising time order. The result
is the same to the last bit however the batches are cut, since every cell adds up the same numbers in the same order.

Times are microseconds since 1970-01-01 UTC; row r of the grid covers `[r * step, (r + 1) * step)`, r counted from 1970.
Shapes: N samples, C tags, T rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
from numba import njit

from procmodel.errors import DatasetError, HistorianError

MAX_CELLS = 400_000_000  # 24 bytes each while averaging: about 10 GB
_FLOOR_ROWS = 10  # an interval of at most so many rows is always bridged when a tag names no max_gap
_FEWEST = 5  # intervals without which none is usual
_PER_OCTAVE = 32  # bins of the interval histogram: edges 2.2 % apart
_BINS = 64 * _PER_OCTAVE
_NONE, _GOOD, _BAD = 0, 1, 2  # state of the newest sample of a tag
_Function = TypeVar("_Function", bound=Callable[..., object])


def _compiled(function: _Function) -> _Function:
    """Machine code, kept beside the source where that folder can be written."""
    try:
        return cast(_Function, njit(cache=True)(function))
    except RuntimeError:  # no folder for the cache: compile in every process
        return cast(_Function, njit(function))


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How the time between samples of one tag is filled.

    Attributes:
        step: The value holds until the next sample; otherwise it runs linearly.
        max_gap: Longest interval that is bridged [s]; None: no bound for a step tag, and for a linear one
            `max(10 rows, 6 x median, 2 x 99th percentile)` of its own intervals between good samples. The median
            alone would tear a compressed signal apart, whose quiet stretches have rare samples; an outage is too
            rare an interval to move the 99th percentile. With fewer than 5 intervals nothing is usual: 10 rows.
    """

    step: bool
    max_gap: float | None = None


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Averages on the grid.

    Attributes:
        values: [T, C], mean over the good part of the cell; NaN where there is none.
        good_fraction: [T, C] float32.
        first_row: Of row 0, counted from 1970.
    """

    values: np.ndarray
    good_fraction: np.ndarray
    first_row: int


@_compiled
def _add_segment(
    t0: int, v0: float, t1: int, v1: float, lo: int, hi: int, step: int, row0: int, c: int,
    centre_TC: np.ndarray, area_TC: np.ndarray, good_TC: np.ndarray,
) -> None:  # fmt: skip
    """Add the line from (t0, v0) to (t1, v1), cut to [lo, hi), to the cells it crosses.

    Areas are taken about the cell's first mean (`centre_TC`): a constant then comes out as itself, bit by bit.
    """
    a, end = max(t0, lo), min(t1, hi)
    slope = (v1 - v0) / (t1 - t0) if t1 > t0 else 0.0
    row = a // step
    while a < end:
        edge = min((row + 1) * step, end)
        mean = v0 + slope * (0.5 * ((a - t0) + (edge - t0)))
        r = row - row0
        if good_TC[r, c] == 0:
            centre_TC[r, c] = mean
        else:
            area_TC[r, c] += (mean - centre_TC[r, c]) * (edge - a)
        good_TC[r, c] += edge - a
        a = edge
        row += 1


@_compiled
def _add_segments(
    segments_N: np.ndarray, values_N2: np.ndarray, max_gap_C: np.ndarray, lo: int, hi: int, step: int, row0: int,
    centre_TC: np.ndarray, area_TC: np.ndarray, good_TC: np.ndarray,
) -> None:  # fmt: skip
    """Add those of the postponed segments (tag, t0, t1) that are no longer than the tag's gap."""
    for i in range(segments_N.shape[0]):
        c, t0, t1 = segments_N[i, 0], segments_N[i, 1], segments_N[i, 2]
        if t1 - t0 <= max_gap_C[c]:
            _add_segment(
                t0, values_N2[i, 0], t1, values_N2[i, 1], lo, hi, step, row0, c, centre_TC, area_TC, good_TC
            )  # fmt: skip


@_compiled
def _add_samples(
    codes_N: np.ndarray, times_N: np.ndarray, values_N: np.ndarray, good_N: np.ndarray,
    is_step_C: np.ndarray, is_auto_C: np.ndarray, max_gap_C: np.ndarray, lo: int, hi: int, step: int, row0: int,
    state_C: np.ndarray, last_time_C: np.ndarray, last_value_C: np.ndarray, intervals_CB: np.ndarray,
    centre_TC: np.ndarray, area_TC: np.ndarray, good_TC: np.ndarray,
    late_N3: np.ndarray, late_values_N2: np.ndarray,
) -> tuple[int, int]:  # fmt: skip
    """Eat a batch. Returns how many segments were postponed, and the first sample out of order (-1: none)."""
    late = 0
    for i in range(codes_N.shape[0]):
        c, t, v = codes_N[i], times_N[i], values_N[i]
        if c < 0:
            continue
        if state_C[c] != _NONE and t < last_time_C[c]:
            return late, i
        if state_C[c] == _GOOD and t > last_time_C[c]:
            t0, v0 = last_time_C[c], last_value_C[c]
            v1 = v if good_N[i] and not is_step_C[c] else v0
            if good_N[i]:
                bin_ = int(_PER_OCTAVE * math.log2(t - t0))
                intervals_CB[c, min(bin_, _BINS - 1)] += 1
            if t - t0 <= max_gap_C[c]:
                _add_segment(t0, v0, t, v1, lo, hi, step, row0, c, centre_TC, area_TC, good_TC)
            elif is_auto_C[c]:
                late_N3[late, 0], late_N3[late, 1], late_N3[late, 2] = c, t0, t
                late_values_N2[late, 0], late_values_N2[late, 1] = v0, v1
                late += 1
        state_C[c] = _GOOD if good_N[i] else _BAD
        last_time_C[c], last_value_C[c] = t, v
    return late, -1


class Accumulator:
    """Averages growing with each batch; memory follows the grid, not the samples.

    Args:
        names, rules: Of the tags, in column order.
        step: Grid step [us].
        start, end: What is asked for, in microseconds; None where the samples shall say. Samples before `start` count
            as carried in: they say what held at `start`.
    """

    def __init__(
        self, names: Sequence[str], rules: Sequence[Rule], step: int, start: int | None = None, end: int | None = None
    ) -> None:
        count = len(rules)
        self._names, self._step, self._start, self._end = tuple(names), step, start, end
        self._is_step_C = np.array([rule.step for rule in rules], dtype=np.bool_)
        self._is_auto_C = np.array([not rule.step and rule.max_gap is None for rule in rules], dtype=np.bool_)
        self._max_gap_C = np.array([self._first_gap(rule) for rule in rules], dtype=np.int64)
        self._state_C = np.zeros(count, dtype=np.uint8)
        self._last_time_C = np.zeros(count, dtype=np.int64)
        self._last_value_C = np.zeros(count)
        self.intervals_CB = np.zeros((count, _BINS), dtype=np.int64)
        self._late: list[tuple[np.ndarray, np.ndarray]] = []
        self._row0 = 0
        self._centre_TC = np.empty((0, count))
        self._area_TC = np.empty((0, count))
        self._good_TC = np.empty((0, count), dtype=np.int64)
        self._first_time: int | None = None
        self._newest: int | None = None
        if start is not None and end is not None:
            self._cover(start, end)

    def _first_gap(self, rule: Rule) -> int:
        """Bound used while samples come in [us]; what an automatic one postpones is decided at the end."""
        if rule.max_gap is not None:
            return round(rule.max_gap * 1e6)
        return np.iinfo(np.int64).max if rule.step else _FLOOR_ROWS * self._step

    def add(self, codes_N: np.ndarray, times_N: np.ndarray, values_N: np.ndarray, good_N: np.ndarray) -> None:
        """Samples in order of arrival.

        Args:
            codes_N: Column of each sample's tag; below 0: not one of ours.
            times_N: [us].
            values_N: Meaningless where not good.
            good_N: bool.

        Raises:
            HistorianError: A tag's samples run backwards in time.
        """
        ours = codes_N >= 0
        if not ours.any():
            return
        lo, hi = int(times_N[ours].min()), int(times_N[ours].max())
        self._first_time = lo if self._first_time is None else min(self._first_time, lo)
        self._newest = hi if self._newest is None else max(self._newest, hi)
        self._cover(lo, hi)
        late_N3 = np.empty((len(codes_N), 3), dtype=np.int64)
        late_values_N2 = np.empty((len(codes_N), 2))
        clip_lo, clip_hi = self._clip()
        late, wrong = _add_samples(
            codes_N.astype(np.int64), times_N, values_N, good_N, self._is_step_C, self._is_auto_C, self._max_gap_C,
            clip_lo, clip_hi, self._step, self._row0, self._state_C, self._last_time_C, self._last_value_C,
            self.intervals_CB, self._centre_TC, self._area_TC, self._good_TC, late_N3, late_values_N2,
        )  # fmt: skip
        if wrong >= 0:
            name = self._names[codes_N[wrong]]
            raise HistorianError(
                f"Tag {name!r}: a sample of {np.datetime64(int(times_N[wrong]), 'us')} UTC follows a later one. "
                "A historian must hand over each tag's samples in rising time order; sort them in its connector."
            )
        if late:
            self._late.append((late_N3[:late].copy(), late_values_N2[:late].copy()))

    def finish(self, max_gap_C: np.ndarray) -> Cells:
        """The averages; nothing may be added afterwards.

        Args:
            max_gap_C: As `bridged` gives it, of these samples or of a larger record they belong to [us].
        """
        lo, hi = self._clip()
        arrays = (self._centre_TC, self._area_TC, self._good_TC)
        for segments_N3, values_N2 in self._late:
            _add_segments(segments_N3, values_N2, max_gap_C, lo, hi, self._step, self._row0, *arrays)
        end = self._end if self._end is not None else self._newest
        for c in np.flatnonzero(self._is_step_C & (self._state_C == _GOOD)).tolist():
            since, value = int(self._last_time_C[c]), float(self._last_value_C[c])
            if end is not None and since < end and end - since <= max_gap_C[c]:
                _add_segment(since, value, end, value, lo, end, self._step, self._row0, c, *arrays)
        rows = self._rows()
        at = slice(rows.start - self._row0, rows.stop - self._row0)
        good_TC, centre_TC, area_TC = self._good_TC[at], self._centre_TC[at], self._area_TC[at]
        values = np.where(good_TC > 0, centre_TC + area_TC / np.maximum(good_TC, 1), np.nan)
        return Cells(values=values, good_fraction=(good_TC / self._step).astype(np.float32), first_row=rows.start)

    def bridged(self, intervals_CB: np.ndarray) -> np.ndarray:
        """Longest bridged interval per tag, [C] [us], where tags without one go by their intervals [C, bins]."""
        gaps = self._max_gap_C.copy()
        for c in np.flatnonzero(self._is_auto_C & (intervals_CB.sum(axis=1) >= _FEWEST)):
            usual = max(6 * quantile(intervals_CB[c], 0.5), 2 * quantile(intervals_CB[c], 0.99))
            gaps[c] = max(gaps[c], usual)
        return gaps

    def _rows(self) -> range:
        """Rows asked for, or where that is open, those that hold samples."""
        first = self._start if self._start is not None else self._first_time
        last = self._end if self._end is not None else self._newest
        if first is None or last is None or last < first:
            return range(self._row0, self._row0)
        return range(first // self._step, -(-last // self._step) if self._end is not None else last // self._step + 1)

    def _clip(self) -> tuple[int, int]:
        """Times that may enter the grid."""
        lo = self._start if self._start is not None else self._row0 * self._step
        hi = self._end if self._end is not None else (self._row0 + len(self._good_TC)) * self._step
        return lo, hi

    def _cover(self, first: int, last: int) -> None:
        """Make the grid hold [first, last] as far as it is asked for; grows by half to keep copies rare."""
        first = first if self._start is None else self._start
        last = last if self._end is None else self._end
        if last < first:
            return  # all before the start: carried in, no row needed yet
        row, stop = first // self._step, -(-last // self._step) if self._end is not None else last // self._step + 1
        have, size = self._row0, len(self._good_TC)
        if size and have <= row and stop <= have + size:
            return
        if size:
            spare = size // 2
            row = min(have, row - spare if row < have and self._start is None else row)
            stop = max(have + size, stop + spare if stop > have + size and self._end is None else stop)
        if (stop - row) * len(self._names) > MAX_CELLS:
            raise DatasetError(
                f"The samples run from {np.datetime64(first, 'us')} to {np.datetime64(last, 'us')} UTC, which makes "
                f"{stop - row:,} rows of {self._step / 1e6:g} s for {len(self._names)} tags: too many to hold. Give a "
                "start and an end, or look for a stray time stamp in the source."
            )
        self._resize(row, stop)

    def _resize(self, row: int, stop: int) -> None:
        shift = self._row0 - row

        def grown(old_TC: np.ndarray) -> np.ndarray:
            new_TC = np.zeros((stop - row, old_TC.shape[1]), dtype=old_TC.dtype)
            new_TC[shift : shift + len(old_TC)] = old_TC
            return new_TC

        self._centre_TC, self._area_TC = grown(self._centre_TC), grown(self._area_TC)
        self._good_TC, self._row0 = grown(self._good_TC), row


def quantile(intervals_B: np.ndarray, share: float) -> int:
    """Upper edge of the bin with that order statistic of the intervals [us]; 0 without intervals.

    Rounded down: of fewer than 100 intervals the longest one, perhaps an outage, is never the 99th percentile.
    """
    total = int(intervals_B.sum())
    if total == 0:
        return 0
    at = int(np.searchsorted(np.cumsum(intervals_B), math.floor(share * (total - 1)), side="right"))
    return math.ceil(math.pow(2.0, (at + 1) / _PER_OCTAVE))
