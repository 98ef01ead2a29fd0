"""mosquitto on a free port of the loopback, and an edge node that publishes to it."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from sparkplug_writer import INT64, metric, payload


class Broker:
    """Runs from `start` to `stop`, on one port."""

    def __init__(self, *settings: str) -> None:
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        if not Path(program).exists():
            pytest.skip("mosquitto is not installed; run .ci/servers")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._folder = Path(tempfile.mkdtemp(prefix="procmodel-mqtt-"))
        lines = [f"listener {self.port} 127.0.0.1", "persistence false", *(settings or ("allow_anonymous true",))]
        (self._folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        self._command = [program, "-c", str(self._folder / "mosquitto.conf")]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(self._command, stdout=quiet, stderr=quiet)
        until = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < until, "mosquitto does not start"
                time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)


class EdgeNode:
    """Node N of group G, with its will; stamps are milliseconds."""

    def __init__(
        self, port: int, *, session: int = 1, password: str | None = None, trust: ssl.SSLContext | None = None
    ) -> None:
        self.session, self.seq = session, 0
        self.commands: list[bytes] = []
        self.commanded = threading.Event()
        self._ready = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2)
        if password is not None:
            self.client.username_pw_set("edge", password)
        if trust is not None:
            self.client.tls_set_context(trust)
        will = payload([metric("bdSeq", session, kind=INT64)], seq=None)
        self.client.will_set("spBv1.0/G/NDEATH/N", will, qos=1)
        self.client.on_connect = lambda client, *_: client.subscribe("spBv1.0/G/NCMD/N", 1)
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.on_message = self._on_command
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self._ready.wait(30)

    def send(self, kind: str, metrics: list[bytes], at: int, device: str = "") -> None:
        self.seq = 0 if kind == "NBIRTH" else (self.seq + 1) % 256
        topic = f"spBv1.0/G/{kind}/N" + (f"/{device}" if device else "")
        self.client.publish(topic, payload(metrics, seq=self.seq, time=at)).wait_for_publish(30)

    def birth(self, level: float, at: int, *, alias: int = 7) -> None:
        self.send("NBIRTH", [metric("bdSeq", self.session, kind=INT64), metric("level", level, alias=alias)], at)

    def vanish(self) -> None:
        """As if its cable were pulled: the broker speaks its will."""
        self.client.on_disconnect = None
        self.client._sock.shutdown(socket.SHUT_RDWR)  # no farewell
        self.client.loop_stop()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _on_command(self, _client: Any, _data: Any, message: Any) -> None:
        self.commands.append(message.payload)
        self.commanded.set()
