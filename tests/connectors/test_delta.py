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


@pytest.fixture
def switches(tmp_path: Path) -> dict[str, Path]:
    """A table of a switch and a level, one of the tags, and one of their states."""
    rows = [("XS1", at(0), "0"), ("XS1", at(1), "Running"), ("XS1", at(2), "Melted"), ("LI1", at(0), "1")]
    tables = {
        "samples": pl.DataFrame(rows, schema=["tag", "time", "value"], orient="row").with_columns(
            pl.col("time").dt.cast_time_unit("us")
        ),
        "about": pl.DataFrame(
            {"tag": ["XS1", "LI1"], "eu": [None, "cm"], "note": ["pump", "tank"], "hi": [None, 80.0]}
        ),
        "states": pl.DataFrame({"tag": ["XS1", "XS1"], "code": [0, 1], "word": ["Stopped", "Running"]}),
    }
    for name, frame in tables.items():
        deltalake.write_deltalake(str(tmp_path / name), frame.to_arrow())
    return {name: tmp_path / name for name in tables}


def test_another_table_tells_of_the_tags_and_of_the_words_of_digital_ones(switches: dict[str, Path]) -> None:
    states = {"table": str(switches["states"])}
    about = {"table": str(switches["about"]), "unit": "eu", "description": "note", "high": "hi", "states": states}
    source = delta(switches["samples"], about=about)
    level, pump = source.search()
    assert (level.unit, level.description, level.high, level.states, level.step) == ("cm", "tank", 80.0, {}, None)
    assert (pump.description, pump.states, pump.step) == ("pump", {0: "Stopped", 1: "Running"}, True)
    rows = [row for batch in source.read(Query(tags=("XS1",))) for row in batch.to_pylist()]
    assert [(row["value"], row["state"], row["quality"]) for row in rows] == [
        (0.0, "Stopped", 0),
        (1.0, "Running", 0),
        (None, "Melted", 2),
    ]
    with pytest.raises(HistorianError, match="nowhere cannot be read as a Delta table"):
        list(delta(switches["samples"], about={"table": str(switches["about"].parent / "nowhere")}).search())


def test_what_is_not_there_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(HistorianError, match=r"no column 'valu' .*did you mean 'value'\?"):
        delta(folder, columns={"value": "valu"}).read(Query(tags=("TI1",)))
    with pytest.raises(HistorianError, match="cannot be read as a Delta table"):
        delta(tmp_path / "none").read(Query(tags=("TI1",)))
    with pytest.raises(HistorianError, match=r"did you mean 'TI1'\?"):
        delta(folder).read(Query(tags=("TI2",)))
