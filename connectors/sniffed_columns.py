"""What the cells of a column tell of it: stamps, numbers and their notation, qualities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from connectors.cells import OPC_DA_CODES, QUALITY_WORDS, is_code
from connectors.stamp_formats import STAMP
from connectors.stamp_text import stripped
from procmodel.data.exports import Question
from procmodel.data.samples import Quality

_LOOK = 20_000  # cells that tell what a column holds; what they are written like is told by all
_CLOCK = r"^\d{1,2}:\d{2}(:\d{2})?([.,]\d+)?(\s*[AaPp][Mm])?$"
_NUMBER = r"^[+\-\x{2212}]?(\d[\d.,'\x{2019} \x{a0}\x{2009}\x{202f}]*|[.,]\d+)(?:[eE][+-]?\d+)?$"
_BLANKS = r"\d[ \x{a0}\x{2009}\x{202f}]\d"
_MOSTLY = 0.9


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of an export, with the cells of all its files.

    Attributes:
        cells: Those that hold anything, without blanks around where they are text.
        days: Whether numbers may be days as Excel counts them.
    """

    name: str
    cells: pl.Series
    days: bool = False

    @classmethod
    def of(cls, name: str, parts: Sequence[pl.Series], *, days: bool = False) -> Column:
        """One column of several files."""
        if len({part.dtype for part in parts}) > 1:
            parts = [part.cast(pl.String) for part in parts]
        whole = pl.concat([part.rename(name) for part in parts])
        whole = stripped(whole) if whole.dtype == pl.String else whole
        return cls(name=name, cells=whole.drop_nulls(), days=days)

    @cached_property
    def _few(self) -> pl.Series:
        return pl.concat([self.cells.head(_LOOK), self.cells.tail(_LOOK)])

    @property
    def is_text(self) -> bool:
        return self.cells.dtype == pl.String

    def _share(self, pattern: str) -> float:
        if not self.is_text or not len(self.cells):
            return 0.0
        return float(self._few.str.contains(pattern).mean())  # type: ignore[arg-type]

    @cached_property
    def is_stamps(self) -> bool:
        """Whether they are moments."""
        if self.cells.dtype in (pl.Datetime, pl.Date):
            return True
        if self.days and self._share(r"^[2-7]\d{4}(\.\d+)?$") >= _MOSTLY:
            return self._few.n_unique() * 4 > len(self._few)
        return self._share(STAMP) >= _MOSTLY

    @cached_property
    def is_clock(self) -> bool:
        """Whether they are times of the day."""
        return self._share(_CLOCK) >= _MOSTLY

    @cached_property
    def is_numbers(self) -> bool:
        """Whether half of them are numbers: an export has words among its values."""
        return self.cells.dtype.is_numeric() or self.cells.dtype == pl.Boolean or self._share(_NUMBER) >= 0.5

    @cached_property
    def is_quality(self) -> bool:
        """Whether every cell is a word or code of quality, and one says good: a failed tag may be Bad throughout."""
        if not len(self.cells) or not (self.is_text or self.cells.dtype.is_integer()):
            return False
        seen = {str(cell).casefold() for cell in self._few.unique().to_list()}
        if seen <= QUALITY_WORDS.keys():
            return any(QUALITY_WORDS[cell] is Quality.GOOD for cell in seen)
        return seen <= {str(code) for code in OPC_DA_CODES} and "192" in seen

    @property
    def rises(self) -> bool:
        """Whether they are numbers of which none is below the one before."""
        values = self.cells.cast(pl.Float64, strict=False)
        return len(values) > 0 and values.null_count() == 0 and bool((values.diff().drop_nulls() >= 0).all())

    @property
    def repeats(self) -> bool:
        """Whether the same cells come again, as names of tags do in a long table."""
        return self.is_text and self.cells.n_unique() * 2 <= len(self.cells)


def decimals_of(columns: Sequence[Column], delimiter: str) -> tuple[dict[str, str], Question | None]:
    """Settings `decimal` and `thousands` of value columns, as far as they are not the defaults."""
    texts = [
        column.cells.filter(column.cells.str.contains(_NUMBER)).unique(maintain_order=True)
        for column in columns
        if column.is_text
    ]
    cells = (
        pl.concat([text.rename("cell") for text in texts]).unique(maintain_order=True)
        if texts
        else pl.Series("cell", [], pl.String)
    )
    commas, points = cells.filter(cells.str.contains(",", literal=True)), cells.filter(cells.str.contains(r"\."))
    both = commas.filter(commas.str.contains(r"\."))
    if len(cells.filter(cells.str.contains("['\u2019]"))):
        return _decimal(comma=bool(len(commas)), thousands="'"), None
    if len(cells.filter(cells.str.contains(_BLANKS))):
        return _decimal(comma=bool(len(commas)), thousands=" "), None
    if len(both):
        comma = bool(both.str.contains(r"\..*,").any())
        return _decimal(comma=comma, thousands=None if comma else ","), None
    one_group = r"^[+\-\x{2212}]?[1-9]\d{0,2}[.,]\d{3}$"
    if len(commas):
        if commas.str.contains(r",\d{3},").any():
            return _decimal(comma=False, thousands=","), None
        if not commas.str.contains(one_group).all():
            return _decimal(comma=True, thousands=None), None
        if len(points) and not points.str.contains(one_group).all():
            return _decimal(comma=False, thousands=","), None
        return {}, _which_decimal(commas[0])
    if points.str.contains(r"\.\d{3}\.").any():
        return _decimal(comma=True, thousands=None), None
    if delimiter == ";" and len(points) > 1 and points.str.contains(one_group).all():
        return {}, _which_decimal(points[0])
    return {}, None


def _decimal(*, comma: bool, thousands: str | None) -> dict[str, str]:
    found = {"decimal": ","} if comma else {}
    return found | ({"thousands": thousands} if thousands else {})


def _which_decimal(cell: str) -> Question:
    sign = "comma" if "," in cell else "point"
    return Question(
        key="history.options.decimal",
        text=f"Every {sign} stands before three digits, as in {cell}. Is the decimal sign a point or a comma?",
        choices=(".", ","),
    )


def quality_of(columns: Sequence[Column]) -> tuple[dict[str, Any], Question | None]:
    """Setting `quality` of quality columns, as far as it is not the default."""
    seen = {str(cell) for column in columns for cell in column.cells.unique().to_list()}
    codes = sorted(int(cell) for cell in seen if is_code(cell))
    strange = sorted(cell for cell in seen if cell.casefold() not in QUALITY_WORDS and not is_code(cell))
    key = "history.options.quality"
    if strange or (codes and len(codes) < len(seen)):
        listed = ", ".join((strange + [str(code) for code in codes])[:10])
        text = f"What do the qualities {listed} mean? Say good, uncertain or bad of each word that occurs."
        return {}, Question(key=key, text=text)
    if not codes:
        return {}, None
    if 192 in codes and codes[0] >= 0 and codes[-1] < 256:
        return {"quality": "opc-da"}, None
    if codes[-1] >= 1 << 30 and all(code == 0 or code >= 1 << 16 for code in codes):
        return {"quality": "opc-ua"}, None
    listed = ", ".join(map(str, codes[:10]))
    text = f"Which codes of quality are {listed}? 0 is bad in OPC DA and good in OPC UA; or say what each means."
    return {}, Question(key=key, text=text, choices=("opc-da", "opc-ua"))
