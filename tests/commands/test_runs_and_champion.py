"""Evaluations on the tiny plant: the champion moves only through the gates, runs are listed, two stand side by side."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def judged(
    command: Command, trained: tuple[Path, CompletedProcess[str]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """The tiny plant's folder, evaluated once, and what that printed. Do not change."""
    site = tmp_path_factory.mktemp("judged") / "site"
    shutil.copytree(trained[0], site)
    done = command("evaluate", site / "plant.yaml", "--out", site / "out", "--json")
    assert done.returncode == 0, done.stderr
    return site, json.loads(done.stdout)


def test_the_backtest_stands_in_the_results_with_its_caveat_and_in_the_report(
    judged: tuple[Path, dict[str, Any]],
) -> None:
    _, results = judged
    tested = results["backtest"]
    assert tested["caveat"] == "A log shows what happened, not what would have happened."
    assert tested["ticks"] > 0
    assert set(tested["agreement"]["by_mv"]) == {"FC1.SP"}
    assert tested["cost_unit"] == "-"
    html = Path(results["report"]).read_text(encoding="utf-8")
    assert tested["caveat"] in html
    assert "What would have been advised" in html


def test_the_first_model_that_passes_every_gate_is_champion_and_says_why(judged: tuple[Path, dict[str, Any]]) -> None:
    _, results = judged
    champion = results["champion"]
    assert {gate["name"] for gate in champion["gates"]} == {
        "gain signs", "surprise", "open loop", "closed loop", "holds",
    }  # fmt: skip
    assert champion["moved"] is all(gate["passed"] is not False for gate in champion["gates"])
    assert champion["moved"], champion["reason"]
    assert champion["version"] == "1"
    assert champion["model"] == results["provenance"]["model"] != ""
    assert champion["reason"].startswith("champion: ")


def test_a_model_whose_signs_are_wrong_leaves_the_champion_where_it_is(
    command: Command, judged: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    site, results = judged
    wrong = tmp_path / "plant.yaml"
    text = (site / "plant.yaml").read_text(encoding="utf-8").replace("{sign: +}", '{sign: "-"}')
    wrong.write_text(text.replace("export.csv", str(site / "export.csv")), encoding="utf-8")
    done = command("evaluate", wrong, "--out", site / "out", "--compare", results["run"][:8], "--json")
    assert done.returncode == 1
    second = json.loads(done.stdout)
    assert second["champion"]["moved"] is False
    assert "gain signs" in second["champion"]["reason"]
    assert second["champion"]["version"] == "1"
    rows = {row["figure"]: row for row in second["comparison"]["table"]}
    same = rows["forecast error of LI1.PV after 30 rows"]
    assert same["this"] == pytest.approx(same["other"])
    assert rows["declared signs not found"]["better"] == "other"
    assert "Beside evaluation" in Path(second["report"]).read_text(encoding="utf-8")
    listed = json.loads(command("runs", "--out", site / "out", "--json").stdout)["runs"]
    assert [(run["kind"], run["champion"]) for run in listed] == [
        ("evaluate", False), ("evaluate", True), ("train", False),
    ]  # fmt: skip


def test_runs_shows_one_with_what_it_depends_on_and_its_report(
    command: Command, judged: tuple[Path, dict[str, Any]]
) -> None:
    site, results = judged
    told = json.loads(command("runs", results["run"][:10], "--out", site / "out", "--json").stdout)
    assert told["tags"]["plant"] == results["provenance"]["plant"]
    assert told["data"] == results["provenance"]["data"] != ""
    assert {"procmodel", "python", "version.torch"} <= set(told["tags"])
    assert told["params"]["seeds"] == "[0]"
    assert "forecast error of LI1.PV after 30 rows" in told["figures"]
    assert told["report"] == results["report"]
    people = command("runs", results["run"][:10], "--out", site / "out").stdout
    assert f"Report: {results['report']}" in people
    assert "champion: " in people
    assert "* champion" in command("runs", "--out", site / "out").stdout


def test_the_evaluation_hangs_below_the_training_of_its_model_and_no_pickle_is_stored(
    judged: tuple[Path, dict[str, Any]],
) -> None:
    from mlflow import MlflowClient

    site, results = judged
    client = MlflowClient(tracking_uri=f"sqlite:///{site / 'out' / 'mlflow.db'}")
    parent = client.get_run(client.get_run(results["run"]).data.tags["mlflow.parentRunId"])
    assert parent.info.run_name == "train"
    assert parent.data.tags["model"] == results["provenance"]["model"]
    files = {file.path for file in client.list_artifacts(results["run"], "model")}
    assert {"model/model.json", "model/manifest.json", "model/member-0.safetensors"} == files
    version = client.get_model_version_by_alias("tiny", "champion")
    assert version.source.endswith("/model")
    assert version.run_id == results["run"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("runs", "ffffffff"), "No run has the id"),
        (("runs", ""), "runs"),
        (("evaluate", "plant.yaml", "--compare", "ffffffff"), "No run has the id"),
    ],
)
def test_a_run_that_is_not_there_is_wrong_input(
    command: Command, judged: tuple[Path, dict[str, Any]], words: tuple[str, ...], told: str
) -> None:
    site, _ = judged
    named = [site / word if word == "plant.yaml" else word for word in words]
    done = command(*named, "--out", site / "out")
    assert done.returncode == 2
    assert told in done.stderr


def test_no_runs_at_all_is_told(command: Command, tmp_path: Path) -> None:
    done = command("runs", "--out", tmp_path)
    assert done.returncode == 2
    assert "Train or evaluate first" in done.stderr
