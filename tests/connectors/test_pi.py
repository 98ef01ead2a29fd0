"""The PI Web API, against a server that holds its clients to the contract: counts, 207, system states, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fake_driver import at, rows_of

pytest.importorskip("urllib3", reason="urllib3 is not installed: pip install 'procmodel[http]'")

from web_server import Answer, WebServer

from connectors.http_client import retry_after
from connectors.pi import PiHistorian
from connectors.pi_values import samples_of
from procmodel.data.samples import Quality, Query
from procmodel.errors import HistorianError, PlantFileError
from procmodel.plant import History

ARCHIVE, SET = "F1DS/x+y=", "SET1"


def system(name: str, code: int) -> dict[str, Any]:
    return {"Value": {"Name": name, "Value": code, "IsSystem": True}, "Good": False, "Questionable": False}


def digital(name: str, code: int) -> dict[str, Any]:
    return {"Value": {"Name": name, "Value": code, "IsSystem": False}, "Good": True, "Questionable": False}


def number(value: float, **about: Any) -> dict[str, Any]:
    return {"Value": value, "Good": True, "Questionable": False, **about}


RECORD: dict[str, list[tuple[float, dict[str, Any]]]] = {
    "TI1": [(s, number(20.0 + s, Questionable=s == 4)) for s in range(2500)],
    "DEAD": [(s, system("I/O Timeout", 246)) for s in range(40)],
    "TOT": [(0, number(1.0)), (10, system("E/A-Zeit\u00fcberschreitung", 246)), (20, number(3.0, Good=False))],
    "XV1": [(0, digital("Zu", 0)), (5, digital("Auf", 1)), (9, system("Bad Input", 255))],
    "SAME": [(5, number(float(n))) for n in range(20)] + [(6, number(9.0))],
    "B & C/1": [(0, number(1.0))],
}
POINTS = {
    "TI1": {
        "EngineeringUnits": "\u00b0C",
        "Descriptor": "reactor",
        "PointType": "Float32",
        "Zero": 10.0,
        "Span": 140.0,
        "Step": False,
    },
    "XV1": {"PointType": "Digital", "DigitalSetName": "Valves", "Zero": 0.0, "Span": -1.0, "Step": True},
}


class PiServer(WebServer):
    """A Web API with its default limits."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.record = RECORD

    @property
    def api(self) -> str:
        return f"{self.address}/piwebapi"

    def _answer(self, method: str, path: str, asked: dict[str, str], body: Any) -> Answer:
        parts = path.removeprefix("/piwebapi/").split("/")
        if method == "POST":
            return 207, {key: self._single(each) for key, each in body.items()}
        if parts == ["dataservers"]:
            return 200, {"Items": [{"Name": "PIARCHIVE", "WebId": ARCHIVE}]}
        if path == f"/piwebapi/dataservers/{ARCHIVE}/points":
            start, count = int(asked["startIndex"]), int(asked["maxCount"])
            return 200, {"Items": [{"Name": tag, **POINTS.get(tag, {})} for tag in self.record][start : start + count]}
        if path == f"/piwebapi/dataservers/{ARCHIVE}/enumerationsets":
            return 200, {"Items": [{"Name": "Valves", "WebId": SET}, {"Name": "Other", "WebId": "SET2"}]}
        if parts == ["points"]:
            tag = asked["path"].removeprefix("\\\\PIARCHIVE\\")
            return (200, {"WebId": f"P/{tag}"}) if tag in self.record else (404, {"Errors": ["unknown"]})
        if parts[0] == "streams":
            return self._stream("/".join(parts[2:-1]), parts[-1], asked)
        return 404, {"Errors": [path]}

    def _single(self, request: Any) -> dict[str, Any]:
        if request["Resource"].endswith(f"/enumerationsets/{SET}/enumerationvalues"):
            return {
                "Status": 200,
                "Headers": {},
                "Content": {"Items": [{"Name": "Zu", "Value": 0}, {"Name": "Auf", "Value": 1}]},
            }
        return {"Status": 404, "Headers": {}, "Content": {"Errors": ["no such set"]}}

    def _stream(self, tag: str, which: str, asked: dict[str, str]) -> Answer:
        rows = self.record[tag]
        if which == "end":
            return 200, item(*rows[-1])
        if which == "recordedattime":
            assert asked["retrievalMode"] == "Before"
            before = [row for row in rows if at(row[0]) < moment(asked["time"])]
            return (200, item(*before[-1])) if before else (404, {"Errors": ["no value"]})
        count = int(asked.get("maxCount", 1000))
        if count > 150_000:
            return 400, {"Errors": ["The specified maxCount is greater than the maximum allowed (150000)."]}
        found = [row for row in rows if moment(asked["startTime"]) <= at(row[0]) <= moment(asked["endTime"])]
        return 200, {"Items": [item(*row) for row in found[:count]]}


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def item(second: float, value: dict[str, Any]) -> dict[str, Any]:
    return {"Timestamp": at(second).strftime("%Y-%m-%dT%H:%M:%S.%f") + "7Z", **value}


