"""`procmodel train` stopped by hand or killed: no half-made model, and the next call goes on from the last epoch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import procmodel
from procmodel.plant import load_plant
from procmodel.training.artifact import load_artifact

Command = Callable[..., CompletedProcess[str]]
PROGRAM = "from procmodel.cli import main; main()"
EPOCHS, BATCHES = 400, 100


def _hears_ctrl_c() -> None:
    """A shell's background job ignores SIGINT, and so would the process that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def begun(site: Path) -> subprocess.Popen[str]:
    """A training far longer than the wait, stopped nowhere yet but past its first epoch."""
    plant = site / "plant.yaml"
    text = plant.read_text(encoding="utf-8")
    plant.write_text(text.replace("epochs: 1,", f"epochs: {EPOCHS},"), encoding="utf-8")
    root = Path(procmodel.__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "train", str(plant), "--out", str(site / "fresh"), "--json"],
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hears_ctrl_c,
    )
    deadline = time.monotonic() + 120
    while not kept(site) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()[1]
    assert kept(site)
    return process


def kept(site: Path) -> list[Path]:
    return list((site / "fresh" / "training").rglob("*.ckpt"))


def models(site: Path) -> list[Path]:
    """Whatever lies in the model's place or was on its way there."""
    return [path for path in (site / "fresh").iterdir() if "model" in path.name]


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_training_leaves_no_model_and_goes_on_where_it_was(
    command: Command, site: Path, sent: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = begun(site)
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    assert out == ""
    assert "Traceback" not in err
    if sent is signal.SIGINT:
        assert process.returncode == 130
        assert [line for line in err.splitlines() if line.startswith("procmodel: stopped")]
    else:
        assert process.returncode == -signal.SIGKILL
    assert models(site) == []
    assert kept(site)

    # The rest is cut short: what counts is where it begins, and the test need not last.
    seen: list[int] = []
    stop_after = 2

    def step(self: object, done: int, total: int, what: str = "") -> None:
        if what.startswith("training"):
            seen.append(done)
            if len(seen) == stop_after:
                raise KeyboardInterrupt

    monkeypatch.setattr("procmodel.commands.progress.Progress.step", step)
    again = command("train", site / "plant.yaml", "--out", site / "fresh")
    assert again.returncode == 130, again.stderr
    assert "procmodel: stopped" in again.stderr
    assert seen[0] > BATCHES  # at least the epoch that was kept is not trained again
    assert seen[0] % BATCHES == 1
    assert models(site) == []


@pytest.mark.slow
def test_a_stopped_training_leaves_the_model_that_was_there(
    command: Command, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = site / "out" / "model"
    before = {path.name: path.read_bytes() for path in model.iterdir()}

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    plant = site / "plant.yaml"
    plant.write_text(plant.read_text(encoding="utf-8").replace("epochs: 1,", "epochs: 2,"), encoding="utf-8")
    with monkeypatch.context() as patched:
        patched.setattr("procmodel.commands.model.save_artifact", stop)
        assert command("train", plant, "--out", site / "out").returncode == 130
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before
    again = command("train", plant, "--out", site / "out")
    assert again.returncode == 0, again.stderr
    assert load_artifact(model, load_plant(plant)).notes["settings"]["epochs"] == 2
