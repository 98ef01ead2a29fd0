"""A database that is only read, through ADBC: PostgreSQL, SQLite or DuckDB, a connection per thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import adbc_driver_duckdb
import adbc_driver_manager
import adbc_driver_manager.dbapi
import adbc_driver_postgresql.dbapi
import adbc_driver_sqlite.dbapi
import polars as pl
import pyarrow as pa

from connectors.credentials import Secret
from connectors.driver import TooLargeError, TransientError
from procmodel.errors import HistorianError, PlantFileError
from procmodel.plant import History

VALUE = "\0"
"""Stands in a query for each value; no name can hold it, so that nothing else is taken for one."""

_SQLITE_MAGIC, _DUCKDB_MAGIC = b"SQLite format 3\0", b"DUCK"
_STILL = ("starting up", "shutting down", "too many clients", "recovery mode", "remaining connection slots")
# SQLSTATE classes that pass: connection, resources, rolled back, object in use, operator intervention.
_PASSING = ("08", "53", "40", "55P03", "57P")
_TIMED_OUT = "57014"


def quoted(name: str | Sequence[str]) -> str:
    """A name, or the parts of one, as an identifier that means nothing but itself.

    Raises:
        PlantFileError: it holds what no identifier can.
    """
    parts = [name] if isinstance(name, str) else list(name)
    for part in parts:
        if not part or "\0" in part:
            raise PlantFileError(f"history.options: {part!r} can be no name of a table or column. Correct it.")
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What differs between databases."""

    name: str
    connect: Callable[[], Any]
    numbered: bool = False  # parameters are $1, $2, ...
    typed: bool = True  # a column has one type


class Database:
    """Answers queries; connects when first asked, and again after a connection was lost.

    Args:
        history: `path` is postgresql://host/database, or a file of SQLite or DuckDB.
        secret: User and password of a server.
        timeout: How long a query may take [s]; only a server ends it.
    """

    def __init__(self, history: History, secret: Secret, timeout: float) -> None:
        self.place = history.path if isinstance(history.path, str) else ""
        self._secret = secret
        if self.place.startswith(("postgresql://", "postgres://")):
            self.place, self.kind = _postgresql(self.place, secret, timeout)
        else:
            self.kind = _file(self.place)
        self._lock = threading.Lock()
        self._open: dict[int, Any] = {}

    def rows(self, query: str, values: Sequence[Any] = (), *, limit: int = 0) -> pl.DataFrame:
        """What a query answers.

        Args:
            query: SQL, with `VALUE` for each value.
            limit: Rows there are at most, where known.

        Raises:
            HistorianError: the database refuses; `TransientError` where that may pass.
        """
        first, *others = query.split(VALUE)
        marks = [f"${index}" if self.kind.numbered else "?" for index in range(1, len(others) + 1)]
        query = first + "".join(mark + part for mark, part in zip(marks, others, strict=True))
        me = threading.get_ident()
        try:
            with closing(self._connection(me).cursor()) as cursor:
                if not self.kind.typed:
                    # SQLite has no types; the driver takes them from the first batch, so all rows have to be in it.
                    cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(max(limit, 1_000_000))})
                cursor.execute(query, tuple(values) or None)
                return _polars(cursor.fetch_arrow_table())
        except adbc_driver_manager.Error as error:
            said = self._said(error)
            if isinstance(said, TransientError):
                self._drop(me)
            raise said from error

    def columns(self, table: str | Sequence[str], named: Mapping[str, str]) -> pl.DataFrame:
        """Columns of a whole table.

        Args:
            named: Column there by its name in the answer.

        Raises:
            HistorianError: as for `rows`.
        """
        asked = ", ".join(f"{quoted(column)} AS {quoted(name)}" for name, column in named.items())
        return self.rows(f"SELECT {asked} FROM {quoted(table)}")

    def close(self) -> None:
        """Ends all connections."""
        with self._lock:
            held, self._open = list(self._open.values()), {}
        for connection in held:
            connection.close()

    def _connection(self, me: int) -> Any:
        with self._lock:
            if me in self._open:
                return self._open[me]
        made = self.kind.connect()
        with self._lock:
            self._open[me] = made
        return made

    def _drop(self, me: int) -> None:
        with self._lock:
            connection = self._open.pop(me, None)
        if connection is not None:
            connection.close()

    def _said(self, error: Any) -> HistorianError:
        """The error of a database in one sentence, told apart by whether it may pass."""
        text = self._secret.hidden(" ".join(str(error).split()))
        state = error.sqlstate or ""
        if state == _TIMED_OUT:
            return TooLargeError(f"{self.place} took too long. Raise history.options.timeout, or add an index.")
        refused = state == "" and "FATAL" in text and not any(word in text for word in _STILL)
        lost = state == "" and self.kind.numbered and isinstance(error, adbc_driver_manager.OperationalError)
        if (lost and not refused) or state.startswith(_PASSING) or "database is locked" in text:
            return TransientError(f"{self.place} cannot answer now: {text}")
        return HistorianError(f"{self.place} refused: {text} Correct history.path and history.options.")


