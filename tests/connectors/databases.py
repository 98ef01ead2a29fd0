"""Tables of samples in PostgreSQL, SQLite and DuckDB, made anew for each test."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi
import duckdb

KINDS = ("postgresql", "sqlite", "duckdb")


def fill(
    kind: str, address: str, statements: Sequence[str], rows: Sequence[tuple[str, Sequence[Sequence[Any]]]] = ()
) -> None:
    """Run statements, then each insert with its rows."""
    if kind == "sqlite":
        with closing(sqlite3.connect(address)) as connection:
            for each in statements:
                connection.execute(each)
            for insert, values in rows:
                connection.executemany(insert, values)
            connection.commit()
    elif kind == "duckdb":
        with closing(duckdb.connect(address)) as connection:
            for each in statements:
                connection.execute(each)
            for insert, values in rows:
                connection.executemany(insert, [list(each) for each in values])
    else:
        with (
            adbc_driver_postgresql.dbapi.connect(address, autocommit=True) as connection,
            connection.cursor() as cursor,
        ):
            for each in statements:
                cursor.execute(each)
            for insert, values in rows:
                parts = insert.split("?")
                numbered = "".join(f"{part}${n}" for n, part in enumerate(parts[:-1], 1)) + parts[-1]
                for each in values:
                    cursor.execute(numbered, tuple(each))


def address_of(kind: str, postgres: str, folder: Path) -> str:
    return postgres if kind == "postgresql" else str(folder / f"plant.{kind}")
