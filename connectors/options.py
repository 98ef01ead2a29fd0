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
    unit: str | None = None


class Bias(Frozen):
    """A column that holds, beside each local stamp, its distance from UTC [min].

    Attributes:
        column: Its name.
        means: Which from which; Windows counts "utc - local" (TIME_ZONE_INFORMATION), ISO 8601 the other way round.
    """

    column: str
    means: Literal["utc - local", "local - utc"]


class TimeOptions(Frozen):
    """How time stamps are written.

    Attributes:
        column: Name of the time column; absent: one called time, timestamp or the like, else the first.
        date: Name of a column that holds the date, where `column` holds the time of the day.
        format: As for `strptime`, such as "%d/%m/%Y %H:%M:%S"; a list where several are mixed, the first that fits
            counts; absent: ISO 8601.
        unit: Stamps are plain numbers that count this unit from `origin`.
        origin: ISO stamp that plain numbers count from.
        bias: Column that places local stamps.
    """

    column: str | None = None
    date: str | None = None
    format: str | list[str] | None = None
    unit: Literal["us", "ms", "s", "min", "h", "d"] | None = None
    origin: str | None = None
    bias: Bias | None = None


class TableOptions(Frozen):
    """How a table is to be read.

    Attributes:
        layout: long (a row per sample), wide (a column per tag), single (time and value of the tag that the file is
            called by), pairs (a time and a value column per tag) or interleaved (a value and a quality column per tag
            behind one time column); absent: long, wide or pairs, told by the header.
        columns: Column names of a long table.
        time: How time stamps are written.
        campaign: "file": each file is a campaign of its own, called by the file's name.
        rename: Column or tag name in the export -> tag name in the plant file.
        ambiguous: What to do with local stamps in the hour that the autumn clock change repeats: "infer" tells the
            passes apart by the order of the rows, "first" and "second" name the pass, "raise" is an error.
        decimal: Decimal sign in value cells.
        thousands: Sign between groups of three digits; absent: a point where the decimal sign is a comma, else none.
        quality: What the quality column holds: words (Good, Bad, ...), OPC DA or OPC UA codes, or your own mapping.
    """

    layout: Literal["long", "wide", "single", "pairs", "interleaved"] | None = None
    columns: ColumnNames = ColumnNames()
    time: TimeOptions = TimeOptions()
    campaign: Literal["file"] | None = None
    rename: dict[str, str] | None = None
    ambiguous: Ambiguous = "infer"
    decimal: Literal[".", ","] = "."
    thousands: Literal[".", ",", " ", "'"] | None = None
    quality: Literal["words", "opc-da", "opc-ua"] | dict[str, Word] | None = None

    @property
    def time_column(self) -> str | None:
        """Name of the time column, where it is given."""
        return self.columns.time or self.time.column


HeaderRow = Literal["names", "units", "descriptions", "skip"]


class SheetOptions(TableOptions):
    """`TableOptions` and what stands above the samples.

    Attributes:
        header: What each row above the samples holds, blank ones not counted; without "names" columns are called by
            their numbers, "1", "2" and so on.
    """

    header: tuple[HeaderRow, ...] = ("names",)


class ExcelOptions(SheetOptions):
    """`SheetOptions` and which sheet is read.

    Attributes:
        sheet: Its name; absent: the only one that holds anything.
    """

    sheet: str | None = None


class CsvOptions(SheetOptions):
    """`SheetOptions` and how the text file is written.

    Attributes:
        delimiter: Between cells; absent: found from the header.
        encoding: Of the file; absent: told by its byte-order mark, else UTF-8, else cp1252.
    """

    delimiter: str | None = None
    encoding: str | None = None


def check_signs(options: TableOptions) -> None:
    """Raise a `PlantFileError` where one sign would be both the decimal sign and that between thousands."""
    if options.thousands == options.decimal:
        raise PlantFileError(
            f"history.options.thousands: {options.thousands!r} is the decimal sign too. Correct one of the two."
        )


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
