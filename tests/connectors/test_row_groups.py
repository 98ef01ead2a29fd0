"""Row groups come in order whoever decodes them first, and what is out of order is sorted or refused."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors import row_groups
from connectors.layouts import Layout
from connectors.options import TableOptions
from connectors.row_groups import RowGroup, decoded, times_of
from procmodel.data.samples import SCHEMA
from procmodel.errors import HistorianError

ROWS = 500


def written(path: Path, times: list[np.ndarray]) -> list[RowGroup]:
    """One row group for each of these stamps [us]."""
    schema = pa.schema({"tag": pa.string(), "time": pa.timestamp("us", "UTC"), "value": pa.float64()})
    groups = []
    with pq.ParquetWriter(path, schema) as writer:
        for index, each in enumerate(times):
            columns = [["TI1", "TI2"] * (len(each) // 2), pa.array(each).cast(schema.field("time").type), each / 1.0]
            writer.write_table(pa.table(columns, schema=schema))
            first, last = int(each.min()), int(each.max())
            groups.append(RowGroup(file=path, index=index, first=first, last=last, rows=len(each)))
    return groups


def layout_of(path: Path) -> Layout:
    return Layout.of(["tag", "time", "value"], TableOptions(), str(path), path.stem)


def rising(groups: int) -> list[np.ndarray]:
    return [np.arange(i * ROWS, (i + 1) * ROWS) for i in range(groups)]


def test_many_row_groups_come_whole_and_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_groups, "BATCH_ROWS", 64)
    groups = written(tmp_path / "a.parquet", rising(20))
    batches = list(decoded(layout_of(tmp_path / "a.parquet"), groups))
    assert all(batch.schema == SCHEMA for batch in batches)
    np.testing.assert_array_equal(np.concatenate([times_of(batch) for batch in batches]), np.arange(20 * ROWS))
    values = np.concatenate([batch.column("value").to_numpy() for batch in batches])
    np.testing.assert_array_equal(values, np.arange(20 * ROWS))


def test_a_row_group_out_of_order_is_sorted_and_equal_stamps_keep_theirs(tmp_path: Path) -> None:
    stamps = np.repeat(np.arange(ROWS // 2)[::-1], 2)
    groups = written(tmp_path / "a.parquet", [stamps])
    table = pa.Table.from_batches(list(decoded(layout_of(tmp_path / "a.parquet"), groups)))
    np.testing.assert_array_equal(table.column("time").cast(pa.int64()).to_numpy(), np.sort(stamps))
    assert table.column("tag").to_pylist() == ["TI1", "TI2"] * (ROWS // 2)


def test_a_long_row_group_is_handed_over_where_it_rises_and_refused_where_it_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_groups, "_SORTED_ROWS", ROWS - 1)
    monkeypatch.setattr(row_groups, "BATCH_ROWS", 64)
    file = tmp_path / "a.parquet"
    batches = decoded(layout_of(file), written(file, rising(3)))
    np.testing.assert_array_equal(np.concatenate([times_of(batch) for batch in batches]), np.arange(3 * ROWS))
    fallen = [np.r_[np.arange(100), np.arange(50, 50 + ROWS - 100)]]
    with pytest.raises(HistorianError, match=r"a\.parquet: the 500 rows .* not in order of time.* Sort the export"):
        list(decoded(layout_of(file), written(file, fallen)))


def test_a_read_that_is_given_up_leaves_no_thread_behind(tmp_path: Path) -> None:
    groups = written(tmp_path / "a.parquet", rising(20))
    batches = decoded(layout_of(tmp_path / "a.parquet"), groups)
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("parquet")]


def test_a_damaged_page_is_one_error_that_names_file_and_row_group(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    groups = written(file, rising(4))
    page = pq.ParquetFile(file).metadata.row_group(2).column(2).data_page_offset
    damaged = bytearray(file.read_bytes())
    damaged[page : page + 40] = b"\xff" * 40
    file.write_bytes(damaged)
    with pytest.raises(HistorianError, match=r"a\.parquet: row group 2 cannot be read .*copy or export it again"):
        list(decoded(layout_of(file), groups))
