"""Settings of the OPC UA connectors (`history.options` of the plant file)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from connectors.credentials import Secret
from connectors.server_options import ServerOptions
from procmodel.errors import PlantFileError
from procmodel.plant import History
from procmodel.plant.duration import Duration
from procmodel.plant.tag import Frozen

Security = Literal["Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss", "none"]


class LiveOptions(Frozen):
    """How a subscription is kept.

    Attributes:
        every: How often the server sends what is new [s].
        queue: Values of one tag that the server keeps between two sendings.
        history_lag: How long a value may take to be in the server's history [s].
    """

    every: Annotated[Duration, Field(gt=0)] = 1.0
    queue: Annotated[int, Field(ge=2)] = 100
    history_lag: Duration = 0.5


class OpcUaOptions(ServerOptions):
    """How a server is reached, and how its nodes are called.

    Attributes:
        security: Policy, always signed and encrypted; "none" has to be written out.
        certificate, private_key: Our own, as DER or PEM files; `python -m connectors.opcua_certificates` makes them.
        trusted: Folder of server certificates, or of the authorities that issued them.
        nodes: Tag -> node id, such as "ns=2;s=TI101.PV" or "nsu=urn:plant;s=TI101.PV".
        root: Node id below which tags without an entry in `nodes` are looked for.
        live: How a subscription is kept.
    """

    security: Security = "Basic256Sha256"
    certificate: str | None = None
    private_key: str | None = None
    trusted: str | None = None
    nodes: dict[str, str] = Field(default_factory=dict)
    root: str = "i=85"  # Objects
    live: LiveOptions = LiveOptions()

    @property
    def user(self) -> Secret:
        """User name and password; empty for an anonymous session.

        Raises:
            HistorianError: they are not where `credentials` says.
            PlantFileError: they would cross the network in the clear.
        """
        secret = Secret.of(self.credentials)
        if secret.user and self.security == "none":
            raise PlantFileError(
                "history.options.credentials with security: none would send the password readably. "
                "Choose a security policy, or leave credentials out."
            )
        return secret

    def file(self, key: Literal["certificate", "private_key", "trusted"]) -> Path:
        """Where a file or folder of the secured connection lies.

        Raises:
            PlantFileError: it is not named, or does not exist.
        """
        named = getattr(self, key)
        if named is None:
            raise PlantFileError(
                f"history.options.{key} is missing: a connection with {self.security} needs it. Make a certificate: "
                "python -m connectors.opcua_certificates FOLDER; or write security: none for a server without any."
            )
        path = Path(named).expanduser()
        if not path.exists():
            raise PlantFileError(f"history.options.{key}: {path} does not exist. Correct the path.")
        return path


def address_of(history: History) -> str:
    """The server's address, from `history.path`.

    Raises:
        PlantFileError: it is no single opc.tcp address.
    """
    if not isinstance(history.path, str) or not history.path.startswith("opc.tcp://"):
        raise PlantFileError(
            f"history.path: got {history.path!r}, needs the server's address, such as opc.tcp://historian:4840."
        )
    return history.path
