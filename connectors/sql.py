"""A table of time, tag and value in PostgreSQL, SQLite or DuckDB."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import polars as pl

from connectors.about import About, spoken
from connectors.cells import numbers, qualities
from connectors.credentials import Secret
from connectors.driver import Page, page_frame
from connectors.options import TableOptions
from connectors.server import ServerHistorian
from connectors.sql_database import VALUE, Database, quoted
from connectors.sql_options import SqlOptions
from connectors.sql_stamps import SqlClock
from connectors.stamps import UTC_TIME
from procmodel.data.samples import Quality, TagInfo
from procmodel.plant import History, Tag
from procmodel.plant.checks import checked_options

_NEAR = 8  # rows looked at for the newest: those without a usable stamp are few


class SqlHistorian(ServerHistorian):
    """A table as a historian.

    Args:
        history: `path` as in `connectors.sql_database.Database`, options as in `connectors.sql_options.SqlOptions`.
        tags: The plant's tags.
    """

    def __init__(self, history: History, tags: Mapping[str, Tag]) -> None:
        options = checked_options(SqlOptions, history.options)
        database = Database(history, Secret.of(options.credentials), options.timeout)
        super().__init__(SqlDriver(database, options, history.timezone), tags, options, timezone=history.timezone)


class SqlDriver:
    """One table."""

    page_rows = 100_000
    most_rows = 2_000_000

    def __init__(self, database: Database, options: SqlOptions, timezone: str | None) -> None:
        table = options.table if isinstance(options.table, str) else ".".join(options.table)
        self.place = f"{database.place} table {table}"
        self._database, self._options, self._timezone = database, options, timezone
        meaning = options.model_dump(include={"table", "columns", "time", "ambiguous", "decimal", "quality", "about"})
        self.identity = f"{self.place} {timezone} {sorted(meaning.items())}"
        self._table, names = quoted(options.table), options.columns
        self._tag, self._time = quoted(names.tag), quoted(names.time)
        self._about = About(options.about, database.columns)
        self._lock = threading.Lock()
        self._known_clock: SqlClock | None = None

    def search(self, pattern: str) -> Iterator[TagInfo]:
        """Tags of the table that tells of them, else of the samples themselves."""
        if self._options.about is not None:
            yield from self._about.infos().values()
            return
        found = self._database.rows(f"SELECT DISTINCT {self._tag} AS tag FROM {self._table}")
        yield from (TagInfo(name=str(name)) for name in found["tag"].drop_nulls().sort())

    def page(self, tag: str, start: datetime, end: datetime, limit: int) -> Page:
        """The first rows of a range, in order of time."""
        clock = self._clock()
        asked = (
            f"SELECT {self._columns()} FROM {self._table} WHERE {self._tag} = {VALUE} AND {self._time} >= {VALUE} "
            f"AND {self._time} < {VALUE} ORDER BY {self._time} LIMIT {limit:d}"
        )
        values = (tag, clock.bound(start, wider=-1), clock.bound(end, wider=1))
        found = self._database.rows(asked, values, limit=limit)
        return Page(samples=self._samples(tag, found, clock), more=found.height >= limit)

    def newest(self, tag: str, before: datetime | None) -> datetime | None:
        """Time of the newest row before a moment."""
        clock = self._clock()
        asked = (
            f"SELECT {self._time} AS time FROM {self._table} WHERE {self._tag} = {VALUE} AND {self._time} IS NOT NULL"
        )
        values: tuple[Any, ...] = (tag,)
        if before is not None:
            asked, values = f"{asked} AND {self._time} < {VALUE}", (tag, clock.bound(before, wider=1))
        found = self._database.rows(f"{asked} ORDER BY {self._time} DESC LIMIT {_NEAR}", values)
        if found.is_empty():
            return None
        times = clock.utc(found["time"])["time"]
        if before is not None:
            times = times.filter(pl.select(times < pl.lit(before, UTC_TIME)).to_series())
        newest = times.max()
        return newest if isinstance(newest, datetime) else None

    def close(self) -> None:
        """Ends the connections."""
        self._about.close()
        self._database.close()

    def _columns(self) -> str:
        names, value = self._options.columns, quoted(self._options.columns.value)
        if self._database.kind.typed:
            asked = [f"{self._time} AS time", f"{value} AS value"]
        else:
            # The driver would write numbers beside text with seven digits.
            number = f"CASE WHEN typeof({value}) IN ('integer', 'real') THEN CAST({value} AS REAL) END"
            text = f"CASE WHEN typeof({value}) = 'text' THEN {value} END"
            asked = [f"{self._time} AS time", f"{number} AS value", f"{text} AS text"]
        asked += [f"{quoted(names.quality)} AS quality"] if names.quality else []
        asked += [f"{quoted(names.state)} AS state"] if names.state else []
        return ", ".join(asked)

    def _samples(self, tag: str, found: pl.DataFrame, clock: SqlClock) -> pl.DataFrame:
        meaning = TableOptions(decimal=self._options.decimal, quality=self._options.quality)
        stamps = clock.utc(found["time"])
        value = numbers(found["value"], meaning, self.place)
        state = value["word"]
        if "text" in found.columns:
            text = numbers(found["text"].cast(pl.String), meaning, self.place)
            value = value.with_columns(value=value["value"].zip_with(value["value"].is_not_null(), text["value"]))
            state = text["word"]
        if "state" in found.columns:
            said = found["state"].cast(pl.String)
            state = said.zip_with(said.is_not_null(), state)
        number, state = spoken(value["value"], state.set(state == "", None), self._about.states(tag))
        judged = None
        if "quality" in found.columns:
            judged = qualities(found["quality"], meaning, f"{self.place}, column {self._options.columns.quality!r}")
            # Whatever the other rows of the page say.
            unsaid = found["quality"].is_null()
            judged = judged.with_columns(quality=judged["quality"].set(unsaid, int(Quality.UNCERTAIN)))
        frame = page_frame(
            stamps["time"],
            number,
            status=judged["status"] if judged is not None else None,
            quality=judged["quality"] if judged is not None else [int(Quality.GOOD)] * found.height,
            state=state,
        )
        return frame.with_columns(mark=stamps["mark"])

    def _clock(self) -> SqlClock:
        """How the time column is read; its type is asked for once."""
        with self._lock:
            if self._known_clock is None:
                found = self._database.rows(f"SELECT {self._time} AS time FROM {self._table} LIMIT 1")
                clock = SqlClock(
                    time=self._options.time,
                    dtype=found["time"].dtype,
                    typed=self._database.kind.typed,
                    timezone=self._timezone,
                    ambiguous=self._options.ambiguous,
                    place=f"{self.place}, column {self._options.columns.time!r}",
                )
                clock.check()
                self._known_clock = clock
            return self._known_clock
