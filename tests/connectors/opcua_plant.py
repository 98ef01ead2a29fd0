"""An OPC UA server in this process, with history, for tests. It is asyncua's own, on a free port of the loopback."""

from __future__ import annotations

import gc
import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from asyncua import Server, ua
from asyncua.server.history import HistoryDict
from cryptography.hazmat.primitives.serialization import Encoding

from connectors.opcua_session import EventLoop

T0 = datetime(2024, 5, 1, 6, 0, tzinfo=UTC)
LONG_AGO = T0 - timedelta(days=1)  # stamp of the value that a variable begins with
URI = "urn:procmodel:test"
GOOD, UNCERTAIN, BAD = 0, 0x40A40000, 0x80890000  # UncertainSensorCal... and BadDeviceFailure: not the plain ones

Row = tuple[float, Any, int]  # seconds after T0, value, status


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


class PlantServer:
    """Starts when made; `close` ends it, and `PlantServer(port=...)` is the same server started again."""

    def __init__(self, *, port: int | None = None, page: int = 10_000, pki: Path | None = None, **users: Any) -> None:
        self.port = port or free_port()
        self.address = f"opc.tcp://127.0.0.1:{self.port}"
        self.loop = EventLoop()
        # A store outlives its server, as a historian does.
        self.store = users.get("store") or HistoryDict(max_history_data_response_size=page)
        self.nodes: dict[str, Any] = {}
        self.loop.run(self._start(pki, users.get("user_manager")))

    async def _start(self, pki: Path | None, user_manager: Any) -> None:
        self.server = Server(user_manager=user_manager)
        # Ten thousand standard nodes, all to be kept: looking for garbage among them takes longer than making them.
        gc.disable()
        try:
            await self.server.init()
        finally:
            gc.enable()
        self.server.set_endpoint(self.address)
        self.server.set_server_name("procmodel test")
        if pki is None:
            self.server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        else:
            await self._secure(pki)
        self.server.iserver.history_manager.set_storage(self.store)
        self.space = await self.server.register_namespace(URI)
        await self.server.start()

    async def _secure(self, pki: Path) -> None:
        from connectors.opcua_certificates import application_uri, load_certificate

        await self.server.set_application_uri(application_uri(load_certificate(pki / "own.der")))
        self.server.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])
        await self.server.load_certificate(str(pki / "own.der"))
        await self.server.load_private_key(str(pki / "own.pem"))
        known = [path.read_bytes() for path in (pki / "trusted").iterdir()]

        async def only_known(certificate: Any, _application: Any) -> None:
            if certificate.public_bytes(Encoding.DER) not in known:
                raise ua.uaerrors.BadCertificateUntrusted

        self.server.set_certificate_validator(only_known)

    def add(self, tag: str, rows: Sequence[Row] = (), *, historize: bool = True, **about: Any) -> Any:
        """A variable called by a text, with its history."""
        return self.loop.run(self._add(tag, rows, historize, about))

    async def _add(self, tag: str, rows: Sequence[Row], historize: bool, about: dict[str, Any]) -> Any:
        parent = about.get("parent") or self.server.nodes.objects
        node_id = about.get("node_id") or ua.NodeId(tag, self.space)
        kind = about.get("kind", ua.VariantType.Double)
        first = about.get("first", 0.0)
        node = await parent.add_variable(node_id, ua.QualifiedName(tag, self.space), ua.Variant(first, kind))
        await node.write_value(_at(LONG_AGO, first, GOOD, kind))
        for name, value in about.get("properties", {}).items():
            await node.add_property(ua.NodeId(f"{tag}/{name}", self.space), ua.QualifiedName(name, 0), value)
        if "description" in about:
            text = ua.DataValue(ua.Variant(ua.LocalizedText(about["description"])))
            await node.write_attribute(ua.AttributeIds.Description, text)
        if "stepped" in about:
            holder = await node.add_object(
                ua.NodeId(f"{tag}/HA", self.space), ua.QualifiedName("HA Configuration", 0), objecttype=None
            )
            await node.delete_reference(holder, ua.ObjectIds.HasComponent)
            await node.add_reference(holder, ua.ObjectIds.HasHistoricalConfiguration)
            await holder.add_property(
                ua.NodeId(f"{tag}/St", self.space), ua.QualifiedName("Stepped", 0), about["stepped"]
            )
        self.nodes[tag] = node
        if historize:
            # Not by the server's own means, a subscription with a short queue, which loses values that come fast.
            await node.set_attr_bit(ua.AttributeIds.AccessLevel, ua.AccessLevel.HistoryRead)
            if node.nodeid not in self.store._datachanges:
                await self.store.new_historized_node(node.nodeid, None)
        for seconds, value, status in rows:
            await self.store.save_node_value(node.nodeid, data_value(seconds, value, status, kind))
        return node

    def remove(self, tag: str) -> None:
        """A variable and its history."""
        node = self.nodes.pop(tag)
        # Subscriptions of connections that were cut live on for a while; the library does not await what it tells them.
        self.server.iserver.aspace[node.nodeid].attributes[ua.AttributeIds.Value].datachange_callbacks.clear()
        self.loop.run(node.delete())
        self.store._datachanges.pop(node.nodeid, None)

    def write(self, tag: str, value: float, stamp: datetime, status: int = GOOD) -> None:
        """A new value, seen by subscriptions and kept by the history."""
        self.record(tag, value, stamp, status)
        self.loop.run(self.nodes[tag].write_value(_at(stamp, value, status, ua.VariantType.Double)))

    def record(self, tag: str, value: float, stamp: datetime, status: int = GOOD) -> None:
        """A value that only the history sees."""
        value_ = _at(stamp, value, status, ua.VariantType.Double)
        self.loop.run(self.store.save_node_value(self.nodes[tag].nodeid, value_))

    def cut_connections(self) -> None:
        """As if a cable were pulled."""

        async def cut() -> None:
            for transport in list(self.server.iserver.asyncio_transports):
                transport.abort()

        self.loop.run(cut())

    def close(self) -> None:
        self.loop.run(self.server.stop())
        self.loop.close()


def data_value(seconds: float, value: Any, status: int, kind: Any = ua.VariantType.Double) -> ua.DataValue:
    return _at(at(seconds), value, status, kind)


def _at(stamp: datetime, value: Any, status: int, kind: Any) -> ua.DataValue:
    variant = ua.Variant(None, ua.VariantType.Null) if value is None else ua.Variant(value, kind)
    return ua.DataValue(variant, ua.StatusCode(ua.UInt32(status)), stamp, stamp)
