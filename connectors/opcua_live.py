"""OPC UA as it happens: a subscription whose every interruption is bridged from the server's history.

Nothing is lost: after each connection, and wherever the server says that its queue ran over or a message is missing,
what came after the newest sample of each tag is read from the history, while what happens meanwhile waits. Nothing is
doubled: of each tag only what is newer than its newest sample is handed over. Memory does not grow with what was
missed: the history is handed over page by page, a few tags at a time, and what may wait meanwhile is bounded.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, ClassVar

import pyarrow as pa
from asyncua import ua

from connectors.driver import TransientError
from connectors.live_columns import Columns
from connectors.live_samples import Sample, microseconds, moment
from connectors.opcua_history import LAST, first_values
from connectors.opcua_nodes import Node, described, resolved
from connectors.opcua_options import OpcUaOptions, address_of
from connectors.opcua_session import Session, open_session, server_errors
from connectors.opcua_values import overflowed, sample_of
from connectors.retry import Patience
from procmodel.data.samples import ReadReport
from procmodel.errors import HistorianError
from procmodel.plant import History, Tag
from procmodel.plant.checks import checked_options
from procmodel.plant.tag import nearest

_ITEMS_AT_ONCE = 500
_READS_AT_ONCE = 8
_HISTORY_ROWS = 1_000
"""In a page of one tag: values of this library take about a kilobyte each."""
_MOST_WAITING = 300_000
"""Samples that may wait to be taken; what comes beyond is given up and read from the history again."""

Numbered = tuple[int, Sample]
"""A sample with the number of its tag."""


class OpcUaLive:
    """New samples of a server's tags, for as long as they are asked for.

    Args:
        history: As for `connectors.opcua.OpcUaHistorian`; `options.live` says how often.
        tags: The plant's tags; all of them are read.
        since: Begin with what the history holds from this moment on, or of each tag after its newest known sample;
            absent: with what happens from now on.
        patience: Waits between attempts to connect.

    Attributes:
        report: What was met so far; `retries` counts connections after the first.
    """

    bridges: ClassVar[bool] = True
    """What happened while nobody followed is read from the server's history."""

    def __init__(
        self,
        history: History,
        tags: Mapping[str, Tag],
        *,
        since: datetime | Mapping[str, datetime] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.report = ReadReport()
        self._address, self._options = address_of(history), checked_options(OpcUaOptions, history.options)
        self._patience = patience or Patience()
        self._tags = tuple(tags)
        self._columns = Columns(tags)
        self._newest: list[int | None] = [_newest(since, tag) for tag in self._tags]
        self._states: list[Mapping[int, str]] = [{}] * len(self._tags)
        self._ids: list[ua.NodeId] = []
        self._begun = False
        self._waiting: deque[Numbered] = deque()
        self._broken = threading.Event()
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._sequence: int | None = None

    def samples(self) -> Generator[pa.RecordBatch]:
        """Batches of samples in `SCHEMA`, each tag's in rising time order; ends after `close`.

        Raises:
            HistorianError: the server refuses for good, or a tag is not there.
        """
        session: Session | None = None
        connections = 0
        try:
            while not self._ended.is_set():
                broken = session is None or self._broken.is_set()  # asked first: after a hole nothing arrives any more
                yield from self._batches([self._waiting.popleft() for _ in range(len(self._waiting))])
                if not broken:
                    self._wake.wait(self._options.live.every)
                    self._wake.clear()
                    continue
                if session is not None:
                    session.close()
                session = self._connected()
                if session is None:
                    return
                self.report.retries += connections > 0
                connections += 1
                yield from self._bridged(session)
            if session is not None:
                yield from self._batches([self._waiting.popleft() for _ in range(len(self._waiting))])
        finally:
            if session is not None:
                session.close()

    def close(self) -> None:
        """Ends `samples` once what has come is handed over; may be called from another thread."""
        self._ended.set()
        self._wake.set()

    def _connected(self) -> Session | None:
        """A session with everything subscribed; None where it was ended meanwhile."""
        attempt = 0
        while not self._ended.is_set():
            self._waiting.clear()
            self._broken.clear()
            self._sequence = None
            session = None
            try:
                session = open_session(self._address, self._options)
                with server_errors(self._address):
                    session.run(self._subscribe(session))
                return session
            except TransientError as error:
                if session is not None:
                    session.close()
                self.report.notes.append(str(error)) if attempt == 0 else None
                self._ended.wait(self._patience.wait(attempt))
                attempt += 1
            except BaseException:
                if session is not None:
                    session.close()
                raise
        return None

    async def _subscribe(self, session: Session) -> None:
        services, live = session.services, self._options.live
        session.client.connection_lost_callback = self._lost
        if not self._ids:
            await self._look_up(services)
        asked = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=live.every * 1000,
            RequestedLifetimeCount=10_000,
            RequestedMaxKeepAliveCount=10,
            PublishingEnabled=True,
        )
        subscription = await services.create_subscription(asked, self._published)
        # A value that comes again with a new stamp is a sample too.
        changes = ua.DataChangeFilter(Trigger=ua.DataChangeTrigger.StatusValueTimestamp)
        for start in range(0, len(self._ids), _ITEMS_AT_ONCE):
            items = [
                ua.MonitoredItemCreateRequest(
                    ItemToMonitor=ua.ReadValueId(NodeId=node, AttributeId=ua.AttributeIds.Value),
                    MonitoringMode=ua.MonitoringMode.Reporting,
                    RequestedParameters=ua.MonitoringParameters(
                        ClientHandle=index,
                        SamplingInterval=0.0,
                        QueueSize=live.queue,
                        DiscardOldest=True,
                        Filter=changes,
                    ),
                )
                for index, node in list(enumerate(self._ids))[start : start + _ITEMS_AT_ONCE]
            ]
            made = await services.create_monitored_items(
                ua.CreateMonitoredItemsParameters(
                    SubscriptionId=subscription.SubscriptionId,
                    TimestampsToReturn=ua.TimestampsToReturn.Both,
                    ItemsToCreate=items,
                )
            )
            for each in made:
                if not each.StatusCode.is_good() and self._begun:
                    self._ids = []  # a server that starts may number its nodes anew, or not have made them yet
                    raise TransientError(f"{self._address} does not know all tags now: {each.StatusCode.name}.")
                each.StatusCode.check()
        self._begun = True

    async def _look_up(self, services: Any) -> None:
        """The tags' nodes; once, since a busy server takes its time, and a reconnection should not."""
        nodes = await resolved(services, self._tags, self._options)
        missing = [tag for tag in self._tags if tag not in nodes]
        if missing:
            kind = TransientError if self._begun else HistorianError
            raise kind(
                f"Tag {missing[0]!r} is not on {self._address}; {nearest(missing[0], nodes)} Correct the tag's name in "
                "the plant file, or set history.options.nodes."
            )
        infos = await described(services, [Node(name=tag, id=nodes[tag].id, historized=True) for tag in self._tags])
        self._states = [info.states for info in infos]
        self._ids = [nodes[tag].id for tag in self._tags]

    async def _lost(self, _: Exception) -> None:
        self._broken.set()
        self._wake.set()

    async def _published(self, result: ua.PublishResult) -> None:
        """Takes a message of the subscription over, in the thread of the connection.

        After a hole nothing more is taken: newer samples would hide what is missing from the bridge.
        """
        message = result.NotificationMessage
        if message.NotificationData:
            number = int(message.SequenceNumber)
            # After 2**32 - 1 comes 1 (Part 4, 7.25).
            if self._sequence is not None and number not in (self._sequence + 1, 1):
                self._broken.set()
            self._sequence = number
        for notice in message.NotificationData or ():
            if isinstance(notice, ua.StatusChangeNotification):
                self._broken.set()
            if not isinstance(notice, ua.DataChangeNotification) or self._broken.is_set():
                continue
            values = [(item.ClientHandle, item.Value) for item in notice.MonitoredItems]
            if self._ran_over(values) or len(self._waiting) > _MOST_WAITING:
                self._broken.set()
            else:
                self._waiting.extend(self._samples(values))
        self._wake.set()

    def _ran_over(self, values: Sequence[tuple[int, ua.DataValue]]) -> bool:
        """Whether the server may have thrown values away: it says so, or it does not and a queue came full."""
        if any(overflowed(int(value.StatusCode.value)) for _, value in values if value.StatusCode is not None):
            return True
        most = self._options.live.queue
        return len(values) >= most and max(Counter(index for index, _ in values).values()) >= most

    def _bridged(self, session: Session) -> Generator[pa.RecordBatch]:
        """What the history holds after each tag's newest sample.

        It ends early where the connection is lost again: what was handed over is not asked for a second time.
        """
        behind = {index: newest for index, newest in enumerate(self._newest) if newest is not None}
        # What happens now is told by the subscription, and what happened before is in the history by then.
        self._ended.wait(self._options.live.history_lag if behind else 0.0)
        while behind and not self._broken.is_set() and not self._ended.is_set():
            asked = dict(islice(behind.items(), _READS_AT_ONCE))
            try:
                with server_errors(self._address):
                    pages = session.run(self._pages(session.services, asked))
            except TransientError:
                self._broken.set()
                break
            for index, (found, more) in zip(asked, pages, strict=True):
                yield from self._batches(found)
                if more and found:
                    behind[index] = found[-1][1].time
                else:
                    del behind[index]
        if behind:
            self._broken.set()  # also where it was ended meanwhile: nothing newer may come behind the hole
            # The next bridge begins before these, and would take what is older than them for known.
            held = [self._waiting.popleft() for _ in range(len(self._waiting))]
            self._waiting.extend(each for each in held if each[0] not in behind)

    async def _pages(self, services: Any, asked: Mapping[int, int]) -> list[tuple[list[Numbered], bool]]:
        """For each tag what follows its newest sample, in order of time, and whether there may be more."""

        async def page(index: int, newest: int) -> tuple[list[Numbered], bool]:
            place = f"{self._address}, tag {self._tags[index]!r}"
            values, more = await first_values(
                services.history_read, self._ids[index], moment(newest + 1), LAST, _HISTORY_ROWS, place=place
            )
            found = self._samples((index, value) for value in values)
            return sorted(found, key=lambda each: each[1].time), more

        return await asyncio.gather(*(page(*each) for each in asked.items()))

    def _samples(self, values: Iterable[tuple[int, ua.DataValue]]) -> list[Numbered]:
        """Values of numbered tags as samples, without those that carry no time at all."""
        read = ((index, sample_of(value, self._states[index])) for index, value in values)
        return [(index, sample) for index, sample in read if sample is not None]

    def _batches(self, samples: Iterable[Numbered]) -> Generator[pa.RecordBatch]:
        """Those of the samples that are newer than what was handed over of their tags."""
        fresh: list[Numbered] = []
        for index, sample in samples:
            newest = self._newest[index]
            if newest is not None and sample.time <= newest:
                self.report.duplicates += 1
                continue
            self._newest[index] = sample.time
            fresh.append((index, sample))
        if fresh:
            yield self._columns.batch(fresh, self.report)


def _newest(since: datetime | Mapping[str, datetime] | None, tag: str) -> int | None:
    """Stamp behind which a tag begins."""
    if isinstance(since, datetime):
        return microseconds(since) - 1
    at = None if since is None else since.get(tag)
    return None if at is None else microseconds(at)
