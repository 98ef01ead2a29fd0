"""Stored problems, solved where there is torch and numpy and no other library of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.batch_device import main, perturbed
from experiments.batch_problems import write
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


def test_the_report_holds_rates_and_distances_from_the_serial_merits(
    stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["--problems", str(stored), "--device", "cpu", "--batches", "1", "16", "--patience", "0.5", "--json"]) == 0
    )
    report = json.loads(capsys.readouterr().out)
    found = report["sizes"]["small"]
    assert found["converged_share"] == 1.0
    assert -1e-3 < found["worst_merit_below_serial"] <= found["worst_merit_above_serial"] < 1e-3
    for count in ("1", "16"):
        each = found["batches"][count]
        assert each["problems_per_s"] > 0.0
        assert each["worst_promise_left"] < 1e-2
        assert each["worst_beyond_bounds"] == 0.0


def test_a_batch_that_would_take_too_long_is_left_out(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--problems", str(stored), "--device", "cpu", "--batches", "64", "1000000", "--patience", "0.01"]
    assert main([*arguments, "--json"]) == 0
    batches = json.loads(capsys.readouterr().out)["sizes"]["small"]["batches"]
    assert batches["1000000"].startswith("left out")


def test_it_runs_without_our_other_libraries(stored: Path) -> None:
    program = (
        "import sys\n"
        "class Nothing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('casadi', 'polars', 'mlflow', 'pydantic', 'pint', 'ruamel', 'psutil'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Nothing())\n"
        "from experiments.batch_device import main\n"
        f"sys.exit(main(['--problems', {str(stored)!r}, '--device', 'cpu', '--batches', '4', '--patience', '0.1']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "batch 4:" in done.stdout
