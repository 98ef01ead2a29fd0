"""What the plant file says of doubt, in the advice that comes of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import torch

from procmodel.commands.advise import advise
from procmodel.data.window import Columns, Scaler
from procmodel.errors import ArtifactError
from procmodel.plant import load_plant
from procmodel.training.artifact import Artifact, Calibration
from procmodel.world_model.latent_model import LatentModel, ModelConfig

START = datetime(2026, 3, 1, tzinfo=UTC)
PLANT = """\
name: fed
sample_time: 10 s
history: {{kind: csv, path: export.csv}}
tags:
  V.SP: {{role: MV, unit: kg/h, limits: [0, 100], max_move: 5}}
  F.PV: {{role: DV, unit: kg/h, announced: feed.csv}}
  L.PV: {{role: CV, unit: cm, range: [0, 100], limits: {{high: {{at: 60, rank: 1}}}}}}
advice: {{horizon: 2 min, max_age: 1 min, objective: -1 * L.PV{advice}}}
"""


def site(folder: Path, advice: str = "") -> Path:
    """A level at rest, and a feed of which is known that it will rise by 2, or perhaps by 10."""
    (folder / "plant.yaml").write_text(PLANT.format(advice=advice), encoding="utf-8")
    lines = ["time,V.SP,F.PV,L.PV"]
    for row in range(80):
        stamp = (START + timedelta(seconds=10 * row)).isoformat()
        lines.append(f"{stamp},50,20,{50 + 0.01 * (-1) ** row}")
    (folder / "export.csv").write_text("\n".join(lines), encoding="utf-8")
    soon = (START + timedelta(seconds=810)).isoformat()
    (folder / "feed.csv").write_text(f"time,value,high\n{soon},22,30\n", encoding="utf-8")
    return folder / "plant.yaml"


def member(columns: Columns, gain: float) -> LatentModel:
    """A level that keeps nine tenths of its distance and takes up valve and feed."""
    model = LatentModel(ModelConfig(columns=columns, rows=3, lags=1, state=1, latent=2, hidden=4)).double()
    model.requires_grad_(False)
    for weights in model.parameters():
        weights.zero_()
    model.A.fill_(0.9)
    model.B.copy_(torch.tensor([[gain, 0.1]]))
    model.C.fill_(1.0)
    return model.eval()


def artifact_of(file: Path, *gains: float) -> Artifact:
    plant = load_plant(file)
    columns = Columns.of(plant)
    return Artifact(
        plant=plant.name,
        fingerprint=plant.fingerprint,
        members=tuple(member(columns, gain) for gain in gains),
        scaler=Scaler(centre=np.array([50.0, 20.0, 50.0]), spread=np.array([10.0, 10.0, 10.0])),
        calibration=Calibration(backoff_HY=np.full((12, 1), 0.1), surprise_limit=1e9, confidence=0.9),
    )


def advised(file: Path, *gains: float) -> Any:
    return advise(load_plant(file), artifact_of(file, *gains), newest=True)


def test_what_may_come_and_what_members_say_is_told_in_the_advice(tmp_path: Path) -> None:
    plain = advised(site(tmp_path), 0.05, 0.08)
    assert plain.advice.is_move, plain.advice.reason
    assert plain.plan.branches == ()
    done = advised(site(tmp_path, ", scenarios: [members, futures]"), 0.05, 0.08)
    assert done.advice.is_move, done.advice.reason
    assert [branch.name for branch in done.plan.branches] == ["expected", "member 2", "high"]
    assert any(words.startswith("L.PV high 60 cm") for words in done.advice.active)  # it binds in all of them
    assert done.advice.moves[0].recommended == done.plan.branches[2].moves[0, 0]


def test_one_sequence_for_all_is_as_careful_as_its_worst_future(tmp_path: Path) -> None:
    ways = ("first", "all")
    first, every = (
        advised(site(tmp_path, f", scenarios: [members, futures], shared_moves: {way}"), 0.05, 0.08) for way in ways
    )
    assert every.plan.predicted.max() < first.plan.predicted.max()  # the expected future pays for the others
    (words,) = [words for words in every.advice.active if words.startswith("L.PV high 60 cm")]
    assert "in scenario" in words
    assert "expected" not in words
    for done in (first, every):
        assert max(float(branch.predicted.max()) for branch in done.plan.branches) <= 60.0


def test_the_members_spread_keeps_the_plan_off_its_limit(tmp_path: Path) -> None:
    plain = advised(site(tmp_path), 0.05, 0.08)
    apart = advised(site(tmp_path, ", member_spread: true"), 0.05, 0.08)
    assert plain.plan.predicted.max() == pytest.approx(59.9, abs=0.01)
    assert apart.plan.predicted.max() < 59.5
    assert any("kept for doubt" in words for words in apart.advice.active)


@pytest.mark.parametrize("asks", ["scenarios: [members]", "member_spread: true"])
def test_a_model_of_one_member_has_no_others_to_ask(tmp_path: Path, asks: str) -> None:
    file = site(tmp_path, f", {asks}")
    with pytest.raises(ArtifactError, match=rf"advice.{asks.split(':')[0]} .*has one.*training.members to 2"):
        advised(file, 0.05)


def test_the_command_refuses_to_hear_members_that_are_not_there(
    command: Callable[..., CompletedProcess[str]], trained: tuple[Path, CompletedProcess[str]], tmp_path: Path
) -> None:
    text = (trained[0] / "plant.yaml").read_text(encoding="utf-8").replace("max_age: 1 min", "member_spread: true")
    (tmp_path / "plant.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "export.csv").write_bytes((trained[0] / "export.csv").read_bytes())
    done = command("advise", tmp_path / "plant.yaml", "--out", trained[0] / "out", "--at", "latest")
    assert done.returncode == 2
    assert "training.members" in done.stderr
