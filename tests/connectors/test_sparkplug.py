"""What Sparkplug messages say of tags; they are written by an encoder of their own, byte by byte."""

from __future__ import annotations

import math
from typing import Any

import pytest

pytest.importorskip("google.protobuf", reason="protobuf is not installed: pip install 'procmodel[mqtt]'")

from sparkplug_writer import (
    BOOLEAN,
    DATE_TIME,
    FLOAT,
    INT8,
    INT16,
    INT32,
    INT64,
    STRING,
    UINT32,
    metric,
    payload,
    whole,
)

from connectors.sparkplug import decoded, rebirth_request
from connectors.sparkplug_nodes import STALE, News, Nodes
from procmodel.data.samples import Quality, ReadReport
from procmodel.errors import HistorianError

T0 = 1_714_543_200_000  # 2024-05-01T06:00Z [ms]
WANTED = {"G/N/level": 0, "G/N/D/flow": 1}


class Edge:
    """A node's messages with their running numbers, taken by `Nodes`; seconds are those after `T0`."""

    def __init__(self, *, session: int = 1) -> None:
        self.report = ReadReport()
        self.nodes = Nodes(WANTED, self.report)
        self.session, self.seq = session, 0

    def send(self, kind: str, metrics: list[bytes], second: float, *, device: str = "", late: float = 0.0) -> News:
        self.seq = 0 if kind == "NBIRTH" else (self.seq + 1) % 256
        return self.raw(kind, payload(metrics, seq=self.seq, time=T0 + int(second * 1000)), second + late, device)

    def raw(self, kind: str, content: bytes, second: float, device: str = "") -> News:
        topic = f"spBv1.0/G/{kind}/N" + (f"/{device}" if device else "")
        return self.nodes.take(topic, content, (T0 + int(second * 1000)) * 1000)

    def birth(self, second: float = 0.0, level: float | None = 1.0, *, alias: int = 7, **told: Any) -> News:
        session = metric("bdSeq", self.session, kind=INT64)
        return self.send("NBIRTH", [session, metric("level", level, alias=alias, **told)], second)

    def device(self, second: float, flow: float = 5.0, alias: int = 8) -> News:
        return self.send("DBIRTH", [metric("flow", flow, alias=alias)], second, device="D")

    def death(self, second: float, session: int) -> News:
        return self.raw("NDEATH", payload([metric("bdSeq", session, kind=INT64)], seq=None), second)


def said(news: list[tuple[int, Any]]) -> list[tuple[int, float, float | None, int]]:
    """Number of the tag, seconds after `T0`, value, quality."""
    return [(index, (each.time - T0 * 1000) / 1e6, each.value, each.quality) for index, each in news]


def test_bytes_worked_out_by_hand_are_read() -> None:
    # timestamp 1, metric {name "a", datatype Int32, int_value 2^32 - 2}, seq 3.
    content = bytes.fromhex("0801 120b 0a0161 2003 50feffffff0f 1803".replace(" ", ""))
    found = decoded(content)
    assert (found.time, found.seq) == (1, 3)
    assert (found.metrics[0].name, found.metrics[0].read(0)) == ("a", (-2.0, None))
    assert payload([metric("a", -2, kind=INT32)], seq=3, time=1) == content


@pytest.mark.parametrize(
    ("kind", "given", "number", "word"),
    [
        (INT8, -5, -5.0, None),
        (INT16, -300, -300.0, None),
        (INT32, -70_000, -70_000.0, None),
        (INT64, -(2**40), -(2.0**40), None),
        (UINT32, 4_000_000_000, 4e9, None),
        (FLOAT, 0.5, 0.5, None),
        (BOOLEAN, True, 1.0, None),
        (STRING, "I/O Timeout", None, "I/O Timeout"),
        (DATE_TIME, T0, None, "2024-05-01T06:00:00+00:00"),
        (FLOAT, math.nan, None, "nan"),
    ],
)
def test_every_type_is_read_as_what_it_is(kind: int, given: Any, number: float | None, word: str | None) -> None:
    [found] = decoded(payload([metric("a", given, kind=kind)], seq=0)).metrics
    assert found.read(0) == (number, word)


def test_a_negative_byte_is_negative_whether_it_was_widened_or_not() -> None:
    narrow = metric("a", 0xFB, kind=UINT32, told=False)
    [found] = decoded(payload([narrow], seq=0)).metrics
    assert found.read(INT8) == (-5.0, None)


