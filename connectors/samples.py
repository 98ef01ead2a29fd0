"""Steps on the way from a tag's samples to what is handed over; frames as described in `connectors.frames`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import cast

import polars as pl
import pyarrow as pa

from connectors.stamps import UTC_TIME
from procmodel.data.samples import SCHEMA, Quality, Query
from procmodel.errors import PlantFileError
from procmodel.plant import Kind, Tag
from procmodel.plant.units import converter

BATCH_ROWS = 65_536


def converted(record: pl.DataFrame, tag: Tag) -> pl.DataFrame:
    """In the tag's own unit; what lies outside its instrument range is bad.

    A counter stays as it was read: its tag is the rate, which is known with the next reading only.
    """
    if tag.kind is Kind.TOTALIZER:
        return record
    if tag.source_unit is not None:
        try:
            convert = converter(tag.source_unit, tag.unit)
        except PlantFileError as error:
            raise PlantFileError(f"Tag {tag.name!r}: {error}") from error
        record = record.with_columns(value=convert(record["value"]))
    if tag.range is None:
        return record
    low, high = tag.range
    # 212 degF is 100.00000000000006 degC in floating point, and no reason to call a boiling kettle broken.
    slack = 1e-9 * (high - low)
    value = pl.col("value")
    record = record.with_columns(
        value=pl.when(value.is_between(low - slack, high + slack)).then(value.clip(low, high)).otherwise(value)
    ).with_columns(outside=((value < low) | (value > high)).fill_null(False))
    return record.with_columns(quality=record["quality"].set(record["outside"], int(Quality.BAD)))


def stamped(record: pl.DataFrame) -> pl.DataFrame:
    return record.filter(pl.col("time").is_not_null())


def not_before(times: pl.Series, start: datetime | None) -> pl.Series:
    return pl.select(pl.lit(times) >= pl.lit(start, UTC_TIME)).to_series() if start is not None else times.is_not_null()


def within(record: pl.DataFrame, query: Query) -> pl.DataFrame:
    """Rows of the range, with the last one before it where it is to be carried in; rows without a stamp stay."""
    time = pl.col("time")
    if query.end is not None:
        record = record.filter(time.is_null() | (time < pl.lit(query.end, UTC_TIME)))
    if query.start is None:
        return record
    before = record.filter(time < pl.lit(query.start, UTC_TIME))
    kept = record.filter(time.is_null() | (time >= pl.lit(query.start, UTC_TIME)))
    return pl.concat([before.tail(1), kept]) if query.carry_in else kept


def deduplicated(record: pl.DataFrame) -> tuple[pl.DataFrame, int, int]:
    """One row per stamp, the last; how many left out say the same as another, and how many do not."""
    kept = record.unique(subset="time", keep="last", maintain_order=True)
    if kept.height == record.height:
        return record, 0, 0
    different = record.unique(subset=["time", "value", "quality", "state"], maintain_order=True).height
    return kept, record.height - different, different - kept.height


def span_of(columns: Sequence[pl.Series]) -> tuple[datetime, datetime] | None:
    """First and last stamp of several columns, or None where there is none."""
    held = [each for each in columns if each.null_count() < len(each)]
    if not held:
        return None
    return min(cast(datetime, each.min()) for each in held), max(cast(datetime, each.max()) for each in held)


def batches(held: Mapping[str, pl.DataFrame]) -> Iterator[pa.RecordBatch]:
    names = pa.array(list(held), pa.string())
    for index, frame in enumerate(held.values()):
        for start in range(0, frame.height, BATCH_ROWS):
            piece = frame.slice(start, BATCH_ROWS)
            codes = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(index, pa.int32()), piece.height), names)
            columns = [piece[name].to_arrow().cast(SCHEMA.field(name).type) for name in SCHEMA.names[1:]]
            yield pa.RecordBatch.from_arrays([codes, *columns], schema=SCHEMA)
