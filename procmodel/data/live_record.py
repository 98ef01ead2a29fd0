"""What a live source tells, kept as Parquet files that a historian reads: `part-000001.parquet` and on.

Only the newest file is still written to, each time as a whole beside its place and put there by renaming, so whoever
reads finds whole files. Samples of a file stand in order of time, and files follow each other in time as far as samples
come no later than `SLACK`; a record of such files is then read without being held in memory.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from procmodel.data.dataset import microseconds, moment
from procmodel.data.samples import SCHEMA, Quality, utc_now
from procmodel.errors import HistorianError
from procmodel.plant import Plant

SLACK = 60.0
"""How much later than the newest sample one of the same file may come [s]."""
MOST_ROWS = 1_000_000
"""Of a file that is written to: a few megabytes, a fraction of a second to write anew."""
NOT_RECORDED = "not recorded"
"""State of the bad sample that stands where the record was broken off and nothing told what happened meanwhile."""
_FACTS = b"procmodel"
_PATTERN = "part-{:06d}.parquet"


class LiveRecord:
    """A folder of Parquet files; goes on where an earlier one ended.

    Args:
        folder: Made where it is missing.
        rotate: A new file is begun after so long [s].
        most_rows: Or after so many samples.

    Attributes:
        samples: Taken since it was opened.
        newest: By tag, the stamp of its newest sample in the record.
        resumed: Whether there was a record already.
        began: When it was begun. Values that held then may carry older stamps.

    Raises:
        HistorianError: What is there cannot be read, or is of another plant or in other units.
    """

    def __init__(self, folder: Path, plant: Plant, *, rotate: float = 3600.0, most_rows: int = MOST_ROWS) -> None:
        self.folder, self.samples = folder.absolute(), 0
        self.newest: dict[str, datetime] = {}
        self.began = utc_now()
        units = {name: tag.unit for name, tag in plant.tags.items()}
        self._facts: dict[str, Any] = {"plant": plant.name, "units": units}
        self._rotate, self._most_rows = rotate, most_rows
        self._number, self._held, self._rows = 1, list[pa.Table](), 0
        self._unwritten, self._began = False, time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        files = sorted(self.folder.glob("part-*.parquet"))
        self.resumed = bool(files)
        if files:
            self._go_on(files[-1])

    @property
    def files(self) -> list[Path]:
        """In order of time."""
        return sorted(self.folder.glob("part-*.parquet"))

    def add(self, batch: pa.RecordBatch) -> None:
        """Samples in `SCHEMA`; on the disk with the next `flush`."""
        if not batch.num_rows:
            return
        self._held.append(pa.Table.from_batches([batch]))
        self._rows += batch.num_rows
        self.samples += batch.num_rows
        self._unwritten = True
        tag, times_N = batch.column("tag"), batch.column("time").cast(pa.int64()).to_numpy()
        newest_D = np.full(len(tag.dictionary), np.iinfo(np.int64).min)
        np.maximum.at(newest_D, tag.indices.to_numpy(), times_N)
        for name, newest in zip(tag.dictionary.to_pylist(), newest_D.tolist(), strict=True):
            if newest > np.iinfo(np.int64).min:
                self.newest[name] = max(self.newest.get(name, moment(newest)), moment(newest))

    def open_gap(self) -> None:
        """A bad sample of every tag behind the newest of all: what came then was not recorded."""
        if not self.newest:
            return
        names, at = list(self.newest), max(self.newest.values()) + timedelta(microseconds=1)
        count = len(names)
        columns = [
            pa.array(names).dictionary_encode(),
            pa.array([at] * count, SCHEMA.field("time").type),
            pa.nulls(count, pa.float64()),
            pa.nulls(count, pa.int64()),
            pa.array([int(Quality.BAD)] * count, pa.int8()),
            pa.array([NOT_RECORDED] * count),
        ]
        self.add(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))
        self.samples -= count

    def flush(self) -> None:
        """All that was added stands on the disk.

        Raises:
            HistorianError: The disk takes it not; what was written before stays, and what was not is still held.
        """
        if not self._unwritten:
            return
        table = _in_order(self._held)
        times_N = table.column("time").cast(pa.int64()).to_numpy()
        due = self._rows >= self._most_rows or time.monotonic() - self._began >= self._rotate
        cut = int(np.searchsorted(times_N, times_N[-1] - round(SLACK * 1e6), side="right")) if due else 0
        if self._rows >= 2 * self._most_rows:
            cut = len(times_N)  # so much within the slack: the next file may begin before this one ends
        if cut:
            # The next file first: where it ends between the two, some samples stand twice and none is missing.
            if cut < len(times_N):
                self._write(self._number + 1, table[cut:])
            self._write(self._number, table[:cut])
            table, self._number, self._began = table[cut:], self._number + 1, time.monotonic()
        else:
            self._write(self._number, table)
        self._held, self._rows, self._unwritten = [table], table.num_rows, False

    def _go_on(self, file: Path) -> None:
        try:
            table = pq.read_table(file)
            facts: dict[str, Any] = json.loads((table.schema.metadata or {})[_FACTS])
            newest = {name: moment(at) for name, at in facts["newest"].items()}
            began = datetime.fromisoformat(facts["began"])
            held = table.replace_schema_metadata(None).cast(SCHEMA)
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise HistorianError(
                f"{file} is no file of a record that was begun here, or damaged ({error}). Move it away, or name "
                "another folder."
            ) from error
        if facts["plant"] != self._facts["plant"]:
            raise HistorianError(
                f"{self.folder} holds the record of plant {facts['plant']!r}, not of {self._facts['plant']!r}. Name "
                "another folder."
            )
        for name, unit in self._facts["units"].items():
            if facts["units"].get(name, unit) != unit:
                raise HistorianError(
                    f"{self.folder} holds {name!r} in {facts['units'][name]}, and the plant file now says {unit}. "
                    "Name another folder."
                )
        self.began, self.newest, self._number = began, newest, int(file.stem.removeprefix("part-"))
        if held.num_rows < self._most_rows:
            self._held, self._rows = [held], held.num_rows
        else:
            self._number += 1

    def _write(self, number: int, table: pa.Table) -> None:
        """One file, whole or as it was."""
        newest = {name: microseconds(at) for name, at in self.newest.items()}
        facts = json.dumps({**self._facts, "began": self.began.isoformat(), "newest": newest}).encode()
        try:
            handle, part = tempfile.mkstemp(prefix=".part-", dir=self.folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    # The codes of quality and status are few, and so are words.
                    pq.write_table(
                        table.replace_schema_metadata({_FACTS: facts}), file, compression="zstd", compression_level=1,
                        use_dictionary=["tag", "status", "state"],
                    )  # fmt: skip
                    file.flush()
                    os.fsync(file.fileno())
                os.chmod(part, 0o644)  # a temporary file is made for its owner alone
                os.replace(part, self.folder / _PATTERN.format(number))
            except BaseException:
                Path(part).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise HistorianError(
                f"{self.folder} cannot be written to: {error.strerror or error}. Make room or mend the right to write; "
                "what was recorded before stays."
            ) from error


def _in_order(tables: list[pa.Table]) -> pa.Table:
    """One table in order of time; of samples at one stamp, in order of arrival."""
    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    times_N = table.column("time").cast(pa.int64()).to_numpy()
    if (times_N[1:] >= times_N[:-1]).all():
        return table
    return table.take(pa.array(np.argsort(times_N, kind="stable"))).combine_chunks()
