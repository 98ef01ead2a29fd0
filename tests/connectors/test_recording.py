"""`procmodel record` from real servers: what was recorded is what they told, across stops as well."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from procmodel.data import condition
from procmodel.data.historians import open_historian
from procmodel.plant import History, Plant, load_plant

PLANT = """
name: tank
sample_time: 10 s
history: {{kind: {kind}, path: "{path}", options: {options}}}
tags:
  FC1.SP: {{role: MV, unit: kg/h}}
  LI1.PV: {{role: CV, unit: cm, source_unit: m, range: [0, 400], max_gap: 1 h}}
"""


def plant_file(folder: Path, kind: str, path: str, options: dict[str, Any]) -> Path:
    file = folder / "plant.yaml"
    file.write_text(PLANT.format(kind=kind, path=path, options=json.dumps(options)))
    return file


class Recorder:
    """`procmodel record` in a process of its own."""

    def __init__(self, file: Path, *words: str) -> None:
        self.folder = file.parent / "record"
        command = [sys.executable, "-c", "from procmodel.cli import main; main()", "record", str(file), "--json"]
        words = ("--into", str(self.folder), "--every", "0.2 s", *words)
        self._process = subprocess.Popen([*command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        told = self._process.stderr.readline()
        assert "Recording tank into" in told, told + self._process.communicate()[1]

    def rows(self, tag: str) -> list[dict[str, Any]]:
        found = [row for file in sorted(self.folder.glob("part-*.parquet")) for row in pq.read_table(file).to_pylist()]
        return [row for row in found if row["tag"] == tag]

    def wait(self, tag: str, count: int) -> None:
        until = time.monotonic() + 60
        while len(self.rows(tag)) < count:
            assert self._process.poll() is None, self._process.communicate()
            assert time.monotonic() < until, (self.rows(tag), count)
            time.sleep(0.05)

    def end(self, how: signal.Signals = signal.SIGINT) -> dict[str, Any]:
        self._process.send_signal(how)
        out, told = self._process.communicate(timeout=60)
        assert self._process.returncode == 0, told
        facts: dict[str, Any] = json.loads(out)
        return facts

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def read(file: Path, record: Path) -> tuple[Plant, Any]:
    plant = load_plant(file)
    plant = plant.model_copy(update={"history": History(kind="recorded", path=str(record))})
    return plant, condition(plant, open_historian(plant))


def test_a_subscription_is_recorded_across_a_kill_with_nothing_lost_or_doubled(tmp_path: Path) -> None:
    pytest.importorskip("asyncua", reason="asyncua is not installed: pip install 'procmodel[opcua]'")
    from opcua_plant import PlantServer, at

    server = PlantServer(page=7)
    for tag in ("FC1.SP", "LI1.PV"):
        server.add(tag)
        server.write(tag, 1.0, at(0))
    options = {"security": "none", "live": {"every": 0.05, "history_lag": 0.05}}
    file = plant_file(tmp_path, "opcua", server.address, options)
    first = Recorder(file)
    first.wait("LI1.PV", 1)
    first.wait("FC1.SP", 1)
    for second in range(1, 20):
        server.write("LI1.PV", 1.0 + 0.05 * second, at(second))
    first.wait("LI1.PV", 20)
    first.kill()
    for second in range(20, 40):  # while nobody records
        server.write("LI1.PV", 1.0 + 0.05 * second, at(second))
    again = Recorder(file)
    again.wait("LI1.PV", 40)
    for second in range(40, 51):
        server.write("LI1.PV", 1.0 + 0.1 * (second % 3), at(second))
    server.write("FC1.SP", 2.0, at(50))
    facts = again.end()  # at once: what the server has sent by then is kept, and the rest is bridged next time
    last = Recorder(file)
    last.wait("LI1.PV", 51)
    last.wait("FC1.SP", 2)
    closing = last.end(signal.SIGTERM)
    server.close()
    assert facts["resumed"]
    assert facts["bridged"]
    assert facts["silent"] == []
    assert facts["samples"] + closing["samples"] == 32
    assert [(row["time"], row["quality"]) for row in last.rows("LI1.PV")] == [(at(second), 0) for second in range(51)]
    assert [row["value"] for row in last.rows("LI1.PV")[:40]] == pytest.approx([100.0 + 5 * s for s in range(40)])
    assert [row["value"] for row in last.rows("FC1.SP")] == [1.0, 2.0]
    plant, dataset = read(file, last.folder)
    assert dataset.columns == tuple(plant.columns)
    assert dataset.values[:3, 1] == pytest.approx([125.0, 175.0, 225.0])


def test_what_a_broker_told_is_recorded_and_a_stop_is_a_gap(tmp_path: Path) -> None:
    pytest.importorskip("paho.mqtt", reason="paho-mqtt is not installed: pip install 'procmodel[mqtt]'")
    from mqtt_broker import Broker, EdgeNode
    from sparkplug_writer import metric

    broker = Broker()
    broker.start()
    edge = EdgeNode(broker.port)
    rename = {"G/N/level": "LI1.PV", "G/N/flow": "FC1.SP"}
    options = {"rename": rename, "every": 0.05, "rebirth": True}
    file = plant_file(tmp_path, "mqtt", f"mqtt://127.0.0.1:{broker.port}", options)
    start = int(datetime.now(UTC).timestamp() * 1000)
    for run in range(2):
        recorder = Recorder(file)
        assert edge.commanded.wait(60)  # it has subscribed, and asks for the births
        edge.commanded.clear()
        born = [metric("bdSeq", 1), metric("level", 1.0, alias=7), metric("flow", 5.0, alias=8)]
        edge.send("NBIRTH", born, start + 60_000 * run)
        for second in range(1, 31):
            edge.send("NDATA", [metric(None, 2.0, alias=7, told=False)], start + 60_000 * run + 1000 * second)
        recorder.wait("LI1.PV", (31, 63)[run])
        facts = recorder.end()
        assert (facts["samples"], facts["resumed"], facts["bridged"]) == (32, run == 1, False)
    edge.close()
    broker.close()
    began = datetime.fromtimestamp(start / 1000, UTC)
    gap = recorder.rows("LI1.PV")[31]
    assert (gap["time"], gap["value"], gap["quality"], gap["state"]) == (
        began + timedelta(seconds=30, microseconds=1), None, 2, "not recorded",
    )  # fmt: skip
    _, dataset = read(file, recorder.folder)
    inside = (dataset.times() >= began.replace(tzinfo=None) + timedelta(seconds=31)) & (
        dataset.times() < began.replace(tzinfo=None) + timedelta(seconds=49)
    )
    assert inside.any()
    assert (dataset.good_fraction[inside, 1] == 0).all()
