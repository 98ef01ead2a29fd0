"""What stands in the cells of an export: numbers, words among them, and qualities."""

from __future__ import annotations

import re

import polars as pl

from connectors.options import TableOptions
from procmodel.data.samples import Quality
from procmodel.errors import HistorianError

# As exports of the common historians spell it, compared without case.
QUALITY_WORDS: dict[str, Quality] = {
    **dict.fromkeys(("good", "ok", "g", "good, non-specific"), Quality.GOOD),
    **dict.fromkeys(("uncertain", "questionable", "suspect", "u"), Quality.UNCERTAIN),
    **dict.fromkeys(("bad", "b", "error", "invalid", "not connected", "no data"), Quality.BAD),
}
_OPC_DA = {
    0: Quality.BAD,
    1: Quality.UNCERTAIN,
    2: Quality.BAD,
    3: Quality.GOOD,
}  # top two of eight bits; 2 is reserved
_OPC_UA = {0: Quality.GOOD, 1: Quality.UNCERTAIN, 2: Quality.BAD, 3: Quality.BAD}  # top two of 32 bits

# Those that occur in exports: bad, uncertain and good with their substates (OPC Data Access 3.00, section 6.8).
OPC_DA_CODES = (0, 4, 8, 12, 16, 20, 24, 28, 32, 64, 68, 80, 84, 88, 192, 216)

_COMMA_NUMBER = r"^[+-]?\d{1,3}(?:\.\d{3})*,\d+$|^[+-]?\d+,\d+$"
_POINT_NUMBER = r"^[+-]?\d*\.\d{1,2}$|^[+-]?\d*\.\d{4,}$|^[+-]?\d{4,}\.\d+$"  # 1.234 may have groups
_ANY_POINT_NUMBER = r"^[+-]?\d*\.\d+$"
# As they are typeset: a blank that does not break or is narrow, an apostrophe that is a raised comma.
_GROUP_SIGNS = {".": r"\.", ",": ",", " ": "[ \u00a0\u2009\u202f]", "'": "['\u2019]"}


def numbers(cells: pl.Series, options: TableOptions, place: str) -> pl.DataFrame:
    """Columns `value` (null where there is no number) and `word` (what stands there instead) beside `cells`.

    A null cell is null in both. Infinite numbers and NaN are words: nothing may calculate with them.

    Raises:
        HistorianError: numbers are written with the other decimal sign than the options say.
    """
    if cells.dtype == pl.Boolean:
        cells = cells.cast(pl.Int8)
    if cells.dtype.is_numeric():
        value = cells.cast(pl.Float64)
        text = cells.cast(pl.String)
    else:
        text = _stripped(cells.cast(pl.String))
        value = _plain(text, options).cast(pl.Float64, strict=False)
    sound = value.is_finite().fill_null(False)
    word = text.set(sound, None)
    if not cells.dtype.is_numeric() and word.null_count() < len(word):
        _refuse_other_decimal_sign(word.drop_nulls(), options, place)
    return pl.DataFrame({"value": value.set(~sound, None), "word": word})


def _plain(text: pl.Series, options: TableOptions) -> pl.Series:
    """As a program writes numbers: a decimal point, no groups, a hyphen for the minus sign that is typeset."""
    if text.str.contains("^\u2212").any():
        text = text.str.replace("^\u2212", "-")
    sign = group_sign(options)
    if sign is not None:
        decimal = r"\." if options.decimal == "." else ","
        groups = _GROUP_SIGNS[sign]
        grouped = text.str.contains(rf"^[+-]?\d{{1,3}}(?:{groups}\d{{3}})+(?:{decimal}\d+)?$").fill_null(False)
        ungrouped = text.str.replace_all(groups, "") if grouped.any() else text
    else:
        grouped, ungrouped = text.is_null() & text.is_not_null(), text
    if options.decimal == ".":
        return ungrouped.zip_with(grouped, text)
    # A point that separates no thousands is none of our signs: the cell stays a word.
    other = text.str.replace(".", "?", literal=True)
    return ungrouped.zip_with(grouped, other).str.replace(",", ".", literal=True)


def group_sign(options: TableOptions) -> str | None:
    """What separates thousands; None: nothing."""
    return options.thousands or ("." if options.decimal == "," else None)


def _refuse_other_decimal_sign(words: pl.Series, options: TableOptions, place: str) -> None:
    point = _POINT_NUMBER if group_sign(options) == "." else _ANY_POINT_NUMBER
    other = words.filter(words.str.contains(_COMMA_NUMBER if options.decimal == "." else point))
    if len(other):
        used, needed = ("comma", ",") if options.decimal == "." else ("point", ".")
        raise HistorianError(
            f"{place}: value cell {other[0]!r} is written with a decimal {used}. "
            f"Set history.options.decimal: {needed!r}, or mend the cell."
        )


def _stripped(text: pl.Series) -> pl.Series:
    return text.str.strip_chars() if text.str.contains(r"^\s|\s$").any() else text


def qualities(cells: pl.Series, options: TableOptions, place: str) -> pl.DataFrame:
    """Columns `status` (the source's number, null for words) and `quality` (`Quality`) beside `cells`.

    An empty cell is uncertain where others say "good", else good: some exports write only what is amiss.

    Raises:
        HistorianError: a code or word whose meaning is not known; the message says how to tell it.
    """
    text = _stripped(cells.cast(pl.String))
    status = text.cast(pl.Int64, strict=False)
    seen = text.drop_nulls().unique().to_list()
    meaning = {each: _meaning(each, options, place) for each in seen if each != ""}
    unsaid = Quality.UNCERTAIN if Quality.GOOD in meaning.values() else Quality.GOOD
    quality = text.replace_strict(meaning, default=int(unsaid), return_dtype=pl.Int8)
    return pl.DataFrame({"status": status, "quality": quality})


def is_code(cell: str) -> bool:
    """Whether a quality is a whole number; the squared sign of 19\u00b2 is a digit to Python and none to us."""
    return re.fullmatch(r"[+-]?[0-9]+", cell) is not None


def _meaning(cell: str, options: TableOptions, place: str) -> int:
    how = options.quality
    if isinstance(how, dict):
        own = {str(key).casefold(): word for key, word in how.items()}
        if cell.casefold() in own:
            return int(Quality[own[cell.casefold()].upper()])
    elif is_code(cell):
        code = int(cell)
        if how == "opc-da":
            return int(_OPC_DA[code >> 6 & 0b11])
        if how == "opc-ua":
            return int(_OPC_UA[code >> 30 & 0b11])
        raise HistorianError(
            f"{place}: quality {cell!r} is a code: 0 is bad in OPC DA and good in OPC UA. "
            "Set history.options.quality to opc-da, opc-ua or a mapping such as {0: good, 1: bad}."
        )
    elif cell.casefold() in QUALITY_WORDS:
        return int(QUALITY_WORDS[cell.casefold()])
    raise HistorianError(
        f"{place}: unknown quality {cell!r}. Say what it means: history.options.quality: {{{cell!r}: good}} "
        "(or uncertain, or bad), with every word that occurs."
    )
