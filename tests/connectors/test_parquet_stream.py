"""A large Parquet export in order of time is streamed, and means the same as when it is read as a table."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors import parquet_stream, row_groups
from connectors.parquet_files import ParquetHistorian
from procmodel.data import condition
from procmodel.data.samples import SCHEMA
from procmodel.errors import HistorianError
from procmodel.plant import Plant

T0 = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = ["FC1.SP", "LI1.PV", "TI1.PV"]
TAGS = {
    "FC1.SP": {"role": "MV", "unit": "kg/h"},
    "LI1.PV": {"role": "CV", "unit": "cm", "range": [0, 100]},
    "TI1.PV": {"role": "AUX", "unit": "degC"},
}


def export(path: Path, rows: int = 3000, group: int = 250) -> None:
    """Mixed tags in order of time; the setpoint is written at the very beginning only."""
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.integers(1, 2_000_000, rows)) + int(T0.timestamp() * 1e6)  # rising: no stamp twice
    codes = np.where(np.arange(rows) < 5, 0, rng.integers(1, 3, rows)).astype(np.int32)
    quality = rng.choice(3, rows, p=[0.92, 0.03, 0.05]).astype(np.int8)
    empty = (quality == 2) | (quality == 0) & (rng.random(rows) < 0.02)
    quality[:5], empty[:5] = 0, False
    table = pa.table(
        {
            "tag": pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(NAMES)),
            "time": pa.array(times).cast(SCHEMA.field("time").type),
            "value": pa.array(50 + rng.normal(size=rows), mask=empty),
            "quality": pa.array(quality),
        }
    )
    pq.write_table(table, path, row_group_size=group)


def plant_of(path: Path) -> Plant:
    history = {
        "kind": "parquet",
        "path": str(path),
        "options": {"quality": {"0": "good", "1": "uncertain", "2": "bad"}},
    }
    return Plant.model_validate({"name": "streamed", "sample_time": "10 s", "history": history, "tags": TAGS})


def historian(plant: Plant) -> ParquetHistorian:
    assert plant.history is not None
    return ParquetHistorian(plant.history, plant.tags)


@pytest.mark.parametrize("span", [(None, None), (1000, 2000)])
def test_a_stream_means_what_the_table_means(
    span: tuple[int | None, int | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(tmp_path / "long.parquet")
    plant = plant_of(tmp_path / "long.parquet")
    start, end = (None if s is None else T0 + timedelta(seconds=s) for s in span)
    assert not historian(plant).in_time_order  # so few rows are read as a table
    table = condition(plant, historian(plant), start=start, end=end)
    monkeypatch.setattr(parquet_stream, "FEWEST_ROWS", 0)
    monkeypatch.setattr(row_groups, "BATCH_ROWS", 64)
    assert historian(plant).in_time_order
    stream = condition(plant, historian(plant), start=start, end=end)
    np.testing.assert_array_equal(stream.values, table.values)
    np.testing.assert_array_equal(stream.good_fraction, table.good_fraction)
    assert np.isfinite(stream.values[:, 0]).all()  # the setpoint is carried in from long before the start
    assert stream.manifest["sampling"] == table.manifest["sampling"]
    digest = hashlib.sha256((tmp_path / "long.parquet").read_bytes()).hexdigest()
    assert stream.manifest["sources"] == table.manifest["sources"] == {str(tmp_path / "long.parquet"): digest}
    for count in ("bad", "uncertain", "first", "last"):
        assert stream.manifest["report"][count] == table.manifest["report"][count] != 0, count


def test_a_row_group_out_of_order_is_sorted_and_files_out_of_order_are_no_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(tmp_path / "long.parquet")
    rows = pq.read_table(tmp_path / "long.parquet")
    turned = pa.concat_tables([rows.slice(i, 250).take(list(range(249, -1, -1))) for i in range(0, 3000, 250)])
    pq.write_table(turned, tmp_path / "turned.parquet", row_group_size=250)
    monkeypatch.setattr(parquet_stream, "FEWEST_ROWS", 0)
    straight, backwards = (plant_of(tmp_path / f"{name}.parquet") for name in ("long", "turned"))
    assert historian(backwards).in_time_order
    np.testing.assert_array_equal(
        condition(backwards, historian(backwards)).values, condition(straight, historian(straight)).values
    )
    pq.write_table(turned, tmp_path / "turned.parquet", row_group_size=400)
    assert not historian(backwards).in_time_order


def test_a_range_without_samples_says_what_the_stream_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(tmp_path / "long.parquet")
    plant = plant_of(tmp_path / "long.parquet")
    monkeypatch.setattr(parquet_stream, "FEWEST_ROWS", 0)
    with pytest.raises(HistorianError, match=r"Nothing was recorded in the range.*holds 2026-03-01T"):
        condition(plant, historian(plant), start=T0 + timedelta(days=9), end=T0 + timedelta(days=10))
