"""Settings of the SQL connectors (`history.options` of the plant file)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from connectors.about import AboutTable, TableName
from connectors.options import Word
from connectors.server_options import ServerOptions
from procmodel.plant.tag import Frozen


class SqlColumns(Frozen):
    """Column names of the table of samples.

    Attributes:
        tag, time, value: What a sample is.
        quality: Code or word beside it; absent: all are good.
        state: Text beside it, where the value column holds numbers only.
    """

    tag: str = "tag"
    time: str = "time"
    value: str = "value"
    quality: str | None = None
    state: str | None = None


class SqlTime(Frozen):
    """How stamps are kept; absent: as the database's own time stamps.

    Attributes:
        unit: Numbers that count this since 1970, UTC.
        format: Text, as for `strptime`, with `%f` for six and `%3f` for three digits after the point. It has to begin
            with the year and go on to smaller parts, so that text that sorts before is earlier.
    """

    unit: Literal["us", "ms", "s"] | None = None
    format: Annotated[str, Field(pattern=r"^%Y.*%S(\.%3?f)?Z?$")] | None = None


class SqlOptions(ServerOptions):
    """Where the samples are in a database.

    Attributes:
        table: Table or view of samples.
        columns: Its columns.
        time: How stamps are kept.
        ambiguous: What to do with stamps without a zone in the hour that the autumn clock change repeats: a table has
            no order of rows to tell the passes apart, so "raise" is an error and "first" takes the first pass.
        decimal: Decimal sign where numbers are kept as text.
        quality: What the quality column holds: words, OPC DA or OPC UA codes, or your own mapping.
        about: Table that tells of the tags. Where it knows the words of a digital tag, a number gets its word and a
            word its number.
    """

    table: TableName
    columns: SqlColumns = SqlColumns()
    time: SqlTime = SqlTime()
    ambiguous: Literal["raise", "first"] = "raise"
    decimal: Literal[".", ","] = "."
    quality: Literal["words", "opc-da", "opc-ua"] | dict[str, Word] | None = None
    about: AboutTable | None = None


class IgnitionOptions(ServerOptions):
    """Ignition's tag history in a database.

    Attributes:
        provider: Tag provider, where several write to one database.
        about: Table that tells of the tags, since Ignition's own do not; with it as for SQL.
    """

    provider: str | None = None
    about: AboutTable | None = None
