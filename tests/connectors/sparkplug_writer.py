"""Sparkplug B payloads written byte by byte, by the protobuf wire format and the field numbers of the specification."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

INT8, INT16, INT32, INT64, UINT32, FLOAT, DOUBLE, BOOLEAN, STRING, DATE_TIME = 1, 2, 3, 4, 7, 9, 10, 11, 12, 13


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def whole(field: int, number: int) -> bytes:
    return varint(field << 3) + varint(number)


def chunk(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def value(kind: int, given: Any, first: int) -> bytes:
    """A value by its type; `first` is the number of int_value: 10 in a metric, 3 in a property."""
    if kind in (INT8, INT16, INT32):
        return whole(first, given & 0xFFFFFFFF)
    if kind in (INT64, DATE_TIME):
        return whole(first + 1, given & (1 << 64) - 1)
    if kind == FLOAT:
        return varint(first + 2 << 3 | 5) + struct.pack("<f", given)
    if kind == DOUBLE:
        return varint(first + 3 << 3 | 1) + struct.pack("<d", given)
    if kind == BOOLEAN:
        return whole(first + 4, int(given))
    if kind == STRING:
        return chunk(first + 5, given.encode())
    return whole(first, given)


def metric(
    name: str | None,
    given: Any,
    *,
    time: int | None = None,
    alias: int | None = None,
    kind: int = DOUBLE,
    told: bool = True,
    historical: bool = False,
    properties: dict[str, tuple[int, Any]] | None = None,
) -> bytes:
    """One metric; `given` None: null. `told`: whether it names its type."""
    out = b"" if name is None else chunk(1, name.encode())
    out += b"" if alias is None else whole(2, alias)
    out += b"" if time is None else whole(3, time)
    out += whole(4, kind) if told else b""
    out += whole(5, 1) if historical else b""
    out += whole(7, 1) if given is None else value(kind, given, 10)
    if properties:
        keys = b"".join(chunk(1, key.encode()) for key in properties)
        values = b"".join(chunk(2, whole(1, of) + value(of, held, 3)) for of, held in properties.values())
        out += chunk(9, keys + values)
    return out


def payload(metrics: Sequence[bytes], *, seq: int | None, time: int | None = None) -> bytes:
    out = b"" if time is None else whole(1, time)
    out += b"".join(chunk(2, each) for each in metrics)
    return out if seq is None else out + whole(3, seq)
