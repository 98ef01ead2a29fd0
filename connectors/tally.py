"""What a read meets on its way, tag by tag, and the read report made of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from connectors.samples import converted, deduplicated, not_before, span_of, stamped
from connectors.stamps import Mark
from procmodel.data.samples import Quality, ReadReport
from procmodel.plant import Tag
from procmodel.plant.words import many

_ROW = np.dtype([("time", "<i8"), ("value", "<f8"), ("status", "<i8"), ("quality", "<i8")])
_NO_NUMBER, _NO_CODE = float("nan"), -(2**62)  # for a digest only


@dataclass(kw_only=True)
class Tally:
    """One tag's part of a report, filled by the thread that reads the tag.

    Attributes:
        name: Of the tag in the plant.
        tag: What the plant knows of it; None: taken as it stands.
        start: Of the range asked for; samples before it are carried in.
        timezone: Of stamps that carry none, for messages.
        first, last: Of the range asked for, once there are any.
    """

    name: str
    tag: Tag | None
    start: datetime | None
    timezone: str | None = None
    counts: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    first: datetime | None = None
    last: datetime | None = None
    _rows: Any = field(default_factory=hashlib.sha256)
    _states: Any = field(default_factory=hashlib.sha256)
    _good: bool = False

    def take(self, frame: pl.DataFrame) -> pl.DataFrame:
        """What is handed over of the next samples: one per stamp, in the plant's unit. All else is counted."""
        marks = frame["mark"]
        for mark in (Mark.MISSING, Mark.EMPTY, Mark.AMBIGUOUS):
            self.counts[mark.name] += int((marks == int(mark)).sum())
        frame, exact, conflicting = deduplicated(stamped(frame))
        self.counts["duplicates"] += exact + conflicting
        self.counts["conflicting"] += conflicting
        self._digest(frame)
        frame = frame.with_columns(outside=pl.lit(False))
        if self.tag is not None:
            frame = converted(frame, self.tag)
        self._count(frame)
        return frame

    def digest(self) -> str:
        """SHA-256 of all samples as the source gave them, however they were cut into pages."""
        return hashlib.sha256(self._rows.digest() + self._states.digest()).hexdigest()

    def into(self, report: ReadReport) -> None:
        """Add all this to the report of the whole read."""
        counts = self.counts
        report.rows += counts["rows"]
        report.bad += counts["bad"]
        report.uncertain += counts["uncertain"]
        report.gaps += counts["gaps"]
        report.duplicates += counts["duplicates"]
        report.out_of_range += counts["out_of_range"]
        report.ambiguous_times += counts["AMBIGUOUS"]
        report.missing_times += counts["MISSING"]
        report.pages += counts["pages"]
        report.retries += counts["retries"]
        for word, count in self.words.most_common():
            report.words[word] = report.words.get(word, 0) + count
        if self.first is not None and self.last is not None:
            report.first = min(report.first or self.first, self.first)
            report.last = max(report.last or self.last, self.last)
        report.notes.extend(f"{self.name}: {note}" for note in [*self.notes, *self._left_out()])

    def _left_out(self) -> list[str]:
        counts = self.counts
        said = {
            f"{many(counts['MISSING'], 'sample')} left out, since their local time does not exist in "
            f"{self.timezone} (the hour that the spring clock change skips)": counts["MISSING"],
            f"{many(counts['EMPTY'], 'sample')} left out, since they have no time stamp": counts["EMPTY"],
            f"{many(counts['conflicting'], 'stamp')} held several values; the last one was kept": counts["conflicting"],
            f"{many(counts['AMBIGUOUS'], 'sample')} in the hour that the autumn clock change repeats": counts[
                "AMBIGUOUS"
            ],
        }
        return [note for note, count in said.items() if count]

    def _count(self, frame: pl.DataFrame) -> None:
        if frame.is_empty():
            return
        quality = frame["quality"].to_numpy()
        good = quality != int(Quality.BAD)
        self.counts["rows"] += frame.height
        self.counts["bad"] += int((~good).sum())
        self.counts["uncertain"] += int((quality == int(Quality.UNCERTAIN)).sum())
        self.counts["out_of_range"] += int(frame["outside"].sum())
        self.counts["gaps"] += int((np.concatenate([[self._good], good[:-1]]) & ~good).sum())
        self._good = bool(good[-1])
        if inside := span_of([frame["time"].filter(not_before(frame["time"], self.start))]):
            self.first, self.last = self.first or inside[0], inside[1]
        self.words.update(
            dict(frame.filter(pl.col("value").is_null())["state"].drop_nulls().value_counts(sort=True).iter_rows())
        )

    def _digest(self, frame: pl.DataFrame) -> None:
        """Row by row, so that it does not matter where the pages end."""
        rows = np.zeros(frame.height, dtype=_ROW)
        for name in _ROW.names or ():
            column = frame[name].cast(pl.Int64) if name == "time" else frame[name]
            rows[name] = column.fill_null(_NO_NUMBER if name == "value" else _NO_CODE).to_numpy()
        self._rows.update(rows.tobytes())
        spoken = frame.filter(pl.col("state").is_not_null())
        for time, state in zip(spoken["time"].cast(pl.Int64), spoken["state"], strict=True):
            self._states.update(f"{time} {len(state)} {state}".encode())
