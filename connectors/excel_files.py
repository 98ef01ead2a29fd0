"""Excel workbooks: sheets with the layouts of text exports, among them those of PI DataLink.

Read with openpyxl, which hands over what a cell with an error holds, such as #N/A. Readers built on calamine
(fastexcel, python-calamine, polars by default) hand over an empty cell there: a failed sensor would look
as if nobody had asked.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
from openpyxl.utils.datetime import from_excel

from connectors.files import FileTable, matching_files, read_bytes
from connectors.heads import Head, head_of_rows, widened
from connectors.layouts import Layout, unique
from connectors.options import ExcelOptions
from connectors.record import TableHistorian
from connectors.sniffed_heads import header_of
from connectors.sniffing import sniffed
from connectors.tables import Loaded
from procmodel.data.exports import Shape
from procmodel.data.samples import TagInfo
from procmodel.errors import HistorianError
from procmodel.plant import History, Tag
from procmodel.plant.checks import checked_options

_DAYS = (20_000, 80_000)  # 1954 to 2119, as Excel counts days
_LOOK = 60  # rows in which the head and the first sample lie
_OLE, _OLD = bytes.fromhex("d0cf11e0a1b11ae1"), {".xls", ".xlsb"}  # how .xls and encrypted .xlsx begin
Cell = Any  # what openpyxl makes of one: None, text, number, bool, or a moment
Row = tuple[Cell, ...]


class ExcelHistorian(TableHistorian):
    """Excel workbooks as a historian.

    Args:
        history: As in the plant file; options as in `connectors.options.ExcelOptions`.
        tags: The plant's tags.
        base: Folder of relative paths; `load_plant` has made them absolute already.
    """

    def __init__(self, history: History, tags: Mapping[str, Tag], base: Path | None = None) -> None:
        options = checked_options(ExcelOptions, history.options)

        def tables() -> Sequence[ExcelTable]:
            return [ExcelTable(file=file, options=options) for file in matching_files(history, base, ".xlsx")]

        super().__init__(tables, tags, options, history.timezone)

    @classmethod
    def sniff(cls, files: Sequence[Path], known: Mapping[str, Any]) -> Shape:
        """The shape that these workbooks share.

        Raises:
            HistorianError: they cannot be read, or are not of one shape.
        """
        given = checked_options(ExcelOptions, dict(known))
        headers = [list(header_of(ExcelTable(file=f, options=given).start(), days=True)) for f in files]
        for file, header in zip(files, headers, strict=True):
            if header != headers[0]:
                raise HistorianError(
                    f"{file} has other rows above its samples than {files[0]}. Name files of one shape at a time."
                )
        return sniffed(
            "excel",
            files,
            ExcelOptions,
            lambda file, options: ExcelTable(file=file, options=options),
            {**({} if headers[0] == ["names"] else {"header": headers[0]}), **known},
            found=[f"Rows above the samples: {headers[0]}"],
            days=True,
        )


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Rows of a sheet, and the day that its workbook counts days from."""

    rows: list[Row]
    epoch: datetime


