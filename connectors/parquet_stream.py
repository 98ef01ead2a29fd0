"""Long Parquet exports that stand in order of time, handed over row group by row group without being held."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
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
from connectors.row_groups import RowGroup, decoded, times_of
from procmodel.data.samples import Quality, Query, ReadReport
from procmodel.errors import HistorianError
from procmodel.plant import Tag

FEWEST_ROWS = 2_000_000  # below, a table in memory costs little, and it is sorted and rid of doubles
_CODES = {str(int(quality)): quality.name.lower() for quality in Quality}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Ordered:
    """Parquet files whose row groups follow each other in time.

    Attributes:
        groups: In order of time.
    """

    layout: Layout
    groups: tuple[RowGroup, ...]

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
        groups: list[RowGroup] = []
        layout: Layout | None = None
        rows = 0
        for file in files:
            try:
                found = pq.ParquetFile(file)
            except (pa.ArrowInvalid, OSError):
                return None  # told by who reads it as a table
            rows += found.metadata.num_rows
            layout = Layout.of(found.schema_arrow.names, options, str(file), file.stem)
            inside = _groups(file, found, layout) if _is_plain(found.schema_arrow, layout, options) else None
            if inside is None:
                return None
            groups += inside
        groups.sort(key=lambda each: (each.first, each.last))
        if layout is None or rows < FEWEST_ROWS or any(b.first < a.last for a, b in itertools.pairwise(groups)):
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


def _groups(path: Path, file: pq.ParquetFile, layout: Layout) -> list[RowGroup] | None:
    """The row groups of a file; None where one has no statistics of its stamps, or rows without any."""
    column = file.schema_arrow.names.index(layout.time)
    found = []
    for i in range(file.num_row_groups):
        facts = file.metadata.row_group(i)
        statistics = facts.column(column).statistics
        if statistics is None or not statistics.has_min_max or statistics.null_count:
            return None
        first, last = _microseconds(statistics.min), _microseconds(statistics.max)
        found.append(RowGroup(file=path, index=i, first=first, last=last, rows=facts.num_rows))
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
            if (self._end is None or g.first < self._end) and (self._start is None or g.last >= self._start)
        ]
        if not inside:
            raise HistorianError(_nothing_there(groups, self._start, self._end))
        with ThreadPoolExecutor(1) as hasher:
            digests = {file: hasher.submit(_digest, file) for file in dict.fromkeys(g.file for g in groups)}
            if self._start is not None and self._carry_in:
                yield from self._carried([g for g in groups if g.first < self._start])
            yield from self._cut(inside)
            self._finish(digests)

    def _cut(self, groups: Sequence[RowGroup]) -> Iterator[pa.RecordBatch]:
        """What lies in the range, counted."""
        for batch in decoded(self._ordered.layout, groups):
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

    def _carried(self, groups: Sequence[RowGroup]) -> Iterator[pa.RecordBatch]:
        """The last sample before the start of every tag, from the row groups before it, newest first."""
        missing, held = set(self._names), list[pa.RecordBatch]()
        for group in reversed(groups):
            table = pa.Table.from_batches(list(decoded(self._ordered.layout, [group])))
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


def _within(batch: pa.RecordBatch, start: int | None, end: int | None) -> pa.RecordBatch:
    times = times_of(batch)
    first = 0 if start is None or times[0] >= start else int(np.searchsorted(times, start))
    stop = len(times) if end is None or times[-1] < end else int(np.searchsorted(times, end))
    return batch.slice(first, stop - first)


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _nothing_there(groups: Sequence[RowGroup], start: int | None, end: int | None) -> str:
    def text(at: int | None) -> str:
        return "open" if at is None else (_EPOCH + timedelta(microseconds=at)).isoformat()

    held = f"{text(groups[0].first)} to {text(groups[-1].last)}" if groups else "nothing"
    return (
        f"Nothing was recorded in the range asked for, {text(start)} to {text(end)}. The record holds {held}. "
        "Ask for a range within it, or add the files that hold the other."
    )