def test_null_counts_though_a_value_stands_beside_it() -> None:
    [found] = decoded(payload([metric("a", 5.0) + whole(7, 1)], seq=0)).metrics
    assert found.read(0) == (None, None)


def test_the_request_for_births_says_so_in_bytes() -> None:
    # Field by field as in the specification's example of an NCMD.
    assert rebirth_request(T0) == payload(
        [metric("Node Control/Rebirth", True, kind=BOOLEAN, time=T0)], seq=None, time=T0
    )


def test_values_follow_their_aliases_and_types_from_the_birth_on() -> None:
    edge = Edge()
    assert said(edge.birth(level=-1, kind=INT16).fresh) == [(0, 0.0, -1.0, 0)]
    assert said(edge.device(0.5).fresh) == [(1, 0.5, 5.0, 0)]
    told = edge.send("NDATA", [metric(None, -2, alias=7, kind=INT16, told=False, time=T0 + 900)], 1.0)
    assert said(told.fresh) == [(0, 0.9, -2.0, 0)]
    flow = edge.send("DDATA", [metric(None, 6.0, alias=8, told=False)], 2.0, device="D")
    assert said(flow.fresh) == [(1, 2.0, 6.0, 0)]  # without a stamp of its own: that of the message
    assert (edge.report.duplicates, edge.report.notes) == (0, [])


def test_a_new_birth_gives_aliases_anew() -> None:
    edge = Edge()
    edge.birth(alias=7)
    edge.session = 2
    session = metric("bdSeq", 2, kind=INT64)
    edge.send("NBIRTH", [session, metric("level", 1.0, alias=9), metric("other", 3.0, alias=7)], 10.0)
    assert said(edge.send("NDATA", [metric(None, 99.0, alias=7)], 11.0).fresh) == []
    assert said(edge.send("NDATA", [metric(None, 2.0, alias=9)], 12.0).fresh) == [(0, 12.0, 2.0, 0)]


def test_null_is_bad_and_a_quality_holds_until_it_is_told_anew() -> None:
    edge = Edge()
    edge.birth()
    qualities = []
    for second, (value, code) in enumerate([(None, None), (2.0, 0), (3.0, None), (4.0, 64), (5.0, 192), (6.0, 500)], 1):
        properties = None if code is None else {"Quality": (INT32, code)}
        news = edge.send("NDATA", [metric(None, value, alias=7, properties=properties)], float(second))
        qualities += [each.quality for _, each in news.fresh]
    assert qualities == [2, 2, 2, Quality.UNCERTAIN, 0, 2]


def test_a_death_makes_all_tags_of_the_node_bad_and_a_birth_good_again() -> None:
    edge = Edge()
    edge.birth()
    edge.device(0.5)
    assert said(edge.death(60.0, session=1).fresh) == [(0, 60.0, None, 2), (1, 60.0, None, 2)]
    assert edge.death(61.0, session=1).fresh == []  # stale already
    edge.session = 2
    # The value is older than the death, and holds: from the certificate on.
    assert said(edge.birth(90.0, time=T0 - 5000).fresh) == [(0, 90.0, 1.0, 0)]
    assert said(edge.device(91.0).fresh) == [(1, 91.0, 5.0, 0)]


def test_a_death_of_an_earlier_session_kills_nobody() -> None:
    edge = Edge(session=2)
    edge.birth()
    assert edge.death(1.0, session=1).fresh == []
    assert said(edge.send("NDATA", [metric(None, 2.0, alias=7)], 2.0).fresh) == [(0, 2.0, 2.0, 0)]


def test_a_death_is_dated_by_the_clock_of_its_node() -> None:
    edge = Edge()
    edge.birth()
    edge.send("NDATA", [metric(None, 2.0, alias=7)], 10.0, late=600.0)  # the node's clock is ten minutes behind ours
    assert said(edge.death(660.0, session=1).fresh) == [(0, 60.0, None, 2)]


def test_the_death_of_a_device_leaves_its_node_alone() -> None:
    edge = Edge()
    edge.birth()
    edge.device(0.5)
    assert said(edge.send("DDEATH", [], 9.0, device="D").fresh) == [(1, 9.0, None, 2)]
    assert said(edge.send("NDATA", [metric(None, 2.0, alias=7)], 10.0).fresh) == [(0, 10.0, 2.0, 0)]


