"""CSV exports and other text files of rows, in every layout."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.csv

from connectors.encodings import Utf8Body, decoded, encoding_of, told
from connectors.files import FileTable, matching_files, read_bytes
from connectors.heads import Head, delimiter_of, has_sections, merged, sections, tags_of_section, text_head
from connectors.layouts import Layout, unique
from connectors.options import CsvOptions, HeaderRow
from connectors.record import TableHistorian
from connectors.sniffed_heads import header_of
from connectors.sniffing import sniffed
from connectors.tables import Loaded
from procmodel.data.exports import Shape
from procmodel.data.samples import TagInfo
from procmodel.errors import HistorianError
from procmodel.plant import History, Tag
from procmodel.plant.checks import checked_options

PEEK = 1 << 20  # bytes in which every header fits
BLOCK = 8 << 20  # bytes that are parsed at a time
_LOOK = 60  # lines from which delimiter and header are told
_TAIL = 1 << 16  # bytes in which the last line fits


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

    @classmethod
    def sniff(cls, files: Sequence[Path], known: Mapping[str, Any]) -> Shape:
        """The shape that these files share.

        Raises:
            HistorianError: they cannot be read, or are not of one shape.
        """
        given, heads = checked_options(CsvOptions, dict(known)), {}
        for file in files:
            data = read_bytes(file, PEEK)
            encoding = encoding_of(data, given.encoding)
            text = decoded(data, encoding, str(file), whole=len(data) < PEEK)
            heads[file] = (encoding, *_start_of(text, given.delimiter))
        _, delimiter, header = heads[files[0]]
        for file, (_, _, other) in heads.items():
            if other != header:
                raise HistorianError(
                    f"{file} has other rows above its samples than {files[0]}. Name files of one shape at a time."
                )
        told = sorted({each for each, _, _ in heads.values()})
        found = [f"Encoding: {' and '.join(told)}", f"Delimiter: {delimiter!r}", f"Rows above the samples: {header}"]
        return sniffed(
            "csv",
            files,
            CsvOptions,
            lambda file, options: CsvTable(file=file, options=options),
            {**({} if header == ["names"] else {"header": header}), **known},
            delimiter=delimiter,
            found=found,
        )


def _start_of(text: str, given: str | None) -> tuple[str, list[HeaderRow]]:
    """Delimiter, and what each row above the samples holds."""
    if has_sections(text):
        data = next((each.text for each in sections(text) if each.name == "data"), "")
        return given or delimiter_of(data.splitlines()[:_LOOK]), ["names"]
    lines = [line for line in text.splitlines()[: 4 * _LOOK] if line.strip()][:_LOOK]
    if lines and lines[0].lower().startswith("sep=") and len(lines[0].strip()) == 5:
        delimiter, lines = lines[0].strip()[4:], lines[1:]
    else:
        delimiter = given or delimiter_of(lines)
    try:
        rows = [row for row in csv.reader(lines, delimiter=delimiter) if any(cell.strip() for cell in row)]
    except csv.Error:
        return delimiter, ["names"]
    return delimiter, list(header_of(rows))


@dataclass(frozen=True, kw_only=True)
class CsvTable(FileTable):
    """One CSV file."""

    options: CsvOptions

    def header(self) -> list[str]:
        """Column names in order.

        Raises:
            HistorianError: the file cannot be read, is empty, or is no text in its encoding.
        """
        return self._head().names

    def described(self, layout: Layout) -> Mapping[str, TagInfo]:
        """What the file tells of its tags, by source name.

        Raises:
            HistorianError: as for `header`.
        """
        return self._head().described(layout)

    def load(self, columns: Sequence[str]) -> Loaded:
        """These columns as text, and the SHA-256 of the file.

        Raises:
            HistorianError: a row has more cells than the header, or the text cannot be parsed.
        """
        start = self._text(read_bytes(self.file, PEEK), None)
        encoding, digest = told(self.file, self.options.encoding)
        if has_sections(start):
            head, body = self._sectioned(read_bytes(self.file), encoding)
            frame, notes = self._rows(io.BytesIO(body.encode()), body[body.rfind("\n") + 1 :], head, columns)
        else:
            head = text_head(self._text(read_bytes(self.file, PEEK), encoding), self.options, self.place)
            with self._body(encoding, head.length) as rows:
                frame, notes = self._rows(rows, self._last_line(encoding), head, columns)
        return Loaded(frame=frame, digest=digest, notes=notes)

    def _head(self) -> Head:
        data = read_bytes(self.file, PEEK)
        text = self._text(data, None)
        if has_sections(text):
            whole = read_bytes(self.file)
            return self._sectioned(whole, encoding_of(whole, self.options.encoding))[0]
        return text_head(text, self.options, self.place)

    def _text(self, data: bytes, encoding: str | None) -> str:
        encoding = encoding or encoding_of(data, self.options.encoding)
        return decoded(data, encoding, self.place, whole=len(data) < PEEK)

    def _sectioned(self, data: bytes, encoding: str) -> tuple[Head, str]:
        """Head and rows of a file with sections, which are read whole."""
        found = list(sections(decoded(data, encoding, self.place, whole=True)))
        heads: list[tuple[Head, str]] = []
        tags: dict[str, TagInfo] = {}
        for section in found:
            delimiter = self.options.delimiter or delimiter_of(section.text.splitlines()[:50])
            if section.name == "tags":
                tags |= tags_of_section(section.text, delimiter)
            elif section.name == "data" and section.text.strip():
                head = text_head(section.text, self.options, self.place)
                heads.append((head, section.text[head.length :]))
        head, body = merged(heads, self.place)
        return replace(head, tags=tags), body

    @contextmanager
    def _body(self, encoding: str, skip: int) -> Iterator[Any]:
        try:
            with self.file.open("rb") as stream:
                yield Utf8Body(stream, encoding, skip, self.place)
        except OSError as error:
            raise HistorianError(f"{self.file} cannot be read: {error.strerror}.") from error

    def _last_line(self, encoding: str) -> str:
        """What follows the last line end: half a line where a logger is still writing."""
        with self.file.open("rb") as stream:
            size = stream.seek(0, io.SEEK_END)
            stream.seek(max(0, size - _TAIL))  # an even number of bytes: no character of UTF-16 is cut
            data = stream.read()
        plain = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le"}.get(encoding, encoding)
        if encoding == "utf-16" and read_bytes(self.file, 2) == b"\xfe\xff":
            plain = "utf-16-be"
        text = data.decode(plain, errors="ignore")
        return text[max(text.rfind("\n"), text.rfind("\r")) + 1 :]

    def _rows(
        self, body: Any, unfinished: str, head: Head, columns: Sequence[str]
    ) -> tuple[pl.DataFrame, tuple[str, ...]]:
        # Columns go by number: a name may be empty, or stand several times.
        keys = unique(head.names)
        numbered = {str(keys.index(name)): name for name in columns}
        notes: list[str] = []

        def short_or_long(row: pyarrow.csv.InvalidRow) -> str:
            # A logger that is still writing leaves half a line at the end.
            if row.actual_columns > row.expected_columns or not unfinished or row.text != unfinished:
                return "error"
            notes.append(f"{self.file}: its last line is not written to the end and was left out: {unfinished!r}")
            return "skip"

        blocks = []
        try:
            with pyarrow.csv.open_csv(
                pa.PythonFile(body, mode="r"),
                pyarrow.csv.ReadOptions(column_names=[str(n) for n in range(len(head.names))], block_size=BLOCK),
                pyarrow.csv.ParseOptions(delimiter=head.delimiter, invalid_row_handler=short_or_long),
                pyarrow.csv.ConvertOptions(
                    include_columns=list(numbered), column_types=dict.fromkeys(numbered, pa.string())
                ),
            ) as reader:
                blocks = [pl.DataFrame(batch) for batch in reader]
        except pa.ArrowInvalid as error:
            if str(error).startswith("Empty CSV"):
                return pl.DataFrame(schema=dict.fromkeys(columns, pl.String)), ()
            raise HistorianError(
                f"{self.file} cannot be read as CSV with delimiter {head.delimiter!r}: {str(error).splitlines()[0]} "
                "Correct history.options.delimiter (and decimal), or mend the row."
            ) from error
        frame = pl.concat(blocks) if blocks else pl.DataFrame(schema=dict.fromkeys(numbered, pl.String))
        return frame.rename(numbered), tuple(notes)
