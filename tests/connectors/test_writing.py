"""Nothing is written to a plant without a separate class, its flag, an allow-list, limits, and no dry run."""

from __future__ import annotations

import math
import tomllib
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from connectors.writing import Allowed, PlantWriter, WriteRules, Written
from procmodel.errors import GateError, PlantFileError
from procmodel.plant import Role, Tag

TAGS = {
    "FC1.SP": Tag(name="FC1.SP", role=Role.MV, unit="kg/h", source_unit="kg/min", limits=(0, 100)),
    "FC2.SP": Tag(name="FC2.SP", role=Role.MV, unit="kg/h"),
    "TI1.PV": Tag(name="TI1.PV", role=Role.CV, unit="degC"),
}
ALLOWED = Allowed(low=10, high=120, max_move=20)
RULES = WriteRules(enabled=True, allow={"FC1.SP": ALLOWED, "TI1.PV": ALLOWED}, dry_run=False)


class FakePlant:
    def __init__(self, **held: float | None) -> None:
        self.held: dict[str, float | None] = {"FC1.SP": 1.0, "FC2.SP": 60.0, "TI1.PV": 60.0, **held}
        self.written: list[tuple[str, float]] = []

    def value(self, tag: str) -> float | None:
        return self.held[tag]

    def write(self, tag: str, value: float) -> None:
        self.written.append((tag, value))


def test_a_value_that_passes_everything_is_written_in_the_plants_own_unit() -> None:
    plant = FakePlant()
    assert PlantWriter(plant, TAGS, RULES).write({"FC1.SP": 75.0}) == [
        Written(tag="FC1.SP", before=pytest.approx(60.0), value=75.0, dry_run=False)
    ]
    assert plant.written == [("FC1.SP", pytest.approx(1.25))]


def test_as_the_rules_stand_nothing_is_written() -> None:
    plant = FakePlant()
    with pytest.raises(GateError, match="writing is not enabled"):
        PlantWriter(plant, TAGS, WriteRules()).write({"FC1.SP": 75.0})
    assert PlantWriter(plant, TAGS, replace(RULES, dry_run=True)).write({"FC1.SP": 75.0})[0].dry_run
    assert WriteRules().dry_run
    assert plant.written == []


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"FC2.SP": 60.0}, "not on the allow-list"),
        ({"TI1.PV": 60.0}, "knows no such MV"),
        ({"FC1.SP": 9.9}, "between 10 and 100"),
        ({"FC1.SP": 110.0}, "between 10 and 100"),  # allowed here, beyond the plant file's limit
        ({"FC1.SP": math.nan}, "between 10 and 100"),
        ({"FC1.SP": 80.5}, "more than 20 from 60"),
        ({"FC1.SP": 75.0, "FC2.SP": 60.0}, "not on the allow-list"),  # one that fails refuses all
    ],
)
def test_whatever_fails_one_check_is_refused_and_nothing_written(values: dict[str, float], why: str) -> None:
    plant = FakePlant()
    with pytest.raises(GateError, match=f"{why}.*Nothing was written"):
        PlantWriter(plant, TAGS, RULES).write(values)
    assert plant.written == []


@pytest.mark.parametrize("held", [None, math.nan])
def test_a_move_from_an_unknown_value_is_refused(held: float | None) -> None:
    plant = FakePlant(**{"FC1.SP": held})
    with pytest.raises(GateError, match="holds no good value"):
        PlantWriter(plant, TAGS, RULES).write({"FC1.SP": 60.0})
    assert plant.written == []


@pytest.mark.parametrize(("low", "high", "move"), [(1, 1, 1), (0, math.inf, 1), (0, 1, 0), (0, 1, math.inf)])
def test_there_is_no_allowance_without_limits(low: float, high: float, move: float) -> None:
    with pytest.raises(PlantFileError):
        Allowed(low=low, high=high, max_move=move)


def test_no_historian_can_write() -> None:
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]
    for name, value in project["entry-points"]["procmodel.historians"].items():
        historian = EntryPoint(name=name, value=value, group="procmodel.historians").load()
        assert not [each for each in dir(historian) if "write" in each.lower() and not each.startswith("__")], name


def test_an_opc_ua_server_is_written_to_by_the_same_rules() -> None:
    pytest.importorskip("asyncua", reason="asyncua is not installed: pip install 'procmodel[opcua]'")
    from opcua_plant import BAD, PlantServer, at

    from connectors.opcua_writing import OpcUaTarget
    from procmodel.plant import History

    server = PlantServer()
    node = server.add("FC1.SP")
    server.loop.run(node.set_writable())
    server.write("FC1.SP", 1.0, at(0))
    target = OpcUaTarget(History(kind="opcua", path=server.address, options={"security": "none"}))
    try:
        writer = PlantWriter(target, TAGS, RULES)
        with pytest.raises(GateError, match="more than 20"):
            writer.write({"FC1.SP": 99.0})
        assert target.value("FC1.SP") == 1.0
        writer.write({"FC1.SP": 75.0})
        assert target.value("FC1.SP") == pytest.approx(1.25)
        server.write("FC1.SP", 1.0, at(1), BAD)
        with pytest.raises(GateError, match="holds no good value"):
            writer.write({"FC1.SP": 60.0})
    finally:
        target.close()
        server.close()
