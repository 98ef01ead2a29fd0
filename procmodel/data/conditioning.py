"""Exact summaries of irregular samples on a uniform grid.

What counts between two neighbouring samples of one tag is the simple bounding of OPC UA Part 13 (1.04, clauses 3.1.9
and 5.4.3.7, aggregate `TimeAverage2`), whose published tables are the test:

- a good sample and the next good one: the straight line between them, or for a step tag the first value, held;
- a good sample and a following bad one: the good value, held until the bad sample ("only the good starting value is
  used to calculate the area of the subinterval preceding the bad value");
- from a bad sample to the next good one: a gap, left out of the average, whose weight shrinks to the good part;
- an interval longer than `max_gap` is a gap as a whole: nobody knows when in it the source fell silent;
- after the last sample a step tag holds to the end of the record, a linear one ends with it (`Rule.after_last`).

Samples arrive in batches, cut anywhere and with tags mixed at will; each tag's own in rising time order. The result
is the same to the last bit however the batches are cut, since every cell adds up the same numbers in the same order.

Times are microseconds since 1970-01-01 UTC; row r of the grid covers `[r * step, (r + 1) * step)`, r counted from 1970.
Shapes: N samples, C tags, T rows, A tags whose age is told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from procmodel.data import kernels
from procmodel.data.blocks import block_of
from procmodel.data.kernels import BINS, GOOD, PER_OCTAVE, RULE, STATE, Block, Grid, Late
from procmodel.data.rules import FLOOR_ROWS, NO_BOUND, Beyond, Rule
from procmodel.data.samples import Quality
from procmodel.errors import DatasetError, HistorianError
from procmodel.plant import Summary

MAX_CELLS = 400_000_000  # 24 bytes each while filling: about 10 GB
_FEWEST = 5  # intervals without which none is usual
_CELL = {
    Summary.TIME_AVERAGE: kernels.MEAN,
    Summary.BRIDGED_AVERAGE: kernels.MEAN,
    Summary.INTERPOLATED: kernels.START,
    Summary.PREVIOUS: kernels.START,
    Summary.LAST: kernels.LAST,
    Summary.MINIMUM: kernels.LEAST,
    Summary.MAXIMUM: kernels.MOST,
}


@dataclass(frozen=True, kw_only=True)
class Cells:
    """What the cells of the grid tell.

    Attributes:
        values: [T, C] as each tag's rule says; NaN where nothing is known.
        good_fraction: [T, C] float32.
        ages: [T, A] float32, age of the value at the row's end [s], of the tags whose rule asks for it, in their order;
            NaN where there is none.
        first_row: Of row 0, counted from 1970.
    """

    values: np.ndarray
    good_fraction: np.ndarray
    ages: np.ndarray
    first_row: int

    @property
    def rows(self) -> int:
        return len(self.values)

    def cut(self, start: int, stop: int) -> Cells:
        """Rows `[start, stop)`."""
        at = slice(start, stop)
        return Cells(
            values=self.values[at],
            good_fraction=self.good_fraction[at],
            ages=self.ages[at],
            first_row=self.first_row + start,
        )


class Accumulator:
    """Cells filling with each batch; memory follows the grid, not the samples.

    Args:
        names, rules: Of the tags, in column order.
        step: Grid step [us].
        start, end: What is asked for, in microseconds; None where the samples shall say. Samples before `start` count
            as carried in: they say what held at `start`.
    """

    def __init__(
        self, names: Sequence[str], rules: Sequence[Rule], step: int, start: int | None = None, end: int | None = None
    ) -> None:
        self._names, self._rules, self._step, self._start, self._end = tuple(names), tuple(rules), step, start, end
        self._rules_C = _compiled_rules(rules, step)
        self.tags_C = np.zeros(len(rules), dtype=STATE)
        self.tags_C["newest"] = np.iinfo(np.int64).min
        self.intervals_CB = np.zeros((len(rules), BINS), dtype=np.int64)
        self._late: list[Late] = []
        self._grid = self._empty(0, 0)
        self._first_time: int | None = None
        self._newest: int | None = None
        if start is not None and end is not None:
            self._cover(start, end)

    def _empty(self, row: int, stop: int) -> Grid:
        count, aged = len(self._rules), sum(rule.aged for rule in self._rules)
        shape = (stop - row, count)
        return Grid(
            held_TC=np.zeros(shape),
            area_TC=np.zeros(shape),
            good_TC=np.zeros(shape, dtype=np.int64),
            age_TA=np.full((stop - row, aged), np.nan, dtype=np.float32),
            lo=self._start if self._start is not None else row * self._step,
            hi=self._end if self._end is not None else stop * self._step,
            step=self._step,
            row0=row,
        )

    def add(self, codes_N: np.ndarray, times_N: np.ndarray, values_N: np.ndarray, good_N: np.ndarray) -> None:
        """Samples in order of arrival, as `take`: column of each one's tag, time [us], value, whether it is good."""
        self.take(block_of(codes_N, times_N, values_N, good_N, len(self._rules)))

    def take(self, block: Block, worst: Quality = Quality.GOOD) -> None:
        """Samples in order of arrival; those of a quality worse than `worst` are bad.

        Raises:
            HistorianError: A tag's samples run backwards in time.
            DatasetError: They run so far apart that their grid has no room.
        """
        if not len(block.codes_N):
            return
        ours = block.column_D >= 0
        # A pass less where every entry is ours, which is the rule.
        times_N = block.times_N if ours.all() else block.times_N[ours[block.codes_N]]
        if not len(times_N):
            return
        lo, hi = int(times_N.min()), int(times_N.max())
        self._first_time = lo if self._first_time is None else min(self._first_time, lo)
        self._newest = hi if self._newest is None else max(self._newest, hi)
        self._cover(lo, hi)
        late = _room(len(block.codes_N))
        count, wrong = kernels.add_block(
            self._rules_C, self.tags_C, self.intervals_CB, block, int(worst), self._grid, late
        )
        if wrong >= 0:
            name = self._names[block.column_D[block.codes_N[wrong]]]
            raise HistorianError(
                f"Tag {name!r}: a sample of {np.datetime64(int(block.times_N[wrong]), 'us')} UTC follows a later one. "
                "A historian must hand over each tag's samples in rising time order; sort them in its connector."
            )
        if count:
            self._late.append(Late(*(part[:count].copy() for part in late)))

    def finish(self, max_gap_C: np.ndarray) -> Cells:
        """The cells; nothing may be added afterwards.

        Args:
            max_gap_C: As `bridged` gives it, of these samples or of a larger record they belong to [us].
        """
        for late in self._late:
            kernels.fill_late(self._rules_C, max_gap_C, late, self._grid)
        for c in np.flatnonzero(self.tags_C["now"] == GOOD).tolist():
            self._extend(c, int(max_gap_C[c]))
        fraction_TC = np.empty(self._grid.held_TC.shape, dtype=np.float32)
        starts_C = np.array([rule.low if np.isfinite(rule.low) else 0.0 for rule in self._rules])
        kernels.settle(self._rules_C, starts_C, self._grid, fraction_TC)
        cells = Cells(
            values=self._grid.held_TC, good_fraction=fraction_TC, ages=self._grid.age_TA, first_row=self._grid.row0
        )
        self._grid = self._empty(0, 0)  # the areas are not needed any more
        rows = self._rows(cells)
        return cells.cut(rows.start - cells.first_row, rows.stop - cells.first_row)

    def _extend(self, c: int, max_gap: int) -> None:
        """Fill a tag's time after its last sample, which was good."""
        rule, tag = self._rules[c], self.tags_C[c]
        how, end = rule.after_last, self._end if self._end is not None else self._newest
        since = int(tag["time"])
        if how is Beyond.NOTHING or end is None:
            return
        if rule.hold is not None:
            end = min(end, since + round(rule.hold * 1e6))
        if since >= end or end - since > max_gap:
            return
        value = float(tag["rate"] if rule.gain else tag["value"])
        slope = 0.0
        if how is Beyond.SLOPE and tag["time_before"]:
            slope = (value - float(tag["value_before"])) / (since - int(tag["time_before"]))
        if not math.isnan(value):
            grid = self._grid._replace(hi=end)
            kernels.fill(self._rules_C[c], c, since, value, end, value + slope * (end - since), grid)

    def bridged(self, intervals_CB: np.ndarray) -> np.ndarray:
        """Longest bridged interval per tag, [C] [us], where tags without one go by their intervals [C, bins]."""
        gaps_C = self._rules_C["max_gap"].copy()
        for c in np.flatnonzero(self._rules_C["by_intervals"] & (intervals_CB.sum(axis=1) >= _FEWEST)):
            usual = max(6 * quantile(intervals_CB[c], 0.5), 2 * quantile(intervals_CB[c], 0.99))
            gaps_C[c] = max(gaps_C[c], usual)
        return gaps_C

    def _rows(self, cells: Cells) -> range:
        """Rows asked for, or where that is open, those that hold samples."""
        first = self._start if self._start is not None else self._first_time
        last = self._end if self._end is not None else self._newest
        if first is None or last is None or last < first:
            return range(cells.first_row, cells.first_row)
        return range(first // self._step, -(-last // self._step) if self._end is not None else last // self._step + 1)

    def _cover(self, first: int, last: int) -> None:
        """Make the grid hold [first, last] as far as it is asked for; grows by half to keep copies rare."""
        first = first if self._start is None else self._start
        last = last if self._end is None else self._end
        if last < first:
            return  # all before the start: carried in, no row needed yet
        row, stop = first // self._step, -(-last // self._step) if self._end is not None else last // self._step + 1
        have, size = self._grid.row0, len(self._grid.held_TC)
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
        old, self._grid = self._grid, self._empty(row, stop)
        for into, held in zip(self._grid[:4], old[:4], strict=True):
            into[have - row : have - row + size] = held


def _compiled_rules(rules: Sequence[Rule], step: int) -> np.ndarray:
    """The rules as the loops read them, [C] of `RULE`."""
    found, aged = np.zeros(len(rules), dtype=RULE), 0
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


def _room(count: int) -> Late:
    """Room for as many postponed segments as a batch has samples; pages that are not written cost nothing."""
    return Late(
        codes_N=np.empty(count, dtype=np.int64),
        times_N2=np.empty((count, 2), dtype=np.int64),
        values_N2=np.empty((count, 2)),
    )


def quantile(intervals_B: np.ndarray, share: float) -> int:
    """Upper edge of the bin with that order statistic of the intervals [us]; 0 without intervals.

    Rounded down: of fewer than 100 intervals the longest one, perhaps an outage, is never the 99th percentile.
    """
    total = int(intervals_B.sum())
    if total == 0:
        return 0
    at = int(np.searchsorted(np.cumsum(intervals_B), math.floor(share * (total - 1)), side="right"))
    octave, within = divmod(at, PER_OCTAVE)
    return math.ceil(math.ldexp(1.0 + (within + 1) / PER_OCTAVE, octave))