@pytest.fixture
def server() -> Iterator[PiServer]:
    made = PiServer()
    yield made
    made.close()


def pi(server: PiServer, /, **options: Any) -> PiHistorian:
    return PiHistorian(History(kind="pi", path=server.api, options=options), {})


@pytest.mark.parametrize("page", [None, 7, 1000])
def test_every_value_comes_once_however_pages_fall(server: PiServer, page: int | None) -> None:
    # Without maxCount the Web API sends a thousand and no word of more.
    span = 60 if page == 7 else 2500
    found = rows_of(pi(server, page=page), Query(tags=("TI1",), end=at(span)))["TI1"]
    assert [(stamp, value) for stamp, value, _ in found] == [(at(s), 20.0 + s) for s in range(span)]
    assert [quality for _, _, quality in found[:6]] == [0, 0, 0, 0, Quality.UNCERTAIN, 0]


def test_no_page_asks_for_more_than_the_web_api_gives(server: PiServer) -> None:
    rows_of(pi(server, page=10_000_000), Query(tags=("TI1",)))
    asked = [int(parameters["maxCount"]) for _, path, parameters in server.seen if path.endswith("/recorded")]
    assert max(asked) == 150_000


def test_a_page_that_is_all_io_timeout_is_no_value_of_246(server: PiServer) -> None:
    # A well-known client read such a page as the number 246.0.
    source = pi(server)
    rows = [row for batch in source.read(Query(tags=("DEAD",))) for row in batch.to_pylist()]
    assert {(row["value"], row["state"], row["status"], row["quality"]) for row in rows} == {
        (None, "I/O Timeout", 246, int(Quality.BAD))
    }
    assert (len(rows), source.report.bad, source.report.words) == (40, 40, {"I/O Timeout": 40})


def test_a_system_state_is_known_in_any_language_and_a_bad_number_stays_bad(server: PiServer) -> None:
    rows = [row for batch in pi(server).read(Query(tags=("TOT",))) for row in batch.to_pylist()]
    assert [(row["value"], row["state"], row["quality"]) for row in rows] == [
        (1.0, None, 0),
        (None, "E/A-Zeit\u00fcberschreitung", 2),
        (3.0, None, 2),
    ]


def test_a_digital_state_has_its_number_and_its_name(server: PiServer) -> None:
    rows = [row for batch in pi(server).read(Query(tags=("XV1",))) for row in batch.to_pylist()]
    assert [(row["value"], row["state"], row["quality"]) for row in rows] == [
        (0.0, "Zu", 0),
        (1.0, "Auf", 0),
        (None, "Bad Input", 2),
    ]


def test_an_older_server_that_leaves_out_is_system_is_understood_by_good() -> None:
    old = {"Timestamp": "2024-05-01T06:00:00Z", "Value": {"Name": "I/O Timeout", "Value": 246}, "Good": False}
    good = {"Timestamp": "2024-05-01T06:00:01Z", "Value": {"Name": "Auf", "Value": 1}, "Good": True}
    assert samples_of([old, good], "pi")["value"].to_list() == [None, 1.0]


def test_a_stamp_that_fills_a_page_is_passed(server: PiServer) -> None:
    source = pi(server, page=4)
    assert [stamp for stamp, _, _ in rows_of(source, Query(tags=("SAME",)))["SAME"]] == [at(5), at(6)]
    assert source.report.duplicates == 19


def test_a_range_is_half_open_with_the_value_held_at_its_start(server: PiServer) -> None:
    found = rows_of(pi(server), Query(tags=("TI1", "B & C/1"), start=at(10.5), end=at(13)))
    assert [stamp for stamp, _, _ in found["TI1"]] == [at(10), at(11), at(12)]
    assert [stamp for stamp, _, _ in found["B & C/1"]] == [at(0)]


