"""Long Parquet exports that stand in order of time, handed over row group by row group without being held."""

from __future__ import annotations

import hashlib
import itertools
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from connectors.layouts import Layout
from connectors.options import TableOptions
from procmodel.data.samples import SCHEMA, Quality, Query, ReadReport
from procmodel.errors import HistorianError
from procmodel.plant import Tag

BATCH_ROWS = 131_072  # a few megabytes: what one core keeps near while the next one decodes
FEWEST_ROWS = 2_000_000  # below, a table in memory costs little, and it is sorted and rid of doubles
_SORTED_ROWS = 8_000_000  # of a row group that is held to be sorted, where it has to be: 170 MB
_AHEAD = 12  # batches decoded before they are asked for: more than a row group of a million rows hands over at once
_NOTHING = (pa.nulls(BATCH_ROWS, pa.int64()), pa.nulls(BATCH_ROWS, pa.string()))  # status and state, never told
_CODES = {str(int(quality)): quality.name.lower() for quality in Quality}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Ordered:
    """Parquet files whose row groups follow each other in time.

    Attributes:
        groups: File, row group in it, and the first and last stamp of each [us], in order of time.
    """

    layout: Layout
    groups: tuple[tuple[Path, int, int, int], ...]

    @classmethod
    def of(cls, files: Sequence[Path], options: TableOptions, tags: Mapping[str, Tag]) -> Ordered | None:
        """The files where they can be streamed; None where they have to be read as tables.

        They can where they hold `FEWEST_ROWS` together and each is a long table of plain numbers with stamps that carry
        their zone, in our own codes of quality or without any, with statistics that say that no row group begins before
        the one before it ends.
        """
        plain = options.rename is None and options.campaign is None and options.time == type(options.time)()
        if not plain or any(tag.source_unit is not None for tag in tags.values()):
            return None
        groups: list[tuple[Path, int, int, int]] = []
        layout: Layout | None = None
        rows = 0
        for file in files:
            try:
                found = pq.ParquetFile(file)
            except (pa.ArrowInvalid, OSError):
                return None  # told by who reads it as a table
            rows += found.metadata.num_rows
            layout = Layout.of(found.schema_arrow.names, options, str(file), file.stem)
            spans = _spans(found, layout) if _is_plain(found.schema_arrow, layout, options) else None
            if spans is None:
                return None
            groups += [(file, i, first, last) for i, (first, last) in enumerate(spans)]
        groups.sort(key=lambda each: each[2:])
        if layout is None or rows < FEWEST_ROWS or any(b[2] < a[3] for a, b in itertools.pairwise(groups)):
            return None
        return cls(layout=layout, groups=tuple(groups))


def _is_plain(schema: pa.Schema, layout: Layout, options: TableOptions) -> bool:
    if layout.tag is None or layout.value is None or layout.unit is not None:
        return False
    time, quality = schema.field(layout.time).type, layout.quality
    return (
        pa.types.is_timestamp(time)
        and time.tz is not None
        and time.unit in ("us", "ms")
        and schema.field(layout.value).type in (pa.float64(), pa.float32())
        and (quality is None or (schema.field(quality).type == pa.int8() and _is_ours(options.quality)))
    )


def _is_ours(quality: object) -> bool:
    """Whether the codes of a quality column are told to be those of `Quality`."""
    return isinstance(quality, dict) and all(_CODES.get(str(code)) == word for code, word in quality.items())


def _spans(file: pq.ParquetFile, layout: Layout) -> list[tuple[int, int]] | None:
    """First and last stamp of each row group [us]."""
    column = file.schema_arrow.names.index(layout.time)
    found = []
    for i in range(file.num_row_groups):
        statistics = file.metadata.row_group(i).column(column).statistics
        if statistics is None or not statistics.has_min_max or statistics.null_count:
            return None
        found.append((_microseconds(statistics.min), _microseconds(statistics.max)))
    return found


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