@dataclass(frozen=True, kw_only=True)
class ExcelTable(FileTable):
    """One sheet of a workbook."""

    options: ExcelOptions

    def header(self) -> list[str]:
        """Column names in order.

        Raises:
            HistorianError: the file cannot be read, is empty, or is no workbook that can be read.
        """
        return self._head(self._sheet(_LOOK).rows)[0].names

    def described(self, layout: Layout) -> Mapping[str, TagInfo]:
        """What stands above the samples of each tag, by source name.

        Raises:
            HistorianError: as for `header`.
        """
        return self._head(self._sheet(_LOOK).rows)[0].described(layout)

    def load(self, columns: Sequence[str]) -> Loaded:
        """These columns as text, and the SHA-256 of the file.

        Raises:
            HistorianError: as for `header`.
        """
        digest = hashlib.sha256(read_bytes(self.file)).hexdigest()
        sheet = self._sheet()
        head, first = self._head(sheet.rows)
        layout = Layout.of(head.names, self.options, self.place, self.name)
        times = {layout.time, *(signal.time for signal in layout.signals)} if self.options.time.unit is None else set()
        keys, rows = unique(head.names), sheet.rows[first:]
        frame = {}
        for name in columns:
            number = keys.index(name)
            cells = [row[number] if number < len(row) else None for row in rows]
            cells = _moments(cells, sheet.epoch) if name in times else cells
            frame[name] = pl.Series(name, [text_of(cell, self.options.decimal) for cell in cells], dtype=pl.String)
        return Loaded(frame=pl.DataFrame(frame), digest=digest)

    def start(self) -> list[list[str]]:
        """The first rows that hold anything, as text."""
        rows = [[text_of(cell, ".") or "" for cell in row] for row in self._sheet(_LOOK).rows]
        return [row for row in rows if any(row)]

    def _head(self, rows: Sequence[Row]) -> tuple[Head, int]:
        """The head, and the number of the first row below it."""
        counted = 0

        def texts() -> Iterator[list[str]]:
            nonlocal counted
            for row in rows:
                counted += 1
                yield [text_of(cell, self.options.decimal) or "" for cell in row]

        following = texts()
        head = head_of_rows(following, self.options.header, self.place)
        first = counted
        return widened(head, next((row for row in following if any(row)), []), ragged=True), first

    def _sheet(self, most: int | None = None) -> Sheet:
        if read_bytes(self.file, most=8) == _OLE or self.file.suffix.lower() in _OLD:
            raise HistorianError(
                f"{self.file} is a workbook as Excel 97 to 2003 wrote them (.xls), a binary one (.xlsb), or one with a "
                "password; none of them can be read. Open it in Excel and save it as .xlsx without a password."
            )
        try:
            # A damaged archive would leave a file open that openpyxl opened.
            with warnings.catch_warnings(), self.file.open("rb") as file:
                warnings.simplefilter("ignore")  # of styles and extensions that say nothing of the samples
                book = openpyxl.load_workbook(file, read_only=True, data_only=True)
                try:
                    return self._of_book(book, most)
                finally:
                    book.close()
        except HistorianError:
            raise
        except Exception as error:  # whatever a damaged archive makes the readers of ZIP, XML and cells stumble over
            raise HistorianError(
                f"{self.file} cannot be read as an Excel workbook: {_one_line(error)} Save it again as .xlsx."
            ) from error

    def _of_book(self, book: Any, most: int | None) -> Sheet:
        sheets = {sheet.title: sheet for sheet in book.worksheets}
        if self.options.sheet is not None:
            if self.options.sheet not in sheets:
                raise HistorianError(
                    f"{self.file}: history.options.sheet is {self.options.sheet!r}, but the sheets are "
                    f"{', '.join(sheets)}. Correct it."
                )
            return Sheet(rows=_rows(sheets[self.options.sheet], most), epoch=book.epoch)
        filled = {name: rows for name, sheet in sheets.items() if (rows := _rows(sheet, most))}
        if not filled:
            raise HistorianError(f"{self.file} is empty. Export it again, or remove it.")
        if len(filled) > 1:
            raise HistorianError(
                f"{self.file} has several sheets, {', '.join(filled)}. Name one in history.options.sheet."
            )
        return Sheet(rows=next(iter(filled.values())), epoch=book.epoch)


def _rows(sheet: Any, most: int | None) -> list[Row]:
    """Rows of a sheet from the top; rows at the end that hold nothing are cut off."""
    sheet.reset_dimensions()  # what a sheet says of its own size may be wrong
    rows = [tuple(row) for row in islice(sheet.iter_rows(values_only=True), most)]
    while rows and not any(cell is not None for cell in rows[-1]):
        rows.pop()
    return rows


def _moments(cells: list[Cell], epoch: datetime) -> list[Cell]:
    """A time column; what has no date format is a count of days, 45413.25 for 2024-05-01 06:00."""
    numbers = [cell for cell in cells if _is_number(cell)]
    if not all(_DAYS[0] <= cell <= _DAYS[1] for cell in numbers):
        return cells
    return [from_excel(cell, epoch) if _is_number(cell) else cell for cell in cells]


def _is_number(cell: Cell) -> bool:
    return isinstance(cell, float | int) and not isinstance(cell, bool)


def text_of(cell: Cell, decimal: str) -> str | None:
    """A cell as a text export would hold it; None where there is nothing."""
    if cell is None:
        return None
    if isinstance(cell, bool):
        return str(int(cell))
    if isinstance(cell, int | float):
        number = repr(float(cell)) if not float(cell).is_integer() or math.fabs(cell) >= 1e15 else str(int(cell))
        return number.replace(".", decimal)
    if isinstance(cell, datetime | date | time):
        return cell.isoformat(sep=" ") if isinstance(cell, datetime) else cell.isoformat()
    return str(cell) if not isinstance(cell, timedelta) else str(cell.total_seconds()).replace(".", decimal)


def _one_line(error: Exception) -> str:
    said = " ".join(str(error).split())[:200] or type(error).__name__
    return said if said.endswith((".", "!", "?")) else f"{said}."
