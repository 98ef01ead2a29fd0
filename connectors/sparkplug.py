"""Sparkplug B payloads: the parts of its protobuf definition that tell of values, and what they say.

Field numbers are those of `sparkplug_b.proto` (Eclipse Sparkplug 3.0.0, chapter 6); what is not listed here, as data
sets, templates and files, is passed over unread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from connectors.live_samples import moment
from procmodel.errors import HistorianError

LATEST = 7_258_118_400_000
"""Stamps beyond the year 2200 are none [ms since 1970]."""
_VALUES = {"int_value": "UINT32", "long_value": "UINT64", "float_value": "FLOAT", "double_value": "DOUBLE"}
_VALUES |= {"boolean_value": "BOOL", "string_value": "STRING"}
# Message: its fields as name -> (number, type); types in lower case are messages of ours.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "Payload": {"timestamp": (1, "UINT64"), "metrics": (2, "*Metric"), "seq": (3, "UINT64")},
    "Metric": {
        "name": (1, "STRING"),
        "alias": (2, "UINT64"),
        "timestamp": (3, "UINT64"),
        "datatype": (4, "UINT32"),
        "is_historical": (5, "BOOL"),
        "is_null": (7, "BOOL"),
        "metadata": (8, "MetaData"),
        "properties": (9, "PropertySet"),
        **{name: (10 + n, kind) for n, (name, kind) in enumerate(_VALUES.items())},
    },
    "MetaData": {"description": (8, "STRING")},
    "PropertySet": {"keys": (1, "*STRING"), "values": (2, "*PropertyValue")},
    "PropertyValue": {
        "type": (1, "UINT32"),
        "is_null": (2, "BOOL"),
        **{name: (3 + n, kind) for n, (name, kind) in enumerate(_VALUES.items())},
    },
}
# Data types (6.4.16): signed ones travel as unsigned of this many bits.
_SIGNED = {1: 8, 2: 16, 3: 32, 4: 64}
_NUMBERS = range(1, 12)  # Int8 to UInt64, Float, Double, Boolean
BOOLEAN, _DATE_TIME = 11, 13
_WORDS = {12, 14, 15}  # String, Text, UUID


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric of a payload.

    Attributes:
        name: Absent where the alias stands for it.
        time: Its own, else that of the payload [ms since 1970]; 0 where neither is said.
        datatype: Number of its type; 0 where it is left out.
        raw: What the payload holds, undecoded: signs are known with the type.
        null: It has no value now.
        properties: As unit and quality, by name.
    """

    name: str | None
    alias: int | None
    time: int
    datatype: int
    raw: float | int | bool | str | None
    null: bool
    historical: bool
    properties: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""

    def read(self, datatype: int) -> tuple[float | None, str | None]:
        """Number and word, by the type that the birth certificate named."""
        kind, raw = datatype or self.datatype, self.raw
        if raw is None or self.null:
            return None, None
        if isinstance(raw, str):
            return None, raw[:200]
        if kind == _DATE_TIME:
            return None, moment(int(raw) * 1000).isoformat() if 0 < raw < LATEST else str(raw)
        number = float(signed(int(raw), _SIGNED[kind]) if kind in _SIGNED else raw)
        return (number, None) if math.isfinite(number) else (None, str(number))


def signed(number: int, bits: int) -> int:
    """The two's complement of so many bits that an unsigned number stands for.

    Some encoders widen a negative Int8 to 32 bits and others do not: the upper bits say nothing.
    """
    low = number & (1 << bits) - 1
    return low - (1 << bits) if low >> bits - 1 else low


@dataclass(frozen=True, kw_only=True)
class Payload:
    """One message.

    Attributes:
        time: When it was sent [ms since 1970]; 0 where that is not said.
        seq: Its number among those of its node, 0 to 255; a death of a node has none.
    """

    time: int
    seq: int | None
    metrics: tuple[Metric, ...]


def decoded(content: bytes) -> Payload:
    """What a payload says.

    Raises:
        HistorianError: it is no Sparkplug B payload.
    """
    message = _PAYLOAD()
    try:
        message.ParseFromString(content)
        return Payload(
            time=_stamp(message.timestamp),
            seq=message.seq if message.HasField("seq") else None,
            metrics=tuple(_metric(each, message.timestamp) for each in message.metrics),
        )
    except (DecodeError, UnicodeDecodeError) as error:
        raise HistorianError(f"This is no Sparkplug B payload: {error}.") from error


def rebirth_request(now: int) -> bytes:
    """The command that asks a node for its birth certificates, at a time [ms since 1970]."""
    message = _PAYLOAD(timestamp=now)
    message.metrics.add(name="Node Control/Rebirth", timestamp=now, datatype=BOOLEAN, boolean_value=True)
    return bytes(message.SerializeToString())


def steps(datatype: int) -> bool:
    """Whether values of a type hold until the next one."""
    return datatype == BOOLEAN or datatype in _WORDS


def _metric(message: Any, time: int) -> Metric:
    held = message.properties
    pairs = zip(held.keys, held.values, strict=False)
    return Metric(
        name=message.name if message.HasField("name") and message.name else None,
        alias=message.alias if message.HasField("alias") else None,
        time=_stamp(message.timestamp) or _stamp(time),
        datatype=message.datatype,
        raw=_value(message),
        null=message.is_null,
        historical=message.is_historical,
        properties={key: _property(value) for key, value in pairs},
        description=message.metadata.description,
    )


def _stamp(time: int) -> int:
    return time if time < LATEST else 0


def _property(message: Any) -> Any:
    value = None if message.is_null else _value(message)
    return signed(int(value), _SIGNED[message.type]) if value is not None and message.type in _SIGNED else value


def _value(message: Any) -> Any:
    return next((getattr(message, name) for name in _VALUES if message.HasField(name)), None)


def _payload() -> Any:
    """The class of payloads. Its definition stands in a pool of its own, beside whatever else defines the same."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="sparkplug_b.proto", package="procmodel.sparkplug", syntax="proto2")
    for message, fields in _MESSAGES.items():
        made = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            plain = kind.removeprefix("*")
            each = made.field.add(name=name, number=number)
            each.label = kinds.LABEL_REPEATED if kind != plain else kinds.LABEL_OPTIONAL
            if plain in _MESSAGES:
                each.type, each.type_name = kinds.TYPE_MESSAGE, f".procmodel.sparkplug.{plain}"
            else:
                each.type = kinds.Type.Value(f"TYPE_{plain}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("procmodel.sparkplug.Payload"))


_PAYLOAD = _payload()
