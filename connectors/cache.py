"""What was read from a server, kept as Parquet files, so that it is not asked for again.

    FOLDER/<SHA-256 of source and exact tag name>/<start>-<end>.parquet      [us since 1970, UTC]

A file holds all samples of a tag in `[start, end)`: the names of the files are the coverage table. A file is written
under another name and then renamed, so what is told as covered is there, whole, at whatever moment the program is
killed. Two files may cover the same time; they say the same.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet

from connectors.driver import FRAME, joined
from connectors.stamps import EPOCH, UTC_TIME
from procmodel.errors import HistorianError

PART_ROWS = 100_000  # in one file, about; a kill loses as much at most
_NAME = re.compile(r"(-?\d+)-(-?\d+)\.parquet")
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, order=True, kw_only=True)
class Part:
    """One file: all samples of a tag in `[start, end)`."""

    start: datetime
    end: datetime
    file: Path


@dataclass(frozen=True, kw_only=True)
class Cache:
    """The cache of one source.

    Attributes:
        folder: Shared by all sources.
        identity: Of the source, as in `connectors.driver.Driver`.
    """

    folder: Path
    identity: str

    def walk(
        self, tag: str, start: datetime, end: datetime
    ) -> Iterator[tuple[datetime, datetime, pl.DataFrame | None]]:
        """A range cut into stretches: each with the file that covers it (and may reach beyond), or None."""
        reached = start
        for part in self.parts(tag):
            if part.end <= reached or part.start >= end:
                continue
            if part.start > reached:
                yield reached, part.start, None
                reached = part.start
            until = min(part.end, end)
            yield reached, until, self._read(part, tag)
            reached = until
        if reached < end:
            yield reached, end, None

    def newest(self, tag: str, before: datetime) -> datetime | None:
        """Time of the newest sample before a moment, where the cache can tell; else None."""
        for part in sorted(self.parts(tag), key=lambda each: each.end, reverse=True):
            if part.start >= before:
                continue
            frame = self._read(part, tag) if part.end >= before else None
            if frame is None:
                return None
            found = frame.filter(pl.col("time") < pl.lit(before, UTC_TIME))["time"].max()
            if isinstance(found, datetime):
                return found
            before = part.start
        return None

    def add(self, tag: str, start: datetime, end: datetime, frame: pl.DataFrame) -> None:
        """Keep all samples of `[start, end)`; a small file that ends at `start` grows instead of getting a neighbour.

        Raises:
            HistorianError: the file cannot be written.
        """
        before = next((part for part in self.parts(tag) if part.end == start), None)
        if before is not None and _rows(before.file) + frame.height <= PART_ROWS:
            earlier = self._read(before, tag)
            if earlier is not None:
                start, frame = before.start, joined([earlier, frame])
        try:
            self._write(tag, start, end, frame)
            if before is not None and before.start == start:
                before.file.unlink(missing_ok=True)
        except OSError as error:
            raise HistorianError(
                f"The cache {self.folder} cannot be written: {error.strerror or error}. What was read until now is "
                "kept in it. Make room, or set history.options.cache.folder to another folder."
            ) from error

    def parts(self, tag: str) -> list[Part]:
        """Its files of a tag, in order of time."""
        try:
            names = os.listdir(self._home(tag))
        except OSError:
            return []  # a folder that cannot be used is told of when it is written to
        found = [
            Part(start=_moment(match[1]), end=_moment(match[2]), file=self._home(tag) / name)
            for name in names
            if (match := _NAME.fullmatch(name))
        ]
        return sorted(found)

    def _home(self, tag: str) -> Path:
        # The length keeps apart what a mere separator would join: ("a b", "c") and ("a", "b c").
        key = f"{len(self.identity)} {self.identity} {tag}"
        return self.folder / hashlib.sha256(key.encode()).hexdigest()

    def _facts(self, tag: str) -> dict[bytes, bytes]:
        return {b"procmodel.tag": tag.encode(), b"procmodel.source": self.identity.encode()}

    def _read(self, part: Part, tag: str) -> pl.DataFrame | None:
        """What a file holds; None where it is gone, damaged (then it is removed), or another tag's."""
        try:
            table = pyarrow.parquet.read_table(part.file, page_checksum_verification=True)
        except FileNotFoundError:
            return None
        except (pa.ArrowException, OSError):
            part.file.unlink(missing_ok=True)
            return None
        said = table.schema.metadata or {}
        if any(said.get(key) != fact for key, fact in self._facts(tag).items()):
            return None
        frame = pl.DataFrame(table)
        return frame.select(pl.col(name).cast(dtype) for name, dtype in FRAME.items())

    def _write(self, tag: str, start: datetime, end: datetime, frame: pl.DataFrame) -> None:
        home = self._home(tag)
        home.mkdir(parents=True, exist_ok=True)
        table = frame.to_arrow().replace_schema_metadata(self._facts(tag))
        # A name of its own: two programs may fill one cache.
        fresh = home / f"{uuid.uuid4().hex}.unfinished"
        try:
            pyarrow.parquet.write_table(table, fresh, compression="zstd", write_page_checksum=True)
            os.replace(fresh, home / f"{_count(start)}-{_count(end)}.parquet")
        finally:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)


def _rows(file: Path) -> int:
    try:
        return int(pyarrow.parquet.read_metadata(file).num_rows)
    except (pa.ArrowException, OSError):
        return PART_ROWS


def _moment(count: str) -> datetime:
    return EPOCH + timedelta(microseconds=int(count))


def _count(moment: datetime) -> int:
    return (moment - EPOCH) // _TICK
