"""MQTT over TLS through a real broker: who is trusted, who is not, and what is then said."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("paho.mqtt", reason="paho-mqtt is not installed: pip install 'procmodel[mqtt]'")
pytest.importorskip("cryptography", reason="cryptography is not installed: pip install 'procmodel[opcua]'")

from certificates import Authority
from following import Following
from mqtt_broker import Broker, EdgeNode

from connectors.mqtt_live import MqttLive
from connectors.retry import Patience
from procmodel.errors import HistorianError, PlantFileError
from procmodel.plant import History, Role, Tag

TAGS = {"LI1.PV": Tag(name="LI1.PV", role=Role.CV, unit="cm")}
Secured = Callable[..., Broker]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def secured(authority: Authority) -> Iterator[Secured]:
    made: list[Broker] = []

    def start(*settings: str, **certificate: Any) -> Broker:
        own, key = authority.signed("broker", **certificate)
        files = (f"cafile {authority.file}", f"certfile {own}", f"keyfile {key}")
        # Started by root it would become a user who may not read the key.
        made.append(Broker("allow_anonymous true", "user root", *files, *settings))
        made[-1].start()
        return made[-1]

    yield start
    for each in made:
        each.close()


def source(broker: Broker, scheme: str = "mqtts", **options: Any) -> MqttLive:
    given = {"rename": {"G/N/level": "LI1.PV"}, "every": 0.05, "timeout": 20.0}
    given |= {key: str(value) for key, value in options.items()}
    history = History(kind="mqtt", path=f"{scheme}://127.0.0.1:{broker.port}", options=given)
    return MqttLive(history, TAGS, patience=Patience(first=0.05, longest=0.05))


def refused(live: MqttLive) -> str:
    """What it says where it gives up; nothing is tried for ever."""
    with pytest.raises(HistorianError) as error:
        list(live.samples())
    return str(error.value)


def followed(live: MqttLive, broker: Broker, trust: ssl.SSLContext) -> list[float]:
    """Values that it hears from a node."""
    edge, follower = EdgeNode(broker.port, trust=trust), Following(live, patience=30.0)
    at, until = int(time.time() * 1000), time.monotonic() + 30
    while not follower.rows and follower.failed is None:
        assert time.monotonic() < until
        edge.birth(3.5, at)
        time.sleep(0.05)
    follower.close()
    edge.close()
    assert follower.failed is None
    return [row["value"] for row in follower.rows]


def test_a_broker_of_the_named_authority_is_followed(secured: Secured, authority: Authority) -> None:
    broker, trust = secured(), ssl.create_default_context(cafile=str(authority.file))
    assert followed(source(broker, authority=authority.file), broker, trust) == [3.5]


def test_a_broker_that_asks_for_a_client_certificate_gets_it(secured: Secured, authority: Authority) -> None:
    broker, (own, key) = secured("require_certificate true"), authority.signed("reader")
    trust = ssl.create_default_context(cafile=str(authority.file))
    trust.load_cert_chain(*authority.signed("edge"))
    live = source(broker, authority=authority.file, certificate=own, private_key=key)
    assert followed(live, broker, trust) == [3.5]


def test_a_broker_of_another_authority_is_refused_once(secured: Secured, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    said = refused(source(secured(), authority=other.file))
    assert "is not trusted: self-signed certificate in certificate chain. Set history.options.authority" in said
    assert "is not trusted" in refused(source(secured()))  # nor by what the system trusts


@pytest.mark.parametrize(
    ("certificate", "why"),
    [({"host": "127.0.0.2"}, "IP address mismatch"), ({"since": timedelta(days=-30)}, "expired")],
)
def test_a_certificate_for_another_host_or_out_of_date_is_refused(
    secured: Secured, authority: Authority, certificate: dict[str, Any], why: str
) -> None:
    assert why in refused(source(secured(**certificate), authority=authority.file))


def test_without_the_client_certificate_or_with_a_strangers_it_is_told(
    secured: Secured, authority: Authority, tmp_path: Path
) -> None:
    broker = secured("require_certificate true")
    said = refused(source(broker, authority=authority.file))
    assert "it may ask for a client certificate. Set history.options.certificate" in said
    own, key = Authority(tmp_path, "stranger").signed("strange")
    said = refused(source(broker, authority=authority.file, certificate=own, private_key=key))
    assert "it refuses a client certificate" in said


def test_a_port_without_tls_is_told_and_tried_again(authority: Authority) -> None:
    broker = Broker()
    broker.start()
    follower = Following(source(broker, authority=authority.file))
    until = time.monotonic() + 30
    while not follower.live.report.notes:
        assert time.monotonic() < until
        time.sleep(0.05)
    follower.close()
    broker.close()
    assert follower.failed is None
    assert "cannot be reached" in follower.live.report.notes[0]


def test_files_that_cannot_be_used_are_the_plant_files_fault(secured: Secured, authority: Authority) -> None:
    broker, (own, _), (_, key) = secured(), authority.signed("a"), authority.signed("b")
    with pytest.raises(PlantFileError, match="belong together"):
        source(broker, certificate=own)
    with pytest.raises(PlantFileError, match=r"authority is of no use with mqtt://127.*Write mqtts"):
        source(broker, "mqtt", authority=authority.file)
    with pytest.raises(PlantFileError, match=r"certificate: .*a\.crt with private_key .*b\.key cannot be used"):
        list(source(broker, authority=authority.file, certificate=own, private_key=key).samples())
    with pytest.raises(PlantFileError, match=r"authority: .*b\.key cannot be used"):
        list(source(broker, authority=key).samples())
