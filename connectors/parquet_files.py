"""Parquet exports, long or wide."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet

from connectors.files import FileTable, matching_files, read_bytes
from connectors.options import TableOptions
from connectors.parquet_stream import Ordered, Stream
from connectors.record import TableHistorian
from connectors.sniffing import sniffed
from connectors.tables import Loaded
from procmodel.data.exports import Shape
from procmodel.data.samples import Query, ReadReport
from procmodel.errors import HistorianError
from procmodel.plant import History, Tag
from procmodel.plant.checks import checked_options


class ParquetHistorian(TableHistorian):
    """Parquet files as a historian.

    Args:
        history: As in the plant file; options as in `connectors.options.TableOptions`.
        tags: The plant's tags.
        base: Folder of relative paths; `load_plant` has made them absolute already.
    """

    def __init__(self, history: History, tags: Mapping[str, Tag], base: Path | None = None) -> None:
        options = checked_options(TableOptions, history.options)

        def files() -> Sequence[Path]:
            return matching_files(history, base, ".parquet")

        def ordered() -> Ordered | None:
            return Ordered.of(files(), options, tags)

        self._ordered = ordered
        super().__init__(lambda: [ParquetTable(file=file) for file in files()], tags, options, history.timezone)

    @property
    def in_time_order(self) -> bool:
        """Whether the files stand in order of time, so that they are streamed and never held in memory."""
        return self._ordered() is not None

    def read(self, query: Query) -> Iterator[pa.RecordBatch]:
        """As `TableHistorian.read`; files in order of time are streamed, all tags together.

        In a stream two values of a tag at one stamp are both handed over, and its last value holds from there on.
        """
        ordered = self._ordered()
        if ordered is None:
            return super().read(query)
        self.report = ReadReport()
        return iter(Stream(ordered, query, self.report))

    @classmethod
    def sniff(cls, files: Sequence[Path], known: Mapping[str, Any]) -> Shape:
        """The shape that these files share.

        Raises:
            HistorianError: they cannot be read, or are not of one shape.
        """
        return sniffed("parquet", files, TableOptions, lambda file, _: ParquetTable(file=file), known)


@dataclass(frozen=True, kw_only=True)
class ParquetTable(FileTable):
    """One Parquet file."""

    def header(self) -> list[str]:
        """Column names in order.

        Raises:
            HistorianError: the file cannot be read, is empty, or is no Parquet file.
        """
        read_bytes(self.file, most=4)
        try:
            return list(pyarrow.parquet.read_schema(self.file).names)
        except (pa.ArrowInvalid, OSError) as error:
            raise self._broken(error) from error

    def load(self, columns: Sequence[str]) -> Loaded:
        """These columns, and the SHA-256 of the file.

        Raises:
            HistorianError: the file is no Parquet file, or damaged.
        """
        try:
            with pyarrow.parquet.ParquetFile(self.file) as parquet:
                table = parquet.read(columns=list(columns))
            with self.file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except (pa.ArrowInvalid, OSError) as error:
            raise self._broken(error) from error
        return Loaded(frame=pl.DataFrame(table).select(columns), digest=digest)

    def _broken(self, error: Exception) -> HistorianError:
        return HistorianError(f"{self.file} cannot be read as Parquet: {str(error).splitlines()[0]} Export it again.")
