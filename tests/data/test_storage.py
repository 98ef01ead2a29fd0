"""A dataset comes back from its folder bit by bit, or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.storage import load_dataset, save_dataset, to_pandas, to_polars
from procmodel.errors import DatasetError
from procmodel.plant import Plant

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def dataset(small_plant: Plant) -> Dataset:
    """Two stretches a day apart, with gaps."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(50, 5)) * [1, 1e-9, 1e9, 1, 1]
    fraction = rng.uniform(0.2, 1, size=(50, 5)).astype(np.float32)
    gap = rng.random((50, 5)) < 0.2
    values[gap], fraction[gap] = np.nan, 0
    return Dataset(
        columns=tuple(small_plant.columns),
        values=values,
        good_fraction=fraction,
        start=T0,
        step=10.0,
        stretches=(
            Stretch(name="first", start=0, stop=20, began=T0),
            Stretch(name="zweite Kampagne", start=20, stop=50, began=T0 + timedelta(days=1)),
        ),
        manifest={"plant": small_plant.name, "fingerprint": small_plant.fingerprint, "sources": {"ä.csv": "1f"}},
    )


def assert_same(one: Dataset, other: Dataset) -> None:
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.good_fraction, other.good_fraction)
    assert one.values.dtype == other.values.dtype
    assert one.good_fraction.dtype == other.good_fraction.dtype
    for field in ("columns", "start", "step", "stretches", "manifest"):
        assert getattr(one, field) == getattr(other, field)


def test_what_was_saved_is_loaded_bit_by_bit(dataset: Dataset, small_plant: Plant, tmp_path: Path) -> None:
    save_dataset(dataset, tmp_path / "runs" / "dataset")
    assert_same(load_dataset(tmp_path / "runs" / "dataset", small_plant), dataset)
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["dataset"]
    assert sorted(p.name for p in (tmp_path / "runs" / "dataset").iterdir()) == [
        "dataset.json",
        "grid.parquet",
        "manifest.json",
    ]


def test_the_grid_is_a_table_that_other_tools_read(dataset: Dataset, tmp_path: Path) -> None:
    save_dataset(dataset, tmp_path / "dataset")
    table = pq.read_table(tmp_path / "dataset" / "grid.parquet")
    names = list(dataset.columns)
    assert table.column_names == ["time", *names, *(f"{n}|good" for n in names), "stretch"]
    assert str(table.schema.field("time").type) == "timestamp[us, tz=UTC]"
    assert {str(table.schema.field(n).type) for n in names} == {"double"}
    assert {str(table.schema.field(f"{n}|good").type) for n in names} == {"float"}
    assert table.column("time")[20].as_py() == T0 + timedelta(days=1)
    assert table.column("stretch")[19].as_py() == "first"
    assert table.column("FC1.SP").null_count == int(np.isnan(dataset.values[:, 0]).sum())


def test_polars_and_pandas_see_gaps_as_missing(dataset: Dataset) -> None:
    missing = int(np.isnan(dataset.values[:, 2]).sum())
    assert missing > 0
    assert to_polars(dataset)["LI1.PV"].null_count() == missing
    frame = to_pandas(dataset)
    assert frame["LI1.PV"].isna().sum() == missing
    assert frame.index[0] == T0


@pytest.mark.parametrize("file", ["grid.parquet", "dataset.json", "manifest.json"])
def test_one_flipped_byte_is_noticed_wherever_it_is(dataset: Dataset, tmp_path: Path, file: str) -> None:
    save_dataset(dataset, tmp_path / "dataset")
    path = tmp_path / "dataset" / file
    whole = path.read_bytes()
    for place in np.linspace(0, len(whole) - 1, 97).astype(int):
        flipped = bytearray(whole)
        flipped[place] ^= 0x10
        path.write_bytes(flipped)
        with pytest.raises(DatasetError, match=r"damaged.*procmodel ingest"):
            load_dataset(tmp_path / "dataset")
    path.write_bytes(whole)
    assert_same(load_dataset(tmp_path / "dataset"), dataset)


def test_a_missing_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"No dataset in .*nowhere.*procmodel ingest"):
        load_dataset(tmp_path / "nowhere")


def test_a_missing_grid_is_named(dataset: Dataset, tmp_path: Path) -> None:
    save_dataset(dataset, tmp_path / "dataset")
    (tmp_path / "dataset" / "grid.parquet").unlink()
    with pytest.raises(DatasetError, match=r"file 'grid.parquet' is missing.*procmodel ingest"):
        load_dataset(tmp_path / "dataset")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.model_copy(update={"name": "other"}), r"made for plant 'small-plant', not for 'other'"),
        (lambda p: p.model_copy(update={"sample_time": 20.0}), r"the sample time of plant 'small-plant' has changed"),
        (
            lambda p: p.model_copy(update={"tags": {k: t for k, t in p.tags.items() if k != "FI9.PV"}}),
            r"the tags of plant 'small-plant' have changed since: FI9.PV",
        ),
    ],
)
def test_the_dataset_of_another_plant_is_refused(
    dataset: Dataset, small_plant: Plant, tmp_path: Path, change: Callable[[Plant], Plant], message: str
) -> None:
    save_dataset(dataset, tmp_path / "dataset")
    with pytest.raises(DatasetError, match=message):
        load_dataset(tmp_path / "dataset", change(small_plant))


def test_a_new_dataset_replaces_the_old_one(dataset: Dataset, tmp_path: Path) -> None:
    save_dataset(dataset, tmp_path / "dataset")
    newer = Dataset(**{**vars(dataset), "values": dataset.values + 1})
    save_dataset(newer, tmp_path / "dataset")
    assert_same(load_dataset(tmp_path / "dataset"), newer)
    assert [p.name for p in tmp_path.iterdir()] == ["dataset"]


def test_the_old_dataset_stays_when_writing_fails(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_dataset(dataset, tmp_path / "dataset")
    before = {p.name: p.read_bytes() for p in (tmp_path / "dataset").iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_dataset(dataset, tmp_path / "dataset")
    assert {p.name: p.read_bytes() for p in (tmp_path / "dataset").iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["dataset"]


def test_the_old_dataset_comes_back_when_a_save_dies_between_its_renames(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_dataset(dataset, tmp_path / "dataset")
    rename = os.rename

    def dies_at_the_second(source: Path, target: Path) -> None:
        if Path(target).name == "dataset":
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        save_dataset(dataset, tmp_path / "dataset")
    monkeypatch.undo()
    assert_same(load_dataset(tmp_path / "dataset"), dataset)


def test_a_folder_that_holds_something_else_is_left_alone(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DatasetError, match="holds no dataset; nothing was changed"):
        save_dataset(dataset, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_the_facts_are_readable_json(dataset: Dataset, tmp_path: Path) -> None:
    save_dataset(dataset, tmp_path / "dataset")
    facts = json.loads((tmp_path / "dataset" / "dataset.json").read_text(encoding="utf-8"))
    assert facts["rows"] == 50
    assert facts["manifest"]["sources"] == {"ä.csv": "1f"}