def _postgresql(path: str, secret: Secret, timeout: float) -> tuple[str, Kind]:
    """The server's address without what is secret, and how it is connected to."""
    parts = urlsplit(path)
    if parts.password:
        raise PlantFileError("history.path holds a password. Take it out, and set history.options.credentials.")
    user = secret.user or unquote(parts.username or "")
    login = ":".join(quote(part, safe="") for part in (user, secret.password) if part)
    host = parts.netloc.rpartition("@")[2]
    # Read only, and ended by the server where it takes too long.
    settings = f"-c statement_timeout={round(timeout * 1000)} -c default_transaction_read_only=on"
    asked = f"connect_timeout={max(2, round(timeout))}&application_name=procmodel&options={quote(settings, safe='')}"
    query = f"{parts.query}&{asked}" if parts.query else asked
    uri = urlunsplit((parts.scheme, f"{login}@{host}" if login else host, parts.path, query, ""))

    def connect() -> Any:
        return adbc_driver_postgresql.dbapi.connect(uri, autocommit=True)

    return f"{parts.scheme}://{host}{parts.path}", Kind(name="postgresql", connect=connect, numbered=True)


def _file(path: str) -> Kind:
    """How a file is opened, by what it begins with.

    Raises:
        HistorianError: it cannot be read, or is no database.
    """
    try:
        with Path(path).open("rb") as stream:
            start = stream.read(16)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise HistorianError(
            f"{path or 'history.path'} cannot be read: {reason}. Set history.path to postgresql://host/database, or to "
            "a file of SQLite or DuckDB."
        ) from error
    if start.startswith(_SQLITE_MAGIC):

        def sqlite() -> Any:
            return adbc_driver_sqlite.dbapi.connect(f"file:{quote(path)}?mode=ro", autocommit=True)

        return Kind(name="sqlite", connect=sqlite, typed=False)
    if start[8:12] != _DUCKDB_MAGIC:
        raise HistorianError(f"{path} is no file of SQLite or DuckDB. Correct history.path.")

    def duckdb() -> Any:
        database = adbc_driver_manager.AdbcDatabase(
            driver=adbc_driver_duckdb.driver_path(), entrypoint="duckdb_adbc_init", path=path, access_mode="READ_ONLY"
        )
        try:
            connection = adbc_driver_manager.AdbcConnection(database)
        except BaseException:
            database.close()
            raise
        return adbc_driver_manager.dbapi.Connection(database, connection, autocommit=True)

    return Kind(name="duckdb", connect=duckdb)


def _polars(table: pa.Table) -> pl.DataFrame:
    """With types that the driver wraps, as PostgreSQL's numeric, laid open."""
    for index, field in enumerate(table.schema):
        if isinstance(field.type, pa.BaseExtensionType):
            table = table.set_column(
                index,
                field.name,
                pa.chunked_array([chunk.storage for chunk in table.column(index).chunks], field.type.storage_type),
            )
    return pl.DataFrame(table)
