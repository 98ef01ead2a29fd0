"""Samples: what every historian hands over, as Arrow batches that share one schema."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Protocol

import pyarrow as pa

from procmodel.errors import HistorianError

SCHEMA = pa.schema(
    [
        ("tag", pa.dictionary(pa.int32(), pa.string())),
        ("time", pa.timestamp("us", tz="UTC")),
        ("value", pa.float64()),  # null where the source holds no number
        ("status", pa.int64()),  # the source's own code, undecoded
        ("quality", pa.int8()),  # Quality
        ("state", pa.string()),  # digital or system state, null for plain numbers
    ]
)


class Quality(IntEnum):
    """What a source says of a sample, decoded once; the raw status stays beside it."""

    GOOD = 0
    UNCERTAIN = 1
    BAD = 2


@dataclass(frozen=True, kw_only=True)
class TagInfo:
    """What a historian knows of one of its tags."""

    name: str
    unit: str = ""
    description: str = ""
    low: float | None = None
    high: float | None = None
    step: bool | None = None
    states: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Query:
    """What is asked of a historian: `[start, end)`, both aware; None is open.

    Attributes:
        carry_in: Also hand over the last sample before `start`, so that a held value is known at `start`.
    """

    tags: tuple[str, ...]
    start: datetime | None = None
    end: datetime | None = None
    carry_in: bool = True

    def __post_init__(self) -> None:
        for name, stamp in (("start", self.start), ("end", self.end)):
            if stamp is not None and stamp.tzinfo is None:
                raise HistorianError(
                    f"{name}={stamp.isoformat()} has no time zone. Write it with one, such as {stamp.isoformat()}Z."
                )
        if self.start and self.end and self.start >= self.end:
            raise HistorianError(f"start={self.start.isoformat()} must be before end={self.end.isoformat()}.")


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """A stretch of the record that belongs together: a test run, a file, a batch. `[start, end)`."""

    name: str
    start: datetime
    end: datetime


@dataclass(kw_only=True)
class ReadReport:
    """What a read met; nothing is dropped without being counted here.

    Attributes:
        gaps: How often a tag's record goes from a usable sample to a bad one.
        pages: Answers of a server; what came from the cache took none.
        retries: Requests that were sent again, since the server could not answer.
    """

    rows: int = 0
    bad: int = 0
    uncertain: int = 0
    gaps: int = 0
    pages: int = 0
    retries: int = 0
    duplicates: int = 0
    unsorted: int = 0
    out_of_range: int = 0
    ambiguous_times: int = 0
    missing_times: int = 0
    words: dict[str, int] = field(default_factory=dict)  # non-numeric cells, by word
    units: dict[str, str] = field(default_factory=dict)  # by tag, as the source writes them
    sources: dict[str, str] = field(default_factory=dict)  # file or server -> SHA-256 or version
    first: datetime | None = None
    last: datetime | None = None
    notes: list[str] = field(default_factory=list)


class Historian(Protocol):
    """A source of recorded signals. Reading is all it can do.

    One that hands over all tags together in rising order of time may say so by an attribute `in_time_order`; its record
    is then conditioned without being held in memory.
    """

    report: ReadReport

    def search(self, pattern: str = "*") -> Iterator[TagInfo]:
        """Tags whose name matches a shell pattern."""
        ...

    def read(self, query: Query) -> Iterator[pa.RecordBatch]:
        """Samples of the query in `SCHEMA`, each tag's in rising time order; `report` is filled on the way."""
        ...

    def latest(self, tags: Sequence[str]) -> pa.RecordBatch:
        """The newest sample of each tag."""
        ...

    def campaigns(self) -> Sequence[Campaign]:
        """Named stretches of the record, in order of time; empty where it is one."""
        ...


class Live(Protocol):
    """A source of signals that is followed as things happen.

    One that can hand over what happened while nobody followed it may say so by an attribute `bridges`; it is then made
    with `since`, the newest known stamp of each tag.
    """

    report: ReadReport

    def samples(self) -> Iterator[pa.RecordBatch]:
        """Samples in `SCHEMA` as they come, each tag's in rising time order unless it says otherwise."""
        ...

    def close(self) -> None:
        """Ends `samples` once what has come is handed over; may be called from another thread."""
        ...


def utc_now() -> datetime:
    """Now, aware."""
    return datetime.now(UTC)
