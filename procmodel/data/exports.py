"""What an export looks like, told by its connector: the settings to read it with, and what only a person can know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from procmodel.data.historians import load_connector
from procmodel.data.samples import TagInfo
from procmodel.errors import HistorianError

_KINDS = {
    ".csv": "csv",
    ".txt": "csv",
    ".tsv": "csv",
    ".dat": "csv",
    ".xlsx": "excel",
    ".xlsm": "excel",
    ".parquet": "parquet",
}
_OLD_WORKBOOKS = {".xls", ".xlsb"}


@dataclass(frozen=True, kw_only=True)
class Question:
    """What no export can tell of itself.

    Attributes:
        key: Where the answer stands in the plant file, such as "history.timezone" or "history.options.time.format".
        text: The question, with what the export shows of it.
        choices: Answers to choose from; empty: any that fits.
    """

    key: str
    text: str
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What was found in an export.

    Attributes:
        kind: Of connector: `history.kind`.
        files: The export's files.
        layout: long (a row per sample), wide (a column per tag), single (one file per tag), pairs (a time and a value
            column per tag) or interleaved (a value and a quality column per tag).
        settings: `history.options` as far as the export tells; what its defaults say is left out.
        tags: With unit, description and range as far as the export tells them.
        zone_known: Whether stamps carry their offset from UTC; otherwise `history.timezone` is asked for.
        words: What stands among the numbers, and how often.
        found: The rest, a line each, for people.
        questions: What has to be answered before the export can be read.
    """

    kind: str
    files: tuple[Path, ...]
    layout: str
    settings: Mapping[str, Any]
    tags: tuple[TagInfo, ...]
    zone_known: bool
    words: Mapping[str, int] = field(default_factory=dict)
    found: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()

    def options(self, answers: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """`history.options` of a plant file, with the answers to questions that belong there.

        Args:
            answers: By `Question.key`; those that belong elsewhere, such as history.timezone, are left alone.
        """
        options = deepcopy(dict(self.settings))
        for key, answer in (answers or {}).items():
            path = key.split(".")
            if path[:2] != ["history", "options"]:
                continue
            place = options
            for each in path[2:-1]:
                place = place.setdefault(each, {})
            place[path[-1]] = answer
        return options

    def open_questions(self, answers: Mapping[str, Any] | None = None) -> tuple[Question, ...]:
        """The questions that these answers leave open."""
        return tuple(each for each in self.questions if each.key not in (answers or {}))


class Sniffer(Protocol):
    """A connector that can tell the shape of its files."""

    @classmethod
    def sniff(cls, files: Sequence[Path], known: Mapping[str, Any]) -> Shape:
        """The shape that these files share.

        Args:
            known: Options that are known already, such as the sheet of a workbook.

        Raises:
            HistorianError: they cannot be read, or are not of one shape.
        """
        ...


def sniff(files: Path | Sequence[Path], known: Mapping[str, Any] | None = None) -> Shape:
    """The shape of an export: a file, a folder of files, or several files.

    Args:
        known: Options that are known already, such as the sheet of a workbook.

    Raises:
        HistorianError: there is no file, its ending is of no known kind, the files are not of one kind or shape, or
            the library that reads them is not installed.
    """
    listed = _files([files] if isinstance(files, Path) else files)
    kinds = {file.suffix.lower(): _KINDS.get(file.suffix.lower()) for file in listed}
    for ending, kind in kinds.items():
        if ending in _OLD_WORKBOOKS:
            raise HistorianError(
                f"Workbooks that end in {ending} cannot be read. Open them in Excel and save as .xlsx."
            )
        if kind is None:
            raise HistorianError(f"No connector is known for files that end in {ending!r}; known: {', '.join(_KINDS)}.")
    if len(set(kinds.values())) > 1:
        raise HistorianError(f"An export is of one kind; these end in {', '.join(sorted(kinds))}. Name those of one.")
    sniffer: Sniffer = load_connector(str(kinds[listed[0].suffix.lower()]))
    return sniffer.sniff(listed, known or {})


def _files(given: Sequence[Path]) -> list[Path]:
    found: dict[Path, None] = {}
    for each in given:
        if not each.exists():
            raise HistorianError(f"There is no {each}. Name an export file, or a folder of them.")
        inside = (
            sorted(file for file in each.iterdir() if file.suffix.lower() in {*_KINDS, *_OLD_WORKBOOKS})
            if each.is_dir()
            else [each]
        )
        if not inside:
            raise HistorianError(f"{each} holds no export. Files that can be read end in {', '.join(_KINDS)}.")
        found.update(dict.fromkeys(inside))
    return sorted(found, key=lambda file: (file.name, str(file)))
