"""A subscription keeps what happens, and what happened while it could not, once each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

pytest.importorskip("asyncua", reason="asyncua is not installed: pip install 'procmodel[opcua]'")

from following import Following
from opcua_plant import BAD, GOOD, PlantServer, at, free_port

import connectors.opcua_live
from connectors.opcua_live import OpcUaLive
from connectors.retry import Patience
from procmodel.data.samples import Quality
from procmodel.errors import HistorianError
from procmodel.plant import History, Role, Tag

TAGS = {
    "TI1": Tag(name="TI1", role=Role.CV, unit="degC", source_unit="degF", range=(0, 100)),
    "FI1": Tag(name="FI1", role=Role.DV, unit="kg/h"),
}


class Follower(Following):
    """Of one server."""

    def __init__(
        self,
        address: str,
        *,
        since: datetime | None = None,
        tags: Any = TAGS,
        meanwhile: Callable[[], None] = lambda: None,
        **live: Any,
    ) -> None:
        options = {"security": "none", "timeout": 30.0, "live": {"every": 0.05, "history_lag": 0.05, **live}}
        source = History(kind="opcua", path=address, options=options)
        patience = Patience(first=0.05, longest=0.05)
        super().__init__(OpcUaLive(source, tags, since=since, patience=patience), meanwhile=meanwhile)

    def wait(self, count: int, tag: str = "FI1") -> None:
        super().wait(count, tag)

    def of(self, tag: str) -> list[tuple[datetime, float | None, int]]:
        return [(row["time"], row["value"], row["quality"]) for row in self.rows if row["tag"] == tag]


@pytest.fixture(scope="module")
def server() -> Iterator[PlantServer]:
    made = PlantServer(page=7)
    yield made
    made.close()


@pytest.fixture
def plant(server: PlantServer) -> Iterator[PlantServer]:
    """The server with tags that nothing was written to."""
    for tag in TAGS:
        server.add(tag)
    yield server
    for tag in TAGS:
        server.remove(tag)


def test_what_happens_is_handed_over_once_converted_and_judged(plant: PlantServer) -> None:
    plant.write("TI1", 32.0, at(-1))
    plant.write("FI1", 0.0, at(-1))
    follower = Follower(plant.address)
    follower.wait(1)  # the values that hold now
    follower.wait(1, "TI1")
    for second, (value, status) in enumerate([(212.0, GOOD), (212.0, GOOD), (50.0, BAD), (400.0, GOOD)]):
        plant.write("TI1", value, at(second), status)
        plant.write("FI1", float(second), at(second))
    follower.wait(5)
    follower.wait(5, "TI1")
    follower.close()
    assert [(stamp, quality) for stamp, _, quality in follower.of("TI1")] == [
        (at(-1), 0),
        (at(0), 0),
        (at(1), 0),  # the same value again, with a new stamp
        (at(2), Quality.BAD),
        (at(3), Quality.BAD),  # outside the instrument's range
    ]
    assert follower.of("TI1")[1][1] == pytest.approx(100.0)
    assert follower.of("FI1") == [(at(second), float(max(second, 0)), 0) for second in range(-1, 4)]
    report = follower.live.report
    assert (report.rows, report.bad, report.out_of_range, report.retries) == (10, 2, 1, 0)


def test_it_begins_with_the_history_where_that_is_asked_for(plant: PlantServer) -> None:
    for second in range(20):
        plant.write("FI1", float(second), at(second))
    follower = Follower(plant.address, since=at(5), history_lag=0.3)
    follower.wait(15)
    plant.write("FI1", 99.0, at(30))
    follower.wait(16)
    follower.close()
    assert [value for _, value, _ in follower.of("FI1")] == [*map(float, range(5, 20)), 99.0]


def test_a_restart_of_the_server_is_bridged_from_its_history_with_nothing_lost_or_doubled() -> None:
    plant = PlantServer(page=7)
    for tag in TAGS:
        plant.add(tag)
    follower = Follower(plant.address, since=at(0))
    for second in range(10):
        plant.write("FI1", float(second), at(second))
    follower.wait(10)
    plant.close()
    # While the server is away its plant goes on, and the historian behind it keeps that.
    again = PlantServer(port=plant.port, page=7, store=plant.store)
    for tag in TAGS:
        again.add(tag)
    for second in range(10, 40):
        again.record("FI1", float(second), at(second))
    for second in range(40, 50):
        again.write("FI1", float(second), at(second))
    follower.wait(50)
    for second in range(50, 55):
        again.write("FI1", float(second), at(second))
    follower.wait(55)
    follower.close()
    again.close()
    assert follower.of("FI1") == [(at(second), float(second), 0) for second in range(55)]
    assert follower.live.report.retries >= 1


def test_a_queue_that_ran_over_is_read_from_the_history(plant: PlantServer) -> None:
    follower = Follower(plant.address, since=at(0), every=0.4, queue=2)
    plant.write("FI1", 0.0, at(0))
    follower.wait(1)
    for second in range(1, 60):
        plant.write("FI1", float(second), at(second))
    follower.wait(60)
    follower.close()
    assert follower.of("FI1") == [(at(second), float(second), 0) for second in range(60)]


def test_the_history_is_handed_over_page_by_page(plant: PlantServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connectors.opcua_live, "_HISTORY_ROWS", 5)
    for second in range(42):
        plant.write("TI1", 100.0, at(second))
        plant.write("FI1", float(second), at(second))
    follower = Follower(plant.address, since=at(0), history_lag=0.1)
    follower.wait(42)
    follower.close()
    assert max(follower.sizes) <= 5
    assert [value for _, value, _ in follower.of("FI1")] == [float(second) for second in range(42)]
    assert len(follower.of("TI1")) == 42


def test_a_bridge_that_breaks_goes_on_where_it_was(plant: PlantServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connectors.opcua_live, "_HISTORY_ROWS", 5)
    for second in range(42):
        plant.write("FI1", float(second), at(second))
    cuts = iter([1, 2])

    def cut() -> None:
        if next(cuts, None):
            plant.record("FI1", 99.0, at(99))
            plant.cut_connections()

    # The value that holds now comes by the subscription too; the bridge must not take it for the newest.
    follower = Follower(plant.address, since=at(0), meanwhile=cut)
    follower.wait(43)
    follower.close()
    assert [value for _, value, _ in follower.of("FI1")] == [*map(float, range(42)), 99.0]
    assert follower.live.report.retries == 2


def test_a_message_that_never_came_is_read_from_the_history(
    plant: PlantServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = OpcUaLive._published

    async def lossy(self: OpcUaLive, result: Any) -> None:
        notices = result.NotificationMessage.NotificationData or ()
        said = [item.Value.Value.Value for notice in notices for item in notice.MonitoredItems]
        if 1.0 not in said:
            await honest(self, result)

    monkeypatch.setattr(OpcUaLive, "_published", lossy)
    follower = Follower(plant.address, since=at(0))
    for second in range(3):
        plant.write("FI1", float(second), at(second))
        follower.wait(second + 1) if second != 1 else time.sleep(0.3)  # until its message was sent, and lost
    follower.close()
    assert [value for _, value, _ in follower.of("FI1")] == [0.0, 1.0, 2.0]


def test_a_tag_that_is_not_there_is_told(plant: PlantServer) -> None:
    follower = Follower(plant.address, tags={"TI2": Tag(name="TI2", role=Role.DV, unit="degC")})
    with pytest.raises(HistorianError, match=r"Tag 'TI2' is not on opc\.tcp"):
        follower.wait(1)
    follower.close()


def test_it_can_be_ended_while_no_server_is_there() -> None:
    follower = Follower(f"opc.tcp://127.0.0.1:{free_port()}")
    follower.close()
    assert follower.rows == []
