"""Which layout an export has, told by its header and by what its columns hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from connectors.layouts import USUAL, Layout, folded, quality_of_tag, unique
from connectors.options import TableOptions
from connectors.sniffed_columns import Column
from procmodel.errors import HistorianError

_BIAS = re.compile(r"bias|(?:utc|zone|tz)[\s_-]?offset", re.IGNORECASE)
_LIKE_A_TAG = r"\d|[._\-/\\]"


@dataclass(frozen=True, kw_only=True)
class Guess:
    """A layout and the columns that play a part in it.

    Attributes:
        times: Columns of stamps.
        date: Column of the date, where the time of the day stands in another.
        bias: Column of the distance from UTC.
        settings: What `history.options` has to say so that the export is read so.
        counted: Whether stamps are plain numbers.
    """

    layout: str
    times: tuple[str, ...]
    values: tuple[str, ...]
    qualities: tuple[str, ...] = ()
    date: str | None = None
    bias: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    counted: bool = False


def guessed(header: Sequence[str], columns: Mapping[str, Column], *, nameless: bool) -> Guess:
    """The layout of a table.

    Args:
        header: As it stands in the first file; `columns` go by `unique` of all files' headers.
        nameless: Whether no row of names stands above the samples.

    Raises:
        HistorianError: there is no column of stamps, or none of values.
    """
    names = [name for name in columns if not name.startswith(" (column ") or len(columns[name].cells)]
    stamps = [name for name in names if columns[name].is_stamps]
    bias = next((name for name in names if _BIAS.search(name) and columns[name].is_numbers), None)
    date, clock = _apart(names, columns)
    time = clock or _time(names, stamps, columns)
    rest = [name for name in names if name not in (time, date, bias)]
    long = _long(rest, columns)
    settings: dict[str, Any] = {"time": {"date": date, "column": clock}} if date else {}
    if bias:
        settings["time"] = {**settings.get("time", {}), "bias": {"column": bias}}
    counted = time not in stamps and clock is None
    if long is not None:
        settings |= _columns_setting(long, time)
        quality = (long["quality"],) if "quality" in long else ()
        guess = Guess(layout="long", times=(time,), values=(long["value"],), qualities=quality)
    elif len(stamps) > 1 and not date and (pairs := _pairs(unique(header), columns)):
        guess = Guess(layout="pairs", times=tuple(t for t, _, _ in pairs), values=tuple(v for _, v, _ in pairs),
                      qualities=tuple(q for _, _, q in pairs if q))  # fmt: skip
    else:
        guess = _beside_one_time(rest, columns, time, nameless)
    if not guess.values:
        raise HistorianError("found no column of values beside the time stamps.")
    return Guess(**{**vars(guess), "date": date, "bias": bias, "counted": counted,
                    "settings": _needed(header, guess, settings, time)})  # fmt: skip


def _apart(names: Sequence[str], columns: Mapping[str, Column]) -> tuple[str | None, str | None]:
    """Columns of the date and of the time of the day, where they are two."""
    clock = next((name for name in names if columns[name].is_clock), None)
    dates = [n for n in names if columns[n].is_stamps and columns[n].is_text and not _has_clock(columns[n])]
    return (dates[0], clock) if clock and dates else (None, None)


def _has_clock(column: Column) -> bool:
    return bool(column.cells.head(1000).str.contains(":", literal=True).any())


def _time(names: Sequence[str], stamps: Sequence[str], columns: Mapping[str, Column]) -> str:
    usual = [name for name in names if folded(name) in USUAL["time"]]
    found = [name for name in usual if name in stamps] or list(stamps)
    found = found or [name for name in usual if columns[name].is_numbers]
    if not found and names and columns[names[0]].is_numbers and columns[names[0]].rises:
        found = [names[0]]
    if not found:
        raise HistorianError("found no column of time stamps.")
    return found[0]


def _long(rest: Sequence[str], columns: Mapping[str, Column]) -> dict[str, str] | None:
    """Columns of a long table by role, or None where it is none."""
    usual = {
        role: next((n for n in rest if folded(n) in USUAL[role]), None) for role in ("tag", "value", "quality", "unit")
    }
    if usual["tag"] and usual["value"]:
        return {role: name for role, name in usual.items() if name}
    numbers = [name for name in rest if columns[name].is_numbers and not columns[name].is_quality]
    value = usual["value"] or (numbers[0] if len(numbers) == 1 else None)
    texts = [n for n in rest if n != value and columns[n].repeats and n != usual["unit"] and not columns[n].is_quality]
    tag = usual["tag"] or next((n for n in texts if _names_tags(columns[n])), None)
    if value is None or tag is None or tag == value:
        return None
    quality = usual["quality"] or next((n for n in rest if n not in (tag, value) and columns[n].is_quality), None)
    found = {"tag": tag, "value": value, "quality": quality, "unit": usual["unit"]}
    return {role: name for role, name in found.items() if name}


def _names_tags(column: Column) -> bool:
    """Whether most different cells have a digit or a sign in them, as tags have and states have not."""
    different = column.cells.unique()
    numbers = different.cast(pl.Float64, strict=False).is_not_null().any()
    return len(different) > 1 and not numbers and different.str.contains(_LIKE_A_TAG).sum() * 2 > len(different)


def _columns_setting(long: Mapping[str, str], time: str) -> dict[str, Any]:
    """`columns` of a long table, as far as they are not called as usual."""
    named = {role: name for role, name in {**long, "time": time}.items() if folded(name) not in USUAL[role]}
    return {"columns": named} if named else {}


def _pairs(header: Sequence[str], columns: Mapping[str, Column]) -> list[tuple[str, str, str | None]]:
    """Time, value and perhaps quality columns in turn; empty where they do not alternate."""
    found: list[tuple[str, str, str | None]] = []
    number = 0
    while number + 1 < len(header):
        time, value = header[number], header[number + 1]
        if not columns[time].is_stamps or columns[value].is_stamps:
            return []
        after = header[number + 2] if number + 2 < len(header) else None
        quality = after if after and not columns[after].is_stamps and _is_quality(after, columns) else None
        found.append((time, value, quality))
        number += 3 if quality else 2
    return found


def _is_quality(name: str, columns: Mapping[str, Column]) -> bool:
    return quality_of_tag(name) is not None or columns[name].is_quality


def _beside_one_time(rest: Sequence[str], columns: Mapping[str, Column], time: str, nameless: bool) -> Guess:
    """A table whose tags share one time column: one tag, values with qualities, or values alone."""
    qualities = [name for name in rest if _is_quality(name, columns)]
    unit = next((name for name in rest if folded(name) in USUAL["unit"]), None)
    values = [name for name in rest if name not in qualities and name != unit]
    if len(values) == 1 and len(qualities) <= 1 and (nameless or folded(values[0]) in USUAL["value"]):
        return Guess(layout="single", times=(time,), values=tuple(values), qualities=tuple(qualities))
    in_turn = len(rest) % 2 == 0 and list(rest[1::2]) == qualities and bool(qualities)
    if in_turn:
        return Guess(layout="interleaved", times=(time,), values=tuple(rest[::2]), qualities=tuple(qualities))
    return Guess(layout="wide", times=(time,), values=tuple(name for name in rest if not name.startswith(" (column ")))


def _needed(header: Sequence[str], guess: Guess, settings: dict[str, Any], time: str) -> dict[str, Any]:
    """The settings, with the layout where the header alone would tell another."""
    found = dict(settings)
    if guess.layout in ("single", "interleaved"):
        found["layout"] = guess.layout
    without_bias = {**found, "time": {k: v for k, v in found.get("time", {}).items() if k != "bias"}}
    try:
        told = Layout.of(header, TableOptions.model_validate(without_bias), "", "tag")
    except HistorianError:
        told = None
    kind = None if told is None else "long" if told.tag else "other"
    right = told is not None and (kind == "long") == (guess.layout == "long")
    if guess.layout in ("pairs", "wide", "long"):
        alone = told is not None and any(signal.alone for signal in told.signals)
        if not right or alone != (guess.layout == "pairs"):
            found["layout"] = guess.layout
    if told is not None and guess.layout != "pairs" and told.time != time and "columns" not in found:
        found["time"] = {**found.get("time", {}), "column": time}
    return found
