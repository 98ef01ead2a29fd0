"""A tiny plant with an export of its own, trained once through the command, and the command itself."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from procmodel import cli
from procmodel.evaluation import backtest

ROWS, STEP = 900, 10.0
START = datetime(2026, 3, 1, tzinfo=UTC)
PLANT = """\
name: tiny
description: One valve and the level it moves.
sample_time: 10 s
history: {kind: csv, path: export.csv}
tags:
  FC1.SP: {role: MV, unit: kg/h, limits: [0, 100], max_move: 5}
  LI1.PV: {role: CV, unit: cm, range: [0, 100], setpoint: 52, limits: {high: {at: 80, rank: 1}}}
gains:
  FC1.SP -> LI1.PV: {sign: +}
advice: {horizon: 2 min, max_age: 1 min}
training: {epochs: 1, batches: 100, batch: 32, learning_rate: 0.01, latent: 4, hidden: 8, window: 60 s,
  sigreg: 5}  # a shorter training leaves a latent that counts as collapsed
"""


def export() -> str:
    """A level that follows its valve by a first-order lag, with noise; the valve moved by hand every minute or two,
    and five minutes in which the connection was bad."""
    rng = np.random.default_rng(0)
    lines, valve, level = ["time,FC1.SP,LI1.PV"], 50.0, 50.0
    for row in range(ROWS):
        moved = rng.random() < 0.08 and row < ROWS - 5  # advice waits until a hand on the valve has settled
        valve = float(np.clip(50 + 10 * rng.normal(), 10, 90)) if moved else valve
        level += 0.1 * (valve - level) + 0.05 * rng.normal()
        stamp = (START + timedelta(seconds=STEP * row)).isoformat().replace("+00:00", "Z")
        outage = 400 <= row < 430
        lines.append(f"{stamp},Bad,Bad" if outage else f"{stamp},{valve:.3f},{level + 0.1 * rng.normal():.3f}")
    return "\n".join(lines) + "\n"


def procmodel_(*words: object) -> CompletedProcess[str]:
    """`procmodel WORDS` in this process."""
    argv, out, err = ["procmodel", *map(str, words)], io.StringIO(), io.StringIO()
    few = patch.multiple(backtest, TICKS=36, FEWEST=3)  # enough to see the command do its work
    with few, patch.object(sys, "argv", argv), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
            code: Any = 0
        except SystemExit as stop:
            code = stop.code or 0
    return CompletedProcess(argv, code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def command() -> Callable[..., CompletedProcess[str]]:
    """Runs `procmodel WORDS` in this process; exit code, stdout and stderr come back as of a process."""
    return procmodel_


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CompletedProcess[str]]:
    """Folder with plant.yaml, export.csv and out/ (dataset and model), and how `train --json` ended. Do not change."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "plant.yaml").write_text(PLANT, encoding="utf-8")
    (folder / "export.csv").write_text(export(), encoding="utf-8")
    done = procmodel_("train", folder / "plant.yaml", "--out", folder / "out", "--json")
    return folder, done


@pytest.fixture
def site(trained: tuple[Path, CompletedProcess[str]], tmp_path: Path) -> Path:
    """A copy of the trained plant's folder, to be spoilt."""
    shutil.copytree(trained[0], tmp_path / "site")
    return tmp_path / "site"
