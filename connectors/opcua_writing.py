"""An OPC UA server as a target of `connectors.writing`; made in Python, no plant file and no command leads here."""

from __future__ import annotations

from typing import Any

from asyncua import ua

from connectors.opcua_nodes import resolved
from connectors.opcua_options import OpcUaOptions, address_of
from connectors.opcua_session import open_session, server_errors
from connectors.opcua_values import sample_of
from procmodel.data.samples import Quality
from procmodel.errors import HistorianError
from procmodel.plant import History
from procmodel.plant.checks import checked_options


class OpcUaTarget:
    """Variables of a server, read and written.

    Args:
        history: As for `connectors.opcua.OpcUaHistorian`.
    """

    def __init__(self, history: History) -> None:
        self._address, self._options = address_of(history), checked_options(OpcUaOptions, history.options)
        self._session = open_session(self._address, self._options)

    def value(self, tag: str) -> float | None:
        """What the server holds now; None where that is no good number."""
        with server_errors(self._address):
            found = self._session.run(self._read(self._session.services, tag))
        sample = sample_of(found)
        return sample.value if sample is not None and sample.quality == int(Quality.GOOD) else None

    def write(self, tag: str, value: float) -> None:
        """Writes a value with the type that the variable has."""
        with server_errors(self._address):
            self._session.run(self._write(self._session.services, tag, value))

    def close(self) -> None:
        """Ends the connection."""
        self._session.close()

    async def _node(self, services: Any, tag: str) -> ua.NodeId:
        found = await resolved(services, [tag], self._options)
        if tag not in found:
            raise HistorianError(f"Tag {tag!r} is not on {self._address}. Set history.options.nodes.")
        return found[tag].id

    async def _read(self, services: Any, tag: str) -> ua.DataValue:
        [found] = await services.read_attributes([await self._node(services, tag)], ua.AttributeIds.Value)
        return found

    async def _write(self, services: Any, tag: str, value: float) -> None:
        held = await self._read(services, tag)
        kind = held.Value.VariantType
        typed = value if kind in (ua.VariantType.Double, ua.VariantType.Float) else int(value)
        if typed != value:
            raise HistorianError(f"Tag {tag!r} holds whole numbers, got {value:g}. Nothing was written to it.")
        [status] = await services.write_attributes(
            [await self._node(services, tag)], [ua.DataValue(ua.Variant(typed, kind))], ua.AttributeIds.Value
        )
        status.check()
