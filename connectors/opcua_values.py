"""OPC UA data values as samples: number or word, status decoded, source time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from enum import IntEnum
from typing import Any

from asyncua import ua

from connectors.live_samples import Sample, microseconds
from connectors.opcua_history import stamp_of
from procmodel.data.samples import Quality

_SEVERITY = (Quality.GOOD, Quality.UNCERTAIN, Quality.BAD, Quality.BAD)
# Part 4, 7.39.1: structure of the low half of a status: bits 10 and 11 say what the info bits are about, bit 7 that the
# queue of a monitored item ran over.
_INFO_IS_DATA_VALUE, _OVERFLOW = 0x0400, 0x0080


def quality_of(status: int) -> Quality:
    """The severity of a status code: its top two bits; 0b11 is reserved and to be taken as bad (Part 4, 7.39.1)."""
    return _SEVERITY[status >> 30 & 0b11]


def overflowed(status: int) -> bool:
    """Whether values between this one and the one before were thrown away by the server's queue."""
    return bool(status & _INFO_IS_DATA_VALUE) and bool(status & _OVERFLOW)


def sample_of(value: ua.DataValue, states: Mapping[int, str] | None = None) -> Sample | None:
    """A data value as a sample; None where it carries no time at all.

    The source's own time counts; a server that keeps none sends its own. What is no finite number is bad and keeps its
    text as the state.

    Args:
        states: Names of a digital tag's values.
    """
    stamp = stamp_of(value)
    if stamp is None:
        return None
    status = value.StatusCode.value if value.StatusCode is not None else int(ua.StatusCodes.Good)
    number, word = _read(value.Value.Value if value.Value is not None else None)
    if number is not None and states and number.is_integer():
        word = states.get(int(number), word)
    quality = quality_of(status) if number is not None else Quality.BAD
    return Sample(microseconds(stamp), number, int(status), int(quality), word)


def _read(raw: Any) -> tuple[float | None, str | None]:
    """Number and word of what a variant holds."""
    if raw is None:
        return None, None
    if isinstance(raw, IntEnum):
        return float(raw), raw.name
    if isinstance(raw, bool | int | float):
        number = float(raw)
        return (number, None) if math.isfinite(number) else (None, str(raw))
    if isinstance(raw, ua.LocalizedText):
        return None, raw.Text
    if isinstance(raw, datetime):
        return None, raw.isoformat()
    return None, str(raw)[:200]
