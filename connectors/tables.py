"""What a record is made of: tables, and the samples that each of them holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

import polars as pl

from connectors.layouts import Layout
from connectors.samples import span_of
from procmodel.data.samples import TagInfo


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Columns of a table, the SHA-256 of what they were read from, and what was left out on the way."""

    frame: pl.DataFrame
    digest: str
    notes: tuple[str, ...] = ()


class Table(Protocol):
    """One table of a record: a file, or a frame in memory."""

    @property
    def name(self) -> str:
        """Of the campaign, where each table is one."""
        ...

    @property
    def place(self) -> str:
        """Where it lies, for messages."""
        ...

    @property
    def version(self) -> str:
        """Changes when the table does; told without reading it."""
        ...

    def header(self) -> list[str]:
        """Column names in order."""
        ...

    def described(self, layout: Layout) -> Mapping[str, TagInfo]:
        """What the table tells of its tags besides their samples, by source name."""
        ...

    def load(self, columns: Sequence[str]) -> Loaded:
        """These columns, and what is to be told of them."""
        ...


@dataclass(frozen=True, kw_only=True)
class Part:
    """The samples that one table holds.

    Attributes:
        samples: By plant tag; frames as described in `connectors.frames`.
        digest: SHA-256 of the table.
        rows: Of the table, whatever they hold.
        notes: What was left out on the way.
        infos: What the table tells of its tags besides, by plant tag.
    """

    name: str
    place: str
    rows: int
    samples: Mapping[str, pl.DataFrame]
    digest: str
    notes: tuple[str, ...]
    infos: Mapping[str, TagInfo] = field(default_factory=dict)

    def span(self) -> tuple[datetime, datetime] | None:
        """First and last stamp, or None where there is none."""
        return span_of([frame["time"] for frame in self.samples.values()])

    def later(self, by: timedelta) -> Part:
        """The same samples, moved in time."""
        moved = {tag: frame.with_columns(pl.col("time") + by) for tag, frame in self.samples.items()}
        return replace(self, samples=moved)
