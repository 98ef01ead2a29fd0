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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from procmodel.data import kernels, tag_loops
from procmodel.data.blocks import block_of
from procmodel.data.intervals import longest_bridged
from procmodel.data.kernels import BINS, GOOD, STATE, Block, Grid, Late
from procmodel.data.rules import NO_BOUND, Beyond, Rule, compiled_rules
from procmodel.data.samples import Quality
from procmodel.data.settling import settle
from procmodel.data.spool import Spool, full_before, hold_until
from procmodel.errors import DatasetError, HistorianError

MAX_CELLS = 400_000_000  # 24 bytes each while filling: about 10 GB


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
    """Cells filling with each batch; memory follows the grid, not the samples, and with a spool neither.

    Args:
        names, rules: Of the tags, in column order.
        step: Grid step [us].
        start, end: What is asked for, in microseconds; None where the samples shall say. Samples before `start` count
            as carried in: they say what held at `start`.
        spool: Takes the rows that are full, where samples arrive in order of time over all tags: then `advance` says
            how far they have come, and `close` and `strip` stand in place of `finish`.
    """

    def __init__(
        self, names: Sequence[str], rules: Sequence[Rule], step: int, start: int | None = None, end: int | None = None,
        spool: Spool | None = None,
    ) -> None:  # fmt: skip
        self.rules = tuple(rules)
        self._names, self._step, self._start, self._end = tuple(names), step, start, end
        self._spool, self._watermark = spool, np.iinfo(np.int64).min
        self._rules_C = compiled_rules(rules, step)
        self.tags_C = np.zeros(len(rules), dtype=STATE)
        self.tags_C["newest"] = np.iinfo(np.int64).min
        self.intervals_CB = np.zeros((len(rules), BINS), dtype=np.int64)
        self._late: list[Late] = []
        self._room = tag_loops.room_for(0)
        self._grid = self._empty(0, 0)
        self._first_time: int | None = None
        self._newest: int | None = None
        if start is not None and end is not None and spool is None:
            self._cover(start, end)

    def _empty(self, row: int, stop: int) -> Grid:
        count, aged = len(self.rules), sum(rule.aged for rule in self.rules)
        shape = (stop - row, count)
        return Grid(
            held_TC=np.zeros(shape),
            area_TC=np.zeros(shape),
            good_TC=np.zeros(shape, dtype=np.int64),
            age_TA=np.full((stop - row, aged), np.nan, dtype=np.float32),
            lo=self._lo(row),
            hi=self._hi(stop),
            step=self._step,
            row0=row,
        )

    def add(self, codes_N: np.ndarray, times_N: np.ndarray, values_N: np.ndarray, good_N: np.ndarray) -> None:
        """Samples in order of arrival, as `take`: column of each one's tag, time [us], value, whether it is good."""
        self.take(block_of(codes_N, times_N, values_N, good_N, len(self.rules)))

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
        if lo < self._watermark:
            raise HistorianError(
                f"A sample of {np.datetime64(lo, 'us')} UTC arrives after {np.datetime64(self._watermark, 'us')} UTC, "
                "although its historian promises all tags in order of time. Mend the connector."
            )
        self._first_time = lo if self._first_time is None else min(self._first_time, lo)
        self._newest = hi if self._newest is None else max(self._newest, hi)
        self._cover(lo, hi)
        if len(self._room.late.codes_N) < len(block.codes_N):
            self._room = tag_loops.room_for(len(block.codes_N))
        count, wrong, at = tag_loops.add_block(
            self._rules_C, self.tags_C, self.intervals_CB, block, int(worst), self._grid, self._room
        )
        if wrong >= 0:
            raise HistorianError(
                f"Tag {self._names[wrong]!r}: a sample of {np.datetime64(at, 'us')} UTC follows a later one. "
                "A historian must hand over each tag's samples in rising time order; sort them in its connector."
            )
        if count:
            self._late.append(Late(*(part[:count].copy() for part in self._room.late)))

    def finish(self, max_gap_C: np.ndarray) -> Cells:
        """The cells; nothing may be added afterwards.

        Args:
            max_gap_C: As `bridged` gives it, of these samples or of a larger record they belong to [us].
        """
        for late in self._late:
            kernels.fill_late(self._rules_C, max_gap_C, late, self._grid)
        for c, late in self._after_last(max_gap_C):
            self._fill(c, late, self._grid._replace(hi=int(late.times_N2[0, 1])))
        cells = self._settled(self._grid)
        self._grid = self._empty(0, 0)  # the areas are not needed any more
        rows = self._rows(cells)
        return cells.cut(rows.start - cells.first_row, rows.stop - cells.first_row)

    def advance(self, watermark: int) -> None:
        """No sample before `watermark` [us] that was asked for comes any more: rows that are full go to the spool."""
        watermark = watermark if self._end is None else min(watermark, self._end)
        self._watermark, grid = watermark, self._grid
        if self._spool is None or watermark // self._step - grid.row0 < self._spool.window:
            return
        rows = min(full_before(self._rules_C, self.tags_C, watermark, self._step) - grid.row0, len(grid.held_TC))
        if rows > 0:
            hold_until(self._rules_C, self.tags_C, (grid.row0 + rows) * self._step, grid)
            self._put_away(self._spool, rows)

    def close(self, max_gap_C: np.ndarray) -> int:
        """The last rows go to the spool; nothing may be added afterwards. Returns how many strips it holds."""
        assert self._spool is not None
        if self._first_time is None or self._newest is None:
            return 0
        end = self._end if self._end is not None else self._newest + 1
        self._cover(end - 1, end - 1)
        for c, late in self._after_last(max_gap_C):
            if self._rules_C[c]["max_gap"] == NO_BOUND and self._rules_C[c]["holds"]:
                self._fill(c, late, self._grid)  # what came before has been filled by `advance`
            else:
                self._late.append(late)
        rows = -(-end // self._step) - self._grid.row0
        if rows > 0:
            self._put_away(self._spool, rows)
        if self._late:
            late = Late(*(np.concatenate(parts) for parts in zip(*self._late, strict=True)))
            order = np.argsort(late.times_N2[:, 1], kind="stable")
            self._late = [Late(*(part[order] for part in late))]
        return len(self._spool)

    def strip(self, i: int, max_gap_C: np.ndarray) -> Cells:
        """Cells of strip i of the spool."""
        assert self._spool is not None
        grid = self._spool.get(i, self._step)
        if self._late:
            # They stand in the order of their ends, and none that is bridged is longer than the longest gap allowed.
            ends_N, longest = self._late[0].times_N2[:, 1], int(max_gap_C[max_gap_C < NO_BOUND].max(initial=0))
            at = slice(*np.searchsorted(ends_N, [grid.lo, grid.hi + longest], side="right"))
            kernels.fill_late(self._rules_C, max_gap_C, Late(*(part[at] for part in self._late[0])), grid)
        return self._settled(grid)

    def _put_away(self, spool: Spool, rows: int) -> None:
        """The first rows of the grid go to the spool, and the others move up."""
        spool.put(self._grid, rows)
        for part, empty in zip(self._grid[:4], (0.0, 0.0, 0, np.nan), strict=True):
            keep = len(part) - rows
            part[:keep] = part[rows:]
            part[keep:] = empty
        row = self._grid.row0 + rows
        stop = row + len(self._grid.held_TC)
        self._grid = self._grid._replace(row0=row, lo=self._lo(row), hi=self._hi(stop))

    def _lo(self, row: int) -> int:
        return row * self._step if self._start is None else max(self._start, row * self._step)

    def _hi(self, stop: int) -> int:
        return stop * self._step if self._end is None else min(self._end, stop * self._step)

    def _settled(self, grid: Grid) -> Cells:
        fraction_TC = np.empty(grid.held_TC.shape, dtype=np.float32)
        starts_C = np.array([rule.low if np.isfinite(rule.low) else 0.0 for rule in self.rules])
        settle(self._rules_C, starts_C, grid, fraction_TC)
        return Cells(values=grid.held_TC, good_fraction=fraction_TC, ages=grid.age_TA, first_row=grid.row0)

    def _fill(self, c: int, late: Late, grid: Grid) -> None:
        (t0, t1), (v0, v1) = late.times_N2[0].tolist(), late.values_N2[0].tolist()
        kernels.fill(self._rules_C[c], c, t0, v0, t1, v1, grid)

    def _after_last(self, max_gap_C: np.ndarray) -> Iterator[tuple[int, Late]]:
        """What is known after the last sample of each tag, as a segment of its own."""
        for c in np.flatnonzero(self.tags_C["now"] == GOOD).tolist():
            found = self._extended(c, int(max_gap_C[c]))
            if found is not None:
                times, values = found
                yield c, Late(np.array([c]), np.array([times]), np.array([values]))

    def _extended(self, c: int, max_gap: int) -> tuple[tuple[int, int], tuple[float, float]] | None:
        """Times and values from a tag's last sample, which was good, to as far as it tells."""
        rule, tag = self.rules[c], self.tags_C[c]
        how, end = rule.after_last, self._end if self._end is not None else self._newest
        since = int(tag["time"])
        if how is Beyond.NOTHING or end is None:
            return None
        if rule.hold is not None:
            end = min(end, since + round(rule.hold * 1e6))
        if since >= end or end - since > max_gap:
            return None
        value = float(tag["rate"] if rule.gain else tag["value"])
        slope = 0.0
        if how is Beyond.SLOPE and tag["time_before"]:
            slope = (value - float(tag["value_before"])) / (since - int(tag["time_before"]))
        return None if math.isnan(value) else ((since, end), (value, value + slope * (end - since)))

    def bridged(self, intervals_CB: np.ndarray) -> np.ndarray:
        """Longest bridged interval per tag, [C] [us], where tags without one go by their intervals [C, bins]."""
        return longest_bridged(self._rules_C, intervals_CB)

    def _rows(self, cells: Cells) -> range:
        """Rows asked for, or where that is open, those that hold samples."""
        first = self._start if self._start is not None else self._first_time
        last = self._end if self._end is not None else self._newest
        if first is None or last is None or last < first:
            return range(cells.first_row, cells.first_row)
        return range(first // self._step, -(-last // self._step) if self._end is not None else last // self._step + 1)

    def _cover(self, first: int, last: int) -> None:
        """Make the grid hold [first, last] as far as it is asked for; grows by half to keep copies rare."""
        first, last = self._asked(first, last)
        if last < first:
            return  # all before the start: carried in, no row needed yet
        row, stop = first // self._step, -(-last // self._step) if self._end is not None else last // self._step + 1
        have, size = self._grid.row0, len(self._grid.held_TC)
        if size and have <= row and stop <= have + size:
            return
        if self._spool is not None:
            row, stop = (have, stop) if size else (row, max(stop, row + 2 * self._spool.window))
        elif size:
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

    def _asked(self, first: int, last: int) -> tuple[int, int]:
        """What rows are needed for: with a spool those samples, otherwise all that is asked for, where that is told."""
        if self._spool is None:
            return first if self._start is None else self._start, last if self._end is None else self._end
        first = first if self._start is None else max(first, self._start)
        return first, last if self._end is None else min(last + 1, self._end)
