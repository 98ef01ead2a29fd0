"""The examples run as they stand, and say what they are there to say."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def output_of(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(sys, "argv", [name])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


def test_a_look_at_a_record_tells_the_operators_moves_from_a_controllers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = output_of("look_at_a_record.py", monkeypatch, capsys)
    by_hand, controller = (
        next(line for line in out.splitlines() if f"{mv}.SP" in line and "moves" in line) for mv in ("FC1", "FC2")
    )
    assert "reasons of its own" in by_hand
    assert "feedback" in controller
    assert "LI1.PV: good 97.6%, longest gap 1200 s" in out


@pytest.mark.slow
def test_advice_in_python_ends_in_a_move_or_a_hold_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = output_of("advise_in_python.py", monkeypatch, capsys).splitlines()
    assert lines[0].endswith("9 tags")
    action, reason = lines[1].split(" - ", 1)
    assert action in ("move", "hold")
    assert len(reason) > 10


@pytest.mark.slow
def test_a_simulator_of_ones_own_is_controlled_better_than_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = output_of("your_own_simulator.py", monkeypatch, capsys).splitlines()
    advice, hold = (float(line.split("cost ")[1].split(",")[0]) for line in lines)
    assert lines[0].startswith("advice")
    assert advice < 0.5 * hold
    assert " 1.00 m" in lines[0]


def test_every_example_is_run_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        "look_at_a_record.py",
        "advise_in_python.py",
        "your_own_simulator.py",
    }
