"""The plant file: what it reads, and the sentence for everything that can be wrong in it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from procmodel.errors import InputError, PlantFileError
from procmodel.plant import Gain, Limit, MaxMove, Plant, Role, Tag, load_plant

EXAMPLE = Path(__file__).with_name("quadruple_tank.yaml")


def written(folder: Path, text: str, name: str = "plant.yaml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def changed(folder: Path, old: str, new: str) -> Path:
    """The example with one thing changed; what is changed must be there."""
    text = EXAMPLE.read_text(encoding="utf-8")
    assert old in text
    return written(folder, text.replace(old, new, 1))


def refusal(file: Path) -> str:
    with pytest.raises(PlantFileError) as caught:
        load_plant(file)
    assert isinstance(caught.value, InputError)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_the_example_of_the_design_is_read() -> None:
    plant = load_plant(EXAMPLE)
    assert plant.name == "quadruple-tank"
    assert plant.sample_time == 5.0
    assert plant.columns == ["P101.SP", "P102.SP", "LI101.PV", "LI103.PV", "TI900.PV"]
    assert (plant.mvs, plant.cvs, plant.dvs) == (plant.columns[:2], plant.columns[2:4], plant.columns[4:])
    assert plant.tags["P102.SP"].max_move == MaxMove(up=0.5, down=0.5)
    assert plant.tags["P101.SP"].limits.high == Limit(at=6.0, rank=2)
    assert plant.tags["LI101.PV"].limits.high == Limit(at=18.0, rank=1)
    assert plant.tags["LI103.PV"].limits.low is None
    assert plant.tags["P102.SP"].price == "0.02 CHF/V"
    assert plant.gains == {("P101.SP", "LI101.PV"): Gain(sign="+", dead_time=0.0)}
    assert plant.constraints["foaming"].confidence == 0.95


def test_paths_are_made_absolute_from_the_plant_files_folder() -> None:
    plant = load_plant(EXAMPLE)
    assert plant.history is not None
    assert plant.history.path == str(EXAMPLE.parent / "exports" / "*.csv")
    assert plant.constraints["foaming"].labels == str(EXAMPLE.parent / "labels" / "foaming.csv")


def test_a_relative_plant_file_gives_absolute_paths_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed(tmp_path, "name: quad", "name: quad")
    monkeypatch.chdir(tmp_path)
    plant = load_plant("plant.yaml")
    assert plant.history is not None
    assert plant.history.path == str(tmp_path / "exports" / "*.csv")


def test_a_list_of_paths_and_a_server_address_are_kept_apart(tmp_path: Path) -> None:
    plant = load_plant(changed(tmp_path, "exports/*.csv", '["../a.csv", "/b/*.csv", "postgresql://host/db"]'))
    assert plant.history is not None
    assert plant.history.path == [str(tmp_path.parent / "a.csv"), "/b/*.csv", "postgresql://host/db"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "{plant}/../data/x.csv"),
        ("", "{plant}/../data/x.csv"),
        ("/there", "/there/x.csv"),
        ("rel", "{cwd}/rel/x.csv"),
    ],
)
def test_a_variable_is_filled_in_or_takes_its_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None, expected: str
) -> None:
    if value is None:
        monkeypatch.delenv("RECORDS_OF_TEST", raising=False)
    else:
        monkeypatch.setenv("RECORDS_OF_TEST", value)
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    plant = load_plant(changed(tmp_path, "exports/*.csv", '"${RECORDS_OF_TEST:-../data}/x.csv"'))
    full = Path(expected.format(plant=tmp_path, cwd=tmp_path / "cwd")).resolve()
    assert plant.history is not None
    assert plant.history.path == str(full)


def test_a_plant_survives_being_stored_as_json() -> None:
    plant = load_plant(EXAMPLE)
    again = Plant.model_validate(json.loads(plant.model_dump_json()))
    assert again == plant
    assert again.fingerprint == plant.fingerprint


def test_stamps_and_keys_in_the_options_stay_text(tmp_path: Path) -> None:
    options = "options: {time: {unit: s, origin: 2024-01-01T00:00:00Z}, quality: {0: good}}"
    plant = load_plant(changed(tmp_path, "timezone: Europe/Zurich", options))
    assert plant.history is not None
    assert plant.history.options["time"] == {"unit": "s", "origin": "2024-01-01T00:00:00Z"}
    assert plant.history.options["quality"] == {"0": "good"}


@pytest.mark.parametrize("sign", ["+", "-", "'-'", "+1", "-1", "1"])
def test_a_gains_sign_may_be_written_as_a_sign_or_as_one(tmp_path: Path, sign: str) -> None:
    plant = load_plant(changed(tmp_path, "sign: +", f"sign: {sign}"))
    assert plant.gains["P101.SP", "LI101.PV"].sign == ("-" if "-" in sign else "+")


# What is changed in the example, and what the sentence must hold: place, what it got, what it needs.
WRONG: dict[str, tuple[str, str, list[str]]] = {
    "limits crossed": (
        "limits: {low: {at: 5, rank: 2}, high: {at: 18, rank: 1}}",
        "limits: [18, 5]",
        ["line 7, tag LI101.PV: limits crossed: low 18 must be below high 5 [cm]. Correct the limits."],
    ),
    "unknown unit": ("unit: degC", "unit: degX", ["line 9, tag TI900.PV", "unknown unit 'degX'", "such as degC"]),
    "wrong kind of source unit": (
        "unit: degC",
        "unit: degC, source_unit: bar",
        ["line 9, tag TI900.PV", "'bar' measures", "cannot be converted to 'degC'", "same kind as 'degC'"],
    ),
    "unknown key of a tag": ("setpoint", "setpiont", ["line 7, tag LI101.PV", "'setpiont'; did you mean 'setpoint'?"]),
    "unknown key of the file": ("gains:", "gain:", ["line 10", "unknown key 'gain'; did you mean 'gains'?"]),
    "unknown role": ("role: DV", "role: XV", ["line 9, tag TI900.PV: role: got 'XV'", "'MV', 'CV', 'DV' or 'AUX'"]),
    "unknown tag in a gain": (
        "P101.SP -> LI101.PV",
        "P101.SP -> LI101",
        ["line 11", "gain 'P101.SP -> LI101'", "unknown tag 'LI101'; did you mean 'LI101.PV'?"],
    ),
    "gain the wrong way": ("P101.SP -> LI101.PV", "LI101.PV -> P101.SP", ["line 11", "has role CV", "'MV -> CV'"]),
    "gain without an arrow": ("P101.SP -> LI101.PV", "P101.SP", ["line 11", "got 'P101.SP'", "'MV -> CV'"]),
    "sign that is none": ("sign: +", "sign: up", ["line 11", "sign: got 'up', needs '+' or '-'"]),
    "duration without a unit": ("sample_time: 5 s", "sample_time: 5", ["line 2: sample_time: got 5", "such as 5 s"]),
    "duration that is none": ("sample_time: 5 s", "sample_time: fast", ["line 2: sample_time: got 'fast'"]),
    "sample time of zero": ("sample_time: 5 s", "sample_time: 0 s", ["line 2: sample_time", "needs more than 0"]),
    "gap without a unit": ("unit: degC", "unit: degC, max_gap: 10", ["line 9, tag TI900.PV: max_gap: got '10'"]),
    "missing key": ("sample_time: 5 s\n", "", ["plant.yaml: needs 'sample_time'"]),
    "tag without a unit": ("{role: DV, unit: degC}", "{role: DV}", ["line 9, tag TI900.PV: needs 'unit'"]),
    "tag that is a word": ("{role: DV, unit: degC}", "degC", ["line 9, tag TI900.PV: got 'degC', needs a mapping"]),
    "three limits": ("limits: [0, 6], max", "limits: [0, 6, 7], max", ["line 5, tag P101.SP: limits: got [0, 6, 7]"]),
    "word for a number": (
        "setpoint: 12",
        "setpoint: high",
        ["line 7, tag LI101.PV: setpoint: got 'high', needs a number"],
    ),
    "yes for a number": (
        "setpoint: 12",
        "setpoint: true",
        ["line 7, tag LI101.PV: setpoint: got True, needs a number"],
    ),
    "no number": ("setpoint: 12", "setpoint: .nan", ["line 7", "setpoint: got nan, needs a finite number"]),
    "setpoint of a DV": (
        "unit: degC",
        "unit: degC, setpoint: 5",
        ["line 9", "belongs to role CV; this tag has role DV"],
    ),
    "move of a CV": ("setpoint: 12", "max_move: 1", ["line 7", "max_move belongs to role MV; this tag has role CV"]),
    "move backwards": ("max_move: 0.5,", "max_move: -1,", ["line 6, tag P102.SP: max_move: got -1, needs more than 0"]),
    "rest outside the limits": ("rest_at: 3.0", "rest_at: 30", ["line 5, tag P101.SP: rest_at 30 must lie within"]),
    "price in another unit": ("CHF/V", "CHF/kg", ["line 6, tag P102.SP", "'0.02 CHF/kg' on a tag in 'V'", "per V"]),
    "sure beyond doubt": ("0.95", "1.5", ["line 13: constraints.foaming.confidence: got 1.5, needs less than 1"]),
    "calculated without limits": (
        "gains: ",
        "advice: {constraints: {load: {expression: P101.SP, unit: V, limits: {}}}}\ngains: ",
        ["line 10: advice.constraints.load: limits: got none, needs low, high or both."],
    ),
    "calculated with limits that cross": (
        "gains: ",
        "advice: {constraints: {load: {expression: P101.SP, unit: V, limits: [2, 1]}}}\ngains: ",
        ["line 10: advice.constraints.load: limits crossed: low 2 must be below high 1 [V]."],
    ),
    "calculated in an unknown unit": (
        "gains: ",
        "advice: {constraints: {load: {expression: P101.SP, unit: Vv, limits: [1, 2]}}}\ngains: ",
        ["line 10", "unknown unit 'Vv'"],
    ),
    "calculated under the name of a tag": (
        "gains: ",
        "advice: {constraints: {P101.SP: {expression: P102.SP, unit: V, limits: [1, 2]}}}\ngains: ",
        ["line 10", "'P101.SP' is the name of a tag too"],
    ),
    "calculated under the name of a learned constraint": (
        "gains: ",
        "advice: {constraints: {foaming: {expression: P102.SP, unit: V, limits: [1, 2]}}}\ngains: ",
        ["line 10", "'foaming' is the name of a learned constraint too"],
    ),
    "calculated from an unknown tag": (
        "gains: ",
        "advice: {constraints: {load: {expression: 2 * P103.SP, unit: V, limits: [1, 2]}}}\ngains: ",
        ["line 10: advice.constraints.load.expression: unknown tag 'P103.SP' in '2 * P103.SP'. Did you mean"],
    ),
    "slow row that is no whole number of advices": (
        "gains: ",
        "slow: {row: 12 s}\ngains: ",
        ["line 10", "slow: row is 12 s, which is not a whole number of 5 s"],
    ),
    "slow row beyond the horizon": (
        "gains: ",
        "advice: {horizon: 1 min}\nslow: {row: 2 min}\ngains: ",
        ["line 11", "slow: row is 120 s, beyond advice.horizon (60 s)"],
    ),
    "slow target that is no CV": (
        "gains: ",
        "slow: {row: 1 min, targets: [LI101]}\ngains: ",
        ["line 10", "slow: targets names 'LI101', which is no CV; did you mean 'LI101.PV'?"],
    ),
    "mean of an angle": (
        "unit: degC",
        "unit: degC}\n  ZI1.PV: {role: DV, unit: deg, kind: angle}\nslow: {row: 1 min",
        ["slow: a slow row is a mean, and an angle has none"],
    ),
    "unknown time zone": ("Europe/Zurich", "Europe/Zürich", ["line 3", "unknown time zone", "'Europe/Zurich'"]),
    "variable that is not set": ("exports/*.csv", "'${NOT_SET_ANYWHERE}/x'", ["line 3", "NOT_SET_ANYWHERE is not set"]),
    "number for a path": ("exports/*.csv", "3", ["line 3: history.path: got 3, needs text or a list"]),
    "name with a blank": (
        "quadruple-tank",
        "quadruple tank",
        ["line 1: name: got 'quadruple tank'", "letters, digits"],
    ),
    "the same tag twice": ("TI900.PV:", "P101.SP:", ["line 9: 'P101.SP' stands on line 5 already"]),
    "bracket left open": ("[0, 6]", "[0, 6", ["line 5", "no readable YAML", "quotes"]),
    "quote left open": ("Europe/Zurich", "'Europe", ["no readable YAML"]),
    "futures that nobody announced": (
        "constraints:",
        "advice: {scenarios: [futures]}\nconstraints:",
        ["advice: scenarios names futures, but no DV has announced"],
    ),
    "scenarios of nothing known": (
        "constraints:",
        "advice: {scenarios: [weather]}\nconstraints:",
        ["advice.scenarios", "got 'weather'", "'members' or 'futures'"],
    ),
    "no manipulated variable": ("role: MV", "role: AUX", ["line 5, tag P101.SP", "max_move belongs to role MV"]),
}


WRONG["shared target alone"] = (
    "constraints:",
    "training: {sigreg: 0}\nconstraints:",
    ["training", "got 0 with target 'shared'", "choose training.target"],
)
WRONG["stages without epochs"] = (
    "constraints:",
    "training: {encoder: masked, read_out: frozen, epochs: 2}\nconstraints:",
    ["training", "got 2, needs at least 3", "Raise training.epochs"],
)
WRONG["window of no rows"] = (
    "constraints:",
    "training: {window: 0 min}\nconstraints:",
    ["line 12", "training.window: got 0 s, needs at least 20 s, 4 rows of 5 s. Lengthen it"],
)
WRONG["window of three rows"] = (
    "constraints:",
    "training: {window: 15 s}\nconstraints:",
    ["line 12", "training.window: got 15 s, needs at least 20 s"],
)
WRONG["free run of no row"] = (
    "constraints:",
    "training: {rollout: 1 s}\nconstraints:",
    ["line 12", "training.rollout: got 1 s, needs at least 5 s, one row"],
)
WRONG["horizon of one row"] = (
    "constraints:",
    "advice: {horizon: 5 s}\nconstraints:",
    ["line 12", "advice.horizon: got 5 s, needs at least 10 s, 2 rows of 5 s"],
)
WRONG["slow window of three rows"] = (
    "gains: ",
    "slow: {row: 1 min, window: 3 min}\ngains: ",
    ["line 10", "slow.window: got 180 s, needs at least 240 s, 4 rows of 60 s"],
)


@pytest.mark.parametrize("what", WRONG)
def test_an_error_names_the_line_what_it_got_and_what_it_needs(tmp_path: Path, what: str) -> None:
    old, new, parts = WRONG[what]
    message = refusal(changed(tmp_path, old, new))
    assert str(tmp_path / "plant.yaml") in message
    for part in parts:
        assert part in message
    assert "Traceback" not in message
    assert "pydantic" not in message


@pytest.mark.parametrize("wish", ["target: stop_gradient", "target: ema", "compare: contrast"])
def test_what_keeps_a_latent_alive_by_itself_needs_no_anti_collapse_term(tmp_path: Path, wish: str) -> None:
    plant = load_plant(changed(tmp_path, "constraints:", f"training: {{sigreg: 0, {wish}}}\nconstraints:"))
    assert plant.training.sigreg == 0


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8").replace("unit: cm", "unit: furlongz")
    message = refusal(written(tmp_path, text))
    assert [line.split(": ")[0].rsplit(" line ")[1] for line in message.splitlines()] == [
        "7, tag LI101.PV",
        "8, tag LI103.PV",
    ]


def test_a_plant_needs_a_manipulated_and_a_controlled_variable(tmp_path: Path) -> None:
    text = "name: p\nsample_time: 5 s\ntags:\n  A: {role: MV, unit: V}\n  B: {role: DV, unit: V}\n"
    assert "line 3: tags: none has role CV; at least one is needed." in refusal(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "is empty"),
        ("# nothing but a remark\n", "is empty"),
        ("- name: p\n", "got a list, needs a mapping"),
        ("name\n", "got a str, needs a mapping"),
        ("name: a\n---\nname: b\n", "no readable YAML"),
        ("a: 1\na: 2\n", "line 2: 'a' stands on line 1 already"),
        ("{a: 1}: 2\n", "line 1: needs plain YAML: a key is a text"),
    ],
)
def test_what_is_no_plant_file_at_all_is_said_plainly(tmp_path: Path, text: str, part: str) -> None:
    assert part in refusal(written(tmp_path, text))


def test_a_missing_file_names_those_beside_it(tmp_path: Path) -> None:
    written(tmp_path, "", "evaporator.yaml")
    assert "does not exist. Beside it: evaporator.yaml." in refusal(tmp_path / "plant.yaml")
    assert "README.md shows one" in refusal(tmp_path / "nowhere" / "plant.yaml")


def test_a_folder_and_a_binary_file_are_no_plant_files(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"name: \xff\xfe")
    assert "no UTF-8 text" in refusal(tmp_path / "b.yaml")


@pytest.mark.parametrize(
    "value",
    ["!!python/object/apply:os.mkdir ['{made}']", "!!python/name:os.system x", "!include x", "{{<<: {{a: 1}}}}"],
)
def test_a_tag_in_the_yaml_is_refused_and_runs_nothing(tmp_path: Path, value: str) -> None:
    made = tmp_path / "made"
    message = refusal(changed(tmp_path, "{role: DV, unit: degC}", value.format(made=made)))
    assert "needs plain YAML" in message
    assert "line 9" in message
    assert not made.exists()


def test_aliases_of_aliases_are_stopped_before_they_fill_the_memory(tmp_path: Path) -> None:
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    laughs += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    started = time.perf_counter()
    assert "more than 100000 values" in refusal(written(tmp_path, laughs))
    assert time.perf_counter() - started < 10.0


def test_an_alias_may_share_what_tags_have_in_common(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    text = text.replace("max_move: {up: 0.5, down: 0.5}", "max_move: &m {up: 0.4, down: 0.3}").replace(
        "max_move: 0.5", "max_move: *m"
    )
    assert load_plant(written(tmp_path, text)).tags["P102.SP"].max_move == MaxMove(up=0.4, down=0.3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"unit": "furlongz"}, "unknown unit"),
        ({"unit": "V", "source_unit": "K"}, "same kind"),
        ({"unit": "V", "limits": [3, 2]}, "limits crossed"),
        ({"unit": "V", "range": [3, 2]}, "must rise"),
        ({"unit": "V", "unti": 1}, "unknown key"),
    ],
)
def test_a_tag_made_in_python_is_checked_like_one_from_a_file(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tag.model_validate({"name": "A", "role": Role.MV, **given})


def test_a_manipulated_variable_holds_between_samples_and_a_measurement_runs_linearly() -> None:
    plant = load_plant(EXAMPLE)
    assert [tag.is_step for tag in plant.tags.values()] == [True, True, False, False, False]


def test_the_fingerprint_changes_with_what_a_model_depends_on_and_with_nothing_else(tmp_path: Path) -> None:
    plant = load_plant(EXAMPLE)
    same = load_plant(changed(tmp_path, "setpoint: 12", "setpoint: 13"))
    other = load_plant(changed(tmp_path, "sample_time: 5 s", "sample_time: 6 s"))
    assert same.fingerprint == plant.fingerprint
    assert other.fingerprint != plant.fingerprint
