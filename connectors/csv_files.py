"""CSV exports, long or wide."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.csv

from connectors.files import matching_files, read_bytes, sha256_of, version_of
from connectors.options import CsvOptions
from connectors.record import TableHistorian
from connectors.tables import Loaded
from procmodel.errors import HistorianError
from procmodel.plant import History, Tag
from procmodel.plant.checks import checked_options

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DELIMITERS = (",", ";", "\t", "|")
_PEEK = 1 << 20  # bytes in which every header fits


class CsvHistorian(TableHistorian):
    """CSV files as a historian.

    Args:
        history: As in the plant file; options as in `connectors.options.CsvOptions`.
        tags: The plant's tags.
        base: Folder of relative paths; `load_plant` has made them absolute already.
    """

    def __init__(self, history: History, tags: Mapping[str, Tag], base: Path | None = None) -> None:
        options = checked_options(CsvOptions, history.options)

        def tables() -> Sequence[CsvTable]:
            return [CsvTable(file=file, options=options) for file in matching_files(history, base, ".csv")]

        super().__init__(tables, tags, options, history.timezone)


@dataclass(frozen=True, kw_only=True)
class CsvTable:
    """One CSV file."""

    file: Path
    options: CsvOptions

    @property
    def name(self) -> str:
        return self.file.stem

    @property
    def place(self) -> str:
        return str(self.file)

    @property
    def version(self) -> str:
        return version_of(self.file)

    def header(self) -> list[str]:
        """Column names in order.

        Raises:
            HistorianError: the file cannot be read, is empty, or is no text in its encoding.
        """
        data = read_bytes(self.file, _PEEK)
        return self._head(self._text(data, self._encoding(data), whole=False)).names

    def load(self, columns: Sequence[str]) -> Loaded:
        """These columns as text, and the SHA-256 of the file.

        Raises:
            HistorianError: a row has more cells than the header, or the text cannot be parsed.
        """
        data = read_bytes(self.file)
        encoding = self._encoding(data)
        head = self._head(self._text(data[:_PEEK], encoding, whole=False))
        if encoding in ("utf-8", "utf-8-sig"):
            mark = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
            body = data[mark + len(head.text.encode()) :]
        else:
            body = self._text(data, encoding, whole=True)[len(head.text) :].encode()
        frame, notes = self._rows(body, head, columns)
        return Loaded(frame=frame, digest=sha256_of(data), notes=notes)

    def _encoding(self, data: bytes) -> str:
        if self.options.encoding is not None:
            return self.options.encoding.lower()
        for mark, encoding in _BYTE_ORDER_MARKS:
            if data.startswith(mark):
                return encoding
        if 0 in data[:2]:  # a header begins with plain letters: one of two bytes is 0 in UTF-16
            return "utf-16-be" if data[0] == 0 else "utf-16-le"
        try:
            codecs.getincrementaldecoder("utf-8")().decode(data)
        except UnicodeDecodeError:
            return "cp1252"
        return "utf-8"

    def _text(self, data: bytes, encoding: str, *, whole: bool) -> str:
        try:
            # The first bytes of a file may end within a character.
            return codecs.getincrementaldecoder(encoding)().decode(data, final=whole)
        except (UnicodeDecodeError, LookupError) as error:
            raise HistorianError(
                f"{self.file} is no text in {encoding}: {error}. Set history.options.encoding, such as utf-8 or cp1252."
            ) from error

    def _head(self, text: str) -> _Head:
        lines = io.StringIO(text, newline="")
        delimiter = self.options.delimiter
        start = lines.tell()
        for line in lines:
            if line.strip() and not (line.lower().startswith("sep=") and len(line.strip()) == 5):
                break
            delimiter = line.strip()[4:] or delimiter  # Excel's first line "sep=;"
            start = lines.tell()
        delimiter = delimiter or _delimiter_of(line + next(filter(str.strip, lines), ""))
        lines.seek(start)
        try:
            names = next(csv.reader(lines, delimiter=delimiter))
        except (csv.Error, StopIteration, TypeError) as error:
            raise HistorianError(
                f"{self.file}: its header cannot be read: {error}. Correct history.options.delimiter."
            ) from error
        return _Head(names=[name.strip() for name in names], text=text[: lines.tell()], delimiter=delimiter)

    def _rows(self, body: bytes, head: _Head, columns: Sequence[str]) -> tuple[pl.DataFrame, tuple[str, ...]]:
        # Columns go by number: a name may be empty, or stand twice among those that nobody asked for.
        numbered = {str(head.names.index(name)): name for name in columns}
        if not body or body.isspace():
            return pl.DataFrame(schema=dict.fromkeys(columns, pl.String)), ()
        unfinished = body[max(body.rfind(b"\n"), body.rfind(b"\r")) + 1 :].decode()
        notes: list[str] = []

        def short_or_long(row: pyarrow.csv.InvalidRow) -> str:
            # A logger that is still writing leaves half a line at the end.
            if row.actual_columns > row.expected_columns or row.text != unfinished:
                return "error"
            notes.append(f"{self.file}: its last line is not written to the end and was left out: {unfinished!r}")
            return "skip"

        try:
            table = pyarrow.csv.read_csv(
                pa.BufferReader(body),
                pyarrow.csv.ReadOptions(column_names=[str(n) for n in range(len(head.names))]),
                pyarrow.csv.ParseOptions(delimiter=head.delimiter, invalid_row_handler=short_or_long),
                pyarrow.csv.ConvertOptions(
                    include_columns=list(numbered), column_types=dict.fromkeys(numbered, pa.string())
                ),
            )
        except pa.ArrowInvalid as error:
            raise HistorianError(
                f"{self.file} cannot be read as CSV with delimiter {head.delimiter!r}: {str(error).splitlines()[0]} "
                "Correct history.options.delimiter (and decimal), or mend the row."
            ) from error
        return pl.DataFrame(table).rename(numbered), tuple(notes)


def _delimiter_of(text: str) -> str:
    """What parts the cells of a header and the row below it: that which gives both the same number, and a large one."""

    def fits(delimiter: str) -> tuple[bool, int]:
        header, *row = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))[:2]
        return len(header) > 1 and all(len(each) == len(header) for each in row), len(header)

    return max(_DELIMITERS, key=fits)


@dataclass(frozen=True, kw_only=True)
class _Head:
    """The header: its names, its text with all that stands before it, and what parts its cells."""

    names: list[str]
    text: str
    delimiter: str
