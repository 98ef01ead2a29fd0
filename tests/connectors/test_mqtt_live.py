"""Sparkplug B through a real broker: what nodes tell is handed over, and what nobody tells any more is bad."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("paho.mqtt", reason="paho-mqtt is not installed: pip install 'procmodel[mqtt]'")

from following import Following
from mqtt_broker import Broker, EdgeNode
from sparkplug_writer import BOOLEAN, metric

from connectors.mqtt_live import MqttLive
from connectors.retry import Patience
from connectors.sparkplug import decoded
from procmodel.errors import HistorianError, PlantFileError
from procmodel.plant import History, Role, Tag

TAGS = {
    "LI1.PV": Tag(name="LI1.PV", role=Role.CV, unit="cm", source_unit="m", range=(0, 400)),
    "FC1.PV": Tag(name="FC1.PV", role=Role.DV, unit="kg/h"),
}
RENAME = {"G/N/level": "LI1.PV", "G/N/D/flow": "FC1.PV"}


def now() -> int:
    return int(time.time() * 1000)


class Follower(Following):
    """Of one broker."""

    def __init__(self, path: str, **options: Any) -> None:
        source = History(kind="mqtt", path=path, options={"rename": RENAME, "every": 0.05, **options})
        super().__init__(MqttLive(source, TAGS, patience=Patience(first=0.05, longest=0.05)), patience=30.0)

    def wait(self, count: int, tag: str = "LI1.PV") -> list[tuple[float | None, int]]:
        """Value and quality of the first samples of a tag."""
        super().wait(count, tag)
        return self.of(tag)

    def of(self, tag: str) -> list[tuple[float | None, int]]:
        return [(row["value"], row["quality"]) for row in self.rows if row["tag"] == tag]


@pytest.fixture
def broker() -> Iterator[Broker]:
    made = Broker()
    made.start()
    yield made
    made.close()


def followed(broker: Broker, **options: Any) -> tuple[Follower, EdgeNode]:
    """A follower that has heard the birth of a node."""
    follower, edge = Follower(f"mqtt://127.0.0.1:{broker.port}", **options), EdgeNode(broker.port)
    told(edge, 1.0, follower, 1)
    return follower, edge


def told(edge: EdgeNode, level: float, follower: Follower, rows: int) -> None:
    """A birth, said again until it was heard; of one moment, so that it counts once."""
    at, until = now(), time.monotonic() + 30
    while len(follower.rows) < rows:
        assert time.monotonic() < until
        edge.birth(level, at)
        time.sleep(0.05)


def test_values_come_in_the_plants_units_until_their_node_dies(broker: Broker) -> None:
    follower, edge = followed(broker)
    first = len(follower.rows)
    edge.send("DBIRTH", [metric("flow", 5.0, alias=8)], now(), "D")
    follower.wait(1, "FC1.PV")
    edge.send("NDATA", [metric(None, 2.5, alias=7, told=False)], now() + 10)
    edge.send("NDATA", [metric(None, 5.0, alias=7, told=False)], now() + 20)
    found = follower.wait(first + 2)
    assert found[0] == (100.0, 0)
    assert found[first:] == [(250.0, 0), (500.0, 2)]  # the last one outside the instrument's range
    edge.vanish()
    assert follower.wait(first + 3)[-1] == (None, 2)
    assert follower.wait(2, "FC1.PV") == [(5.0, 0), (None, 2)]
    follower.close()
    report = follower.live.report
    assert (report.out_of_range, report.retries, report.rows) == (1, 0, len(follower.rows))
    assert [info.name for info in follower.live.search("*/level")] == ["G/N/level"]
    assert follower.live.unseen == ()


def test_a_broker_that_was_away_leaves_a_gap_and_nothing_is_sent_to_the_node(broker: Broker) -> None:
    follower, edge = followed(broker)
    first = len(follower.rows)
    broker.stop()
    assert follower.wait(first + 1)[-1] == (None, 2)
    edge.close()
    broker.start()
    edge = EdgeNode(broker.port, session=2)
    told(edge, 2.0, follower, first + 2)
    assert follower.wait(first + 2)[first + 1] == (200.0, 0)
    follower.close()
    edge.close()
    assert follower.live.report.retries >= 1
    assert edge.commands == []


def test_births_are_asked_for_only_where_that_is_switched_on(broker: Broker) -> None:
    edge = EdgeNode(broker.port)
    follower = Follower(f"mqtt://127.0.0.1:{broker.port}", rebirth=True)
    assert edge.commanded.wait(30)
    [command] = decoded(edge.commands[0]).metrics
    assert (command.name, command.raw, command.datatype) == ("Node Control/Rebirth", True, BOOLEAN)
    edge.birth(1.0, now())
    assert follower.wait(1) == [(100.0, 0)]
    follower.close()
    edge.close()


def test_a_broker_that_knows_nobody_is_told_at_once() -> None:
    made = Broker("allow_anonymous false")
    made.start()
    follower = Follower(f"mqtt://127.0.0.1:{made.port}")
    with pytest.raises(HistorianError, match=r"refused: Not authorized\. Correct history\.options"):
        follower.wait(1)
    follower.close()
    made.close()


def test_it_can_be_ended_while_no_broker_is_there() -> None:
    follower = Follower("mqtt://127.0.0.1:1")
    time.sleep(0.1)
    follower.close()
    assert (follower.rows, follower.failed) == ([], None)
    assert "cannot be reached" in follower.live.report.notes[0]


@pytest.mark.parametrize(
    ("path", "options", "said"),
    [
        ("http://broker", {}, "needs the broker's address"),
        ("mqtt://broker:x", {}, "needs the broker's address"),
        ("mqtt://u:p@broker", {}, "holds a name or password"),
        ("mqtts://broker", {"authority": "nowhere.pem"}, "nowhere.pem is no file"),
        ("mqtt://broker", {"group": "a/#"}, "history.options.group"),
        ("mqtt://broker", {"rename": {"G/N/level": "LI1.PW"}}, "did you mean 'LI1.PV'"),
    ],
)
def test_wrong_settings_are_the_plant_files_fault(path: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(PlantFileError, match=said):
        MqttLive(History(kind="mqtt", path=path, options=options), TAGS)


def test_a_password_is_not_sent_readably(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQ_USER", "reader")
    monkeypatch.setenv("MQ_PASSWORD", "secret")
    with pytest.raises(PlantFileError, match="would send them readably"):
        MqttLive(History(kind="mqtt", path="mqtt://broker", options={"credentials": {"env": "MQ"}}), TAGS)
