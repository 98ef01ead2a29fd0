"""Ignition's tag history: `sqlth_te` names the tags, `sqlth_partitions` the tables that hold their samples by month."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from connectors.about import About, spoken
from connectors.credentials import Secret
from connectors.driver import Page, empty_frame, page_frame
from connectors.live_samples import microseconds, moment
from connectors.server import ServerHistorian
from connectors.sql_database import VALUE, Database, quoted
from connectors.sql_options import IgnitionOptions
from procmodel.data.samples import Quality, TagInfo
from procmodel.plant import History, Tag
from procmodel.plant.checks import checked_options

_FOREVER = 2**62
_SEVERITY = (Quality.GOOD, Quality.UNCERTAIN, Quality.BAD, Quality.BAD)
_OPC_DA = (Quality.BAD, Quality.UNCERTAIN, Quality.BAD, Quality.GOOD)


class IgnitionHistorian(ServerHistorian):
    """Ignition's tables as a historian.

    Args:
        history: `path` as in `connectors.sql_database.Database`, options as in `connectors.sql_options`.
        tags: The plant's tags.
    """

    def __init__(self, history: History, tags: Mapping[str, Tag]) -> None:
        options = checked_options(IgnitionOptions, history.options)
        database = Database(history, Secret.of(options.credentials), options.timeout)
        super().__init__(IgnitionDriver(database, options), tags, options)


@dataclass(frozen=True, kw_only=True)
class Partition:
    """A table of samples of one driver, by its times [ms]: `[start, end]`."""

    table: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Known:
    """A tag path: its ids (a new one with each change of type or group) and the tables of their drivers."""

    ids: tuple[int, ...]
    groups: tuple[tuple[Partition, ...], ...]  # in order of time; tables of one group overlap


def quality_of(code: int) -> Quality:
    """What `dataintegrity` says.

    Ignition 8 keeps the level in the top two bits; older codes are those of OPC DA, and above 255 its own, all bad.
    """
    if code < 0 or code >= 1 << 30:
        return _SEVERITY[code >> 30 & 0b11]
    return _OPC_DA[code >> 6 & 0b11] if code < 256 else Quality.BAD


class IgnitionDriver:
    """One database that Ignition writes its tag history to."""

    page_rows = 100_000
    most_rows = 2_000_000

    def __init__(self, database: Database, options: IgnitionOptions) -> None:
        self.place = f"{database.place} (Ignition{f', provider {options.provider}' if options.provider else ''})"
        self.identity = f"{self.place} {options.about.model_dump() if options.about else ''}".rstrip()
        self._database, self._provider = database, options.provider
        self._about = About(options.about, database.columns)
        self._lock = threading.Lock()
        self._known: dict[str, Known] = {}

    def search(self, pattern: str) -> Iterator[TagInfo]:
        """All tag paths, as Ignition writes them. Its tables tell that text and dates step, and no more."""
        asked = (
            f"SELECT te.tagpath AS tag, MAX(CASE WHEN te.datatype IN (2, 3) THEN 1 ELSE 0 END) AS step {self._tags()}"
        )
        found = self._database.rows(f"{asked} GROUP BY te.tagpath", self._of_provider()).drop_nulls("tag").sort("tag")
        yield from self._about.of(
            TagInfo(name=str(path), step=True if step else None) for path, step in found.iter_rows()
        )

    def page(self, tag: str, start: datetime, end: datetime, limit: int) -> Page:
        """The first samples of a range, group after group of tables."""
        known = self._look_up(tag)
        # Whole milliseconds, upward: from a microsecond on, the next one counts.
        since, until = (-(-microseconds(each) // 1000) for each in (start, end))
        frames: list[pl.DataFrame] = []
        left = limit
        for group in known.groups:
            inside = [each for each in group if each.start < until and each.end >= since]
            if not inside or left <= 0:
                continue
            found = self._rows(inside, known.ids, "t_stamp >= {0} AND t_stamp < {0}", (since, until), "", left)
            frames.append(found)
            left -= found.height
        if not frames:
            return Page(samples=empty_frame(), more=False)
        return Page(samples=_samples(pl.concat(frames), self._about.states(tag)), more=left <= 0)

    def newest(self, tag: str, before: datetime | None) -> datetime | None:
        """Time of the newest sample before a moment."""
        known = self._look_up(tag)
        until = _FOREVER if before is None else -(-microseconds(before) // 1000)
        for group in reversed(known.groups):
            inside = [each for each in group if each.start < until]
            found = self._rows(inside, known.ids, "t_stamp < {0}", (until,), " DESC", 1) if inside else None
            if found is not None and found.height:
                return moment(int(found["t_stamp"][0]) * 1000)
        return None

    def close(self) -> None:
        """Ends the connections; tags and tables are looked for again, since both change."""
        with self._lock:
            self._known = {}
        self._about.close()
        self._database.close()

    def _rows(
        self,
        tables: Sequence[Partition],
        ids: Sequence[int],
        condition: str,
        bounds: Sequence[int],
        order: str,
        limit: int,
    ) -> pl.DataFrame:
        """Rows of the tables that overlap in time, in order."""
        marks = ", ".join(VALUE for _ in ids)
        columns = "t_stamp, CAST(intvalue AS DOUBLE PRECISION) AS whole, CAST(floatvalue AS DOUBLE PRECISION) AS number"
        parts = [
            f"SELECT {columns}, stringvalue, dataintegrity FROM {quoted(each.table)} "
            f"WHERE tagid IN ({marks}) AND {condition.format(VALUE)}"
            for each in tables
        ]
        asked = f"{' UNION ALL '.join(parts)} ORDER BY t_stamp{order} LIMIT {limit:d}"
        found = self._database.rows(asked, [*ids, *bounds] * len(tables), limit=limit)
        return found.select(
            pl.col("t_stamp").cast(pl.Int64),
            value=pl.coalesce(pl.col("number").cast(pl.Float64), pl.col("whole").cast(pl.Float64)),
            state=pl.col("stringvalue").cast(pl.String),
            status=pl.col("dataintegrity").cast(pl.Int64),
        )

    def _look_up(self, tag: str) -> Known:
        with self._lock:
            if tag not in self._known:
                asked = f"SELECT te.id AS id, sc.drvid AS driver {self._tags()} AND LOWER(te.tagpath) = LOWER({VALUE})"
                found = self._database.rows(asked, (*self._of_provider(), tag))
                drivers = found["driver"].drop_nulls().unique().sort().to_list()
                self._known[tag] = Known(ids=tuple(found["id"].sort()), groups=self._groups(drivers))
            return self._known[tag]

    def _groups(self, drivers: Sequence[int]) -> tuple[tuple[Partition, ...], ...]:
        if not drivers:
            return ()
        marks = ", ".join(VALUE for _ in drivers)
        # A block size tells of samples that were made of others.
        asked = (
            "SELECT pname, start_time, end_time FROM sqlth_partitions "
            f"WHERE drvid IN ({marks}) AND COALESCE(blocksize, 0) = 0 ORDER BY start_time"
        )
        groups: list[list[Partition]] = []
        for name, start, end in self._database.rows(asked, drivers).iter_rows():
            part = Partition(table=name, start=int(start or 0), end=int(end) if end and end > 0 else _FOREVER)
            if groups and part.start <= max(each.end for each in groups[-1]):
                groups[-1].append(part)
            else:
                groups.append([part])
        return tuple(tuple(group) for group in groups)

    def _tags(self) -> str:
        """Where tags stand, with the group that each belongs to, of one provider or all."""
        tables = "FROM sqlth_te te JOIN sqlth_scinfo sc ON te.scid = sc.id"
        if self._provider is None:
            return f"{tables} WHERE te.tagpath IS NOT NULL"
        return f"{tables} JOIN sqlth_drv drv ON sc.drvid = drv.id WHERE LOWER(drv.provider) = LOWER({VALUE})"

    def _of_provider(self) -> tuple[Any, ...]:
        return () if self._provider is None else (self._provider,)


def _samples(found: pl.DataFrame, states: Mapping[int, str]) -> pl.DataFrame:
    value, state = spoken(found["value"], found["state"], states)
    codes = found["status"].fill_null(0)
    meaning = {code: int(quality_of(code)) for code in codes.unique()}
    return page_frame(
        (found["t_stamp"] * 1000).cast(pl.Datetime("us", "UTC")),
        value,
        status=found["status"],
        quality=codes.replace_strict(meaning, return_dtype=pl.Int8),
        state=state,
    )
