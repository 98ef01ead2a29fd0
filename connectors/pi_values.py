"""Values of the PI Web API as samples: numbers, digital states, and system states, which are no values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from connectors.driver import empty_frame, page_frame
from connectors.stamps import UTC_TIME
from procmodel.data.samples import Quality
from procmodel.errors import HistorianError


def samples_of(items: Sequence[Mapping[str, Any]], place: str) -> pl.DataFrame:
    """Items of a recorded stream as a page.

    Raises:
        HistorianError: an item is not what the PI Web API sends.
    """
    if not items:
        return empty_frame()
    try:
        read = [_read(item) for item in items]
        stamps = pl.Series([str(item["Timestamp"]) for item in items], dtype=pl.String)
        # Ten million parts of a second there; what is finer than ours is cut off.
        times = stamps.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us").dt.replace_time_zone("UTC")
    except (KeyError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise HistorianError(
            f"{place} sends what is no PI value: {dict(items[0])!r:.120}. Correct history.path."
        ) from error
    value, status, quality, state = (list(column) for column in zip(*read, strict=True))
    return page_frame(times.cast(UTC_TIME), value, status=status, quality=quality, state=state)


def _read(item: Mapping[str, Any]) -> tuple[float | None, int | None, int, str | None]:
    """Value, status, quality and state of an item.

    A system state is told by `IsSystem`, or where an older server leaves that out by `Good`; never by its name, which
    is translated on site. Its number, as 246 for "I/O Timeout", is kept as the status: it is no process value.
    """
    raw, good = item["Value"], bool(item.get("Good", True))
    quality = Quality.BAD if not good else Quality.UNCERTAIN if item.get("Questionable") else Quality.GOOD
    if isinstance(raw, Mapping):
        code, name = int(raw["Value"]), str(raw.get("Name") or "")
        if raw.get("IsSystem", not good):
            return None, code, int(Quality.BAD), name
        return float(code), code, int(quality), name
    if isinstance(raw, bool | int | float):
        return float(raw), None, int(quality), None
    return None, None, int(Quality.BAD), None if raw is None else str(raw)[:200]
