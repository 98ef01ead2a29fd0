"""Delta Lake: a table of time, tag and value whose files are read as far as a query needs them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import DeltaError

from connectors.about import About, AboutTable, TableName, spoken
from connectors.cells import numbers, qualities
from connectors.driver import Page, page_frame
from connectors.options import TableOptions, Word
from connectors.server import ServerHistorian
from connectors.server_options import ServerOptions
from connectors.stamps import UTC_TIME
from procmodel.data.samples import Quality, TagInfo
from procmodel.errors import HistorianError, PlantFileError
from procmodel.plant import History, Tag
from procmodel.plant.checks import checked_options
from procmodel.plant.tag import Frozen, nearest


class DeltaColumns(Frozen):
    """Column names; `quality` absent: all samples are good."""

    tag: str = "tag"
    time: str = "time"
    value: str = "value"
    quality: str | None = None


class DeltaOptions(ServerOptions):
    """How the table is read.

    Attributes:
        columns: Its columns.
        version: Of the table; absent: the newest.
        quality: What the quality column holds, as for SQL.
        storage: Settings of an object store. Keys belong into the environment, not here.
        about: Table that tells of the tags, by its folder or address; with it as for SQL.
    """

    columns: DeltaColumns = DeltaColumns()
    version: int | None = None
    quality: Literal["words", "opc-da", "opc-ua"] | dict[str, Word] | None = None
    storage: dict[str, str] | None = None
    about: AboutTable | None = None


class DeltaHistorian(ServerHistorian):
    """A Delta table as a historian.

    Args:
        history: `path` is its folder or address.
        tags: The plant's tags.
    """

    def __init__(self, history: History, tags: Mapping[str, Tag]) -> None:
        options = checked_options(DeltaOptions, history.options)
        super().__init__(DeltaDriver(history, options), tags, options)


class DeltaDriver:
    """One table, as it stands when it is first asked."""

    page_rows = 500_000
    most_rows = 5_000_000

    def __init__(self, history: History, options: DeltaOptions) -> None:
        if not isinstance(history.path, str):
            raise PlantFileError(f"history.path: got {history.path!r}, needs the folder or address of a Delta table.")
        self.place, self._options = history.path, options
        self.identity = (
            f"{history.path} {options.version} {sorted(options.columns.model_dump().items())} {options.quality} "
            f"{options.about.model_dump() if options.about else ''}"
        )
        self._lock = threading.Lock()
        self._table: Any = None
        self._about = About(options.about, self._columns)
        names = options.columns
        self._tag, self._time, self._value = (_name(each) for each in (names.tag, names.time, names.value))

    def search(self, pattern: str) -> Iterator[TagInfo]:
        """Names in the tag column, with what a table tells of them."""
        found = self._ask(f"SELECT DISTINCT {self._tag} AS tag FROM samples")
        yield from self._about.of(TagInfo(name=str(name)) for name in found["tag"].drop_nulls().sort())

    def page(self, tag: str, start: datetime, end: datetime, limit: int) -> Page:
        """The first rows of a range, in order of time."""
        quality = f", {_name(self._options.columns.quality)} AS quality" if self._options.columns.quality else ""
        found = self._ask(
            f"SELECT {self._time} AS time, {self._value} AS value{quality} FROM samples WHERE {self._tag} = "
            f"{_literal(tag)} AND {self._time} >= {_moment(start)} AND {self._time} < {_moment(end)} "
            f"ORDER BY {self._time} LIMIT {limit:d}"
        )
        meaning = TableOptions.model_validate({"quality": self._options.quality})
        read = numbers(found["value"], meaning, self.place)
        value, state = spoken(read["value"], read["word"], self._about.states(tag))
        judged = qualities(found["quality"], meaning, self.place) if "quality" in found.columns else None
        frame = page_frame(
            found["time"].cast(UTC_TIME),
            value,
            status=judged["status"] if judged is not None else None,
            quality=judged["quality"].set(found["quality"].is_null(), int(Quality.UNCERTAIN))
            if judged is not None
            else None,
            state=state,
        )
        return Page(samples=frame, more=found.height >= limit)

    def newest(self, tag: str, before: datetime | None) -> datetime | None:
        """Time of the newest row before a moment."""
        until = "" if before is None else f" AND {self._time} < {_moment(before)}"
        found = self._ask(f"SELECT MAX({self._time}) AS time FROM samples WHERE {self._tag} = {_literal(tag)}{until}")
        newest = found["time"].cast(UTC_TIME)[0]
        return newest if isinstance(newest, datetime) else None

    def close(self) -> None:
        """Lets go of the tables, so that the next read sees newer ones."""
        self._about.close()
        with self._lock:
            self._table = None

    def _columns(self, table: TableName, named: Mapping[str, str]) -> pl.DataFrame:
        """Columns of another Delta table."""
        place = table if isinstance(table, str) else "/".join(table)
        asked = ", ".join(f"{_name(column)} AS {_name(name)}" for name, column in named.items())
        with _delta_errors(place):
            opened = DeltaTable(place, storage_options=self._options.storage)
            return _answer(opened, "about", f"SELECT {asked} FROM about")

    def _ask(self, query: str) -> pl.DataFrame:
        with _delta_errors(self.place):
            return _answer(self._opened(), "samples", query)

    def _opened(self) -> Any:
        with self._lock:
            if self._table is None:
                options = self._options
                table = DeltaTable(self.place, version=options.version, storage_options=options.storage)
                held = [field.name for field in table.schema().fields]
                for key, name in options.columns.model_dump().items():
                    if name is not None and name not in held:
                        raise HistorianError(
                            f"{self.place} has no column {name!r} (history.options.columns.{key}); "
                            f"{nearest(name, held)}"
                        )
                self._table = table
            return self._table


def _answer(table: Any, name: str, query: str) -> pl.DataFrame:
    return pl.DataFrame(pa.table(QueryBuilder().register(name, table).execute(query).read_all()))


@contextlib.contextmanager
def _delta_errors(place: str) -> Iterator[None]:
    try:
        yield
    except (DeltaError, OSError, ValueError) as error:
        raise HistorianError(f"{place} cannot be read as a Delta table: {error}. Correct history.") from error


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    # There are no parameters; a quote is all that ends a string there, and it is doubled.
    return "'" + text.replace("'", "''") + "'"


def _moment(stamp: datetime) -> str:
    return f"to_timestamp_micros({int(pl.Series([stamp], dtype=UTC_TIME).cast(pl.Int64)[0])})"
