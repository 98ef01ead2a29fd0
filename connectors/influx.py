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
from procmodel.plant.tag import Frozen

_TICK = timedelta(microseconds=1)


class AboutTags(Frozen):
    """Tags of theirs, beside each point, that tell of ours: their keys, by what they tell."""

    unit: str | None = None
    description: str | None = None
    low: str | None = None
    high: str | None = None


class InfluxOptions(WebOptions):
    """Where the samples are.

    Attributes:
        database: Its name.
        measurement: Its name.
        tag: Key of the tag whose value is the tag's name in the plant.
        field: The field that holds the value.
        policy: Retention policy; absent: the database's default.
        about: Where units and the like stand.
    """

    database: str
    measurement: str
    tag: str = "tag"
    field: str = "value"
    policy: str | None = None
    about: AboutTags | None = None


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
        """Values of the tag key, with what stands beside the newest point of each; text and truth step."""
        step = True if self._kinds() <= {"boolean", "string"} else None
        if self._options.about is None:
            asked = f"SHOW TAG VALUES FROM {_name(self._options.measurement)} WITH KEY = {_name(self._options.tag)}"
            yield from (TagInfo(name=str(name), step=step) for name in sorted(row[1] for row in self._rows(asked)))
            return
        keys = {told: key for told, key in self._options.about.model_dump().items() if key is not None}
        by = ", ".join(map(_name, dict.fromkeys([self._options.tag, *keys.values()])))
        found: dict[str, tuple[int, TagInfo]] = {}
        for series in self._series(f"SELECT LAST({_name(self._options.field)}) FROM {self._from} GROUP BY {by}"):
            beside, stamp = series["tags"], int(series["values"][0][0])
            name, told = beside[self._options.tag], {told: beside[key] for told, key in keys.items()}
            # A tag whose unit was written otherwise before has a series for each.
            if name and (name not in found or stamp > found[name][0]):
                found[name] = (
                    stamp,
                    TagInfo(
                        name=name,
                        unit=told.get("unit", ""),
                        description=told.get("description", ""),
                        low=_number(told.get("low"), self.place, "low"),
                        high=_number(told.get("high"), self.place, "high"),
                        step=step,
                    ),
                )
        yield from (info for _, (_, info) in sorted(found.items()))

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

    def _kinds(self) -> set[str]:
        """Types of the field: it may have another one in each shard; none where there is no such field."""
        rows = self._rows(f"SHOW FIELD KEYS FROM {_name(self._options.measurement)}")
        return {str(kind) for field, kind in rows if field == self._options.field} or {"unknown"}

    def _rows(self, query: str) -> list[list[Any]]:
        return [row for series in self._series(query) for row in series["values"]]

    def _series(self, query: str) -> list[dict[str, Any]]:
        """What a query answers. It is sent as GET, with which InfluxDB does not write."""
        answer = self._web.get("/query", {"db": self._options.database, "epoch": "ns", "q": query})
        [result] = answer["results"]
        if said := result.get("error"):
            raise HistorianError(f"{self.place} refused: {said}. Correct history.options.")
        return list(result.get("series", ()))


def _name(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def _number(text: str | None, place: str, end: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError as error:
        raise HistorianError(
            f"{place}: {text!r} is no number, and history.options.about.{end} needs one. Name another key."
        ) from error


def _count(stamp: datetime) -> int:
    return (stamp - EPOCH) // _TICK


def _text(cell: Any) -> str | None:
    """A cell as text that reads back as the same number."""
    if cell is None:
        return None
    return str(int(cell)) if isinstance(cell, bool) else repr(cell) if isinstance(cell, float) else str(cell)
