"""Stored problems, solved where there is torch and numpy and no other library of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.batch_device import perturbed, study, study_of
from experiments.batch_problems import write
from experiments.contract import run_experiment
from experiments.latency_sizes import SMALL, rig
from procmodel.control.batched_data import load_problems

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("problems") / "small.npz"
    assert write(rig(SMALL), path, 12) > 0.0
    return path


def test_no_two_perturbed_problems_are_alike(stored: Path) -> None:
    plant, problems, _ = load_problems(stored)
    many = perturbed(plant, problems, 30)
    assert len(np.unique(many.latent_BD.numpy().round(9), axis=0)) == 30
    assert len(np.unique(many.setpoint_BY[:, :2].numpy().round(9), axis=0)) == 30
    torch.testing.assert_close(many.setpoint_BY.isfinite(), problems.setpoint_BY[torch.arange(30) % 12].isfinite())


def test_the_report_holds_rates_and_distances_from_the_serial_merits(stored: Path) -> None:
    outcome = study_of([stored], (1, 16), 0.5, "cpu")
    found = outcome.results["sizes"]["small"]
    assert found["converged_share"] == 1.0
    assert -1e-3 < found["worst_merit_below_serial"] <= found["worst_merit_above_serial"] < 1e-3
    off = (found["worst_merit_above_serial"], found["worst_merit_below_serial"])
    assert outcome.values == {"worst_merit_off_serial": max(map(abs, off))}
    for count in ("1", "16"):
        each = found["batches"][count]
        assert each["problems_per_s"] > 0.0
        assert each["worst_promise_left"] < 1e-2
        assert each["worst_beyond_bounds"] == 0.0


def test_a_batch_that_would_take_too_long_is_left_out(stored: Path) -> None:
    batches = study_of([stored], (64, 1_000_000), 0.01, "cpu").results["sizes"]["small"]["batches"]
    assert batches["1000000"].startswith("left out")


def test_without_problems_it_says_how_to_store_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_experiment("batch_device", study, ["--quick"]) == 2
    assert "experiments.batch_problems" in capsys.readouterr().err


def test_it_runs_without_our_other_libraries(stored: Path, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "class Nothing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('casadi', 'polars', 'mlflow', 'pydantic', 'pint', 'ruamel', 'psutil'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Nothing())\n"
        "from experiments.batch_device import study\n"
        "from experiments.contract import run_experiment\n"
        "sys.exit(run_experiment('batch_device', study, ['--quick', '--json']))\n"
    )
    (tmp_path / "runs" / "batch_problems").mkdir(parents=True)
    (tmp_path / "runs" / "batch_problems" / "small.npz").write_bytes(stored.read_bytes())
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["results"]["sizes"]["small"]["batches"]["16"]["converged_share"] == 1.0
    assert report["environment"]["memory_gb"] is None
