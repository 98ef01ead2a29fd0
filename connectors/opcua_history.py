"""HistoryRead of one node, as servers do it and not only as the specification says.

What is told apart here, each with its test: a continuation that begins with the rows that ended the answer before it
(asyncua takes a time stamp for a continuation point); an answer filled by one time stamp, from which such a server
never moves on; an answer cut off at the number asked for, without a continuation point; an empty answer with one; a
continuation point that the server has forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta

from asyncua import ua

from procmodel.errors import HistorianError

Read = Callable[[ua.HistoryReadParameters], Awaitable[list[ua.HistoryReadResult]]]
"""The service: `UaSession.history_read`."""

FIRST = datetime(1970, 1, 1, tzinfo=UTC)
"""Where an open range begins; the zero of OPC UA time, 1601, would mean "not said"."""
LAST = datetime(2200, 1, 1, tzinfo=UTC)

_TICK = timedelta(microseconds=1)
_EMPTY_ANSWERS = 100
_NO_DATA = {int(ua.StatusCodes.GoodNoData), int(ua.StatusCodes.BadNoData)}
_POINT_LOST = int(ua.StatusCodes.BadContinuationPointInvalid)


def stamp_of(value: ua.DataValue) -> datetime | None:
    """The time that a value counts for: the source's own, else the server's."""
    stamp: datetime | None = value.SourceTimestamp or value.ServerTimestamp
    return stamp if stamp is None or stamp.tzinfo else stamp.replace(tzinfo=UTC)


async def first_values(
    read: Read, node: ua.NodeId, start: datetime, end: datetime, limit: int, *, place: str
) -> tuple[list[ua.DataValue], bool]:
    """The first `limit` values of a node in `[start, end)`, and whether there may be more.

    Args:
        place: Server and node, for messages.

    Raises:
        HistorianError: the server sends nothing, again and again, with a word of more.
        asyncua.ua.UaStatusCodeError: the server refuses.
    """
    kept: list[ua.DataValue] = []
    begin, point, empty = start, b"", 0
    while True:
        result = await _ask(read, node, begin, end, limit, point)
        status = int(result.StatusCode.value)
        if status == _POINT_LOST and point:
            begin, point = stamp_of(kept[-1]) or begin, b""
            continue
        if status not in _NO_DATA:
            result.StatusCode.check()
        found = _within(_values(result), start, end)
        fresh = _without_edge(found, kept)
        kept += fresh
        point = bytes(result.ContinuationPoint or b"")
        if len(kept) >= limit:
            await _release(read, node, point)
            return kept[:limit], True
        if not point:
            # Fewer than asked for and no word of more.
            return kept, False
        if found and not fresh:
            # Nothing but what was known: such a server cannot get past a time stamp that fills its largest answer.
            await _release(read, node, point)
            return kept, True
        empty = 0 if found else empty + 1
        if empty > _EMPTY_ANSWERS:
            raise HistorianError(f"{place}: {empty} empty answers in a row, each with a word of more. See the server.")


async def last_before(read: Read, node: ua.NodeId, moment: datetime) -> ua.DataValue | None:
    """The newest value before a moment; None where there is none.

    Read backwards from it: the bounding value that a server adds on request is optional, and some leave it out.

    Raises:
        asyncua.ua.UaStatusCodeError: the server refuses.
    """
    result = await _ask(read, node, moment - _TICK, FIRST, 1, b"")
    if int(result.StatusCode.value) not in _NO_DATA:
        result.StatusCode.check()
    await _release(read, node, bytes(result.ContinuationPoint or b""))
    found = [value for value in _within(_values(result), FIRST, moment) if stamp_of(value) is not None]
    return max(found, key=_order) if found else None


def _order(value: ua.DataValue) -> datetime:
    return stamp_of(value) or FIRST


def _within(values: Iterable[ua.DataValue], start: datetime, end: datetime) -> list[ua.DataValue]:
    """Without what an answer holds beyond its range: the end is part of it there, and some add bounds unasked."""
    return [value for value in values if (stamp := stamp_of(value)) is None or start <= stamp < end]


def _without_edge(found: list[ua.DataValue], kept: list[ua.DataValue]) -> list[ua.DataValue]:
    """Without the rows that ended the answer before this one."""
    if not kept:
        return found
    last = stamp_of(kept[-1])
    edge = Counter(_said(value) for value in kept if stamp_of(value) == last)
    fresh = []
    for value in found:
        if stamp_of(value) == last and edge[_said(value)]:
            edge[_said(value)] -= 1
        else:
            fresh.append(value)
    return fresh


def _said(value: ua.DataValue) -> tuple[str, int]:
    status = value.StatusCode.value if value.StatusCode is not None else 0
    return repr(value.Value.Value if value.Value is not None else None), int(status)


async def _ask(
    read: Read, node: ua.NodeId, start: datetime, end: datetime, limit: int, point: bytes
) -> ua.HistoryReadResult:
    details = ua.ReadRawModifiedDetails(
        IsReadModified=False, StartTime=start, EndTime=end, NumValuesPerNode=limit, ReturnBounds=False
    )
    return (await read(_request(node, details, point)))[0]


async def _release(read: Read, node: ua.NodeId, point: bytes) -> None:
    """Lets the server forget a continuation point; it has few."""
    if point:
        await read(_request(node, ua.ReadRawModifiedDetails(), point, release=True))


def _request(
    node: ua.NodeId, details: ua.ReadRawModifiedDetails, point: bytes, *, release: bool = False
) -> ua.HistoryReadParameters:
    value = ua.HistoryReadValueId(NodeId=node, ContinuationPoint=point or None)
    return ua.HistoryReadParameters(
        HistoryReadDetails=details,
        TimestampsToReturn=ua.TimestampsToReturn.Both,
        ReleaseContinuationPoints=release,
        NodesToRead=[value],
    )


def _values(result: ua.HistoryReadResult) -> list[ua.DataValue]:
    return list(getattr(result.HistoryData, "DataValues", None) or [])
