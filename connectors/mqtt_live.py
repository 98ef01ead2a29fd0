"""MQTT with Sparkplug B as it happens. A broker keeps no record: what was missed is told as a gap, not filled.

Nothing is sent but the subscription, unless `options.rebirth` allows the command that asks a node for its births.
"""

from __future__ import annotations

import contextlib
import fnmatch
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from connectors.credentials import Secret
from connectors.driver import TransientError
from connectors.live_columns import Columns
from connectors.live_samples import Sample, microseconds
from connectors.mqtt_options import Broker, MqttOptions, broker_of, secured
from connectors.options import TableOptions, tag_of_source
from connectors.retry import Patience
from connectors.sparkplug import rebirth_request
from connectors.sparkplug_nodes import News, Nodes, Place
from procmodel.data.samples import ReadReport, TagInfo, utc_now
from procmodel.errors import HistorianError
from procmodel.plant import History, Tag
from procmodel.plant.checks import checked_options

_KEEP_ALIVE = 30  # [s]: a broker that is silent for longer is given up
_ASK_AGAIN = 10.0  # between two commands to one node [s]
_MOST_WAITING = 100_000
"""Messages that may wait to be taken; beyond, the connection is given up, and with it what had come."""
_NAMESPACE = "spBv1.0"
_FOR_GOOD = ("Not authorized", "Bad user name or password", "Unsupported protocol version", "Client identifier")


