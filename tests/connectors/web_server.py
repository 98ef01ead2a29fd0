"""A web server on the loopback whose answers a function gives, and that can be told to refuse."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

Answer = tuple[int, Any]
Ask = Callable[[str, str, dict[str, str], Any], Answer]
"""Method, path, parameters and body to status and JSON."""


class WebServer:
    """Listens from the start on.

    Attributes:
        refusals: Status and headers of the next answers; taken from the front.
        seen: Method, path and parameters of each request.
        headers: Of the last request.
    """

    def __init__(self, ask: Ask) -> None:
        self.refusals: list[tuple[int, Mapping[str, str]]] = []
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.headers: dict[str, str] = {}
        outer, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with lock:
                    outer.seen.append((self.command, unquote(parts.path), parameters))
                    outer.headers = dict(self.headers)
                    refusal = outer.refusals.pop(0) if outer.refusals else None
                if refusal is not None:
                    return self._send(refusal[0], {"Errors": ["not now"]}, refusal[1])
                status, content = ask(self.command, unquote(parts.path), parameters, json.loads(body) if body else None)
                return self._send(status, content, {})

            do_POST = do_GET

            def _send(self, status: int, content: Any, headers: Mapping[str, str]) -> None:
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
