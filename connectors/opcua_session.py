"""A connection to an OPC UA server, for code that does not wait in coroutines."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from asyncua import Client, ua
from asyncua.crypto import security_policies, uacrypto
from cryptography import x509

from connectors.driver import TooLargeError, TransientError
from connectors.opcua_certificates import application_uri, load_certificate, require_trusted
from connectors.opcua_options import OpcUaOptions
from procmodel.errors import HistorianError, PlantFileError

T = TypeVar("T")

HEALTH_CHECK = 5.0
"""Between two looks at the server, at least, and how long it may take to answer one [s]."""


class EventLoop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._open = True
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._loop.run_forever, name="opcua", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """What the coroutine returns, or raises; it is stopped when the caller is interrupted.

        Raises:
            ConnectionError: the loop was closed, perhaps meanwhile by another thread.
        """
        future = self._begun(work)
        try:
            return future.result(timeout)
        except concurrent.futures.CancelledError as error:
            raise ConnectionError("the connection was closed") from error
        except BaseException:
            future.cancel()
            raise

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Runs on in the background."""
        self._begun(work)

    def close(self) -> None:
        """Ends what still runs in it, then the thread."""
        with self._guard:
            if not self._open:
                return
            self._open = False
            ended = asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop)
        ended.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _begun(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        # Work handed to a loop that has stopped would never end, nor would whoever waits for it.
        with self._guard:
            if self._open:
                return asyncio.run_coroutine_threadsafe(work, self._loop)
        work.close()
        raise ConnectionError("the connection was closed")


async def _cancel_others() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class Session:
    """An open connection; `run` waits for one of its coroutines."""

    def __init__(self, loop: EventLoop, client: Client) -> None:
        self.client = client
        self._loop = loop

    @property
    def services(self) -> Any:
        """The services of the session: read, browse, history_read and others."""
        return self.client.uaclient.session

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns; may be called from several threads at once."""
        return self._loop.run(work)

    def close(self) -> None:
        """Ends the connection and its thread."""
        try:
            with contextlib.suppress(ConnectionError):
                self._loop.run(disconnect(self.client))
        finally:
            self._loop.close()


def open_session(address: str, options: OpcUaOptions) -> Session:
    """A connection that stays until it is closed.

    Raises:
        HistorianError: the server cannot be reached, is not trusted, or refuses us.
        PlantFileError: the settings do not suffice for a secured connection.
    """
    loop = EventLoop()
    try:
        with server_errors(address):
            return Session(loop, loop.run(connect(address, options)))
    except BaseException:
        loop.close()
        raise


@contextlib.contextmanager
def server_errors(address: str) -> Iterator[None]:
    """Turns what the library raises about a server into one sentence about it.

    Raises:
        TransientError: worth asking again.
        TooLargeError: worth asking for less.
        HistorianError: neither.
    """
    try:
        yield
    except ua.UaStatusCodeError as error:
        name = type(error).__name__
        kind = TransientError if name in _PASSING else TooLargeError if name in _TOO_LARGE else HistorianError
        raise kind(f"{address} refused: {name}. {_REMEDIES.get(name, 'Its own log may say more.')}") from error
    except ua.UaError as error:
        raise HistorianError(f"{address} answered what cannot be used: {error}.") from error
    except TimeoutError as error:
        raise TransientError(
            f"{address} did not answer in time. Check the server, or raise history.options.timeout."
        ) from error
    except OSError as error:
        raise TransientError(
            f"{address} cannot be reached: {error.strerror or error}. Check history.path, the server and the network."
        ) from error


LOST = {
    "BadSessionClosed",
    "BadSessionIdInvalid",
    "BadSessionNotActivated",
    "BadSecureChannelClosed",
    "BadSecureChannelIdInvalid",
    "BadConnectionClosed",
    "BadServerHalted",
    "BadShutdown",
}
"""Refusals after which a new connection is needed."""
_PASSING = LOST | {
    "BadTimeout",
    "BadTooManySessions",
    "BadTcpServerTooBusy",
    "BadNoContinuationPoints",
    "BadResourceUnavailable",
}
_TOO_LARGE = {
    "BadResponseTooLarge",
    "BadEncodingLimitsExceeded",
    "BadTcpMessageTooLarge",
    "BadTooManyOperations",
    "BadQueryTooComplex",
}
_REMEDIES = {
    "BadUserAccessDenied": "Correct user and password, or ask for the right to read history.",
    "BadIdentityTokenRejected": "Correct user and password.",
    "BadIdentityTokenInvalid": "The server takes no such session: add or correct history.options.credentials.",
    "BadSecurityChecksFailed": "Let the server trust our certificate (own.der).",
    "BadCertificateUntrusted": "Let the server trust our certificate (own.der).",
    "BadSecurityPolicyRejected": "Choose a history.options.security that the server offers.",
    "BadHistoryOperationUnsupported": "Switch history on for the tag in the server.",
    "BadNotReadable": "Ask for the right to read history.",
}


async def connect(address: str, options: OpcUaOptions) -> Client:
    """An open client.

    Raises:
        PlantFileError: what a secured connection needs is missing from the settings.
        HistorianError: the server is not trusted, or does not offer the policy.
    """
    # Without a handler the library's words about every retry go to stderr; what matters is raised.
    logging.getLogger("asyncua").addHandler(_SILENT)
    client = Client(address, timeout=options.timeout, watchdog_intervall=max(HEALTH_CHECK, options.timeout / 4))
    client.name = client.description = "procmodel"
    secret = options.user
    if options.security != "none":
        await _secure(client, address, options)
    if secret.user:
        client.set_user(secret.user)
        client.set_password(secret.password or "")
    await client.connect()
    return client


_SILENT = logging.NullHandler()


async def disconnect(client: Client) -> None:
    """Closes what can still be closed; a server that is gone has closed it already."""
    with contextlib.suppress(TimeoutError, OSError, ua.UaError):
        await asyncio.wait_for(client.disconnect(), timeout=HEALTH_CHECK)


async def _secure(client: Client, address: str, options: OpcUaOptions) -> None:
    own, key = options.file("certificate"), options.file("private_key")
    trusted = options.file("trusted")
    if not trusted.is_dir():
        raise PlantFileError(f"history.options.trusted: {trusted} is a file, needs the folder that it lies in.")
    policy = getattr(security_policies, f"SecurityPolicy{options.security}")
    certificate = load_certificate(own)
    client.application_uri = application_uri(certificate) or client.application_uri
    offered = await client.connect_and_get_server_endpoints()
    mode = ua.MessageSecurityMode.SignAndEncrypt
    usable = [each for each in offered if each.SecurityMode == mode and each.SecurityPolicyUri == policy.URI]
    if not usable:
        names = sorted({f"{each.SecurityPolicyUri.rpartition('#')[2]} {each.SecurityMode.name}" for each in offered})
        raise HistorianError(
            f"{address} does not offer {options.security} with SignAndEncrypt, but: {', '.join(names)}. Switch it on "
            "in the server, or choose another history.options.security."
        )
    server = uacrypto.x509_from_der(usable[0].ServerCertificate)
    if not isinstance(server, x509.Certificate):
        raise HistorianError(f"{address} shows no certificate for {options.security}. Mend the server's configuration.")
    require_trusted(server, trusted)
    secret = key.read_bytes()
    try:
        await client.set_security(
            policy,
            certificate=uacrypto.CertProperties(uacrypto.der_from_x509(certificate), "der"),
            private_key=uacrypto.CertProperties(secret, "pem" if b"-----BEGIN" in secret else "der"),
            server_certificate=uacrypto.CertProperties(uacrypto.der_from_x509(server), "der"),
            mode=mode,
        )
    except ValueError as error:
        raise PlantFileError(f"history.options.private_key: {key} cannot be read: {error}.") from error
