"""How the stamps of a column are written; which of two numbers is the day is decided on the whole column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

_MOST_CELLS = 3_000_000  # beyond so many different stamps the first and last halves of this decide
# Date, and perhaps clock, half of the day, and zone. The parts are told apart below.
STAMP = (
    r"^(?P<a>\d{1,4})(?P<sep>[/.\-]|\. ?| )(?P<b>\d{1,2}|[A-Za-z]{3,9})(?P<sep2>[/.\-]|\. ?| )(?P<c>\d{1,4})"
    r"(?:(?P<gap>[T ,]+)(?P<hour>\d{1,2}):(?P<minute>\d{2})(?P<second>:\d{2})?(?P<fraction>[.,]\d{1,9})?"
    r"(?P<half>\s*[AaPp][Mm])?(?P<zone>\s*(?:[Zz]|[+-]\d{2}(?::?\d{2})?))?)?$"
)
_STYLE = ("sep", "sep2", "gap")


@dataclass(frozen=True, kw_only=True)
class Written:
    """How a column writes its stamps.

    Attributes:
        formats: One for each way that occurs, most frequent first, as `history.options.time.format` takes them; where
            days and months cannot be told apart, with days first.
        month_first: The same with months first; empty where the column decides.
        contradicts: Two cells of which one cannot have days first, the other cannot have months first.
        unread: A cell that is written in no known way.
        zoned: Whether every stamp carries its offset from UTC.
    """

    formats: tuple[str, ...]
    month_first: tuple[str, ...] = ()
    contradicts: tuple[str, str] | None = None
    unread: str | None = None
    zoned: bool = False

    @property
    def undecided(self) -> bool:
        """Whether a person has to say what comes first, days or months."""
        return bool(self.month_first)


def written_of(cells: pl.Series) -> Written:
    """How the stamps of this column of text are written.

    Args:
        cells: Without blanks around; null where there is none.
    """
    parts = _parts(cells)
    strange = parts.filter(pl.col("a").is_null())
    if strange.height or not parts.height:
        return Written(formats=(), unread=strange["cell"][0] if strange.height else None)
    first, second = pl.col("a").cast(pl.Int32), pl.col("b").cast(pl.Int32, strict=False)
    parts = parts.with_columns(
        style=pl.struct(
            *[pl.col(name).fill_null("") for name in _STYLE],
            year_first=pl.col("a").str.len_chars() > 2,
            named=second.is_null(),
            long_year=pl.max_horizontal(pl.col("a").str.len_chars(), pl.col("c").str.len_chars()) > 2,
            clock=pl.col("hour").is_not_null(),
            seconds=pl.col("second").is_not_null(),
            fraction=pl.col("fraction").str.head(1).fill_null(""),
            half=pl.col("half").is_not_null(),
            half_gap=pl.col("half").str.starts_with(" ").fill_null(False),
            zone=pl.col("zone").is_not_null(),
            zone_gap=pl.col("zone").str.starts_with(" ").fill_null(False),
        ),
        first=first,
        second=second,
    )
    slashed = parts.filter(~pl.col("style").struct.field("year_first") & ~pl.col("style").struct.field("named"))
    if _year_may_come_first(slashed):
        return Written(formats=(), unread=slashed["cell"][0])
    days, months = slashed.filter(pl.col("first") > 12), slashed.filter(pl.col("second") > 12)
    if days.height and months.height:
        return Written(formats=(), contradicts=(days["cell"][0], months["cell"][0]))
    styles = parts["style"].value_counts(sort=True)["style"].to_list()
    open_order = slashed.height > 0 and not days.height and not months.height
    open_order = open_order and bool((slashed["first"] != slashed["second"]).any())
    zoned = all(style["zone"] for style in styles)
    day_first = tuple(_format(style, months_first=months.height > 0) for style in styles)
    other = tuple(_format(style, months_first=True) for style in styles) if open_order else ()
    return Written(formats=day_first, month_first=other, zoned=zoned)


def _year_may_come_first(slashed: pl.DataFrame) -> bool:
    """Whether 24-05-31 is written with years of two digits: then the last number changes more than the first."""
    short = slashed.filter(~pl.col("style").struct.field("long_year"))
    last = short["c"].cast(pl.Int32)
    return bool(short.height and (last <= 31).all() and last.n_unique() > short["first"].n_unique())


def _parts(cells: pl.Series) -> pl.DataFrame:
    column = cells.drop_nulls().unique(maintain_order=True)
    if len(column) > _MOST_CELLS:
        half = _MOST_CELLS // 2
        column = pl.concat([column.head(half), column.tail(half)])
    return pl.DataFrame({"cell": column, "part": column.str.extract_groups(STAMP)}).unnest("part")


def _format(style: dict[str, object], *, months_first: bool) -> str:
    year = "%Y" if style["long_year"] else "%y"
    if style["named"]:
        first, second, third = (year, "%b", "%d") if style["year_first"] else ("%d", "%b", year)
    elif style["year_first"]:
        first, second, third = year, "%m", "%d"
    else:
        first, second, third = ("%m", "%d", year) if months_first else ("%d", "%m", year)
    written = f"{first}{style['sep']}{second}{style['sep2']}{third}"
    if style["clock"]:
        written += f"{style['gap']}{'%I' if style['half'] else '%H'}:%M{':%S' if style['seconds'] else ''}"
        written += {"": "", ".": "%.f", ",": ",%f"}[str(style["fraction"])]
        written += (" %p" if style["half_gap"] else "%p") if style["half"] else ""
        written += (" %z" if style["zone_gap"] else "%z") if style["zone"] else ""
    return written


def format_question(written: Written) -> str:
    """What to write in the plant file where the column does not tell how its stamps are written."""
    key = "history.options.time.format"
    if written.contradicts:
        days, months = written.contradicts
        return f"Days come first in {days!r} and months in {months!r}: export the files of two writers apart."
    if written.undecided:
        formats, other = said(written.formats), said(written.month_first)
        return f"Day or month may come first: set {key} to {formats} or to {other}."
    return f"Set {key}, such as '%d/%m/%Y %H:%M:%S'."


def said(formats: Sequence[str]) -> str:
    """As it stands in a plant file."""
    return repr(formats[0] if len(formats) == 1 else list(formats))
