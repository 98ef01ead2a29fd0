"""From a historian to a stored dataset, out of core where the samples come in order of time."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from procmodel.data.conditioner import condition
from procmodel.data.conditioning import Accumulator, Cells
from procmodel.data.dataset import Dataset, Stretch, moment
from procmodel.data.reader import Reader, query_of, worst_good
from procmodel.data.rules import rule_of
from procmodel.data.samples import Historian
from procmodel.data.sealed import write_sealed
from procmodel.data.spans import WHOLE, spans_of
from procmodel.data.spool import Spool
from procmodel.data.storage import FACTS, GRID, KIND, PARQUET, facts_of, save_dataset, to_arrow
from procmodel.errors import DatasetError
from procmodel.plant import Plant


def ingest(
    plant: Plant,
    historian: Historian,
    folder: Path | str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """What `condition` makes of a record, stored as `save_dataset` would.

    A historian that promises `in_time_order` is read in one pass, of which a few rows of the grid are in memory at a
    time: what is full goes to a file beside the dataset until the longest gaps are known, and from there to the
    dataset. Any other source, and campaigns, take the way through memory.

    Raises:
        DatasetError: As for `condition` and `save_dataset`; what is there already stays.
    """
    campaigns = historian.campaigns()
    if campaigns or not getattr(historian, "in_time_order", False):
        return save_dataset(condition(plant, historian, start=start, end=end, progress=progress), folder)
    folder = Path(folder).absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.part-", dir=folder.parent))
    try:
        dataset, rows = _through_disk(plant, historian, part, start, end, progress)
        files: dict[str, bytes | Path] = {GRID: part / GRID, FACTS: facts_of(dataset, rows)}
        return write_sealed(folder, KIND, files, error=DatasetError)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _through_disk(
    plant: Plant,
    historian: Historian,
    part: Path,
    start: datetime | None,
    end: datetime | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[Dataset, int]:
    """All of the dataset but its rows, which stand in `part`, and their number."""
    step = round(plant.sample_time * 1e6)
    rules = [rule_of(plant, name) for name in plant.columns]
    spans = spans_of((), start, end, step)
    aged = tuple(name for name, rule in zip(plant.columns, rules, strict=True) if rule.aged)
    with Spool(part, len(rules), len(aged)) as spool:
        accumulator = Accumulator(plant.columns, rules, step, spans[0].start, spans[0].end, spool)
        reader = Reader(plant, spans, [accumulator], worst_good(plant))
        for batch in historian.read(query_of(plant, spans)):
            reader.eat(batch)
            if batch.num_rows:
                accumulator.advance(batch.column("time")[-1].value)
            if progress is not None:
                progress(reader.samples, reader.expected())
        if progress is not None:
            progress(reader.samples, reader.samples)
        reader.refuse_without_samples(historian.report)
        gaps_C = accumulator.bridged(accumulator.intervals_CB)
        first, rows, alive_C = None, 0, np.zeros(len(rules), dtype=bool)
        none: Cells | None = None
        with _Grid(part / GRID, plant, aged) as grid:
            for cells in _worth(accumulator, gaps_C, reader):
                first = cells.first_row if first is None else first
                alive_C |= np.isfinite(cells.values).any(axis=0)
                grid.write(cells, step)
                rows, none = rows + cells.rows, cells.cut(0, 0)
        reader.refuse_never_good(alive_C, historian.report)
        assert first is not None  # an MV is good somewhere
        assert none is not None
        empty = _table_of(plant, aged, none, step)
        manifest = reader.manifest(historian.report, accumulator.intervals_CB, gaps_C, [])
        began = moment(first * step)
        stretch = Stretch(name=WHOLE, start=0, stop=rows, began=began)
        return dataclasses.replace(empty, start=began, stretches=(stretch,), manifest=manifest), rows


def _worth(accumulator: Accumulator, gaps_C: np.ndarray, reader: Reader) -> Iterator[Cells]:
    """The cells from the first row to the last in which an MV or CV is good, strip by strip."""
    begun, waiting = False, list[tuple[int, int]]()  # strips, and the row from which they wait for a good one
    for i in range(accumulator.close(gaps_C)):
        cells = accumulator.strip(i, gaps_C)
        good = reader.worth(cells)
        if good.start == good.stop:
            waiting += [(i, 0)] if begun else []
            continue
        for j, row in waiting:
            held = accumulator.strip(j, gaps_C)
            yield held.cut(row, held.rows)
        yield cells.cut(0 if begun else good.start, good.stop)
        begun, waiting = True, [(i, good.stop)] if good.stop < cells.rows else []


class _Grid:
    """The Parquet file of a dataset's rows: one strip is made, the one before it written, and what stands is synced."""

    def __init__(self, path: Path, plant: Plant, aged: tuple[str, ...]) -> None:
        self._path, self._plant, self._aged = path, plant, aged
        self._writer: pq.ParquetWriter | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="grid")
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="disk")
        self._last: Future[None] | None = None

    def __enter__(self) -> _Grid:
        return self

    def write(self, cells: Cells, step: int) -> None:
        table = to_arrow(_table_of(self._plant, self._aged, cells, step))
        if self._last is not None:
            self._last.result()
        self._last = self._worker.submit(self._write, table)

    def _write(self, table: pa.Table) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, **PARQUET)
        self._writer.write_table(table)
        self._disk.submit(self._sync)  # so that little is left to wait for at the end

    def _sync(self) -> None:
        with self._path.open("rb") as file:
            os.fsync(file.fileno())

    def __exit__(self, *_: object) -> None:
        self._worker.shutdown()
        self._disk.shutdown()
        if self._writer is not None:
            self._writer.close()
            self._sync()
        if self._last is not None:
            self._last.result()


def _table_of(plant: Plant, aged: tuple[str, ...], cells: Cells, step: int) -> Dataset:
    """Some rows as a dataset of their own."""
    began = moment(cells.first_row * step)
    return Dataset(
        columns=tuple(plant.columns),
        values=cells.values,
        good_fraction=cells.good_fraction,
        start=began,
        step=step / 1e6,
        stretches=(Stretch(name=WHOLE, start=0, stop=cells.rows, began=began),),
        aged=aged,
        ages=cells.ages,
    )
