"""Connectors are found by entry point; what is missing is said with what to install."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from importlib.metadata import EntryPoint
from pathlib import Path

import polars as pl
import pytest

from procmodel.data import historians
from procmodel.data.historians import GROUP, open_historian
from procmodel.data.samples import Query
from procmodel.errors import HistorianError, PlantFileError
from procmodel.plant import History, Plant

ROOT = Path(__file__).resolve().parents[2]
DECLARED: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][GROUP]


@pytest.fixture(autouse=True)
def _declared_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of pyproject.toml, so that the tests run in a source tree too; one more whose library is missing."""
    found = [EntryPoint(name=name, value=value, group=GROUP) for name, value in DECLARED.items()]
    found += [
        EntryPoint(name="teleprinter", value="no_such_library_anywhere.client:Historian [serial]", group=GROUP),
    ]
    monkeypatch.setattr(historians, "entry_points", lambda group: [each for each in found if each.group == group])


def with_history(plant: Plant, history: History | None) -> Plant:
    return plant.model_copy(update={"history": history})


@pytest.mark.parametrize("kind", DECLARED)
def test_every_connector_declared_by_the_project_can_be_loaded(kind: str) -> None:
    connector = EntryPoint(name=kind, value=DECLARED[kind], group=GROUP).load()
    for method in ("read", "search", "latest", "campaigns"):
        assert callable(getattr(connector, method))


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
