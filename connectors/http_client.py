"""Requests to a web server: JSON in and out, and what its refusals mean."""

from __future__ import annotations

import email.utils
import ipaddress
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3

from connectors.credentials import Secret
from connectors.driver import TooLargeError, TransientError
from connectors.server_options import ServerOptions
from procmodel.data.samples import utc_now
from procmodel.errors import HistorianError, PlantFileError
from procmodel.plant import History

_PASSING = {408, 425, 429, 500, 502, 503, 504}
_REMEDIES = {
    401: "Correct history.options.credentials.",
    403: "Ask for the right to read, or correct history.options.credentials.",
    404: "Correct history.path.",
}


class MissingError(HistorianError):
    """The server knows no such thing (404)."""


class WebOptions(ServerOptions):
    """How a web server is asked.

    Attributes:
        authority: File with the certificate of the authority that vouches for the server (PEM); absent: those that the
            system trusts.
    """

    authority: str | None = None


class WebClient:
    """One web server. Several threads may ask at once.

    Args:
        history: `path` is its address.
        options: Credentials, timeout and certificates.
        token_word: What stands before a token in the header `Authorization`.
    """

    def __init__(self, history: History, options: WebOptions, *, token_word: str = "Bearer") -> None:
        self.place = _address(history)
        self._secret = Secret.of(options.credentials)
        self._headers = {"Accept": "application/json", **self._secret.header(token_word)}
        if "Authorization" in self._headers and self.place.startswith("http:") and not _loopback(self.place):
            raise PlantFileError(
                f"history.path: {self.place} with history.options.credentials would send them readably. Write https."
            )
        if options.authority is not None and not Path(options.authority).expanduser().is_file():
            raise PlantFileError(f"history.options.authority: {options.authority} is no file. Correct the path.")
        self._pool = urllib3.PoolManager(
            maxsize=options.parallel,
            timeout=urllib3.Timeout(options.timeout),
            retries=False,  # a redirect could send the credentials elsewhere; all else is tried again by the wrapper
            ca_certs=None if options.authority is None else str(Path(options.authority).expanduser()),
        )

    def get(self, path: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """The JSON that a path answers.

        Args:
            path: From the server's address on, each part of it quoted already.

        Raises:
            HistorianError: the server refuses; `TransientError` or `TooLargeError` where that may pass.
        """
        return self.answer("GET", f"{path}?{urlencode(parameters)}" if parameters else path)

    def answer(self, method: str, path: str, body: Any = None) -> Any:
        """As `get`, for any method and with a body that is sent as JSON."""
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        try:
            reply = self._pool.request(
                method, f"{self.place}{path}", body=None if body is None else json.dumps(body), headers=headers
            )
        except urllib3.exceptions.SSLError as error:
            raise HistorianError(
                f"{self.place} is not trusted: {error}. Name its authority in history.options.authority."
            ) from error
        except urllib3.exceptions.HTTPError as error:
            raise TransientError(
                f"{self.place} cannot be reached: {self._secret.hidden(str(error))}. Check history.path, the network."
            ) from error
        self.check(reply.status, reply.headers, reply.data)
        try:
            return json.loads(reply.data)
        except ValueError as error:
            raise HistorianError(
                f"{self.place} does not answer in JSON but: {reply.data[:80]!r}. Correct history.path."
            ) from error

    def check(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Nothing for an answer, an error for a refusal."""
        if 200 <= status < 300:
            return
        said = self._secret.hidden(" ".join(body[:300].decode("utf-8", "replace").split()))
        words = f"{self.place} refused ({status}){f': {said}' if said else ''}"
        if status in _PASSING:
            raise TransientError(f"{words}.", after=retry_after(headers))
        if status == 413:
            raise TooLargeError(f"{words}.")
        kind = MissingError if status == 404 else HistorianError
        raise kind(f"{words}. {_REMEDIES.get(status, 'Correct history.path and history.options.')}")

    def close(self) -> None:
        """Ends the connections."""
        self._pool.clear()


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """How long a server asks to be left alone (RFC 9110, 10.2.3): seconds or a date [s]."""
    said = next((value for name, value in headers.items() if name.lower() == "retry-after"), None)
    if said is None:
        return None
    if said.strip().isdigit():
        return float(said)
    try:
        moment = email.utils.parsedate_to_datetime(said)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or utc_now())).total_seconds())


def _address(history: History) -> str:
    if not isinstance(history.path, str) or not history.path.startswith(("http://", "https://")):
        raise PlantFileError(
            f"history.path: got {history.path!r}, needs the server's address, such as https://host/..."
        )
    if urlsplit(history.path).username:
        raise PlantFileError("history.path holds a user name. Take it out, and set history.options.credentials.")
    return history.path.rstrip("/")


def _loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
