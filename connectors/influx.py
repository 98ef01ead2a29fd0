"""InfluxDB 1.x, asked in InfluxQL: a tag of the plant is a field of a measurement, told apart by one tag of theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from connectors.cells import numbers
from connectors.driver import Page, empty_frame, page_frame
from connectors.http_client import WebClient, WebOptions
from connectors.live_samples import moment
from connectors.options import TableOptions
from connectors.server import ServerHistorian
from connectors.stamps import EPOCH
from procmodel.data.samples import TagInfo
from procmodel.errors import HistorianError
from procmodel.plant import History, Tag
from procmodel.plant.checks import checked_options

_TICK = timedelta(microseconds=1)


class InfluxOptions(WebOptions):
    """Where the samples are.

    Attributes:
        database: Its name.
        measurement: Its name.
        tag: Key of the tag whose value is the tag's name in the plant.
        field: The field that holds the value.
        policy: Retention policy; absent: the database's default.
    """

    database: str
    measurement: str
    tag: str = "tag"
    field: str = "value"
    policy: str | None = None


class InfluxHistorian(ServerHistorian):
    """InfluxDB as a historian.

    Args:
        history: `path` is its address, such as http://host:8086; options as in `InfluxOptions`.
        tags: The plant's tags.
    """

    def __init__(self, history: History, tags: Mapping[str, Tag]) -> None:
        options = checked_options(InfluxOptions, history.options)
        super().__init__(InfluxDriver(WebClient(history, options, token_word="Token"), options), tags, options)


class InfluxDriver:
    """One field of one measurement."""

    page_rows = 10_000  # what it sends at most unless max-row-limit says otherwise
    most_rows = 10_000

    def __init__(self, web: WebClient, options: InfluxOptions) -> None:
        names = [options.database, *([options.policy] if options.policy else []), options.measurement]
        self.place = f"{web.place} {'.'.join(names)}"
        self.identity = f"{self.place} {options.tag} {options.field}"
        self._web, self._options = web, options
        self._from = ".".join(map(_name, names[1:]))  # the database is named beside the query

    def search(self, pattern: str) -> Iterator[TagInfo]:
        """Values of the tag key; units and ranges are not in it."""
        asked = f"SHOW TAG VALUES FROM {_name(self._options.measurement)} WITH KEY = {_name(self._options.tag)}"
        found = [row[1] for row in self._rows(asked)]
        yield from (TagInfo(name=str(name)) for name in sorted(found))

    def page(self, tag: str, start: datetime, end: datetime, limit: int) -> Page:
        """The first points of a range. Stamps are nanoseconds there; what is finer than ours is cut off."""
        rows = self._rows(
            f"SELECT {_name(self._options.field)} FROM {self._from} WHERE {self._is(tag)} "
            f"AND time >= {_count(start)}000 AND time < {_count(end)}000 ORDER BY time ASC LIMIT {limit:d}"
        )
        if not rows:
            return Page(samples=empty_frame(), more=False)
        read = numbers(pl.Series([_text(row[1]) for row in rows], dtype=pl.String), TableOptions(), self.place)
        frame = page_frame([moment(int(row[0]) // 1000) for row in rows], read["value"].to_list(), state=read["word"])
        return Page(samples=frame, more=len(rows) >= limit)

    def newest(self, tag: str, before: datetime | None) -> datetime | None:
        """Time of the newest point before a moment."""
        until = "" if before is None else f" AND time < {_count(before)}000"
        rows = self._rows(
            f"SELECT {_name(self._options.field)} FROM {self._from} WHERE {self._is(tag)}{until} "
            "ORDER BY time DESC LIMIT 1"
        )
        return moment(int(rows[0][0]) // 1000) if rows else None

    def close(self) -> None:
        """Ends the connections."""
        self._web.close()

    def _is(self, tag: str) -> str:
        return f"{_name(self._options.tag)} = {_literal(tag)}"

    def _rows(self, query: str) -> list[list[Any]]:
        """What a query answers. It is sent as GET, with which InfluxDB does not write."""
        answer = self._web.get("/query", {"db": self._options.database, "epoch": "ns", "q": query})
        [result] = answer["results"]
        if said := result.get("error"):
            raise HistorianError(f"{self.place} refused: {said}. Correct history.options.")
        return [row for series in result.get("series", ()) for row in series["values"]]


def _name(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def _count(stamp: datetime) -> int:
    return (stamp - EPOCH) // _TICK


def _text(cell: Any) -> str | None:
    """A cell as text that reads back as the same number."""
    if cell is None:
        return None
    return str(int(cell)) if isinstance(cell, bool) else repr(cell) if isinstance(cell, float) else str(cell)
