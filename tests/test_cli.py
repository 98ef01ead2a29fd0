"""The command line itself: help, schema, exit codes, and a start that imports nothing slow."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from ruamel.yaml import YAML

import procmodel
from procmodel import cli
from procmodel.commands import tell
from procmodel.errors import CollapsedError, DatasetError

ROOT = Path(procmodel.__file__).parents[1]
SLOW = ("torch", "pytorch_lightning", "mlflow", "casadi", "matplotlib", "pint", "pandas", "scipy")


def exit_code(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["procmodel", *words])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0)


def test_the_schema_is_one_json_object_that_fits_the_example(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(monkeypatch, "schema") == 0
    schema = json.loads(capsys.readouterr().out)
    example = YAML(typ="safe", pure=True).load(ROOT / "examples" / "micro_gas_turbine" / "plant.yaml")
    jsonschema.validate(example, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**example, "sample_time": 5}, schema)


def test_help_names_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(monkeypatch, "--help") == 0
    out = " ".join(capsys.readouterr().out.split())
    for name in ("demo", "ingest", "train", "evaluate", "advise", "schema"):
        assert name in out
    assert "Advice only" in out


@pytest.mark.parametrize("words", [("bake",), ("ingest",), ("train", "plant.yaml", "--fast")])
def test_a_wrong_command_line_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert exit_code(monkeypatch, *words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "Error: " in told.err
    assert "Traceback" not in told.err


def test_a_demo_of_an_unknown_plant_names_those_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(monkeypatch, "demo", "--plant", "refinery") == 2
    err = capsys.readouterr().err
    assert err.startswith("procmodel: ")
    assert "evaporator" in err
    assert "quadruple-tank" in err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DatasetError("Too short."), 2, "procmodel: Too short.\n"),
        (CollapsedError("Nothing in it."), 1, "procmodel: Nothing in it.\n"),
        (PermissionError(13, "Permission denied", "runs/x"), 2, "procmodel: runs/x: Permission denied. "),
        (OSError(28, "No space left on device", "runs/x"), 2, "procmodel: runs/x: No space left on device. "),
        (KeyboardInterrupt(), 130, "procmodel: stopped; what was finished is kept"),
    ],
)
def test_how_a_command_ends_is_its_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    def fail(path: Path) -> None:
        raise error

    monkeypatch.setattr(cli, "_plant", fail)
    assert exit_code(monkeypatch, "ingest", "plant.yaml") == code
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(said)
    assert len(told.err.splitlines()) == 1


@pytest.mark.parametrize("error", [ZeroDivisionError("ours"), FileNotFoundError(2, "ours", "x"), OSError("ours")])
def test_a_bug_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(path: Path) -> None:
        raise error

    monkeypatch.setattr(cli, "_plant", fail)
    monkeypatch.setattr(sys, "argv", ["procmodel", "ingest", "plant.yaml"])
    with pytest.raises(type(error), match="ours"):
        cli.main()


def test_what_json_cannot_hold_is_put_plainly() -> None:
    moment = datetime(2026, 1, 5, tzinfo=UTC)
    value = {1: (np.float64("nan"), float("inf"), np.arange(2)), "at": moment, "in": Path("runs"), "flag": np.True_}
    plain = {"1": [None, None, [0, 1]], "at": str(moment), "in": "runs", "flag": True}
    assert json.loads(json.dumps(tell.plain(value), allow_nan=False)) == plain


def test_the_commands_start_without_anything_slow() -> None:
    program = f"import procmodel.cli, sys; print(sorted(set({SLOW!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