def test_a_missing_message_makes_tags_bad_and_aliases_unknown_until_the_next_birth() -> None:
    edge = Edge()
    edge.birth()
    edge.device(0.5)
    edge.seq += 1  # lost
    news = edge.send("NDATA", [metric(None, 2.0, alias=7)], 5.0)
    assert said(news.fresh) == [(0, 0.500001, None, 2), (1, 0.500001, None, 2)]
    assert [each.status for _, each in news.fresh] == [STALE, STALE]
    assert edge.nodes.unborn == {("G", "N")}
    assert edge.report.words == {"(unknown alias)": 1}
    # A name needs no certificate.
    assert said(edge.send("NDATA", [metric("level", 3.0)], 6.0).fresh) == [(0, 6.0, 3.0, 0)]
    edge.birth(7.0, 4.0)
    assert edge.nodes.unborn == set()
    assert said(edge.send("NDATA", [metric(None, 5.0, alias=7)], 8.0).fresh) == [(0, 8.0, 5.0, 0)]


def test_numbers_of_messages_begin_anew_after_255() -> None:
    edge = Edge()
    edge.birth()
    for count in range(1, 300):
        assert len(edge.send("NDATA", [metric(None, float(count), alias=7)], float(count)).fresh) == 1
    assert edge.report.notes == []


def test_a_message_that_comes_twice_counts_once() -> None:
    edge = Edge()
    edge.birth()
    content = payload([metric(None, 2.0, alias=7)], seq=1, time=T0 + 1000)
    assert len(edge.raw("NDATA", content, 1.0).fresh) == 1
    again = edge.raw("NDATA", content, 1.1)
    assert (again.fresh, again.late, edge.report.duplicates) == ([], [], 1)


def test_what_was_stored_while_a_node_was_cut_off_comes_late_and_is_not_the_present() -> None:
    edge = Edge()
    edge.birth(100.0)
    stored = [metric(None, float(n), alias=7, time=T0 + n * 1000, historical=True) for n in (50, 51, 101)]
    news = edge.send("NDATA", [*stored, metric(None, 9.0, alias=7, time=T0 + 100_500)], 102.0)
    assert said(news.late) == [(0, 50.0, 50.0, 0), (0, 51.0, 51.0, 0), (0, 101.0, 101.0, 0)]
    assert said(news.fresh) == [(0, 100.5, 9.0, 0)]
    assert edge.report.unsorted == 3


def test_births_tell_unit_range_description_and_steps() -> None:
    edge = Edge()
    about = {
        "engUnit": (STRING, "cm"),
        "engLow": (FLOAT, 0.0),
        "engHigh": (FLOAT, 80.0),
        "documentation": (STRING, "Tank"),
    }
    edge.send("NBIRTH", [metric("level", 1.0, properties=about), metric("pump", True, kind=BOOLEAN)], 0.0)
    level, pump = edge.nodes.infos["G/N/level"], edge.nodes.infos["G/N/pump"]
    assert (level.unit, level.low, level.high, level.description, level.step) == ("cm", 0.0, 80.0, "Tank", None)
    assert pump.step is True


def test_two_metrics_of_one_full_name_are_refused() -> None:
    edge = Edge()
    edge.send("NBIRTH", [metric("D/flow", 1.0)], 0.0)
    with pytest.raises(HistorianError, match="'G/N/D/flow' is a metric both of a node and of a device"):
        edge.device(1.0)


def test_what_is_no_payload_is_noted_and_left_out() -> None:
    edge = Edge()
    assert edge.raw("NDATA", b"\xff\xff\x01", 0.0).fresh == []
    assert edge.raw("NCMD", b"\xff\xff\x01", 0.0).fresh == []
    assert len(edge.report.notes) == 1
    assert "no Sparkplug B payload" in edge.report.notes[0]


def test_a_lost_broker_makes_all_tags_bad_and_forgets_all_aliases() -> None:
    edge = Edge()
    edge.birth()
    assert said(edge.nodes.disconnected((T0 + 30_000) * 1000).fresh) == [(0, 30.0, None, 2)]
    assert said(edge.send("NDATA", [metric(None, 2.0, alias=7)], 40.0).fresh) == []
    assert edge.nodes.unborn == {("G", "N")}
