"""`procmodel init`: a draft that ingests, questions instead of guesses, and nothing overwritten."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from corpus import CASES, Case

from procmodel.commands.init import init
from procmodel.data import load_dataset
from procmodel.data.exports import Question
from procmodel.data.historians import open_historian
from procmodel.data.samples import Query
from procmodel.errors import InputError
from procmodel.plant import load_plant
from procmodel.simulation import record, reference_plant

Command = Callable[..., CompletedProcess[str]]
LOCAL = "time,FC1.SP,LI1.PV\n2024-05-01 06:00:00,50,1.5\n2024-05-01 06:01:00,50,1.7\n2024-05-01 06:02:00,60,Bad\n"


@pytest.fixture(scope="module")
def evaporator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's export, as its historian hands it over, without its plant file."""
    folder = tmp_path_factory.mktemp("site")
    recorded = record(reference_plant("evaporator"), rows=3000, seed=0, folder=folder)
    recorded.plant_file.unlink()
    return folder


def test_a_draft_of_the_demos_export_ingests_and_has_the_true_roles(evaporator: Path, command: Command) -> None:
    drafted = command("init", evaporator / "exports", "--out", evaporator / "plant.yaml", "--timezone", "Europe/Zurich")
    assert drafted.returncode == 0, drafted.stderr
    assert "changes after PIC100.SP is moved" in drafted.stdout
    plant, truth = load_plant(evaporator / "plant.yaml"), reference_plant("evaporator").plant
    assert {name: tag.role for name, tag in plant.tags.items()} == {name: tag.role for name, tag in truth.tags.items()}
    for name, tag in plant.tags.items():
        low, high = tag.range or (0, 0)
        own = truth.tags[name].range or (0, 0)
        assert own[0] <= low < high <= own[1] + 0.5 * (high - low), name
    done = command("ingest", evaporator / "plant.yaml", "--out", evaporator / "out", "--json")
    assert done.returncode == 0, done.stderr
    dataset = load_dataset(evaporator / "out" / "dataset", plant)
    assert dataset.rows * dataset.step == pytest.approx(3000 * 60, rel=0.05)
    assert np.isfinite(dataset.values).mean() > 0.9


@pytest.mark.parametrize("case", CASES[::5], ids=lambda case: case.name)
def test_a_draft_reads_what_was_written_once_an_engineer_has_given_the_roles(case: Case, tmp_path: Path) -> None:
    exports = tmp_path / "exports"
    exports.mkdir()
    for name, content in case.files.items():
        (exports / name).write_bytes(content)
    answers = {**case.answers, **({"history.timezone": case.timezone} if case.timezone else {})}
    init([exports], tmp_path / "plant.yaml", answers)
    given = iter(["MV", "CV"])
    text = re.sub(r"role: \w+", lambda found: f"role: {next(given, 'AUX')}", (tmp_path / "plant.yaml").read_text())
    text = re.sub(r", (limits: \[[^]]*\]|max_move: [\d.e+-]+)", "", text)
    if len(case.expected) == 1:  # and a second tag, of the same column
        text = text.replace("gains:", "  another: {role: CV, unit: '1'}\ngains:")
    (tmp_path / "plant.yaml").write_text(text)
    plant = load_plant(tmp_path / "plant.yaml")
    found: dict[str, list[float | None]] = {tag: [] for tag in case.expected}
    for batch in open_historian(plant.model_copy(update={"tags": {t: plant.tags[t] for t in found}})).read(
        Query(tags=tuple(found))
    ):
        for row in batch.to_pylist():
            found[row["tag"]].append(row["value"])
    assert found == {tag: [sample.value for sample in samples] for tag, samples in case.expected.items()}


def test_what_the_export_does_not_tell_is_asked_in_one_error_and_nothing_is_written(
    tmp_path: Path, command: Command
) -> None:
    export = tmp_path / "unit 2.csv"
    export.write_text("time;A;A quality\n03/04/2024 10:00;1;0\n04/04/2024 10:00;2;1\n")
    done = command("init", export, "--out", tmp_path / "plant.yaml", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--timezone Europe/Zurich" in done.stderr
    assert "--answer 'history.options.time.format=%d/%m/%Y %H:%M'  or  --answer" in done.stderr
    assert "--answer 'history.options.quality=opc-da'" in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["unit 2.csv"]
    answers = ["history.options.time.format=%m/%d/%Y %H:%M", 'history.options.quality={"0": "good", "1": "bad"}']
    words = [word for each in answers for word in ("--answer", each)]
    done = command("init", export, "--out", tmp_path / "plant.yaml", "--json", "--timezone", "UTC", *words)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["layout"], told["kind"]) == ("interleaved", "csv")
    assert "none has role" in told["missing"]
    assert told["tags"][0] | {"role": "", "reason": ""} == {
        "name": "A", "role": "", "reason": "", "unit": "", "samples": 2, "bad": 1, "low": 1.0, "high": 1.0,
        "interval_s": None, "step": False,
    }  # fmt: skip


