"""A record of what happens: whole files at any moment, nothing lost where one is stopped, and read as a historian."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procmodel.data import condition
from procmodel.data.follow import follow
from procmodel.data.historians import open_historian
from procmodel.data.live_record import LiveRecord
from procmodel.data.samples import SCHEMA, Quality, ReadReport
from procmodel.errors import HistorianError, PlantFileError
from procmodel.plant import History, Plant

T0 = datetime(2026, 3, 1, tzinfo=UTC)
Row = tuple[str, float, float | None]  # tag, seconds after T0, value; None: bad


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def batch_of(rows: Sequence[Row]) -> pa.RecordBatch:
    columns = [
        pa.array([tag for tag, _, _ in rows]).dictionary_encode(),
        pa.array([at(seconds) for _, seconds, _ in rows], SCHEMA.field("time").type),
        pa.array([value for _, _, value in rows], pa.float64()),
        pa.array([0] * len(rows), pa.int64()),
        pa.array([int(Quality.BAD if value is None else Quality.GOOD) for _, _, value in rows], pa.int8()),
        pa.array([None] * len(rows), pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def plant_of(folder: Path, **tag: Any) -> Plant:
    tags = {"A": {"role": "MV", "unit": "1"}, "B": {"role": "CV", "unit": "degC", **tag}}
    history = {"kind": "recorded", "path": str(folder)}
    return Plant.model_validate({"name": "p", "sample_time": 10.0, "history": history, "tags": tags})


def rows_of(files: Sequence[Path]) -> list[Row]:
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    return [(row["tag"], (row["time"] - T0).total_seconds(), row["value"]) for row in rows]


class Source:
    """Hands over batches, then waits to be closed, then hands over a last one."""

    def __init__(self, batches: Sequence[Sequence[Row]], *, last: Sequence[Row] = (), fails: bool = False) -> None:
        self.report, self.batches, self.last, self.fails = ReadReport(), batches, last, fails
        self.closed, self.handed = threading.Event(), threading.Event()

    def samples(self) -> Iterator[pa.RecordBatch]:
        for rows in self.batches:
            yield batch_of(rows)
        self.handed.set()
        if self.fails:
            raise HistorianError("refused for good")
        assert self.closed.wait(30)
        if self.last:
            yield batch_of(self.last)

    def close(self) -> None:
        self.closed.set()


def test_what_comes_until_it_is_stopped_is_kept_and_read_by_ingest(tmp_path: Path) -> None:
    plant, stop = plant_of(tmp_path / "record"), threading.Event()
    steps = [("A", float(t), 1.0 + (t >= 50)) for t in range(0, 100, 10)]
    source = Source([[*steps], [("B", float(t), 2.0 * t) for t in range(95)]], last=[("B", 99.0, 198.0)])
    threading.Thread(target=lambda: (source.handed.wait(30), stop.set())).start()
    record = LiveRecord(tmp_path / "record", plant)
    follow(source, record, stop)
    assert (record.samples, record.newest) == (106, {"A": at(90), "B": at(99)})
    dataset = condition(plant, open_historian(plant))
    assert (dataset.start, dataset.rows) == (T0, 10)
    assert dataset.values[:, 1] == pytest.approx([10.0 + 20.0 * row for row in range(9)] + [(180 + 198) / 2])
    assert dataset.values[:, 0].tolist() == [1.0] * 5 + [2.0] * 5


def test_a_source_that_refuses_leaves_what_came_before(tmp_path: Path) -> None:
    record = LiveRecord(tmp_path, plant_of(tmp_path))
    with pytest.raises(HistorianError, match="refused for good"):
        follow(Source([[("A", 0.0, 1.0)]], fails=True), record, threading.Event())
    assert rows_of(record.files) == [("A", 0.0, 1.0)]


def test_it_ends_after_the_time_that_was_given(tmp_path: Path) -> None:
    record = LiveRecord(tmp_path, plant_of(tmp_path))
    follow(Source([[("A", 0.0, 1.0)]], last=[("A", 1.0, 2.0)]), record, threading.Event(), last=0.3)
    assert rows_of(record.files) == [("A", 0.0, 1.0), ("A", 1.0, 2.0)]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 600)), max_size=8), max_size=12),
    st.sets(st.integers(0, 11)),
)
def test_files_hold_every_sample_once_however_it_is_cut_and_resumed(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[str, int]]], resumed: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("record")
    record, given_rows = LiveRecord(folder, plant_of(folder), most_rows=10), list[Row]()
    for number, batch in enumerate(batches):
        rows = [(tag, float(10 * number + at), float(len(given_rows) + i)) for i, (tag, at) in enumerate(batch)]
        given_rows += rows
        record.add(batch_of(rows))
        record.flush()
        assert sorted(rows_of(record.files)) == sorted(given_rows)
        if number in resumed:
            record = LiveRecord(folder, plant_of(folder), most_rows=10)
    newest = {tag: max(at(t) for name, t, _ in given_rows if name == tag) for tag in {row[0] for row in given_rows}}
    assert LiveRecord(folder, plant_of(folder)).newest == newest
    for file in record.files:
        times = [t for _, t, _ in rows_of([file])]
        assert times == sorted(times)


def test_files_follow_each_other_in_time_where_samples_come_a_little_late(tmp_path: Path) -> None:
    record = LiveRecord(tmp_path, plant_of(tmp_path), most_rows=200)
    for second in range(0, 1000, 10):
        record.add(batch_of([("A", float(second + i), 1.0) for i in range(10)]))
        record.add(batch_of([("B", max(0.0, second - 30.0 + i), 1.0) for i in range(10)]))
        record.flush()
    spans = [[t for _, t, _ in rows_of([file])] for file in record.files]
    assert len(spans) > 5
    assert all(a[-1] <= b[0] for a, b in itertools.pairwise(spans))


def test_a_write_that_fails_leaves_the_file_before_it_and_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = LiveRecord(tmp_path, plant_of(tmp_path))
    record.add(batch_of([("A", 0.0, 1.0)]))
    record.flush()
    record.add(batch_of([("A", 1.0, 2.0)]))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(HistorianError, match=r"No space left on device\. Make room"):
            record.flush()
    assert [file.name for file in tmp_path.iterdir()] == ["part-000001.parquet"]
    assert rows_of(record.files) == [("A", 0.0, 1.0)]
    record.flush()
    assert rows_of(record.files) == [("A", 0.0, 1.0), ("A", 1.0, 2.0)]


def test_a_gap_that_nobody_recorded_is_no_line(tmp_path: Path) -> None:
    plant = plant_of(tmp_path, max_gap="1 h")
    record = LiveRecord(tmp_path, plant)
    record.add(batch_of([(tag, float(t), float(t)) for t in range(31) for tag in "AB"]))
    record.flush()
    began, record = record.began, LiveRecord(tmp_path, plant)
    assert (record.resumed, record.began) == (True, began)
    record.open_gap()
    record.add(batch_of([(tag, float(t), float(t)) for t in range(60, 91) for tag in "AB"]))
    record.flush()
    dataset = condition(plant, open_historian(plant))
    assert dataset.good_fraction[:, 1].round(4).tolist() == [1, 1, 1, 0, 0, 0, 1, 1, 1]
    assert record.samples == 62


def test_a_record_of_another_plant_or_unit_is_left_alone(tmp_path: Path) -> None:
    record = LiveRecord(tmp_path, plant_of(tmp_path))
    record.add(batch_of([("A", 0.0, 1.0)]))
    record.flush()
    with pytest.raises(HistorianError, match=r"'B' in degC, and the plant file now says K"):
        LiveRecord(tmp_path, plant_of(tmp_path, unit="K"))
    other = plant_of(tmp_path).model_copy(update={"name": "q"})
    with pytest.raises(HistorianError, match="record of plant 'p', not of 'q'"):
        LiveRecord(tmp_path, other)
    (tmp_path / "part-000002.parquet").write_bytes(b"PAR1")
    with pytest.raises(HistorianError, match=r"part-000002.parquet is no file of a record.*Move it away"):
        LiveRecord(tmp_path, plant_of(tmp_path))


def test_a_setpoint_of_long_ago_is_held_where_reading_starts_with_the_record(tmp_path: Path) -> None:
    plant = plant_of(tmp_path)
    record = LiveRecord(tmp_path, plant)
    record.add(batch_of([("A", -5e6, 7.0), *(("B", float(t), 1.0) for t in range(31))]))
    record.flush()
    dataset = condition(plant, open_historian(plant), start=T0)
    assert (dataset.start, dataset.values[:, 0].tolist()) == (T0, [7.0] * 3)


def test_values_are_not_converted_a_second_time(tmp_path: Path) -> None:
    plant = plant_of(tmp_path, source_unit="degF")
    record = LiveRecord(tmp_path, plant)
    record.add(batch_of([(tag, float(t), 50.0) for t in range(31) for tag in "AB"]))
    record.flush()
    assert condition(plant, open_historian(plant)).values[:, 1].tolist() == [50.0] * 3


def test_a_folder_is_all_that_a_plant_file_tells(tmp_path: Path) -> None:
    history = History(kind="recorded", path=str(tmp_path), options={"layout": "wide"})
    with pytest.raises(PlantFileError, match="needs the record's folder as path, and no options"):
        open_historian(plant_of(tmp_path).model_copy(update={"history": history}))
