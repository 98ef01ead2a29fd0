"""Text as moments: by a format of the plant file, or by the first of several that fits each cell."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from procmodel.errors import PlantFileError


def by_format(column: pl.Series, written: str) -> pl.Series:
    """Stamps by one format; null where it does not fit.

    Raises:
        PlantFileError: it is no format.
    """
    # Python's %f is microseconds; the parser here spells a fraction of any length %.f.
    parser_format = written.replace(".%f", "%.f").replace(",%f", "%.f")
    text = column.str.replace(",", ".", literal=True) if ",%f" in written else column
    try:
        if "%z" in parser_format:
            parsed = numeric_zone(text).str.to_datetime(parser_format, strict=False, time_unit="us")
        elif "%H" in parser_format or "%I" in parser_format or "%T" in parser_format:
            parsed = text.str.to_datetime(parser_format, strict=False, time_unit="us")
        else:
            parsed = text.str.to_date(parser_format, strict=False).cast(pl.Datetime("us"))
    except pl.exceptions.PolarsError as error:
        raise PlantFileError(f"history.options.time.format {written!r} cannot be used: {error}.") from error
    return _of_our_age(parsed)


def _of_our_age(parsed: pl.Series) -> pl.Series:
    """%Y takes the 24 of 31/05/24 for the year 24: that is another format, not another age."""
    return parsed.set((parsed.dt.year() < 1900).fill_null(False), None)


def parsed_by(text: pl.Series, formats: Sequence[str]) -> pl.Series:
    """Stamps by the first format that fits each; null where none does."""
    found: list[pl.Series] = []
    for each in formats:
        if "%H" in each:
            found.append(text.str.to_datetime(each, strict=False, time_unit="us"))
        else:
            found.append(text.str.to_date(each, strict=False).cast(pl.Datetime("us")))
        found[-1] = _of_our_age(found[-1])
        if found[-1].null_count() == text.null_count():
            return found[-1]
    return pl.select(pl.coalesce(found)).to_series()


def numeric_zone(text: pl.Series) -> pl.Series:
    """Z, +01 and -0330 as +00:00, +01:00 and -03:30, which is all that the parser takes."""
    return (
        text.str.replace(r"\s*[Zz]$", "+00:00")
        .str.replace(r"\s*([+-]\d{2}):?(\d{2})$", "$1:$2")
        .str.replace(r"(:\d{2}(?:\.\d+)?)\s*([+-]\d{2})$", "$1$2:00")
    )


def stripped(text: pl.Series) -> pl.Series:
    """Without blanks around, empty cells null; looked for first, since most exports have none and stripping is slow."""
    if text.str.contains(r"^\s|\s$").any():
        text = text.str.strip_chars()
    return text.set(text == "", None)