def test_questions_are_put_to_a_person_where_one_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(LOCAL)
    asked: list[Question] = []

    def ask(question: Question) -> str:
        asked.append(question)
        return "Europe/Zurich"

    init([tmp_path / "a.csv"], tmp_path / "plant.yaml", {}, ask=ask)
    assert [question.key for question in asked] == ["history.timezone"]
    text = (tmp_path / "plant.yaml").read_text()
    assert 'history: {kind: csv, path: a.csv, timezone: "Europe/Zurich"}' in text
    assert "'Bad' 1 times" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--timezone", "Europe/Zurih"], "unknown time zone 'Europe/Zurih'; did you mean 'Europe/Zurich'?"),
        (["--answer", "timezone"], "--answer 'timezone' needs KEY=VALUE"),
        (["--answer", "zone=UTC"], "--answer zone: no such question"),
        (["--answer", "history.timezone={"], "is no JSON"),
        (["--out", "nowhere/plant.yaml"], "there is no folder"),
    ],
)
def test_a_wrong_answer_is_told_and_nothing_is_written(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text(LOCAL)
    done = command("init", "a.csv", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["a.csv"]


def test_a_plant_file_that_is_there_stays_as_it_is(tmp_path: Path, command: Command) -> None:
    (tmp_path / "a.csv").write_text(LOCAL)
    (tmp_path / "plant.yaml").write_text("mine")
    done = command("init", tmp_path / "a.csv", "--out", tmp_path / "plant.yaml", "--timezone", "UTC")
    assert done.returncode == 2
    assert "is there already and stays as it is" in done.stderr
    assert (tmp_path / "plant.yaml").read_text() == "mine"


def test_units_ranges_and_descriptions_of_the_export_come_into_the_draft(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "[Tags]\nTagname,Description,EngineeringUnits,HiEngineeringUnits,LoEngineeringUnits\n"
        "FC1.SP,valve: north,kg/h,100,0\nLI1.PV,level,blub,90,-10\n[Data]\nTagname,TimeStamp,Value,DataQuality\n"
        "FC1.SP,2024-05-01T06:00:00Z,5,Good\nFC1.SP,2024-05-01T07:00:00Z,6,Good\nLI1.PV,2024-05-01T06:00:00Z,7,Good\n"
        "LI1.PV,2024-05-01T06:00:10Z,8,Good\n"
    )
    init([tmp_path / "a.csv"], tmp_path / "plant.yaml", {})
    plant = load_plant(tmp_path / "plant.yaml")
    valve, level = plant.tags["FC1.SP"], plant.tags["LI1.PV"]
    assert (valve.unit, valve.description, valve.range) == ("kg/h", "valve: north", (0, 100))
    assert (level.unit, level.range) == ("1", (-10, 90))
    assert "the export says 'blub', which is none that is known here" in (tmp_path / "plant.yaml").read_text()


def test_a_tag_without_a_usable_sample_is_left_out_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(LOCAL.replace(",1.5", ",Bad").replace(",1.7", ",Bad"))
    drafted = init([tmp_path / "a.csv"], tmp_path / "plant.yaml", {"history.timezone": "UTC"})
    assert [fact.name for fact in drafted.facts] == ["FC1.SP"]
    assert "none of its 3 samples is usable" in drafted.unusable["LI1.PV"]


def test_one_sheet_of_several_is_named_by_an_answer(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for title in ("June", "July"):
        sheet = book.create_sheet(title)
        for row in (["time", "A", "B"], ["2024-05-01T06:00:00Z", 1, 2], ["2024-05-01T06:01:00Z", 2, 3]):
            sheet.append(row)
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(InputError, match="several sheets, June, July"):
        init([tmp_path / "a.xlsx"], tmp_path / "plant.yaml", {})
    init([tmp_path / "a.xlsx"], tmp_path / "plant.yaml", {"history.options.sheet": "July"})
    assert "options: {sheet: July}" in (tmp_path / "plant.yaml").read_text()