class Stream:
    """One read of ordered files.

    Args:
        report: Filled on the way.
    """

    def __init__(self, ordered: Ordered, query: Query, report: ReadReport) -> None:
        self._ordered, self._report = ordered, report
        self._names = set(query.tags)
        self._start = None if query.start is None else _microseconds(query.start)
        self._end = None if query.end is None else _microseconds(query.end)
        self._carry_in, self._seen = query.carry_in, set[str]()
        self._names_seen: pa.Array | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        groups = self._ordered.groups
        inside = [
            g
            for g in groups
            if (self._end is None or g[2] < self._end) and (self._start is None or g[3] >= self._start)
        ]
        if not inside:
            raise HistorianError(_nothing_there(groups, self._start, self._end))
        with ThreadPoolExecutor(1) as hasher:
            digests = {file: hasher.submit(_digest, file) for file in dict.fromkeys(g[0] for g in groups)}
            if self._start is not None and self._carry_in:
                yield from self._carried([g for g in groups if g[2] < self._start])
            yield from _ahead(lambda: self._cut(inside))
            self._finish(digests)

    def _cut(self, groups: Sequence[tuple[Path, int, int, int]]) -> Iterator[pa.RecordBatch]:
        """What lies in the range, counted."""
        for batch in _decoded(self._ordered.layout, groups):
            cut = _within(batch, self._start, self._end)
            if cut.num_rows:
                yield self._counted(cut)

    def _counted(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        report = self._report
        quality, value = batch.column("quality"), batch.column("value")
        if quality.null_count:
            quality = quality.fill_null(int(Quality.BAD))  # as it is taken
        bad = pc.equal(quality, pa.scalar(int(Quality.BAD), pa.int8()))
        report.rows += batch.num_rows
        report.bad += (pc.or_(bad, value.is_null()) if value.null_count else bad).true_count
        report.uncertain += pc.equal(quality, pa.scalar(int(Quality.UNCERTAIN), pa.int8())).true_count
        times = batch.column("time")
        report.first = report.first or times[0].as_py()
        report.last = times[-1].as_py()
        names = batch.column("tag").dictionary
        if self._names_seen is None or not names.equals(self._names_seen):
            self._seen.update(names.to_pylist())
            self._names_seen = names
        return batch

    def _carried(self, groups: Sequence[tuple[Path, int, int, int]]) -> Iterator[pa.RecordBatch]:
        """The last sample before the start of every tag, from the row groups before it, newest first."""
        missing, held = set(self._names), list[pa.RecordBatch]()
        for group in reversed(groups):
            table = pa.Table.from_batches(list(_decoded(self._ordered.layout, [group])))
            table = table.filter(pc.less(table.column("time").cast(pa.int64()), self._start)).combine_chunks()
            codes = table.column("tag").combine_chunks() if table.num_rows else None
            if codes is None:
                continue
            codes = codes.chunk(0) if isinstance(codes, pa.ChunkedArray) else codes
            found, last = np.unique(codes.indices.to_numpy()[::-1], return_index=True)
            at = [
                len(codes) - 1 - i
                for code, i in zip(found, last, strict=True)
                if codes.dictionary[code].as_py() in missing
            ]
            if at:
                held.append(table.take(pa.array(sorted(at))).combine_chunks().to_batches()[0])
                missing -= {codes[i].as_py() for i in at}
            if not missing:
                break
        yield from reversed(held)

    def _finish(self, digests: Mapping[Path, Future[str]]) -> None:
        self._report.sources.update({str(file): digest.result() for file, digest in digests.items()})
        for name in self._names - self._seen:
            self._report.notes.append(f"{name}: not among the tags of the files")


def _decoded(layout: Layout, groups: Sequence[tuple[Path, int, int, int]]) -> Iterator[pa.RecordBatch]:
    """Batches in our schema, in order of time."""
    names = [layout.tag, layout.time, layout.value, *([layout.quality] if layout.quality else [])]
    files: dict[Path, pq.ParquetFile] = {}
    for file, i, _, _ in groups:
        if file not in files:
            files = {file: pq.ParquetFile(file, read_dictionary=[str(layout.tag)])}
        batches = files[file].iter_batches(BATCH_ROWS, row_groups=[i], columns=names)
        ours = (_ours(batch, layout) for batch in batches)
        if files[file].metadata.row_group(i).num_rows <= _SORTED_ROWS:
            held = list(ours)
            yield from held if _rise(held) else _sorted(held)
            continue
        before = -(2**63)
        for batch in ours:
            if not _rise([batch]) or _times(batch)[0] < before:
                raise HistorianError(
                    f"{file}: the {files[file].metadata.row_group(i).num_rows:,} rows of a row group are not in order "
                    "of time, and too many to be sorted. Sort the export by time, or write smaller row groups."
                )
            before = int(_times(batch)[-1])
            yield batch


def _times(batch: pa.RecordBatch) -> np.ndarray:
    return np.asarray(batch.column("time").view(pa.int64()).to_numpy())


def _rise(batches: Sequence[pa.RecordBatch]) -> bool:
    times = [_times(batch) for batch in batches]
    within = all((each[1:] >= each[:-1]).all() for each in times)
    return within and all(b[0] >= a[-1] for a, b in itertools.pairwise(times))


def _sorted(batches: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
    order = np.argsort(np.concatenate([_times(batch) for batch in batches]), kind="stable")
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


def _within(batch: pa.RecordBatch, start: int | None, end: int | None) -> pa.RecordBatch:
    times = _times(batch)
    first = 0 if start is None or times[0] >= start else int(np.searchsorted(times, start))
    stop = len(times) if end is None or times[-1] < end else int(np.searchsorted(times, end))
    return batch.slice(first, stop - first)


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _nothing_there(groups: Sequence[tuple[Path, int, int, int]], start: int | None, end: int | None) -> str:
    def text(at: int | None) -> str:
        return "open" if at is None else (_EPOCH + timedelta(microseconds=at)).isoformat()

    held = f"{text(groups[0][2])} to {text(groups[-1][3])}" if groups else "nothing"
    return (
        f"Nothing was recorded in the range asked for, {text(start)} to {text(end)}. The record holds {held}. "
        "Ask for a range within it, or add the files that hold the other."
    )


def _ahead(start: Callable[[], Iterator[pa.RecordBatch]]) -> Iterator[pa.RecordBatch]:
    """The items of an iterator, made by a thread of its own a little ahead of who takes them."""
    made: queue.Queue[pa.RecordBatch | BaseException | None] = queue.Queue(_AHEAD)
    stop = threading.Event()

    def put(item: pa.RecordBatch | BaseException | None) -> None:
        while not stop.is_set():
            try:
                made.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in start():
                put(item)
                if stop.is_set():
                    return
            put(None)
        except BaseException as error:  # told to whoever takes the batches, and raised there
            put(error)

    thread = threading.Thread(target=work, name="parquet", daemon=True)
    thread.start()
    try:
        while (item := made.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
