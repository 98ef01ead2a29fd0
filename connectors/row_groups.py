"""Row groups of long Parquet files: decoded ahead, as many at once as there are cores, and handed over in order."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.layouts import Layout
from procmodel.data.samples import SCHEMA, Quality
from procmodel.errors import HistorianError

BATCH_ROWS = 1_048_576  # a whole row group, as most are written: decoding it batch by batch takes an eighth longer
_SORTED_ROWS = 8_000_000  # of a row group that is held to be sorted, where it has to be: 170 MB
_AT_ONCE = min(os.cpu_count() or 1, 4)  # row groups decoded at once; one more waits to be handed over
_NOTHING = (pa.nulls(BATCH_ROWS, pa.int64()), pa.nulls(BATCH_ROWS, pa.string()))  # status and state, never told


@dataclass(frozen=True, kw_only=True)
class RowGroup:
    """One row group of a file; `first` and `last` are its stamps [us since 1970 UTC]."""

    file: Path
    index: int
    first: int
    last: int
    rows: int


def decoded(layout: Layout, groups: Sequence[RowGroup]) -> Iterator[pa.RecordBatch]:
    """Batches in our schema, in order of time.

    Raises:
        HistorianError: A row group is not in order, and too long to be sorted.
    """
    waiting, ahead = deque(groups), deque[Future[list[pa.RecordBatch]]]()
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="parquet")
    try:
        while waiting or ahead:
            while waiting and waiting[0].rows <= _SORTED_ROWS and len(ahead) <= _AT_ONCE:
                ahead.append(pool.submit(_whole, layout, waiting.popleft()))
            yield from ahead.popleft().result() if ahead else _long(layout, waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _whole(layout: Layout, group: RowGroup) -> list[pa.RecordBatch]:
    """All of a row group, sorted where it has to be."""
    held = list(_batches(layout, group, threads=_AT_ONCE == 1))
    return held if _rise(held) else _sorted(held)


def _long(layout: Layout, group: RowGroup) -> Iterator[pa.RecordBatch]:
    """A row group too long to be held."""
    before = -(2**63)
    for batch in _batches(layout, group, threads=True):
        if not _rise([batch]) or times_of(batch)[0] < before:
            raise HistorianError(
                f"{group.file}: the {group.rows:,} rows of a row group are not in order of time, and too many to be "
                "sorted. Sort the export by time, or write smaller row groups."
            )
        before = int(times_of(batch)[-1])
        yield batch


def _batches(layout: Layout, group: RowGroup, *, threads: bool) -> Iterator[pa.RecordBatch]:
    names = [layout.tag, layout.time, layout.value, *([layout.quality] if layout.quality else [])]
    try:
        file = pq.ParquetFile(group.file, read_dictionary=[str(layout.tag)])
        for batch in file.iter_batches(BATCH_ROWS, row_groups=[group.index], columns=names, use_threads=threads):
            yield _ours(batch, layout)
    except (pa.ArrowInvalid, OSError) as error:
        raise HistorianError(
            f"{group.file}: row group {group.index} cannot be read ({str(error).splitlines()[0]}). The file is "
            "damaged; copy or export it again."
        ) from None


def times_of(batch: pa.RecordBatch) -> np.ndarray:
    """Stamps of a batch [us since 1970 UTC]."""
    return np.asarray(batch.column("time").view(pa.int64()).to_numpy())


def _rise(batches: Sequence[pa.RecordBatch]) -> bool:
    times = [times_of(batch) for batch in batches]
    within = all((each[1:] >= each[:-1]).all() for each in times)
    return within and all(b[0] >= a[-1] for a, b in itertools.pairwise(times))


def _sorted(batches: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
    order = np.argsort(np.concatenate([times_of(batch) for batch in batches]), kind="stable")
    found: list[pa.RecordBatch] = pa.Table.from_batches(batches).take(order).combine_chunks().to_batches(BATCH_ROWS)
    return found


def _ours(batch: pa.RecordBatch, layout: Layout) -> pa.RecordBatch:
    tag, time, value = (batch.column(str(name)) for name in (layout.tag, layout.time, layout.value))
    if not pa.types.is_dictionary(tag.type):
        tag = tag.dictionary_encode()
    count = batch.num_rows
    if layout.quality is None:
        quality = pa.array(np.where(np.asarray(value.is_null()), int(Quality.BAD), 0).astype(np.int8))
    else:
        quality = batch.column(layout.quality)
    columns = [
        column if column.type == SCHEMA.field(name).type else column.cast(SCHEMA.field(name).type)
        for name, column in (("tag", tag), ("time", time), ("value", value))
    ]
    nothing = [none.slice(0, count) if count <= len(none) else pa.nulls(count, none.type) for none in _NOTHING]
    return pa.RecordBatch.from_arrays([*columns, nothing[0], quality, nothing[1]], schema=SCHEMA)
