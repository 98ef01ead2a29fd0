"""What `procmodel record` kept of a live source, read as a historian."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from connectors.parquet_files import ParquetHistorian
from procmodel.data.samples import Quality
from procmodel.errors import PlantFileError
from procmodel.plant import History, Kind, Tag

_COLUMNS = {"tag": "tag", "time": "time", "value": "value", "quality": "quality"}


class RecordedHistorian(ParquetHistorian):
    """The folder of a record.

    Args:
        history: `path` is the folder; there is nothing else to tell.
        tags: The plant's tags, in whose units it was recorded already.
        base: Folder of a relative path.
    """

    def __init__(self, history: History, tags: Mapping[str, Tag], base: Path | None = None) -> None:
        if not isinstance(history.path, str) or history.options:
            raise PlantFileError("history of kind 'recorded' needs the record's folder as path, and no options.")
        codes = {str(int(quality)): quality.name.lower() for quality in Quality}
        files = History(
            kind="parquet", path=f"{history.path}/part-*.parquet", options={"columns": _COLUMNS, "quality": codes}
        )
        super().__init__(files, {name: _as_recorded(tag) for name, tag in tags.items()}, base)


def _as_recorded(tag: Tag) -> Tag:
    """Converted already; but a counter is kept as it was read."""
    if tag.source_unit is None or tag.kind is Kind.TOTALIZER:
        return tag
    return tag.model_copy(update={"source_unit": None})