def test_search_tells_unit_description_range_step_and_states(server: PiServer) -> None:
    found = {info.name: info for info in pi(server).search()}
    assert set(found) == set(RECORD)
    info = found["TI1"]
    assert (info.unit, info.description, info.low, info.high, info.step) == ("\u00b0C", "reactor", 10.0, 150.0, False)
    assert (found["XV1"].step, found["XV1"].states, found["XV1"].low) == (True, {0: "Zu", 1: "Auf"}, None)


def test_a_part_of_a_batch_that_failed_is_seen_though_the_whole_is_207(
    server: PiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_single", lambda _: {"Status": 403, "Content": {"Errors": ["no right"]}})
    with pytest.raises(HistorianError, match=r"refused \(403\): no right"):
        list(pi(server).search())
    replies = iter([503])
    single = PiServer._single
    monkeypatch.setattr(
        server,
        "_single",
        lambda asked: (
            {"Status": status, "Headers": {"Retry-After": "0"}}
            if (status := next(replies, 0))
            else single(server, asked)
        ),
    )
    monkeypatch.setattr("connectors.retry.Patience.wait", lambda *_: 0.0)
    assert {info.name for info in pi(server).search()} == set(RECORD)


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_is_busy_is_left_alone_as_long_as_it_asks(
    server: PiServer, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    source = pi(server)
    source._sleep = waits.append
    server.refusals = [(status, {"Retry-After": "17"}), (status, {"Retry-After": "3"})]
    monkeypatch.setattr("connectors.retry.Patience.wait", lambda *_: 0.0)
    rows_of(source, Query(tags=("TOT",)))
    assert waits == [17.0, 3.0]
    assert source.report.retries == 2


@pytest.mark.parametrize(
    ("status", "words"), [(401, "credentials"), (403, "right to read"), (400, "not now"), (302, "refused")]
)
def test_a_refusal_for_good_is_told_and_not_tried_again(server: PiServer, status: int, words: str) -> None:
    server.refusals = [(status, {"Location": "http://elsewhere/"})]
    with pytest.raises(HistorianError, match=words):
        pi(server).read(Query(tags=("TOT",)))
    assert len(server.seen) == 1


def test_an_unknown_point_and_an_unknown_server_are_told(server: PiServer) -> None:
    with pytest.raises(HistorianError, match=r"'TI2' is not in the record.*did you mean 'TI1'\?"):
        pi(server).read(Query(tags=("TI2",)))
    with pytest.raises(HistorianError, match=r"unknown server 'PIARCHIV'; did you mean 'PIARCHIVE'\?"):
        pi(server, server="PIARCHIV").read(Query(tags=("TI1",)))
    assert rows_of(pi(server, server="piarchive"), Query(tags=("B & C/1",)))


def test_credentials_are_sent_and_never_readably_to_another_machine(server: PiServer, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("user = reader\npassword = hush\n")
    options = {"credentials": {"file": str(tmp_path / "secret")}}
    rows_of(pi(server, **options), Query(tags=("TOT",)))
    assert server.headers["Authorization"] == "Basic cmVhZGVyOmh1c2g="
    with pytest.raises(PlantFileError, match="would send them readably"):
        PiHistorian(History(kind="pi", path="http://pi.example/piwebapi", options=options), {})
    with pytest.raises(PlantFileError, match=r"needs the server's address, such as https://"):
        PiHistorian(History(kind="pi", path="pi.example", options={}), {})


def test_what_is_no_web_api_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    other = WebServer(lambda *_: (200, b"<html>welcome"))
    try:
        with pytest.raises(HistorianError, match="does not answer in JSON"):
            PiHistorian(History(kind="pi", path=other.address), {}).read(Query(tags=("TI1",)))
    finally:
        other.close()
    monkeypatch.setattr("connectors.retry.Patience.wait", lambda *_: 0.0)
    with pytest.raises(HistorianError, match=r"cannot be reached.*asked 2 times"):
        PiHistorian(History(kind="pi", path=other.address, options={"attempts": 2}), {}).read(Query(tags=("TI1",)))


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("120", 120.0), ("Wed, 01 May 2024 06:01:00 GMT", 60.0), ("Wed, 01 May 2024 05:00:00 GMT", 0.0), ("soon", None)],
)
def test_retry_after_is_seconds_or_a_date(said: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": said}, datetime(2024, 5, 1, 6, 0, tzinfo=UTC)) == seconds
    assert retry_after({}) is None
