"""Settings of the MQTT connector (`history.options` of the plant file)."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

from connectors.credentials import CredentialOptions, Secret
from procmodel.errors import PlantFileError
from procmodel.plant import History
from procmodel.plant.duration import Duration
from procmodel.plant.tag import Frozen

_PORTS = {"mqtt": 1883, "mqtts": 8883}


class MqttOptions(Frozen):
    """How a broker is reached, and what is followed there.

    Attributes:
        rename: `group/node/device/metric` there -> tag name in the plant file.
        credentials: Where user and password are found.
        authority: File with the certificate of the authority that vouches for the broker (PEM); absent: those that
            the system trusts.
        certificate, private_key: Files of the client's own certificate and key (PEM), for a broker that asks for one.
        group: Sparkplug group that is followed; absent: all.
        rebirth: Whether nodes may be sent the command to tell their births again, wherever these are not known. It
            is the only thing that is ever sent, and only when switched on here.
        every: How often what has come is handed over, at least [s].
        timeout: How long the broker may take to answer [s].
    """

    rename: dict[str, str] | None = None
    credentials: CredentialOptions | None = None
    authority: str | None = None
    certificate: str | None = None
    private_key: str | None = None
    group: Annotated[str, Field(pattern=r"^[^/+#]+$")] | None = None
    rebirth: bool = False
    every: Annotated[Duration, Field(gt=0)] = 1.0
    timeout: Annotated[Duration, Field(gt=0)] = 60.0


def secured(options: MqttOptions) -> ssl.SSLContext:
    """How the broker is trusted, and how it is told who asks.

    Raises:
        PlantFileError: a file holds no certificate or key, or they do not belong together.
    """
    key, file = "authority", options.authority
    try:
        context = ssl.create_default_context(cafile=None if file is None else str(Path(file).expanduser()))
        if options.certificate is not None and options.private_key is not None:
            key, file = "certificate", options.certificate
            own, secret = (str(Path(each).expanduser()) for each in (options.certificate, options.private_key))
            context.load_cert_chain(own, secret, password="")  # a key with a password is an error, not a question
    except (ssl.SSLError, OSError, ValueError) as error:
        with_key = f" with private_key {options.private_key}" if key == "certificate" else ""
        raise PlantFileError(
            f"history.options.{key}: {file}{with_key} cannot be used ({error}). It has to be PEM, a key without a "
            "password and the one of its certificate."
        ) from error
    context.sslsocket_class = _Closing
    return context


class _Closing(ssl.SSLSocket):
    """Closes itself where no secured connection comes about, which the client's library leaves undone."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


@dataclass(frozen=True, kw_only=True)
class Broker:
    """Where a broker is."""

    host: str
    port: int
    secured: bool

    @property
    def place(self) -> str:
        return f"{'mqtts' if self.secured else 'mqtt'}://{self.host}:{self.port}"


def broker_of(history: History, options: MqttOptions) -> Broker:
    """The broker's address, from `history.path`.

    Raises:
        PlantFileError: it is no such address, a file is missing, or the password would cross the network readably.
    """
    try:
        parts = urlsplit(history.path if isinstance(history.path, str) else "")
        broker = Broker(host=parts.hostname or "", port=parts.port or _PORTS.get(parts.scheme, 0), secured=False)
    except ValueError:  # a port that is none
        parts, broker = urlsplit(""), Broker(host="", port=0, secured=False)
    if parts.scheme not in _PORTS or not broker.host or parts.path.strip("/"):
        raise PlantFileError(
            f"history.path: got {history.path!r}, needs the broker's address, such as mqtts://broker:8883."
        )
    if parts.username or parts.password:
        raise PlantFileError("history.path holds a name or password. Take it out, and set history.options.credentials.")
    if parts.scheme == "mqtt" and Secret.of(options.credentials).user and not _loopback(broker.host):
        raise PlantFileError(
            f"history.path: {broker.place} with history.options.credentials would send them readably. Write mqtts."
        )
    if (options.certificate is None) != (options.private_key is None):
        raise PlantFileError("history.options: certificate and private_key belong together. Set both or neither.")
    for key in ("authority", "certificate", "private_key"):
        file = getattr(options, key)
        if file is not None and not Path(file).expanduser().is_file():
            raise PlantFileError(f"history.options.{key}: {file} is no file. Correct the path.")
        if file is not None and parts.scheme != "mqtts":
            raise PlantFileError(f"history.options.{key} is of no use with {broker.place}. Write mqtts.")
    return Broker(host=broker.host, port=broker.port, secured=parts.scheme == "mqtts")


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
