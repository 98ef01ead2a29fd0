"""What a driver is: how one server answers one small question. All the rest is done once, in `connectors.server`.

To add a source, write a class with the attributes and methods of `Driver`, and beside it

    class MyHistorian(ServerHistorian):
        def __init__(self, history: History, tags: Mapping[str, Tag]) -> None:
            options = checked_options(MyOptions, history.options)   # MyOptions(ServerOptions): its own settings
            super().__init__(MyDriver(...), tags, options)

The wrapper asks from several threads at once, tries again after a `TransientError`, asks for a shorter range after a
`TooLargeError`, goes from page to page, caches, converts units, and counts all of it in the report.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import polars as pl

from connectors.frames import EMPTY, SAMPLES
from connectors.stamps import Mark
from procmodel.data.samples import Quality, TagInfo
from procmodel.errors import HistorianError

# Columns of a page, with their types; `mark` is a `connectors.stamps.Mark`.
FRAME = {name: SAMPLES[name] for name in ("time", "value", "status", "quality", "state", "mark")}


class TransientError(HistorianError):
    """The server could not answer just now: worth asking again.

    Args:
        after: How long the server asks to be left alone (`Retry-After`) [s].
    """

    def __init__(self, message: str, *, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class TooLargeError(HistorianError):
    """The server refuses the range as too large: worth asking for half of it."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """One answer.

    Attributes:
        samples: Columns as in `FRAME`, best made by `page_frame`. Their order and what lies outside the range do not
            matter; what does: between the range's start and the last of them, none is left out.
        more: The range may hold more after the last of these, since the page is full.
    """

    samples: pl.DataFrame
    more: bool


class Driver(Protocol):
    """One source. Its methods are called from several threads at once.

    Attributes:
        place: Names it in messages and in the dataset's manifest, as "postgresql://host/db table raw". No credentials.
        identity: `place` and whatever else decides what its samples say (columns, meaning of qualities, zone); what
            is cached belongs to it.
        page_rows: Samples in a page, unless the plant file says otherwise.
        most_rows: Samples in the largest page that the server gives.
    """

    place: str
    identity: str
    page_rows: int
    most_rows: int

    def search(self, pattern: str) -> Iterator[TagInfo]:
        """Its tags, by their names there. The pattern may be used to ask for fewer; the wrapper applies it anyway."""
        ...

    def page(self, tag: str, start: datetime, end: datetime, limit: int) -> Page:
        """The first `limit` samples of a tag in `[start, end)`, or all where there are fewer; bad ones too.

        A sample at `start` itself is part of it. A tag that the source does not know has no samples.
        """
        ...

    def newest(self, tag: str, before: datetime | None) -> datetime | None:
        """Time of the newest sample before a moment (None: of all); None where there is none, or no such tag."""
        ...

    def close(self) -> None:
        """Free what it holds, as connections; it may be asked again afterwards."""
        ...


def page_frame(
    time: Any,
    value: Any,
    *,
    status: Any = None,
    quality: Any = None,
    state: Any = None,
) -> pl.DataFrame:
    """Columns of equal length (lists, Arrow or polars) as `FRAME`.

    A sample without a number is bad, whatever its quality says; NaN and infinity are no numbers.

    Args:
        time: Aware stamps, or datetime64 in UTC.
        value: Numbers; None where the source holds none.
        status: The source's own codes.
        quality: `Quality` of each; absent: good.
        state: Digital or system states; None for plain numbers.
    """
    given: dict[str, Any] = {"time": time, "value": value, "status": status, "quality": quality, "state": state}
    rows = len(value)
    columns = [
        pl.Series(name, [None] * rows if cells is None else cells, dtype=FRAME[name])
        if cells is None or isinstance(cells, list | tuple)
        else pl.Series(name, cells).cast(FRAME[name])
        for name, cells in given.items()
    ]
    frame = pl.DataFrame(columns).with_columns(
        quality=pl.col("quality").fill_null(int(Quality.GOOD)), mark=pl.lit(int(Mark.PLAIN), pl.UInt8)
    )
    number = pl.col("value").is_finite().fill_null(False)
    return frame.with_columns(
        state=pl.when(number | pl.col("state").is_not_null())
        .then(pl.col("state"))
        .when(pl.col("value").is_null())
        .then(pl.lit(EMPTY))
        .otherwise(pl.col("value").cast(pl.String)),
        quality=pl.when(number).then(pl.col("quality")).otherwise(pl.lit(int(Quality.BAD), pl.Int8)),
        value=pl.when(number).then(pl.col("value")),
    ).select(*FRAME)


def empty_frame() -> pl.DataFrame:
    """A page without samples."""
    return pl.DataFrame(schema=FRAME)


def joined(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Frames of pages, one below the other."""
    return pl.concat(frames) if frames else empty_frame()
