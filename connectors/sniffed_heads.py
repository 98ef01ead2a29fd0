"""Which rows stand above the samples, and what each of them holds."""

from __future__ import annotations

import re
from collections.abc import Sequence

from connectors.layouts import USUAL
from connectors.options import HeaderRow
from connectors.stamp_formats import STAMP
from procmodel.errors import PlantFileError
from procmodel.plant.units import check_unit

_STAMP = re.compile(STAMP)
_NUMBER = re.compile(r"[+-]?[\d.,' ]*\d(?:[eE][+-]?\d+)?")
_DAYS = re.compile(r"[2-7]\d{4}(\.\d+)?")
_UNITS_WRITTEN = 0.8  # share of cells that have to be units


def header_of(rows: Sequence[Sequence[str]], *, days: bool = False) -> tuple[HeaderRow, ...]:
    """What each row above the samples holds.

    Args:
        rows: The first ones that hold anything.
        days: Whether a number may be a day as Excel counts them.
    """
    first, column = _first_sample(rows, days)
    if first is None:
        return ("names",)
    roles: list[HeaderRow] = ["skip"] * first
    width = max(len(row) for row in rows[first:])
    told = [n for n in range(first) if _filled(rows[n]) > (1 if width > 2 else 0)]
    units = [n for n in told if len(told) > 1 and _unit_share(rows[n], column) >= _UNITS_WRITTEN]
    if units:  # the last of them: names such as A and V are units too
        roles[units[-1]] = "units"
        told.remove(units[-1])
    if told:
        names = min(told, key=lambda n: (not _names_time(rows[n], column), _prose(rows[n]), n))
        roles[names] = "names"
        told.remove(names)
    if told:
        roles[max(told, key=lambda n: _filled(rows[n]))] = "descriptions"
    return tuple(roles)


def _first_sample(rows: Sequence[Sequence[str]], days: bool) -> tuple[int | None, int]:
    """Number of the first row with a stamp that is followed by another in the same column, and that column."""
    for number, row in enumerate(rows):
        below = rows[number + 1] if number + 1 < len(rows) else row
        for column, cell in enumerate(row):
            if column < len(below) and _is_stamp(cell, days) and _is_stamp(below[column], days):
                return number, column
    for number, row in enumerate(rows):
        filled = [cell.strip() for cell in row if cell.strip()]
        if len(filled) > 1 and sum(bool(_NUMBER.fullmatch(cell)) for cell in filled) * 2 >= len(filled):
            return number, 0
    return None, 0


def _is_stamp(cell: str, days: bool) -> bool:
    cell = cell.strip()
    return bool(_STAMP.match(cell)) or (days and bool(_DAYS.fullmatch(cell)))


def _filled(row: Sequence[str]) -> int:
    return sum(bool(cell.strip()) for cell in row)


def _unit_share(row: Sequence[str], time: int) -> float:
    cells = [cell for n, cell in enumerate(row) if cell.strip() and n != time]
    return sum(is_unit(cell) for cell in cells) / len(cells) if cells else 0.0


def is_unit(text: str) -> bool:
    """Whether this is a unit that a plant file may name, or one with a gauge's mark."""
    try:
        check_unit(text.strip("[]() "))
    except PlantFileError:
        return bool(re.fullmatch(r"\[?(?:m?barg|psig|bara|gpm|DEG ?[CF])\]?", text.strip(), re.IGNORECASE))
    return True


def _names_time(row: Sequence[str], time: int) -> bool:
    cell = row[time].strip().casefold() if time < len(row) else ""
    return re.sub(r"[_.-]+", " ", cell) in USUAL["time"]


def _prose(row: Sequence[str]) -> float:
    """Blanks per cell, and a penalty for cells that repeat: names of tags have neither."""
    cells = [cell.strip() for cell in row if cell.strip()]
    return sum(cell.count(" ") for cell in cells) / len(cells) + (len(cells) - len(set(cells))) / len(cells)
