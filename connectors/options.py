"""Settings shared by the connectors that read tables (`history.options` of the plant file)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from procmodel.errors import PlantFileError
from procmodel.plant import Tag
from procmodel.plant.tag import Frozen, nearest

Ambiguous = Literal["infer", "first", "second", "raise"]
Word = Literal["good", "uncertain", "bad"]


class ColumnNames(Frozen):
    """Column names of a long table, where they are not the usual ones."""

    tag: str | None = None
    time: str | None = None
    value: str | None = None
    quality: str | None = None


class TimeOptions(Frozen):
    """How time stamps are written.

    Attributes:
        column: Name of the time column; absent: one called time, timestamp or the like, else the first.
        format: As for `strptime`, such as "%d/%m/%Y %H:%M:%S"; absent: ISO 8601.
        unit: Stamps are plain numbers that count this unit from `origin`.
        origin: ISO stamp that plain numbers count from.
    """

    column: str | None = None
    format: str | None = None
    unit: Literal["us", "ms", "s", "min", "h", "d"] | None = None
    origin: str | None = None


class TableOptions(Frozen):
    """How a table is to be read.

    Attributes:
        layout: long (a row per sample) or wide (a column per tag); absent: told by the header.
        columns: Column names of a long table.
        time: How time stamps are written.
        campaign: "file": each file is a campaign of its own, called by the file's name.
        rename: Column or tag name in the export -> tag name in the plant file.
        ambiguous: What to do with local stamps in the hour that the autumn clock change repeats: "infer" tells the
            passes apart by the order of the rows, "first" and "second" name the pass, "raise" is an error.
        decimal: Decimal sign in value cells; with "," a point separates thousands.
        quality: What the quality column holds: words (Good, Bad, ...), OPC DA or OPC UA codes, or your own mapping.
    """

    layout: Literal["long", "wide"] | None = None
    columns: ColumnNames = ColumnNames()
    time: TimeOptions = TimeOptions()
    campaign: Literal["file"] | None = None
    rename: dict[str, str] | None = None
    ambiguous: Ambiguous = "infer"
    decimal: Literal[".", ","] = "."
    quality: Literal["words", "opc-da", "opc-ua"] | dict[str, Word] | None = None

    @property
    def time_column(self) -> str | None:
        """Name of the time column, where it is given."""
        return self.columns.time or self.time.column


class CsvOptions(TableOptions):
    """`TableOptions` and how the text file is written.

    Attributes:
        delimiter: Between cells; absent: found from the header.
        encoding: Of the file; absent: told by its byte-order mark, else UTF-8, else cp1252.
    """

    delimiter: str | None = None
    encoding: str | None = None


def tag_of_source(options: TableOptions, tags: Mapping[str, Tag]) -> dict[str, str]:
    """`rename`, checked against the plant's tags.

    Raises:
        PlantFileError: a new name is no tag of the plant, or two columns get the same one.
    """
    rename = options.rename or {}
    taken: dict[str, str] = {}
    for source, tag in rename.items():
        if tags and tag not in tags:
            raise PlantFileError(f"history.options.rename: {source!r} -> unknown tag {tag!r}; {nearest(tag, tags)}")
        if tag in taken:
            raise PlantFileError(
                f"history.options.rename: {taken[tag]!r} and {source!r} both become {tag!r}. Keep one of them."
            )
        taken[tag] = source
    return rename
