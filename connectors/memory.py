"""Data frames as a historian: for notebooks, tests, and simulated plants."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from connectors.layouts import Layout
from connectors.options import TableOptions
from connectors.record import TableHistorian
from connectors.tables import Loaded
from procmodel.data.samples import Quality, TagInfo
from procmodel.errors import PlantFileError
from procmodel.plant import History, Tag
from procmodel.plant.checks import checked_options

_OUR_QUALITIES = {str(int(quality)): quality.name.lower() for quality in Quality}


class MemoryHistorian(TableHistorian):
    """Frames as a historian: pandas, polars or Arrow, long or wide.

    Args:
        source: One frame, or several by name, each of which is then a campaign. A pandas `DatetimeIndex` is the time
            column. Or a `History` whose options hold it under `frame`.
        tags: The plant's tags; None: names and numbers are taken as they stand.
        timezone: Zone of stamps that carry none.
        options: As in `connectors.options.TableOptions`.
    """

    def __init__(
        self,
        source: Any,
        tags: Mapping[str, Tag] | None = None,
        *,
        timezone: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        given = dict(options or {})
        if isinstance(source, History):
            timezone, given = source.timezone, dict(source.options)
            if (source := given.pop("frame", None)) is None:
                raise PlantFileError(
                    "history.kind 'memory' reads a frame made in Python; set history.options['frame']."
                )
        if isinstance(source, Mapping):
            given.setdefault("campaign", "file")
        frames = source if isinstance(source, Mapping) else {"memory": source}
        tables = [FrameTable(name=str(name), frame=to_polars(frame)) for name, frame in frames.items()]
        if all(table.frame.schema.get("quality") == pl.Int8 for table in tables):
            given.setdefault("quality", _OUR_QUALITIES)  # samples in our own schema
        super().__init__(lambda: tables, tags or {}, checked_options(TableOptions, given), timezone)


@dataclass(frozen=True, kw_only=True)
class FrameTable:
    """One frame; it is taken never to change."""

    name: str
    frame: pl.DataFrame

    @property
    def place(self) -> str:
        return self.name

    @property
    def version(self) -> str:
        return "1"

    def header(self) -> list[str]:
        """Column names in order."""
        return self.frame.columns

    def described(self, layout: Layout) -> Mapping[str, TagInfo]:
        """A frame tells no more of its tags than their names."""
        return {}

    def load(self, columns: Sequence[str]) -> Loaded:
        """These columns, and the SHA-256 of the frame as an Arrow file."""
        digest = hashlib.sha256(self.frame.write_ipc(None).getvalue()).hexdigest()
        return Loaded(frame=self.frame.select(columns), digest=digest)


def to_polars(frame: Any) -> pl.DataFrame:
    """A pandas, polars or Arrow frame as a polars one; mixed columns of numbers and words become text.

    Raises:
        PlantFileError: it is none of these.
    """
    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, pa.Table | pa.RecordBatch):
        return pl.DataFrame(frame)
    if not hasattr(frame, "reset_index") or not hasattr(frame, "columns"):
        raise PlantFileError(f"A historian in memory needs a data frame, got {type(frame).__name__}.")
    # Told by what it can do: pandas itself takes a second to import.
    if type(frame.index).__name__ == "DatetimeIndex":
        frame = frame.rename_axis(frame.index.name or "time").reset_index()
    return pl.DataFrame([_series(str(name), frame[name]) for name in frame.columns])


def _series(name: str, column: Any) -> pl.Series:
    """A pandas column; a missing cell of it is null."""
    if column.dtype == object:
        text = [None if cell is None or cell != cell else str(cell) for cell in column]
        return pl.Series(name, text, dtype=pl.String)
    if getattr(column.dtype, "tz", None) is not None:
        # As numbers of UTC: pandas 3.1 warns where Arrow takes the zone over by itself.
        moments = column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
        return pl.Series(name, moments).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return pl.Series(name, pa.array(column, from_pandas=True))
