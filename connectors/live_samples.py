"""Samples on their way from a protocol's own values to Arrow batches."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pyarrow as pa

from procmodel.data.samples import SCHEMA

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Sample(NamedTuple):
    """One sample of a tag.

    Attributes:
        time: [us] since 1970, UTC.
        value: None where the source holds no number.
        status: The source's own code.
        quality: `Quality`.
        state: Digital or system state; None for plain numbers.
    """

    time: int
    value: float | None
    status: int
    quality: int
    state: str | None = None


def microseconds(stamp: datetime) -> int:
    """An aware moment as `Sample.time`."""
    return (stamp - EPOCH) // _MICROSECOND


def moment(time: int) -> datetime:
    """`Sample.time` as an aware moment."""
    return EPOCH + time * _MICROSECOND


def batch_of(tag: str, samples: Sequence[Sample]) -> pa.RecordBatch:
    """Samples of one tag in `SCHEMA`."""
    columns = list(zip(*samples, strict=True)) or [()] * len(Sample._fields)
    codes = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), len(samples)), pa.array([tag]))
    arrays = [
        pa.array(column, pa.int64()).cast(SCHEMA.field(name).type)
        if name == "time"
        else pa.array(column, SCHEMA.field(name).type)
        for name, column in zip(SCHEMA.names[1:], columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays([codes, *arrays], schema=SCHEMA)
