"""What stands above the samples of a sheet or text file: names, units, descriptions, and sections such as [Tags]."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from connectors.layouts import USUAL, Layout, unique
from connectors.options import CsvOptions, HeaderRow
from procmodel.data.samples import TagInfo
from procmodel.errors import HistorianError

DELIMITERS = (",", ";", "\t", "|")
_SECTION = re.compile(r'^\s*"?\[(\w+)\]"?[\s,;|]*$')
_COMMENT = "*"  # GE Proficy: "*Comments" (CSV File Format, Historian documentation)
_LOOK = 50  # lines from which the delimiter is told

# Header keywords of a [Tags] section.
_KEYWORDS = {"description": "description", "engineeringunits": "unit", "units": "unit"}


@dataclass(frozen=True, kw_only=True)
class Head:
    """What stands above the samples.

    Attributes:
        names: Of the columns, in order.
        rows: What else stands above each column, by role.
        length: Characters before the first sample.
        delimiter: What parts the cells.
        tags: What a section of its own tells of the tags.
    """

    names: list[str]
    rows: Mapping[HeaderRow, list[str]] = field(default_factory=dict)
    length: int = 0
    delimiter: str = ","
    tags: Mapping[str, TagInfo] = field(default_factory=dict)

    def described(self, layout: Layout) -> dict[str, TagInfo]:
        """What the rows above the samples, or a section of their own, tell of each tag; by source name."""
        found = dict(self.tags)
        keys = unique(self.names)
        for signal in layout.signals:
            columns = [keys.index(key) for key in (signal.value, signal.time) if key in keys]
            said = {role: next((row[n] for n in columns if row[n]), "") for role, row in self.rows.items()}
            unit, description = said.get("units", ""), said.get("descriptions", "")
            if unit or description:
                found[signal.tag] = TagInfo(name=signal.tag, unit=unit, description=description)
        return found


def head_of_rows(rows: Iterator[Sequence[str]], header: Sequence[HeaderRow], place: str) -> Head:
    """The head of rows of cells; `rows` then stands at the first sample.

    Raises:
        HistorianError: there are fewer rows than the header has, or the same one twice.
    """
    found: dict[HeaderRow, list[str]] = {}
    for role in header:
        if role != "skip" and role in found:
            raise HistorianError(f"{place}: history.options.header names {role!r} twice. Correct it.")
        row = next((each for each in rows if any(cell.strip() for cell in each)), None)
        if row is None:
            raise HistorianError(
                f"{place}: it has no {role} row: history.options.header counts {len(header)} rows above the samples. "
                "Correct it, or export the file again."
            )
        if role != "skip":
            found[role] = [cell.strip() for cell in row]
    width = max((len(row) for row in found.values()), default=0)
    padded = {role: row + [""] * (width - len(row)) for role, row in found.items()}
    return Head(names=padded.pop("names", []), rows=padded)


def text_head(text: str, options: CsvOptions, place: str) -> Head:
    """The head of a text that has no sections.

    Raises:
        HistorianError: its rows cannot be read.
    """
    lines = io.StringIO(text, newline="")
    delimiter, start = options.delimiter, 0
    for line in lines:
        if line.strip() and not (line.lower().startswith("sep=") and len(line.strip()) == 5):
            break
        delimiter = options.delimiter or line.strip()[4:] or delimiter  # Excel's first line "sep=;"
        start = lines.tell()
    lines.seek(start)
    delimiter = delimiter or delimiter_of(_below(lines, options.header))
    lines.seek(start)
    try:
        head = head_of_rows(csv.reader(lines, delimiter=delimiter), options.header, place)
        length = lines.tell()
        first = next((row for row in csv.reader(lines, delimiter=delimiter) if any(row)), [])
    except (csv.Error, TypeError) as error:
        raise HistorianError(
            f"{place}: its header cannot be read: {error}. Correct history.options.delimiter."
        ) from error
    return replace(widened(head, first), length=length, delimiter=delimiter)


def widened(head: Head, first: Sequence[str], *, ragged: bool = False) -> Head:
    """With names for all columns of the first sample: numbers without a row of names, else blanks.

    Args:
        ragged: Whether rows end at their last cell, as in a sheet; then a value may stand below no name.
    """
    names = head.names
    if not names:
        names = [str(number + 1) for number in range(len(first))]
    elif ragged or not any(cell.strip() for cell in first[len(names) :]):
        names = names + [""] * (len(first) - len(names))
    width = max(len(names), len(first))
    return replace(head, names=names, rows={role: row + [""] * (width - len(row)) for role, row in head.rows.items()})


def _below(lines: io.StringIO, header: Sequence[HeaderRow]) -> list[str]:
    """The first lines from the row of names on."""
    filled = [line for line in (lines.readline() for _ in range(_LOOK + len(header))) if line.strip()]
    return filled[next((n for n, role in enumerate(header) if role != "skip"), 0) :]


def delimiter_of(lines: Sequence[str]) -> str:
    """What parts the cells of these lines: that which gives most of them the same number, and a large one."""

    def fits(delimiter: str) -> tuple[bool, float, int]:
        counts = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        cells, lines_alike = Counter(counts).most_common(1)[0] if counts else (0, 0)
        return cells > 1, lines_alike / max(len(counts), 1), cells

    try:
        return max(DELIMITERS, key=fits)
    except csv.Error:
        return ","


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a text below a line such as [Data]."""

    name: str
    text: str