class MqttLive:
    """New samples of a plant's tags, for as long as they are asked for.

    Args:
        history: `path` is the broker, as mqtts://broker:8883; options as in `connectors.mqtt_options.MqttOptions`.
        tags: The plant's tags, by their full names there, `group/node/device/metric`, unless they are renamed.
        patience: Waits between attempts to connect.
        now: The clock.

    Attributes:
        report: What was met so far; `retries` counts connections after the first.
    """

    def __init__(
        self,
        history: History,
        tags: Mapping[str, Tag],
        *,
        patience: Patience | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.report = ReadReport()
        self._options = checked_options(MqttOptions, history.options)
        self._broker: Broker = broker_of(history, self._options)
        self._secret = Secret.of(self._options.credentials)
        self._patience, self._now = patience or Patience(), now
        renamed = tag_of_source(TableOptions(rename=self._options.rename), tags)
        there = {tag: source for source, tag in renamed.items()}
        self._tags = {there.get(tag, tag): tag for tag in tags}
        self._nodes = Nodes({full: index for index, full in enumerate(self._tags)}, self.report)
        self._columns = Columns(tags)
        self._asked: dict[Place, float] = {}
        self._waiting: deque[tuple[str, bytes, int]] = deque()
        self._refused: str | None = None
        self._begun, self._closed_unanswered = False, False
        self._answered, self._broken = threading.Event(), threading.Event()
        self._wake, self._ended = threading.Event(), threading.Event()

    def samples(self) -> Generator[pa.RecordBatch]:
        """Batches of samples in `SCHEMA`; ends after `close`.

        Each tag's samples rise in time, but for those that a node had stored while it was cut off: they come in batches
        of their own, each of which rises, and are counted as unsorted.

        Raises:
            HistorianError: the broker refuses for good.
        """
        client: mqtt.Client | None = None
        connections = 0
        try:
            while not self._ended.is_set():
                broken = client is None or self._broken.is_set()
                for message in [self._waiting.popleft() for _ in range(len(self._waiting))]:
                    yield from self._batches(self._nodes.take(*message))
                if client is not None and not broken:
                    self._ask_for_births(client)
                    self._wake.wait(self._options.every)
                    self._wake.clear()
                    continue
                if client is not None:
                    _stopped(client)
                    yield from self._batches(self._nodes.disconnected(microseconds(self._now())))
                client = self._connected()
                self.report.retries += connections > 0
                connections += 1
            if client is not None:
                for message in [self._waiting.popleft() for _ in range(len(self._waiting))]:
                    yield from self._batches(self._nodes.take(*message))
        finally:
            if client is not None:
                _stopped(client)

    def close(self) -> None:
        """Ends `samples` once what has come is handed over; may be called from another thread."""
        self._ended.set()
        self._wake.set()

    def search(self, pattern: str = "*") -> Iterator[TagInfo]:
        """What births have told so far, of metrics whose full name matches a shell pattern, wanted or not."""
        for name, info in sorted(self._nodes.infos.items()):
            if fnmatch.fnmatchcase(name, pattern):
                yield info

    @property
    def unseen(self) -> tuple[str, ...]:
        """Tags that no birth has named so far: their nodes are silent, or their names are wrong."""
        return tuple(tag for full, tag in self._tags.items() if full not in self._nodes.infos)

    def _connected(self) -> mqtt.Client | None:
        """A client that has subscribed; None where it was ended meanwhile."""
        attempt = 0
        while not self._ended.is_set():
            client = self._client()
            try:
                self._connect(client)
                return client
            except TransientError as error:
                _stopped(client)
                self.report.notes.append(str(error)) if attempt == 0 else None
                self._ended.wait(self._patience.wait(attempt))
                attempt += 1
            except BaseException:
                _stopped(client)
                raise
        return None

    def _client(self) -> mqtt.Client:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        if self._broker.secured:
            client.tls_set_context(secured(self._options))
        if self._secret.user:
            client.username_pw_set(self._secret.user, self._secret.password)
        client.on_connect, client.on_subscribe = self._on_connect, self._on_subscribe
        client.on_disconnect, client.on_message = self._on_disconnect, self._on_message
        return client

    def _connect(self, client: mqtt.Client) -> None:
        place = self._broker.place
        self._waiting.clear()
        self._refused = None
        self._closed_unanswered = False
        self._answered.clear()
        self._broken.clear()
        client.connect_timeout = self._options.timeout
        try:
            client.connect(self._broker.host, self._broker.port, keepalive=_KEEP_ALIVE)
        except ssl.SSLCertVerificationError as error:
            raise HistorianError(
                f"{place} is not trusted: {error.verify_message}. Set history.options.authority to the certificate of "
                "its authority."
            ) from error
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            raise TransientError(f"{place} broke off while the connection was secured.") from error
        except ssl.SSLError as error:
            raise HistorianError(
                f"{place}: no secured connection ({error.reason or error}). Check that its port speaks TLS, and "
                "history.options.certificate where it asks for one."
            ) from error
        except OSError as error:
            raise TransientError(
                f"{place} cannot be reached: {error.strerror or error}. Check history.path, the broker and the network."
            ) from error
        client.loop_start()
        if not self._answered.wait(self._options.timeout):
            raise TransientError(f"{place} did not answer in time. Check the broker, or raise history.options.timeout.")
        if self._closed_unanswered and self._broker.secured and not self._begun:
            # A broker tells who it does not trust by closing (TLS 1.3): the first time that is taken at its word.
            own = "refuses" if self._options.certificate else "may ask for"
            raise HistorianError(
                f"{place} closed the connection without an answer: it {own} a client certificate. Set "
                "history.options.certificate and private_key to ones that its authority has signed, or see its log."
            )
        if refused := self._refusal():
            kind = HistorianError if refused.startswith(_FOR_GOOD) else TransientError
            raise kind(f"{place} refused: {refused}. Correct history.options, or ask for the right to subscribe.")
        self._begun = True
        if self._options.rebirth:
            self._nodes.unborn.update((group, node) for group, node, _ in (_parts(full) for full in self._tags) if node)

    def _refusal(self) -> str:
        """What the broker answered, if it was no yes; written by the client's thread."""
        return self._refused or ""

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._refused = str(reason)
            self._answered.set()
            return
        begin = f"{_NAMESPACE}/{self._options.group or '+'}"
        # Not the commands: what others tell the nodes is no news of the plant.
        of_nodes = [f"{begin}/{kind}/+" for kind in ("NBIRTH", "NDATA", "NDEATH")]
        of_devices = [f"{begin}/{kind}/+/+" for kind in ("DBIRTH", "DDATA", "DDEATH")]
        client.subscribe([(topic, 1) for topic in (*of_nodes, *of_devices)])

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, reasons: Sequence[Any], _properties: Any) -> None:
        if any(each.is_failure for each in reasons):
            self._refused = "Not authorized to subscribe"
        self._answered.set()

    def _on_disconnect(self, *_: Any) -> None:
        self._broken.set()
        self._closed_unanswered = self._refused is None and not self._answered.is_set()
        self._refused = self._refused or "the connection was closed"
        self._answered.set()
        self._wake.set()

    def _on_message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        if self._broken.is_set():
            return
        if len(self._waiting) >= _MOST_WAITING:
            self._broken.set()
        else:
            self._waiting.append((message.topic, message.payload, microseconds(self._now())))
        self._wake.set()

    def _ask_for_births(self, client: mqtt.Client) -> None:
        if not self._options.rebirth:
            return
        for place in list(self._nodes.unborn):
            if time.monotonic() - self._asked.get(place, -_ASK_AGAIN) >= _ASK_AGAIN:
                self._asked[place] = time.monotonic()
                group, node = place
                client.publish(f"{_NAMESPACE}/{group}/NCMD/{node}", rebirth_request(microseconds(self._now()) // 1000))

    def _batches(self, news: News) -> Generator[pa.RecordBatch]:
        if news.fresh:
            yield self._columns.batch(news.fresh, self.report)
        if news.late:
            yield self._columns.batch(sorted(news.late, key=_order), self.report)


def _order(numbered: tuple[int, Sample]) -> tuple[int, int]:
    return numbered[0], numbered[1].time


def _parts(full: str) -> tuple[str, str, str]:
    group, _, rest = full.partition("/")
    node, _, metric = rest.partition("/")
    return group, node, metric


def _stopped(client: mqtt.Client) -> None:
    with contextlib.suppress(OSError):
        client.disconnect()
    client.loop_stop()
