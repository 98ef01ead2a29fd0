"""Samples on their way from a protocol's own values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

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
