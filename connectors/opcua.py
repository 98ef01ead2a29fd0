"""OPC UA HistoryRead: the record that a server keeps of its variables."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from asyncua import ua

from connectors.driver import Page, TransientError, empty_frame, page_frame
from connectors.live_samples import moment
from connectors.opcua_history import LAST, first_values, last_before, stamp_of
from connectors.opcua_nodes import Node, described, is_node_id, nodes_below, resolved
from connectors.opcua_options import OpcUaOptions, address_of
from connectors.opcua_session import LOST, Session, open_session, server_errors
from connectors.opcua_values import sample_of
from connectors.server import ServerHistorian
from procmodel.data.samples import TagInfo
from procmodel.plant import History, Tag
from procmodel.plant.checks import checked_options

T = TypeVar("T")


class OpcUaHistorian(ServerHistorian):
    """The history of an OPC UA server as a historian.

    Args:
        history: `path` is the server's address, options as in `connectors.opcua_options.OpcUaOptions`.
        tags: The plant's tags.
    """

    def __init__(self, history: History, tags: Mapping[str, Tag]) -> None:
        options = checked_options(OpcUaOptions, history.options)
        super().__init__(OpcUaDriver(address_of(history), options), tags, options)


@dataclass(frozen=True, kw_only=True)
class Known:
    """A tag as the server knows it."""

    node: Node
    info: TagInfo


class OpcUaDriver:
    """One server. It is connected to when first asked, and again after a connection was lost."""

    page_rows = 10_000
    most_rows = 1_000_000  # of ours; a server that sends fewer is asked to go on

    def __init__(self, address: str, options: OpcUaOptions) -> None:
        self.place = address
        self.identity = f"{address} {sorted(options.nodes.items())} {options.root}"
        self._options = options
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._lookup = threading.Lock()
        self._tags: dict[str, Known | None] = {}
        self._below: dict[str, Node] | None = None

    def search(self, pattern: str) -> Iterator[TagInfo]:
        """The historized variables below the root, and those that the options name."""
        yield from self._ask(self._search)

    def page(self, tag: str, start: datetime, end: datetime, limit: int) -> Page:
        """The first samples in a range, as the server stores them."""
        known = self._known(tag)
        if known is None:
            return Page(samples=empty_frame(), more=False)
        place = f"{self.place}, tag {tag!r}"
        values, more = self._ask(
            lambda services: first_values(services.history_read, known.node.id, start, end, limit, place=place)
        )
        samples = [sample for value in values if (sample := sample_of(value, known.info.states)) is not None]
        if not samples:
            return Page(samples=empty_frame(), more=more)
        time, value, status, quality, state = (list(column) for column in zip(*samples, strict=True))
        frame = page_frame([moment(each) for each in time], value, status=status, quality=quality, state=state)
        return Page(samples=frame, more=more)

    def newest(self, tag: str, before: datetime | None) -> datetime | None:
        """Time of the newest value before a moment."""
        known = self._known(tag)
        if known is None:
            return None
        found = self._ask(lambda services: last_before(services.history_read, known.node.id, before or LAST))
        return stamp_of(found) if found is not None else None

    def close(self) -> None:
        """Ends the connection; tags that were not found are looked for again."""
        self._below = None
        self._tags = {tag: known for tag, known in self._tags.items() if known is not None}
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.close()

    def _known(self, tag: str) -> Known | None:
        """The node of a tag with what the server says of it; looked up once, by one thread."""
        with self._lookup:
            if tag not in self._tags:
                self._tags[tag] = self._ask(lambda services: self._look_up(services, tag))
            return self._tags[tag]

    def _ask(self, work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        """What a coroutine of the services returns; a connection that failed is not used again."""
        session = self._connected()
        try:
            with server_errors(self.place):
                return session.run(work(session.services))
        except TransientError as error:
            # What the server itself said came over a sound connection, unless it is about the session.
            if not isinstance(error.__cause__, ua.UaStatusCodeError) or type(error.__cause__).__name__ in LOST:
                self._drop(session)
            raise

    def _drop(self, session: Session) -> None:
        with self._lock:
            ours = self._session is session
            self._session = None if ours else self._session
        if ours:
            session.close()

    def _connected(self) -> Session:
        with self._lock:
            if self._session is None:
                self._session = open_session(self.place, self._options)
            return self._session

    async def _search(self, services: Any) -> list[TagInfo]:
        named = await resolved(services, list(self._options.nodes), self._options)
        ids = {node.id for node in named.values()}
        below = await nodes_below(services, self._options.root)
        nodes = [*named.values(), *(node for node in below if node.historized and node.id not in ids)]
        return await described(services, nodes)

    async def _look_up(self, services: Any, tag: str) -> Known | None:
        if self._below is None and tag not in self._options.nodes and not is_node_id(tag):
            self._below = {node.name: node for node in await nodes_below(services, self._options.root)}
        node = (await resolved(services, [tag], self._options, below=self._below)).get(tag)
        if node is None:
            return None
        [info] = await described(services, [node])
        return Known(node=node, info=info)
