"""Files of labels: laboratory results, events with a beginning and an end, and alarm journals, as CSV or Parquet.

What was written down becomes stamped margins; positive is safe. A label belongs to the time of the process: when the
sample was drawn, and not when its result came; when an event began, and not when somebody ended it.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from procmodel.errors import LabelError, PlantFileError
from procmodel.plant.units import parse_duration

_ON = ("1", "true", "yes", "on", "active", "alm")
_OFF = ("0", "false", "no", "off", "inactive", "normal", "rtn")


@dataclass(frozen=True, kw_only=True)
class Stamped:
    """One label: its time (aware, UTC), its margin, and whether it was drawn between events and written by nobody."""

    time: datetime
    margin: float
    drawn: bool = False


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened; or, `margin` positive, a time in which it did not. `end` None: it still lasts."""

    start: datetime
    end: datetime | None
    margin: float = -1.0


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the file: its cells by column, and where it stands, for messages."""

    where: str
    cells: Mapping[str, Any]

    def text(self, column: str) -> str:
        value = self.cells.get(column)
        return "" if value is None else str(value).strip()


def stamped_of(who: str, path: Path, *, apart: float, timezone: str | None) -> list[Stamped]:
    """Labels of a file, in order of time; by its columns it holds results, events or an alarm journal.

    Raises:
        LabelError: The file, a column or a cell cannot be read.
    """
    columns, rows = (_parquet if path.suffix.lower() in (".parquet", ".pq") else _csv)(who, path)
    zone = ZoneInfo(timezone) if timezone else None
    if {"start", "end"} <= set(columns):
        found = labels_of_events(_events(rows, zone), apart)
    elif {"time", "alarm"} <= set(columns):
        found = labels_of_events(_alarms(rows, zone), apart)
    else:
        found = list(_results(who, columns, rows, zone))
    return sorted(found, key=lambda each: each.time)


def labels_of_events(events: Sequence[Event], apart: float) -> list[Stamped]:
    """One label where each event began; safe ones as written, or, where none is, halfway between events.

    Events less than `apart` seconds from the last one's end are the same event: an alarm that chatters is one alarm.
    """
    happened: list[Event] = []
    for event in sorted((e for e in events if e.margin < 0), key=lambda e: e.start):
        last = happened[-1] if happened else None
        if last is None or (last.end is not None and (event.start - last.end).total_seconds() >= apart):
            happened.append(event)
        elif last.end is not None:
            ends = None if event.end is None else max(last.end, event.end)
            happened[-1] = Event(start=last.start, end=ends)
    found = [Stamped(time=event.start, margin=-1.0) for event in happened]
    quiet = [event for event in events if event.margin > 0]
    found += [Stamped(time=_middle(e.start, e.end), margin=1.0) for e in quiet if e.end is not None]
    if not quiet:
        pauses = [(a.end, b.start) for a, b in pairwise(happened) if a.end is not None]
        found += [Stamped(time=_middle(end, start), margin=1.0, drawn=True) for end, start in pauses]
    return found


def _middle(start: datetime, end: datetime) -> datetime:
    return start + (end - start) / 2


def _events(rows: Sequence[Row], zone: ZoneInfo | None) -> list[Event]:
    events = []
    for row in rows:
        start = _time(row, "start", zone)
        end = _time(row, "end", zone) if row.text("end") else None
        margin = _told(row, "event") if row.text("event") else -1.0
        if end is not None and end < start:
            raise LabelError(f"{row.where}: it ends before it starts ({row.text('end')}). Correct the line.")
        if end is None and margin > 0:
            raise LabelError(f"{row.where}: a time in which nothing happened needs its end. Give one.")
        events.append(Event(start=start, end=end, margin=margin))
    return events


def _alarms(rows: Sequence[Row], zone: ZoneInfo | None) -> list[Event]:
    """From the messages of one alarm: it comes, it goes. One that comes again while it stands is the same."""
    messages = sorted(((_time(row, "time", zone), _told(row, "alarm")) for row in rows), key=lambda each: each[0])
    events, since = list[Event](), None
    for time, margin in messages:
        if margin < 0 and since is None:
            since = time
        elif margin > 0 and since is not None:
            events.append(Event(start=since, end=time))
            since = None
    return events if since is None else [*events, Event(start=since, end=None)]


def _results(who: str, columns: Sequence[str], rows: Sequence[Row], zone: ZoneInfo | None) -> Iterator[Stamped]:
    told = "event" if "event" in columns and "margin" not in columns else "margin"
    stamp = "sampled" if "sampled" in columns else "time"
    if missing := [name for name in (stamp, told) if name not in columns]:
        raise LabelError(
            f"{who} has the columns {', '.join(columns) or 'none'} and lacks {' and '.join(missing)}. "
            "Its first line must name `time` and `margin`, with commas between (events: `start` and `end`; "
            "an alarm journal: `time` and `alarm`)."
        )
    if stamp == "sampled" and "delay" in columns:
        raise LabelError(f"{who} has both `sampled` and `delay`. Keep the one that says when the sample was drawn.")
    for row in rows:
        time = _time(row, stamp, zone)
        if stamp == "sampled" and row.text("time") and _time(row, "time", zone) < time:
            raise LabelError(
                f"{row.where}: sampled {row.text('sampled')} is after its result, time {row.text('time')}. "
                "Correct the line, or swap the two columns."
            )
        delay = _delay(row) if row.text("delay") else 0.0
        yield Stamped(time=time - timedelta(seconds=delay), margin=(_told if told == "event" else _margin)(row, told))


def _time(row: Row, column: str, zone: ZoneInfo | None) -> datetime:
    value = row.cells.get(column)
    text = row.text(column)
    try:
        stamp = value if isinstance(value, datetime) else datetime.fromisoformat(text)
    except ValueError:
        raise LabelError(
            f"{row.where}: {column} {text!r} is not an ISO 8601 stamp. Write it as 2024-03-05T14:30:00+01:00."
        ) from None
    if stamp.tzinfo is not None:
        return stamp.astimezone(UTC)
    if zone is None:
        raise LabelError(
            f"{row.where}: {column} {text!r} has no zone. Add its offset, such as {text}+01:00 or {text}Z, or give "
            "`history.timezone` in the plant file."
        )
    early, late = (stamp.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if early.utcoffset() != late.utcoffset():
        back = (early.utcoffset() or timedelta()) > (late.utcoffset() or timedelta())
        what = "comes twice" if back else "does not exist"
        raise LabelError(
            f"{row.where}: {column} {text!r} {what} in {zone.key}, where the clock was changed. Add its offset."
        )
    return early.astimezone(UTC)


def _told(row: Row, column: str) -> float:
    """-1 where it happened, 1 where not."""
    text = row.text(column)
    word = text.lower().removesuffix(".0")
    if word in _ON or word in _OFF:
        return -1.0 if word in _ON else 1.0
    raise LabelError(
        f"{row.where}: {column} {text!r} is neither 1 (it happened) nor 0. Correct it, or take the line out."
    )


def _margin(row: Row, column: str) -> float:
    try:
        margin = float(row.text(column))
    except ValueError:
        margin = math.nan
    if not math.isfinite(margin):
        raise LabelError(f"{row.where}: margin {row.text(column)!r} is not a number. Correct it, or take the line out.")
    return margin


def _delay(row: Row) -> float:
    try:
        return parse_duration(row.text("delay"))
    except PlantFileError:
        raise LabelError(
            f"{row.where}: delay {row.text('delay')!r} is no duration with its unit, such as 45 min."
        ) from None


def _csv(who: str, path: Path) -> tuple[list[str], list[Row]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise _unread(who, error) from None
    except UnicodeDecodeError:
        raise LabelError(f"{who} is not UTF-8 text. Save it as CSV in UTF-8, or as Parquet.") from None
    reader = csv.DictReader(text.splitlines())
    columns = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = columns
    return columns, [Row(where=f"{who}, line {reader.line_num}", cells=cells) for cells in reader]


def _parquet(who: str, path: Path) -> tuple[list[str], list[Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(path.read_bytes()))
    except OSError as error:
        raise _unread(who, error) from None
    except pa.ArrowInvalid as error:
        raise LabelError(f"{who} is no Parquet file ({error}). Save it anew.") from None
    for place, field in enumerate(table.schema):  # Python's stamps end at microseconds
        if pa.types.is_timestamp(field.type):
            coarse = table.column(place).cast(pa.timestamp("us", tz=field.type.tz), safe=False)
            table = table.set_column(place, field.name, coarse)
    rows = [Row(where=f"{who}, row {number}", cells=cells) for number, cells in enumerate(table.to_pylist(), start=1)]
    return table.column_names, rows


def _unread(who: str, error: OSError) -> LabelError:
    return LabelError(
        f"{who} cannot be read ({error.strerror or error}). Correct `labels` in the plant file; a relative path "
        "starts at its folder."
    )
