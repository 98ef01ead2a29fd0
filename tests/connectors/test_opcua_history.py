"""HistoryRead of servers that do it in ways of their own, each as a script of its answers; and values as samples."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

pytest.importorskip("asyncua", reason="asyncua is not installed: pip install 'procmodel[opcua]'")

from asyncua import ua

from connectors.opcua_history import first_values, last_before
from connectors.opcua_values import overflowed, quality_of, sample_of
from procmodel.data.samples import Quality
from procmodel.errors import HistorianError

T0 = datetime(2024, 5, 1, 6, 0, tzinfo=UTC)
NODE = ua.NodeId("TI1", 2)
END = T0 + timedelta(hours=1)


def value(second: float, number: float = 1.0, status: int = 0) -> ua.DataValue:
    stamp = T0 + timedelta(seconds=second)
    return ua.DataValue(ua.Variant(number), ua.StatusCode(ua.UInt32(status)), stamp, stamp)


def answer(*values: ua.DataValue, point: bytes = b"", status: int = 0) -> ua.HistoryReadResult:
    return ua.HistoryReadResult(
        StatusCode=ua.StatusCode(ua.UInt32(status)),
        ContinuationPoint=point,
        HistoryData=ua.HistoryData(DataValues=list(values)),
    )


class Script:
    """Answers one after the other; what was asked is kept."""

    def __init__(self, *answers: ua.HistoryReadResult) -> None:
        self.answers = list(answers)
        self.asked: list[ua.HistoryReadParameters] = []

    async def __call__(self, asked: ua.HistoryReadParameters) -> list[ua.HistoryReadResult]:
        self.asked.append(asked)
        if asked.ReleaseContinuationPoints:
            return [answer()]
        return [self.answers.pop(0)]

    @property
    def points(self) -> list[bytes | None]:
        return [each.NodesToRead[0].ContinuationPoint for each in self.asked if not each.ReleaseContinuationPoints]

    @property
    def released(self) -> list[bytes | None]:
        return [each.NodesToRead[0].ContinuationPoint for each in self.asked if each.ReleaseContinuationPoints]


def read(script: Script, limit: int = 10, end: datetime = END) -> tuple[list[float], bool]:
    values, more = asyncio.run(first_values(script, NODE, T0, end, limit, place="opc.tcp://plant, tag 'TI1'"))
    return [(each.SourceTimestamp - T0).total_seconds() for each in values], more


def test_a_continuation_that_repeats_the_edge_of_the_answer_before_adds_each_row_once() -> None:
    script = Script(answer(value(0), value(1), value(1, 2.0), point=b"x"), answer(value(1), value(1, 2.0), value(2)))
    assert read(script) == ([0, 1, 1, 2], False)
    assert script.points == [None, b"x"]


def test_two_equal_rows_at_one_stamp_within_an_answer_are_both_told() -> None:
    assert read(Script(answer(value(1), value(1)))) == ([1, 1], False)


def test_an_answer_with_nothing_new_tells_that_there_is_more_and_releases_the_point() -> None:
    script = Script(answer(value(1), point=b"x"), answer(value(1), point=b"y"))
    assert read(script) == ([1], True)
    assert script.released == [b"y"]


def test_an_answer_cut_at_the_number_asked_for_has_more_even_without_a_continuation_point() -> None:
    assert read(Script(answer(value(0), value(1))), limit=2) == ([0, 1], True)


def test_a_point_that_is_not_needed_is_given_back() -> None:
    script = Script(answer(value(0), value(1), value(2), point=b"x"))
    assert read(script, limit=2) == ([0, 1], True)
    assert script.released == [b"x"]


def test_an_empty_answer_with_a_continuation_point_is_gone_on_from_but_not_for_ever() -> None:
    assert read(Script(answer(point=b"x"), answer(value(3)))) == ([3], False)
    with pytest.raises(HistorianError, match="101 empty answers in a row"):
        read(Script(*[answer(point=b"x") for _ in range(101)]))


def test_a_forgotten_continuation_point_is_replaced_by_asking_from_the_last_row() -> None:
    lost = int(ua.StatusCodes.BadContinuationPointInvalid)
    script = Script(answer(value(0), value(5), point=b"x"), answer(status=lost), answer(value(5), value(6)))
    assert read(script) == ([0, 5, 6], False)
    assert script.points == [None, b"x", None]
    assert script.asked[2].HistoryReadDetails.StartTime == T0 + timedelta(seconds=5)


def test_bounds_that_nobody_asked_for_are_left_out() -> None:
    assert read(Script(answer(value(-60), value(0), value(30), value(60))), end=T0 + timedelta(minutes=1)) == (
        [0, 30],
        False,
    )


@pytest.mark.parametrize("code", [ua.StatusCodes.GoodNoData, ua.StatusCodes.BadNoData])
def test_no_data_is_no_error(code: int) -> None:
    assert read(Script(answer(status=int(code)))) == ([], False)
    assert asyncio.run(last_before(Script(answer(status=int(code))), NODE, END)) is None


def test_a_refusal_is_an_error() -> None:
    with pytest.raises(ua.UaStatusCodeError, match="BadHistoryOperationUnsupported"):
        read(Script(answer(status=int(ua.StatusCodes.BadHistoryOperationUnsupported))))


def test_the_newest_before_a_moment_is_read_backwards() -> None:
    script = Script(answer(value(7), point=b"x"))
    found = asyncio.run(last_before(script, NODE, T0 + timedelta(seconds=9)))
    assert found is not None
    assert found.SourceTimestamp == T0 + timedelta(seconds=7)
    details = script.asked[0].HistoryReadDetails
    assert details.StartTime > details.EndTime
    assert script.released == [b"x"]


@pytest.mark.parametrize(
    ("status", "quality"),
    [
        (0x00000000, Quality.GOOD),
        (0x00A20000, Quality.GOOD),  # GoodEntryInserted: a good one that is not 0
        (0x40A40000, Quality.UNCERTAIN),
        (0x80890000, Quality.BAD),
        (0xC0000000, Quality.BAD),  # reserved, to be taken as bad
        (192, Quality.GOOD),  # OPC DA's good is an info bit here
    ],
)
def test_quality_is_the_severity_of_the_status(status: int, quality: Quality) -> None:
    assert quality_of(status) is quality


def test_an_overflow_of_the_servers_queue_is_seen_and_only_where_the_bits_mean_one() -> None:
    assert overflowed(0x00000480)
    assert not overflowed(0x00000080)
    assert not overflowed(0)


@pytest.mark.parametrize(
    ("raw", "number", "state"),
    [
        (True, 1.0, None),
        (7, 7.0, None),
        (2.5, 2.5, None),
        (float("inf"), None, "inf"),
        ("17", None, "17"),  # text that looks like a number is still text
        (ua.LocalizedText("auf"), None, "auf"),
        (T0, None, T0.isoformat()),
        (None, None, None),
        ([1.0, 2.0], None, "[1.0, 2.0]"),
    ],
)
def test_only_a_number_is_a_value(raw: Any, number: float | None, state: str | None) -> None:
    sample = sample_of(ua.DataValue(ua.Variant(raw), SourceTimestamp=T0))
    assert sample is not None
    assert (sample.value, sample.state) == (number, state)
    assert sample.quality == (Quality.GOOD if number is not None else Quality.BAD)


def test_the_sources_own_time_counts_and_without_any_there_is_no_sample() -> None:
    later = T0 + timedelta(seconds=3)
    both = sample_of(ua.DataValue(ua.Variant(1.0), SourceTimestamp=T0, ServerTimestamp=later))
    one = sample_of(ua.DataValue(ua.Variant(1.0), ServerTimestamp=later))
    assert both is not None
    assert one is not None
    assert one.time - both.time == 3_000_000
    assert sample_of(ua.DataValue(ua.Variant(1.0))) is None
