"""Labels of a constraint head: a few stamped margins from the laboratory or the log book, matched to grid rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import repeat
from pathlib import Path

import numpy as np

from procmodel.constraints.blocks import Blocks
from procmodel.constraints.label_files import stamped_of
from procmodel.data.dataset import Dataset, Stretch
from procmodel.errors import LabelError
from procmodel.plant.words import many


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Labelled margins in order of time.

    Attributes:
        times: Aware, UTC.
        margins: [N] positive is safe [unit of the constraint].
        source: File they were read from, for messages.
        drawn: [N] which of them nobody wrote down: safe ones halfway between two events.
    """

    times: tuple[datetime, ...]
    margins: np.ndarray
    source: str
    drawn: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))

    def __post_init__(self) -> None:
        if not len(self.drawn):
            object.__setattr__(self, "drawn", np.zeros(len(self.times), dtype=bool))

    def __len__(self) -> int:
        return len(self.times)


def read_labels(path: Path, *, constraint: str, apart: float = 0.0, timezone: str | None = None) -> Labels:
    """Read labels from CSV or Parquet; what they are is told by the columns, and others are left alone.

    - `time` and `margin`, or `event` (1 where the thing happened, which is a margin of -1, else 0, which is +1). A
      laboratory's result belongs to the time of its sample: give that as `sampled`, or how much later the result is
      stamped as `delay` ("45 min").
    - `start` and `end` of events, an empty end where it still lasts; with `event` 0 in lines of times in which nothing
      happened.
    - `time` and `alarm`: a journal of one alarm, 1 (on, active) when it comes and 0 (off, rtn) when it goes.

    Args:
        apart: Events with a shorter pause between them are one [s].
        timezone: Of stamps that carry no offset; None: they are an error.

    Raises:
        LabelError: File or column missing, a stamp without zone, a margin that is not a number, no rows.
    """
    who = f"Constraint {constraint!r}: labels {path}"
    found = stamped_of(who, path, apart=apart, timezone=timezone)
    if not found:
        raise LabelError(f"{who} holds no rows. Give one line `time,margin` per labelled sample.")
    return Labels(
        times=tuple(each.time for each in found),
        margins=np.array([each.margin for each in found], dtype=np.float64),
        source=str(path),
        drawn=np.array([each.drawn for each in found]),
    )


def within(labels: Labels, dataset: Dataset) -> Labels:
    """Without those labels that nobody wrote down, drawn between events, where the record has no row."""
    kept_N = ~labels.drawn | (_rows_of(labels, dataset) >= 0)
    times = tuple(time for time, kept in zip(labels.times, kept_N, strict=True) if kept)
    return replace(labels, times=times, margins=labels.margins[kept_N], drawn=labels.drawn[kept_N])


def match_rows(labels: Labels, dataset: Dataset, *, constraint: str) -> np.ndarray:
    """Grid row of each label, [N].

    The latent of row t is the state at the row's end, so a label at time x belongs to the row that contains x or ends
    at x: the state is at most one grid step younger than the label and never older.

    Raises:
        LabelError: A label lies outside every stretch of the record.
    """
    rows_N = _rows_of(labels, dataset)
    outside = np.flatnonzero(rows_N < 0)
    if outside.size:
        first = labels.times[outside[0]].isoformat()
        which = f"the label of {first} in {labels.source} lies"
        if len(outside) > 1:
            which = f"{len(outside)} of {len(labels)} labels in {labels.source}, the first of {first}, lie"
        raise LabelError(
            f"Constraint {constraint!r}: {which} outside the record ({_span(dataset)}). "
            f"Take {many(len(outside), 'line')} out, or ingest the history around."
        )
    return rows_N


def _rows_of(labels: Labels, dataset: Dataset) -> np.ndarray:
    """Grid row of each label, [N]; -1 outside."""
    begins = [_began(dataset, stretch) for stretch in dataset.stretches]
    return np.array(
        [
            next((r for r in map(_row_of, dataset.stretches, begins, repeat(time), repeat(dataset.step)) if r >= 0), -1)
            for time in labels.times
        ],
        dtype=np.int64,
    )


def _began(dataset: Dataset, stretch: Stretch) -> datetime:
    """Time at which a stretch begins: campaigns that lie apart in time have no rows between them."""
    return stretch.began or dataset.start + timedelta(seconds=stretch.start * dataset.step)


def _row_of(stretch: Stretch, began: datetime, time: datetime, step: float) -> int:
    """Row of a stretch that contains `time` or ends at it; -1 where it lies outside."""
    # Rounded to a millionth of a row: 0.1 s steps are no binary fractions, and a stamp on the edge stays on it.
    row = math.ceil(round((time - began).total_seconds() / step, 6)) - 1
    return stretch.start + row if 0 <= row < stretch.rows else -1


def _span(dataset: Dataset) -> str:
    """First and last instant of the record, and how many stretches it has, in words."""
    first, last = dataset.stretches[0], dataset.stretches[-1]
    ended = _began(dataset, last) + timedelta(seconds=last.rows * dataset.step)
    count = len(dataset.stretches)
    return f"{_began(dataset, first).isoformat()} to {ended.isoformat()}" + (
        f" in {count} stretches" if count > 1 else ""
    )


def label_blocks(rows_N: np.ndarray, dataset: Dataset, *, gap: int) -> Blocks:
    """Where each label lies: its stretch, and which others of that are closer than `gap` rows. `rows_N` rises."""
    starts = np.array([stretch.start for stretch in dataset.stretches])
    stretch_N = np.searchsorted(starts, rows_N, side="right") - 1
    new_N = np.ones(len(rows_N), dtype=bool)
    new_N[1:] = (np.diff(rows_N) >= gap) | (np.diff(stretch_N) != 0)
    return Blocks(campaign_N=stretch_N, near_N=np.cumsum(new_N) - 1)
