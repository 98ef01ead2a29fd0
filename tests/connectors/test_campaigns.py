"""Files that are campaigns, each placed on a day of its own where its stamps only count seconds."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from connectors.csv_files import CsvHistorian
from procmodel.data.samples import Query
from procmodel.errors import HistorianError
from procmodel.plant import History, load_plant

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "micro_gas_turbine" / "plant.yaml"
RECORDINGS = Path(os.environ.get("PROCMODEL_DATA", ROOT.parent / "shared" / "data")) / "micro_gas_turbine"
RELATIVE = {"unit": "s", "origin": "2024-01-01T00:00:00Z"}
ORIGIN = datetime(2024, 1, 1, tzinfo=UTC)


def historian(folder: Path, files: dict[str, str], **options: Any) -> CsvHistorian:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return CsvHistorian(History(kind="csv", path="**/*.csv", options=options), {}, base=folder)


def test_each_file_starts_a_day_after_the_one_before_it_by_name(tmp_path: Path) -> None:
    files = {"b.csv": "time,A\n800,1\n805.5,2\n", "a.csv": "time,A\n700,3\n701,4\n"}
    source = historian(tmp_path, files, campaign="file", time=RELATIVE)
    day = timedelta(days=1)
    assert [(each.name, each.start) for each in source.campaigns()] == [("a", ORIGIN), ("b", ORIGIN + day)]
    assert source.campaigns()[1].end - (ORIGIN + day) == timedelta(seconds=5.5, microseconds=1)
    found = pl.concat([pl.DataFrame(batch) for batch in source.read(Query(tags=("A",)))])
    assert found["value"].to_list() == [3.0, 4.0, 1.0, 2.0]
    assert found["time"].to_list() == [
        ORIGIN,
        ORIGIN + timedelta(seconds=1),
        ORIGIN + day,
        ORIGIN + day + timedelta(seconds=5.5),
    ]


@pytest.mark.parametrize(("seconds", "days"), [(86_399, 1), (86_400, 2), (200_000, 3)])
def test_files_longer_than_a_day_get_as_many_days_as_they_need(tmp_path: Path, seconds: int, days: int) -> None:
    files = {"a.csv": f"time,A\n0,1\n{seconds},2\n", "b.csv": "time,A\n0,3\n1,4\n"}
    source = historian(tmp_path, files, campaign="file", time=RELATIVE)
    first, second = source.campaigns()
    assert second.start == ORIGIN + timedelta(days=days)
    assert first.end <= second.start


def test_files_of_the_same_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    text = "time,A\n0,1\n1,2\n"
    source = historian(tmp_path, {"test/x.csv": text, "train/x.csv": text}, campaign="file", time=RELATIVE)
    assert [each.name for each in source.campaigns()] == ["test/x.csv", "train/x.csv"]


def test_files_with_whole_stamps_stay_where_they_are_and_may_not_overlap(tmp_path: Path) -> None:
    apart = {"z.csv": "time,A\n2024-05-01T06:00Z,1\n", "a.csv": "time,A\n2024-05-02T06:00Z,2\n"}
    source = historian(tmp_path, apart, campaign="file")
    assert [(each.name, each.start.day) for each in source.campaigns()] == [("z", 1), ("a", 2)]
    source = historian(tmp_path, {"b.csv": "time,A\n2024-05-01T05:00Z,1\n2024-05-01T07:00Z,1\n"}, campaign="file")
    with pytest.raises(HistorianError, match=r"z\.csv starts at .*, before campaign 'b' ends"):
        source.campaigns()


def test_an_unsorted_file_of_seconds_is_refused_since_its_start_is_unknown(tmp_path: Path) -> None:
    source = historian(tmp_path, {"a.csv": "time,A\n5,1\n0,2\n"}, campaign="file", time=RELATIVE)
    with pytest.raises(HistorianError, match="its first stamp is not its smallest"):
        source.campaigns()


def test_the_example_plant_file_of_the_micro_gas_turbine_is_read() -> None:
    plant = load_plant(EXAMPLE)
    assert (plant.mvs, plant.cvs) == (["EI1.SP"], ["JI1.PV"])
    assert plant.gains["EI1.SP", "JI1.PV"].sign == "+"
    assert plant.split.test == ["ex_4", "ex_22"]
    assert plant.tags["JI1.PV"].setpoint == 2000.0


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"the recordings are not in {RECORDINGS}; set PROCMODEL_DATA")
def test_the_recordings_of_the_micro_gas_turbine_are_read_whole() -> None:
    plant = load_plant(EXAMPLE)
    assert plant.history is not None
    source = CsvHistorian(plant.history, plant.tags)
    names = [each.name for each in source.campaigns()]
    assert names == ["ex_1", "ex_20", "ex_21", "ex_22", "ex_23", "ex_24", "ex_4", "ex_9"]
    assert set(plant.split.test) <= set(names) if isinstance(plant.split.test, list) else False
    found = pl.concat([pl.DataFrame(batch) for batch in source.read(Query(tags=tuple(plant.columns)))])
    found = found.with_columns(pl.col("tag").cast(pl.String))
    assert source.report.rows == 2 * 71_225  # rows as published, two tags
    assert (source.report.bad, source.report.duplicates, source.report.unsorted) == (0, 0, 0)
    voltage = found.filter(pl.col("tag") == "EI1.SP")
    assert (voltage["value"].min(), voltage["value"].max()) == (3.0, 10.0)
    first = source.campaigns()[-2]
    power = found.filter((pl.col("tag") == "JI1.PV") & (pl.col("time") == first.start))["value"].to_list()
    assert power == [1206.99343356713]  # first row of ex_4.csv
