"""Whether a subscription keeps up: 1,000 tags at 1 Hz for ten minutes, the server away for a twentieth of it midway.

The server is asyncua's, in a process of its own, and its history outlives it: midway it is stopped, its plant goes on,
and another one is started in its place. What it wrote is known by its own numbers, so that each value that is missing,
doubled or out of order is counted.

Memory is the resident memory of the following process, read twice a second in a thread of its own. It counts as flat
if it has grown by less than 20 MB from a fifth of the time (minute 2) to the end, and if it was never more than 40 MB
above its level at a fifth, the bridge included. `--quick`: 50 tags for 6 seconds.
"""

from __future__ import annotations

import multiprocessing
import socket
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Event
from typing import Any

import numpy as np
import psutil

from experiments.contract import Outcome, run_experiment
from procmodel.plant import History, Role, Tag

T0 = datetime(2024, 5, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is subscribed to.

    Attributes:
        tags: Each written once a second.
        seconds: How long.
    """

    tags: int
    seconds: int


GROWTH_MB, PEAK_MB = 20.0, 40.0
"""Above the level at a fifth of the time: at the end, and at any time after it."""
AWAY = 1 / 20
"""Part of the time that the server is away, from half of it on."""

QUICK, FULL = Size(tags=50, seconds=6), Size(tags=1_000, seconds=600)


def live_opcua(quick: bool) -> Outcome:
    """Loss, doubling, delay and memory of an OPC UA subscription at 1,000 values a second."""
    size = QUICK if quick else FULL
    context = multiprocessing.get_context("spawn")
    ready, go = context.Event(), context.Event()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = context.Process(target=_serve, args=(port, size, ready, go), daemon=True)
    server.start()
    try:
        if not ready.wait(120):
            raise RuntimeError("the server did not start within two minutes")
        found = _follow(port, size, go)
    finally:
        server.terminate()
        server.join()
    expected = size.tags * size.seconds
    values = {"lost": float(expected - found["distinct"]), "doubled": float(found["doubled"])}
    memory = found["memory_mb"]
    lines = [
        f"{size.tags} tags, {size.seconds} s: {found['distinct']} of {expected} values, "
        f"{found['doubled']} doubled, {found['disordered']} out of order, {found['connections']} reconnections",
        f"from write to hand-over: median {found['delay_s']['median']:.2f} s, 90 % {found['delay_s']['p90']:.2f} s, "
        f"99 % {found['delay_s']['p99']:.2f} s (with what happened while the server was away)",
        f"memory: {memory['fifth']:.0f} MB after a fifth, {memory['growth']:+.1f} MB at the end, "
        f"{memory['peak']:+.1f} MB at most; {'flat' if memory['flat'] else 'not flat'} "
        f"(+{GROWTH_MB:.0f} and +{PEAK_MB:.0f} MB)",
        f"processor: {found['cpu_share'] * 100:.0f} % of a core; {found['clock_s']:.0f} s by the clock",
    ]
    return Outcome(
        values=values, results={"tags": size.tags, "seconds": size.seconds, **values, **found}, seeds=[], lines=lines
    )


def _follow(port: int, size: Size, go: Event) -> dict[str, Any]:
    """What comes of the subscription."""
    from connectors.opcua_live import OpcUaLive

    tags = {f"T{n:04d}": Tag(name=f"T{n:04d}", role=Role.AUX, unit="degC") for n in range(size.tags)}
    options = {"security": "none", "timeout": 60.0}
    source = History(kind="opcua", path=f"opc.tcp://127.0.0.1:{port}", options=options)
    live = OpcUaLive(source, tags, since=T0)
    seen = np.zeros((size.tags, size.seconds), dtype=np.int64)
    last = np.full(size.tags, -1)
    disordered = 0
    delays = np.zeros(100_000, dtype=np.int64)  # values by their delay [10 ms]: takes no more memory as time goes by
    process, memory = psutil.Process(), Memory()
    began, cpu = time.monotonic(), 0.0
    for batch in live.samples():
        if not go.is_set():
            go.set()  # the values that hold now have come
            began, cpu = time.monotonic(), sum(process.cpu_times()[:2])
            start = time.time()
            memory.start()
        at = batch.column("tag").indices.to_numpy()
        values = batch.column("value").to_numpy(zero_copy_only=False)
        for tag, value in zip(at[values >= 0], values[values >= 0].astype(int), strict=True):
            seen[tag, value] += 1
            disordered += value <= last[tag]
            last[tag] = value
        late = np.rint((time.time() - start - values[values >= 0]) * 100).astype(int)
        np.add.at(delays, late.clip(0, len(delays) - 1), 1)
        elapsed = time.monotonic() - began
        if (last == size.seconds - 1).all() or elapsed > 2 * size.seconds + 60:
            live.close()
    return {
        "distinct": int((seen > 0).sum()),
        "doubled": int((seen - 1)[seen > 1].sum()),
        "disordered": int(disordered),
        "connections": live.report.retries,
        "delay_s": {
            name: float(np.searchsorted(np.cumsum(delays), part * delays.sum())) / 100
            for name, part in (("median", 0.5), ("p90", 0.9), ("p99", 0.99))
        },
        "memory_mb": memory.judged(),
        "clock_s": round(time.monotonic() - began, 1),
        "cpu_share": round((sum(process.cpu_times()[:2]) - cpu) / (time.monotonic() - began), 3),
    }


class Memory:
    """Resident memory of this process, read twice a second until it is judged [MB]."""

    def __init__(self) -> None:
        self._read: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def judged(self) -> dict[str, Any]:
        """Level at a fifth of the time, what is above it at the end and at most, each tenth, and the verdict."""
        self._ended.set()
        self._thread.join()
        read = np.array(self._read)
        fifth = float(np.median(read[: len(read) // 5 + 1][-10:]))  # of five seconds
        growth = float(np.median(read[-10:])) - fifth
        peak = float(read[len(read) // 5 :].max()) - fifth
        tenths = [round(float(each[-1]), 1) for each in np.array_split(read, 10) if len(each)]
        flat = growth < GROWTH_MB and peak < PEAK_MB
        return {
            "fifth": round(fifth, 1),
            "growth": round(growth, 1),
            "peak": round(peak, 1),
            "flat": flat,
            "tenths": tenths,
        }

    def _follow(self) -> None:
        process = psutil.Process()
        while True:
            self._read.append(process.memory_info().rss / 2**20)
            if self._ended.wait(0.5):
                return


def _serve(port: int, size: Size, ready: Event, go: Event) -> None:
    """A server that writes its numbers and keeps them; midway it is stopped, and started again a while later."""
    import asyncio
    import logging

    from asyncua import Server, ua
    from asyncua.server.history import HistoryDict

    logging.disable(logging.WARNING)
    store = HistoryDict()

    async def started() -> tuple[Any, list[Any]]:
        server = Server()
        await server.init()
        server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        server.iserver.history_manager.set_storage(store)
        space = await server.register_namespace("urn:procmodel:live")
        ids = []
        for number in range(size.tags):
            name = f"T{number:04d}"
            node = await server.nodes.objects.add_variable(ua.NodeId(name, space), ua.QualifiedName(name, space), -1.0)
            await node.write_value(_value(ua, -1))
            await node.set_attr_bit(ua.AttributeIds.AccessLevel, ua.AccessLevel.HistoryRead)
            if node.nodeid not in store._datachanges:
                await store.new_historized_node(node.nodeid, None)
                await store.save_node_value(node.nodeid, _value(ua, 0, mark=-1.0))
            ids.append(node.nodeid)
        await server.start()
        return server, ids

    async def serve() -> None:
        server, ids = await started()
        ready.set()
        while not go.is_set():
            await asyncio.sleep(0.01)
        began = time.monotonic()
        away = size.seconds // 2, size.seconds // 2 + max(1, round(size.seconds * AWAY))
        for second in range(size.seconds):
            if second == away[0]:
                await server.stop()
                server = None
            if second == away[1]:
                server, ids = await started()
            value = _value(ua, second + 1, mark=float(second))
            for each in ids:
                await store.save_node_value(each, value)
                if server is not None:
                    await server.iserver.write_attribute_value(each, value)
            await asyncio.sleep(max(0.0, began + second + 1 - time.monotonic()))
        await asyncio.sleep(3600)

    asyncio.run(serve())


def _value(ua: Any, second: int, *, mark: float = -1.0) -> Any:
    """A value whose number is the second it was written in."""
    stamp = T0 + timedelta(seconds=second)
    return ua.DataValue(ua.Variant(mark, ua.VariantType.Double), ua.StatusCode(ua.UInt32(0)), stamp, stamp)


if __name__ == "__main__":
    raise SystemExit(run_experiment("live_opcua", live_opcua))
