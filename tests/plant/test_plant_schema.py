"""The published JSON schema agrees with what the plant file reader takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from procmodel.errors import PlantFileError
from procmodel.plant import load_plant, plant_schema

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema comes with the extra 'dev'")

EXAMPLE = Path(__file__).with_name("quadruple_tank.yaml")


def example() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(YAML(typ="safe").load(EXAMPLE.read_text(encoding="utf-8"))))
    return data


def complaints_about(data: dict[str, Any]) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(plant_schema()).iter_errors(data)]


def test_the_schema_is_a_schema_and_can_be_written_as_json() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(json.dumps(plant_schema())))


def test_the_example_of_the_design_fits_the_schema() -> None:
    assert complaints_about(example()) == []


# Path into the example, and what is put there; both the schema and the reader refuse it.
REFUSED: dict[str, tuple[list[str], Any]] = {
    "unknown key": (["sampletime"], "5 s"),
    "unknown key of a tag": (["tags", "TI900.PV", "unti"], "V"),
    "unknown role": (["tags", "TI900.PV", "role"], "XV"),
    "duration without a unit": (["sample_time"], 5),
    "limits of a word": (["tags", "P101.SP", "limits"], "high"),
    "three limits": (["tags", "P101.SP", "limits"], [1, 2, 3]),
    "move of zero": (["tags", "P101.SP", "max_move"], 0),
    "sign that is none": (["gains", "P101.SP -> LI101.PV", "sign"], "up"),
    "gain without an arrow": (["gains", "P101.SP"], {"sign": "+"}),
    "confidence above one": (["constraints", "foaming", "confidence"], 1.5),
    "rank zero": (["constraints", "foaming", "rank"], 0),
}
ACCEPTED: dict[str, tuple[list[str], Any]] = {
    "limits with ranks": (["tags", "P101.SP", "limits"], {"low": 0, "high": {"at": 6, "rank": 1}}),
    "an open limit": (["tags", "P101.SP", "limits"], [None, 6]),
    "move as a number": (["tags", "P101.SP", "max_move"], 0.25),
    "sign as a number": (["gains", "P101.SP -> LI101.PV", "sign"], -1),
    "duration in hours": (["sample_time"], "0.5 h"),
    "horizon": (["advice"], {"horizon": "10 min", "every": "30 s"}),
    "rollout by the audit": (["training"], {"rollout": "auto", "window": "5 min"}),
    "test campaigns": (["split"], {"test": ["ex_4"]}),
}


def altered(path: list[str], value: Any) -> dict[str, Any]:
    data = example()
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return data


def reads(folder: Path, data: dict[str, Any]) -> bool:
    file = folder / "plant.yaml"
    file.write_text(json.dumps(data), encoding="utf-8")  # JSON is YAML
    try:
        load_plant(file)
    except PlantFileError:
        return False
    return True


@pytest.mark.parametrize("what", REFUSED)
def test_schema_and_reader_refuse_the_same(tmp_path: Path, what: str) -> None:
    data = altered(*REFUSED[what])
    assert complaints_about(data)
    assert not reads(tmp_path, data)


@pytest.mark.parametrize("what", ACCEPTED)
def test_schema_and_reader_take_the_same(tmp_path: Path, what: str) -> None:
    data = altered(*ACCEPTED[what])
    assert complaints_about(data) == []
    assert reads(tmp_path, data)


def test_a_tags_name_is_its_key_and_not_asked_for_again() -> None:
    tag = plant_schema()["$defs"]["Tag"]
    assert "name" not in tag["properties"]
    assert tag["required"] == ["role", "unit"]


def test_an_editor_finds_a_description_beside_every_key_of_a_tag() -> None:
    tag = plant_schema()["$defs"]["Tag"]
    assert {key for key, part in tag["properties"].items() if not part.get("description")} <= {"description"}
    assert tag["properties"]["max_gap"]["description"].startswith("Longest time between two good samples")
