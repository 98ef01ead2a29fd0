"""A table that tells of tags: unit, description, range, whether they step, and the words of digital ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any

import polars as pl
from pydantic import Field

from procmodel.data.samples import TagInfo
from procmodel.plant.tag import Frozen

TableName = Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1, max_length=3)]
"""`raw`, or with its schema: `[plant, raw]`."""
Rows = Callable[[TableName, Mapping[str, str]], pl.DataFrame]
"""Columns of a table, each by the name that it is given here."""

_NO = {"", "0", "0.0", "f", "false", "n", "no", "off"}


class StatesTable(Frozen):
    """A table with a row per state of a digital tag.

    Attributes:
        table: Its name.
        of: Column that says what the state belongs to: a tag, or a set of states where `AboutTable.set` names one.
        code, word: Columns of the number that is recorded, and of what it means.
    """

    table: TableName
    of: str = "tag"
    code: str = "code"
    word: str = "word"


class AboutTable(Frozen):
    """A table with a row per tag, for the search.

    Attributes:
        table: Its name.
        tag: Column of tag names.
        unit, description, low, high, step: Columns of what is known of it.
        states: Table of the words of digital tags.
        set: Column of the set of states that a tag has; absent: the tag's own name stands in `states.of`.
    """

    table: TableName
    tag: str = "tag"
    unit: str | None = None
    description: str | None = None
    low: str | None = None
    high: str | None = None
    step: str | None = None
    states: StatesTable | None = None
    set: str | None = None


class About:
    """What a table tells of tags; it is asked once, and again after `close`. Several threads may ask at once.

    Args:
        options: Where it stands; None: nowhere, so that nothing is known.
        rows: Asks the source for columns of a table.
    """

    def __init__(self, options: AboutTable | None, rows: Rows) -> None:
        self._options, self._rows = options, rows
        self._lock = threading.Lock()
        self._infos: dict[str, TagInfo] | None = None

    def infos(self) -> Mapping[str, TagInfo]:
        """Tags of the table, by their names.

        Raises:
            HistorianError: the source has no such table or column.
        """
        if self._options is None:
            return {}
        with self._lock:
            if self._infos is None:
                self._infos = {info.name: info for info in self._told(self._options)}
            return self._infos

    def states(self, tag: str) -> Mapping[int, str]:
        """Words of a digital tag by their numbers; empty for all others. The table is asked only where it has any."""
        if self._options is None or self._options.states is None:
            return {}
        known = self.infos().get(tag)
        return known.states if known is not None else {}

    def of(self, tags: Iterable[TagInfo]) -> Iterator[TagInfo]:
        """Tags of a source, with what the table adds to what the source knows itself."""
        told = self.infos()
        for info in tags:
            more = told.get(info.name)
            yield info if more is None else replace(more, step=info.step if more.step is None else more.step)

    def close(self) -> None:
        """Forgets what it was told."""
        with self._lock:
            self._infos = None

    def _told(self, options: AboutTable) -> Iterator[TagInfo]:
        keys = ("tag", "unit", "description", "low", "high", "step", "set")
        columns = {key: column for key in keys if (column := getattr(options, key))}
        words = self._words(options.states) if options.states is not None else {}
        for row in self._rows(options.table, columns).iter_rows(named=True):
            if row["tag"] is None:
                continue
            states = words.get(str(row.get("set") if options.set else row["tag"]), {})
            step = _flag(row.get("step"))
            yield TagInfo(
                name=str(row["tag"]),
                unit=str(row.get("unit") or ""),
                description=str(row.get("description") or ""),
                low=None if row.get("low") is None else float(row["low"]),
                high=None if row.get("high") is None else float(row["high"]),
                step=True if step is None and states else step,
                states=states,
            )

    def _words(self, options: StatesTable) -> dict[str, dict[int, str]]:
        found: dict[str, dict[int, str]] = {}
        columns = {"of": options.of, "code": options.code, "word": options.word}
        for of, code, word in self._rows(options.table, columns).select("of", "code", "word").iter_rows():
            if None not in (of, code, word):
                found.setdefault(str(of), {})[int(code)] = str(word)
        return found


def spoken(value: pl.Series, word: pl.Series, states: Mapping[int, str]) -> tuple[pl.Series, pl.Series]:
    """Numbers and words of a digital tag, where a source keeps only one of the two.

    Args:
        value: Numbers, null where there are none.
        word: What was written instead, or beside them; null where nothing was.
    """
    if not states:
        return value, word
    codes = {each: float(code) for code, each in states.items()}
    words = {float(code): each for code, each in states.items()}
    number = word.replace_strict(codes, default=None, return_dtype=pl.Float64)
    said = value.replace_strict(words, default=None, return_dtype=pl.String)
    return value.zip_with(value.is_not_null(), number), word.zip_with(word.is_not_null(), said)


def _flag(told: Any) -> bool | None:
    """Whether a cell says yes: some tables keep numbers or letters there."""
    return None if told is None else str(told).strip().casefold() not in _NO