def has_sections(text: str) -> bool:
    """Whether the first line that says anything opens a section."""
    first = next((line for line in io.StringIO(text) if line.strip() and not line.startswith(_COMMENT)), "")
    return _SECTION.match(first) is not None


def sections(text: str) -> Iterator[Section]:
    """The sections of a text, without comments, each with its name in small letters."""
    name, held = "", io.StringIO()
    for line in io.StringIO(text, newline=""):
        opened = _SECTION.match(line)
        if opened:
            if name:
                yield Section(name=name, text=held.getvalue())
            name, held = opened[1].casefold(), io.StringIO()
        elif not line.startswith(_COMMENT):
            held.write(line)
    if name:
        yield Section(name=name, text=held.getvalue())


def tags_of_section(text: str, delimiter: str) -> dict[str, TagInfo]:
    """What a [Tags] section tells: name, unit, description and engineering range of each tag."""
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(row)]
    if not rows:
        return {}
    keys = [re.sub(r"[\s_]", "", cell).casefold() for cell in rows[0]]
    found = {}
    for row in rows[1:]:
        said = dict(zip(keys, (cell.strip() for cell in row), strict=False))
        name = next((said[key] for key in ("tagname", *USUAL["tag"]) if said.get(key)), None)
        if name is not None:
            words = {ours: said[key] for key, ours in _KEYWORDS.items() if said.get(key)}
            low, high = (_number(said.get(f"{end}engineeringunits", "")) for end in ("lo", "hi"))
            found[name] = TagInfo(name=name, low=low, high=high, **words)  # type: ignore[arg-type]
    return found


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def merged(heads: Iterable[tuple[Head, str]], place: str) -> tuple[Head, str]:
    """One head and the rows of several sections of samples that have the same columns.

    Raises:
        HistorianError: there is none, or their columns differ.
    """
    (first, body), *others = list(heads) or [(Head(names=[]), "")]
    if not first.names:
        raise HistorianError(f"{place}: it has sections, but none called [Data]. Export the samples too.")
    for head, rows in others:
        if head.names != first.names:
            raise HistorianError(
                f"{place}: two [Data] sections have other columns, {', '.join(first.names)} and "
                f"{', '.join(head.names)}. Cut the file in two."
            )
        body += ("" if body.endswith("\n") else "\n") + rows
    return first, body
