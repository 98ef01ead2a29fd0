"""Labels of a constraint head: a few stamped margins from the laboratory or the log book, matched to grid rows."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import repeat
from pathlib import Path

import numpy as np

from procmodel.constraints.blocks import Blocks
from procmodel.data.dataset import Dataset, Stretch
from procmodel.errors import LabelError


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Labelled margins in order of time.

    Attributes:
        times: Aware, UTC.
        margins: [N] positive is safe [unit of the constraint].
        source: File they were read from, for messages.
    """

    times: tuple[datetime, ...]
    margins: np.ndarray
    source: str

    def __len__(self) -> int:
        return len(self.times)


def read_labels(path: Path, *, constraint: str) -> Labels:
    """Read a CSV with the columns `time` (ISO 8601 with its offset) and `margin`; other columns are left alone.

    In place of `margin` there may be `event`: 1 where the thing happened, which is a margin of -1, else 0, which is +1.

    Raises:
        LabelError: File or column missing, a stamp without zone, a margin that is not a number, no rows.
    """
    who = f"Constraint {constraint!r}: labels {path}"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise LabelError(
            f"{who} cannot be read ({error.strerror or error}). Correct `labels` in the plant file; a relative path "
            "starts at its folder."
        ) from None
    except UnicodeDecodeError:
        raise LabelError(f"{who} is not UTF-8 text. Save it as CSV in UTF-8.") from None
    pairs = sorted(_rows(who, text), key=lambda pair: pair[0])
    if not pairs:
        raise LabelError(f"{who} holds no rows. Give one line `time,margin` per labelled sample.")
    return Labels(
        times=tuple(time for time, _ in pairs),
        margins=np.array([margin for _, margin in pairs], dtype=np.float64),
        source=str(path),
    )


def _rows(who: str, text: str) -> Iterator[tuple[datetime, float]]:
    reader = csv.DictReader(text.splitlines())
    got = [name.strip() for name in reader.fieldnames or ()]
    told = "event" if "event" in got and "margin" not in got else "margin"
    missing = [name for name in ("time", told) if name not in got]
    if missing:
        raise LabelError(
            f"{who} has the columns {', '.join(got) or 'none'} and lacks {' and '.join(missing)}. "
            "Its first line must name `time` and `margin`, with commas between."
        )
    reader.fieldnames = got
    for row in reader:
        where = f"{who}, line {reader.line_num}"
        value = (row[told] or "").strip()
        yield _time(where, (row["time"] or "").strip()), (_event if told == "event" else _margin)(where, value)


def _time(where: str, text: str) -> datetime:
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError:
        raise LabelError(
            f"{where}: time {text!r} is not an ISO 8601 stamp. Write it as 2024-03-05T14:30:00+01:00."
        ) from None
    if stamp.tzinfo is None:
        raise LabelError(f"{where}: time {text!r} has no zone. Add its offset, such as {text}+01:00 or {text}Z.")
    return stamp.astimezone(UTC)


def _event(where: str, text: str) -> float:
    known = {"1": -1.0, "true": -1.0, "yes": -1.0, "0": 1.0, "false": 1.0, "no": 1.0}
    if text.lower() not in known:
        raise LabelError(f"{where}: event {text!r} is neither 1 (it happened) nor 0. Correct it, or take the line out.")
    return known[text.lower()]


def _margin(where: str, text: str) -> float:
    try:
        margin = float(text)
    except ValueError:
        margin = math.nan
    if not math.isfinite(margin):
        raise LabelError(f"{where}: margin {text!r} is not a number. Correct it, or take the line out.")
    return margin


def match_rows(labels: Labels, dataset: Dataset, *, constraint: str) -> np.ndarray:
    """Grid row of each label, [N].

    The latent of row t is the state at the row's end, so a label at time x belongs to the row that contains x or ends
    at x: the state is at most one grid step younger than the label and never older.

    Raises:
        LabelError: A label lies outside every stretch of the record.
    """
    begins = [_began(dataset, stretch) for stretch in dataset.stretches]
    rows = []
    for time in labels.times:
        row = next(
            (r for r in map(_row_of, dataset.stretches, begins, repeat(time), repeat(dataset.step)) if r >= 0), -1
        )
        if row < 0:
            raise LabelError(
                f"Constraint {constraint!r}: the label of {time.isoformat()} in {labels.source} lies outside the "
                f"record ({_span(dataset)}). Take the line out, or ingest the history around it."
            )
        rows.append(row)
    return np.array(rows, dtype=np.int64)


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
