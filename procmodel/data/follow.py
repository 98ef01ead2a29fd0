"""A live source followed into a record, until it is told to stop."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from procmodel.data.live_record import LiveRecord
from procmodel.data.samples import Live

_LOOK = 0.1  # how often it is looked whether to stop [s]
_AHEAD = 1_000  # batches that may wait for the disk


def follow(
    live: Live,
    record: LiveRecord,
    stop: threading.Event,
    *,
    every: float = 10.0,
    last: float | None = None,
    told: Callable[[LiveRecord], None] = lambda record: None,
) -> None:
    """Keep what comes until `stop` is set, the source ends, or `last` seconds have passed; all of it is then kept.

    Args:
        every: How long samples may wait until they are on the disk [s].
        told: Called now and then.

    Raises:
        HistorianError: The source refuses for good, or the disk does; what came before is kept where it can be.
    """
    made: queue.Queue[pa.RecordBatch | BaseException | None] = queue.Queue(_AHEAD)
    given_up = threading.Event()
    worker = threading.Thread(target=_taken, args=(live, made, given_up), name="live", daemon=True)
    worker.start()
    began = flushed = time.monotonic()
    closing, failed = False, None
    try:
        while True:
            now = time.monotonic()
            if not closing and (stop.is_set() or (last is not None and now - began >= last)):
                closing = True
                live.close()
            if now - flushed >= every:
                record.flush()
                flushed = time.monotonic()
            try:
                item = made.get(timeout=_LOOK)
            except queue.Empty:
                told(record)
                continue
            if item is None or isinstance(item, BaseException):
                failed = item
                break
            record.add(item)
            told(record)
    finally:
        given_up.set()
        live.close()
        record.flush()
        worker.join()
    if failed is not None:
        raise failed


def _taken(live: Live, made: queue.Queue[Any], given_up: threading.Event) -> None:
    """Hands over what comes, then the error that ended it, or None."""

    def put(item: Any) -> None:
        while not given_up.is_set():
            try:
                made.put(item, timeout=_LOOK)
                return
            except queue.Full:
                continue

    try:
        for batch in live.samples():
            put(batch)
        put(None)
    except BaseException as error:  # raised again where the batches are taken
        put(error)
