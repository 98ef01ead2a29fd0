"""Whether a subscription keeps up: 1,000 tags at 1 Hz for ten minutes, with a cut connection midway.

The server is asyncua's, in a process of its own, with its history; what it wrote is known by its own numbers, so that
each value that is missing, doubled or out of order is counted. `--quick`: 50 tags for 6 seconds.
"""

from __future__ import annotations

import multiprocessing
import socket
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
    lines = [
        f"{size.tags} tags, {size.seconds} s: {found['distinct']} of {expected} values, "
        f"{found['doubled']} doubled, {found['disordered']} out of order, {found['connections']} reconnections",
        f"from write to hand-over: median {found['delay_s']['median']:.2f} s, 99 % {found['delay_s']['p99']:.2f} s",
        f"memory: {found['memory_mb'][0]:.0f} MB after a tenth, {found['memory_mb'][-1]:.0f} MB at the end; "
        f"processor: {found['cpu_share'] * 100:.0f} % of a core",
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
    delays: list[float] = []
    memory: list[float] = []
    process = psutil.Process()
    began, cpu = time.monotonic(), 0.0
    for batch in live.samples():
        if not go.is_set():
            go.set()  # the values that hold now have come
            began, cpu = time.monotonic(), sum(process.cpu_times()[:2])
            start = time.time()
        at = batch.column("tag").indices.to_numpy()
        values = batch.column("value").to_numpy(zero_copy_only=False)
        for tag, value in zip(at[values >= 0], values[values >= 0].astype(int), strict=True):
            seen[tag, value] += 1
            disordered += value <= last[tag]
            last[tag] = value
        if (values >= 0).any():
            delays.append(time.time() - start - values[values >= 0].min())
        elapsed = time.monotonic() - began
        if elapsed > size.seconds / 10 * (len(memory) + 1):
            memory.append(process.memory_info().rss / 2**20)
        if (last == size.seconds - 1).all() or elapsed > 2 * size.seconds + 60:
            live.close()
    return {
        "distinct": int((seen > 0).sum()),
        "doubled": int((seen - 1)[seen > 1].sum()),
        "disordered": int(disordered),
        "connections": live.report.retries,
        "delay_s": {"median": float(np.median(delays)), "p99": float(np.quantile(delays, 0.99))},
        "memory_mb": [round(each, 1) for each in (memory or [process.memory_info().rss / 2**20])],
        "cpu_share": round((sum(process.cpu_times()[:2]) - cpu) / (time.monotonic() - began), 3),
    }


def _serve(port: int, size: Size, ready: Event, go: Event) -> None:
    """A server that writes its numbers, keeps them, and cuts its connections midway."""
    import asyncio
    import logging

    from asyncua import Server, ua
    from asyncua.server.history import HistoryDict

    logging.disable(logging.WARNING)

    async def serve() -> None:
        server = Server()
        await server.init()
        server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        store = HistoryDict()
        server.iserver.history_manager.set_storage(store)
        space = await server.register_namespace("urn:procmodel:live")
        nodes = []
        for number in range(size.tags):
            name = f"T{number:04d}"
            node = await server.nodes.objects.add_variable(ua.NodeId(name, space), ua.QualifiedName(name, space), -1.0)
            await node.write_value(_value(ua, -1))
            await node.set_attr_bit(ua.AttributeIds.AccessLevel, ua.AccessLevel.HistoryRead)
            await store.new_historized_node(node.nodeid, None)
            await store.save_node_value(node.nodeid, _value(ua, 0, mark=-1.0))
            nodes.append(node)
        await server.start()
        ready.set()
        while not go.is_set():
            await asyncio.sleep(0.01)
        began = time.monotonic()
        for second in range(size.seconds):
            value = _value(ua, second + 1, mark=float(second))
            for node in nodes:
                await store.save_node_value(node.nodeid, value)
                await server.iserver.write_attribute_value(node.nodeid, value)
            if second == size.seconds // 2:
                for transport in list(server.iserver.asyncio_transports):
                    transport.abort()
            await asyncio.sleep(max(0.0, began + second + 1 - time.monotonic()))
        await asyncio.sleep(3600)

    asyncio.run(serve())


def _value(ua: Any, second: int, *, mark: float = -1.0) -> Any:
    """A value whose number is the second it was written in."""
    stamp = T0 + timedelta(seconds=second)
    return ua.DataValue(ua.Variant(mark, ua.VariantType.Double), ua.StatusCode(ua.UInt32(0)), stamp, stamp)


if __name__ == "__main__":
    raise SystemExit(run_experiment("live_opcua", live_opcua))
