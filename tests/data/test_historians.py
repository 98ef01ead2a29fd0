"""Connectors are found by entry point; what is missing is said with what to install."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from importlib.metadata import EntryPoint
from pathlib import Path

import polars as pl
import pytest

from procmodel.data import historians
from procmodel.data.historians import GROUP, LIVE_GROUP, open_historian, open_live
from procmodel.data.samples import Query
from procmodel.errors import HistorianError, PlantFileError
from procmodel.plant import History, Plant

ROOT = Path(__file__).resolve().parents[2]
ENTRY_POINTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
DECLARED: dict[str, str] = ENTRY_POINTS[GROUP]
DECLARED_LIVE: dict[str, str] = ENTRY_POINTS[LIVE_GROUP]


@pytest.fixture(autouse=True)
def _declared_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of pyproject.toml, so that the tests run in a source tree too; one more whose library is missing."""
    found = [EntryPoint(name=name, value=value, group=GROUP) for name, value in DECLARED.items()]
    found += [EntryPoint(name=name, value=value, group=LIVE_GROUP) for name, value in DECLARED_LIVE.items()]
    found += [
        EntryPoint(name="teleprinter", value="no_such_library_anywhere.client:Historian [serial]", group=group)
        for group in (GROUP, LIVE_GROUP)
    ]
    monkeypatch.setattr(historians, "entry_points", lambda group: [each for each in found if each.group == group])


def with_history(plant: Plant, history: History | None) -> Plant:
    return plant.model_copy(update={"history": history})


@pytest.mark.parametrize("kind", DECLARED)
def test_every_connector_declared_by_the_project_can_be_loaded(kind: str) -> None:
    connector = EntryPoint(name=kind, value=DECLARED[kind], group=GROUP).load()
    for method in ("read", "search", "latest", "campaigns"):
        assert callable(getattr(connector, method))


@pytest.mark.parametrize("kind", DECLARED_LIVE)
def test_every_live_source_declared_by_the_project_can_be_loaded(kind: str) -> None:
    connector = EntryPoint(name=kind, value=DECLARED_LIVE[kind], group=LIVE_GROUP).load()
    for method in ("samples", "close"):
        assert callable(getattr(connector, method))


def test_the_live_source_of_a_plant_is_opened(small_plant: Plant) -> None:
    live = open_live(with_history(small_plant, History(kind="mqtt", path="mqtt://localhost")))
    live.close()
    assert list(live.samples()) == []


def test_a_live_source_without_its_library_names_the_extra(small_plant: Plant) -> None:
    with pytest.raises(HistorianError, match=r"needs the library no_such_library_anywhere.*'procmodel\[serial\]'"):
        open_live(with_history(small_plant, History(kind="teleprinter")))


def test_a_source_that_keeps_no_record_cannot_be_read_as_one(small_plant: Plant) -> None:
    with pytest.raises(HistorianError, match="'mqtt' keeps no record"):
        open_historian(with_history(small_plant, History(kind="mqtt", path="mqtt://localhost")))


def test_the_historian_of_a_plant_is_opened_and_read(small_plant: Plant) -> None:
    start = datetime(2024, 5, 1, tzinfo=UTC)
    frame = pl.DataFrame({"time": [start], **{name: [1.0] for name in small_plant.columns}})
    plant = with_history(small_plant, History(kind="memory", options={"frame": frame}))
    historian = open_historian(plant)
    assert sum(batch.num_rows for batch in historian.read(Query(tags=tuple(plant.columns)))) == 5
    assert historian.report.rows == 5


def test_an_unknown_kind_names_the_known_ones(small_plant: Plant) -> None:
    with pytest.raises(HistorianError, match=r"unknown kind 'csvs'; did you mean 'csv'\?") as caught:
        open_historian(with_history(small_plant, History(kind="csvs", path="x")))
    assert ", ".join(sorted([*DECLARED, "teleprinter"])) in str(caught.value)


def test_a_missing_library_names_it_and_the_extra_to_install(small_plant: Plant) -> None:
    with pytest.raises(HistorianError, match=r"needs the library no_such_library_anywhere.*'procmodel\[serial\]'"):
        open_historian(with_history(small_plant, History(kind="teleprinter")))


def test_a_plant_without_a_history_asks_for_one(small_plant: Plant) -> None:
    with pytest.raises(PlantFileError, match="'small-plant' has no history to read"):
        open_historian(with_history(small_plant, None))
    with pytest.raises(PlantFileError, match="'small-plant' has no history to follow"):
        open_live(with_history(small_plant, None))


def test_an_environment_without_any_connector_says_how_to_install_them(
    small_plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(historians, "entry_points", lambda group: [])
    with pytest.raises(HistorianError, match="No connector is installed"):
        open_historian(with_history(small_plant, History(kind="csv", path="x")))


def test_a_wrong_option_is_the_plant_files_fault(small_plant: Plant) -> None:
    plant = with_history(small_plant, History(kind="csv", path="x.csv", options={"decimals": ","}))
    with pytest.raises(PlantFileError, match=r"history\.options: unknown key 'decimals'; did you mean 'decimal'\?"):
        open_historian(plant)
