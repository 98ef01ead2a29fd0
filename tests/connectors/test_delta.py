"""A Delta table of time, tag and value, written by Delta Lake itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fake_driver import at, rows_of

pytest.importorskip("deltalake", reason="deltalake is not installed: pip install 'procmodel[delta]'")

import deltalake

from connectors.delta import DeltaHistorian
from procmodel.data.samples import Query
from procmodel.errors import HistorianError
from procmodel.plant import History

EVIL = ["TI1", "a'b", "'; DROP TABLE samples; --", "' OR '1'='1", 'a"b', "%", "\\'"]


def delta(folder: Path, **options: Any) -> DeltaHistorian:
    return DeltaHistorian(History(kind="delta", path=str(folder), options=options), {})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("delta") / "table"
    for part in (range(5), range(5, 9)):  # two files, and two versions
        rows = [(tag, at(s), 100.0 * n + s, "Bad" if s == 3 else "Good") for n, tag in enumerate(EVIL) for s in part]
        frame = pl.DataFrame(rows, schema=["tag", "time", "value", "quality"], orient="row")
        frame = frame.with_columns(pl.col("time").dt.cast_time_unit("us"))
        deltalake.write_deltalake(str(place), frame.to_arrow(), mode="append")
    return place


@pytest.mark.parametrize("page", [2, 1000])
def test_every_row_comes_once_and_an_evil_name_is_a_name(folder: Path, page: int) -> None:
    found = rows_of(delta(folder, page=page), Query(tags=tuple(EVIL)))
    for n, tag in enumerate(EVIL):
        assert found[tag] == [(at(s), 100.0 * n + s, 0) for s in range(9)], tag
    assert {info.name for info in delta(folder).search()} == set(EVIL)


def test_a_range_with_qualities_and_the_row_held_at_its_start(folder: Path) -> None:
    source = delta(folder, columns={"quality": "quality"}, quality="words")
    found = rows_of(source, Query(tags=("TI1",), start=at(1.5), end=at(5)))["TI1"]
    assert [(stamp, quality) for stamp, _, quality in found] == [(at(1), 0), (at(2), 0), (at(3), 2), (at(4), 0)]


def test_an_older_version_may_be_read(folder: Path) -> None:
    assert len(rows_of(delta(folder, version=0), Query(tags=("TI1",)))["TI1"]) == 5


def test_what_is_not_there_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(HistorianError, match=r"no column 'valu' .*did you mean 'value'\?"):
        delta(folder, columns={"value": "valu"}).read(Query(tags=("TI1",)))
    with pytest.raises(HistorianError, match="cannot be read as a Delta table"):
        delta(tmp_path / "none").read(Query(tags=("TI1",)))
    with pytest.raises(HistorianError, match=r"did you mean 'TI1'\?"):
        delta(folder).read(Query(tags=("TI2",)))
