"""`procmodel train` in two processes: one voice, one model, and an end for both where one ends."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

import procmodel
from procmodel.plant import load_plant
from procmodel.training.artifact import load_artifact

Command = Callable[..., CompletedProcess[str]]
PYTHON = {**os.environ, "PYTHONPATH": str(Path(procmodel.__file__).parents[1]), "OMP_NUM_THREADS": "1"}

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "procmodel"]


def asked(site: Path, wish: str) -> Path:
    """The plant file with another wish for its training."""
    plant = site / "plant.yaml"
    plant.write_text(
        plant.read_text(encoding="utf-8").replace("training: {", f"training: {{{wish}, "), encoding="utf-8"
    )
    return plant


def begun(site: Path, *, out: str = "fresh", **variables: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "procmodel", "train", str(site / "plant.yaml"), "--out", str(site / out), "--json"]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, env={**PYTHON, **variables}, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.slow
def test_two_processes_speak_and_write_as_one(
    site: Path, trained: tuple[Path, CompletedProcess[str]], tmp_path: Path
) -> None:
    plant = asked(site, "devices: 2")
    process = begun(site)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    facts = json.loads(out)  # one object and nothing else
    assert facts["model"] == str(site / "fresh" / "model")
    assert err.count("Training the world model: done") == 1
    assert not (site / "fresh" / "training").exists()
    with sqlite3.connect(site / "fresh" / "mlflow.db") as store:
        runs = sorted(store.execute("select name, status from runs").fetchall())
    assert runs == [("dataset", "FINISHED"), ("train", "FINISHED"), ("training", "FINISHED")]
    together = load_artifact(site / "fresh" / "model", load_plant(plant))
    alone = load_artifact(trained[0] / "out" / "model", load_plant(trained[0] / "plant.yaml"))
    assert set(together.notes["settings"]) == set(alone.notes["settings"])
    # The anchor has operating points of its own in each process here, so the models are alike and not the same.
    np.testing.assert_allclose(together.calibration.backoff_HY, alone.calibration.backoff_HY, rtol=0.15)


@pytest.mark.slow
def test_where_one_of_two_is_killed_the_other_ends_and_says_so(site: Path) -> None:
    asked(site, "strategy: ddp")
    plant = site / "plant.yaml"
    plant.write_text(plant.read_text(encoding="utf-8").replace("epochs: 1,", "epochs: 400,"), encoding="utf-8")
    job = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_STEP_NODELIST": "127.0.0.1"}
    job |= {"SLURM_JOB_ID": str(os.getpid()), "GLOO_SOCKET_IFNAME": "lo"}
    first, second = (begun(site, SLURM_PROCID=rank, SLURM_LOCALID=rank, **job) for rank in "01")
    deadline = time.monotonic() + 300
    while not list((site / "fresh").rglob("*.ckpt")) and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    begun_well = list((site / "fresh").rglob("*.ckpt"))
    second.kill()
    out, err = first.communicate(timeout=60)
    assert begun_well, err
    assert second.communicate() == ("", "")
    assert (first.returncode, second.returncode) == (1, -signal.SIGKILL), err
    assert out == ""
    assert "Traceback" not in err
    assert "procmodel: Process 1 of 2 has lost another one" in err
    assert list((site / "fresh" / "training").rglob("*.ckpt"))
    assert not (site / "fresh" / "model").exists()


def torchrun(site: Path) -> subprocess.Popen[str]:
    words = [*TORCHRUN, "train", str(site / "plant.yaml"), "--out", str(site / "fresh"), "--json"]
    return subprocess.Popen(words, env=PYTHON, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_torchrun_is_stopped_by_ctrl_c_and_the_same_command_goes_on(site: Path) -> None:
    plant, epochs = site / "plant.yaml", 8
    text = plant.read_text(encoding="utf-8").replace("epochs: 1,", f"epochs: {epochs},")
    plant.write_text(text.replace("batches: 100,", "batches: 40,"), encoding="utf-8")
    process = torchrun(site)
    deadline = time.monotonic() + 120
    while not list((site / "fresh").rglob("*.ckpt")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)  # torchrun hands it on
    out, err = process.communicate(timeout=60)
    assert process.returncode, err  # torchrun's own code, not that of the processes it started
    assert out == ""
    assert err.count("procmodel: stopped") == 1
    assert not (site / "fresh" / "model").exists()
    out, err = torchrun(site).communicate(timeout=120)
    assert json.loads(out)["settings"]["epochs"] == epochs, err
    key = "member-0/train/total"
    with sqlite3.connect(site / "fresh" / "mlflow.db") as store:
        rows = store.execute("select step, run_uuid from metrics where key = ? order by step", [key]).fetchall()
    assert [step for step, _ in rows] == list(range(epochs))  # each epoch once, none twice
    assert len({run for _, run in rows}) == 2
    assert not (site / "fresh" / "training").exists()


def test_a_wish_for_processes_that_cannot_be_met_is_one_error(command: Command, site: Path) -> None:
    asked(site, "nodes: 2")
    for name in ("train", "evaluate"):
        done = command(name, site / "plant.yaml", "--out", site / "fresh")
        assert done.returncode == 2
        assert done.stdout == ""
        assert "training.nodes is 2, and 1 is at work" in done.stderr
        assert not (site / "fresh" / "model").exists()


def test_the_first_speaks_for_all_where_all_are_wrong(site: Path) -> None:
    asked(site, "devices: 2, batches: none")
    process = begun(site)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert [line.split(":")[0] for line in err.splitlines()] == ["procmodel"]
