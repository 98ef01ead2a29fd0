"""What the explanation says of moving limits, announced disturbances and step responses, against closed forms."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

from procmodel.advisor import optimizer_of
from procmodel.commands.advise import advise
from procmodel.commands.ahead import announced_changes, moving_limits
from procmodel.control.requests import ORDINARY, Orders
from procmodel.data.window import Columns, Scaler
from procmodel.plant import Plant, load_plant
from procmodel.training.artifact import Artifact, Calibration
from procmodel.world_model.latent_model import LatentModel, ModelConfig

START = datetime(2026, 3, 1, tzinfo=UTC)
KEEP, GAIN = 0.9, 0.05
PLANT = """\
name: fed
sample_time: 10 s
history: {kind: csv, path: export.csv}
tags:
  V.SP: {role: MV, unit: kg/h, limits: [0, 100], max_move: 5}
  F.PV: {role: DV, unit: kg/h, announced: feed.csv}
  L.PV: {role: CV, unit: cm, range: [0, 100], limits: {high: {at: 60}}, funnel: 1 min, ramp: 3}
advice: {horizon: 2 min, max_age: 1 min, scenarios: [futures]}
"""


def site(folder: Path, level: float) -> Path:
    """A level at rest, and a feed of which it is known that it will rise by 2, or perhaps by 10, and fall again."""
    (folder / "plant.yaml").write_text(PLANT, encoding="utf-8")
    stamps = [(START + timedelta(seconds=10 * row)).isoformat() for row in range(84)]
    rows = [f"{stamp},50,20,{level + 0.01 * (-1) ** row}" for row, stamp in enumerate(stamps[:80])]
    (folder / "export.csv").write_text("\n".join(["time,V.SP,F.PV,L.PV", *rows]), encoding="utf-8")
    feed = ["time,value,high", f"{stamps[81]},22,30", f"{stamps[83]},20,20"]
    (folder / "feed.csv").write_text("\n".join(feed), encoding="utf-8")
    return folder / "plant.yaml"


def artifact_of(plant: Plant) -> Artifact:
    """A level that keeps nine tenths of its distance and takes up valve and feed; spreads of 10."""
    columns = Columns.of(plant)
    model = LatentModel(ModelConfig(columns=columns, rows=3, lags=1, state=1, latent=2, hidden=4)).double()
    model.requires_grad_(False)
    for weights in model.parameters():
        weights.zero_()
    model.A.fill_(KEEP)
    model.B.copy_(torch.tensor([[GAIN, 0.1]]))
    model.C.fill_(1.0)
    return Artifact(
        plant=plant.name,
        fingerprint=plant.fingerprint,
        members=(model.eval(),),
        scaler=Scaler(centre=np.array([50.0, 20.0, 50.0]), spread=np.array([10.0, 10.0, 10.0])),
        calibration=Calibration(backoff_HY=np.zeros((12, 1)), surprise_limit=1e9, confidence=0.9),
    )


def explained(folder: Path, level: float) -> list[str]:
    plant = load_plant(site(folder, level))
    return list(advise(plant, artifact_of(plant), newest=True, explain=True).advice.explanation)


def test_a_funnel_in_force_is_told_with_where_it_stands_and_when_it_closes(tmp_path: Path) -> None:
    """The level stands 6 cm above its limit of 60, and the funnel of six rows closes by 1 cm a row."""
    (line,) = [line for line in explained(tmp_path, 66.0) if "funnel" in line]
    found = re.fullmatch(r"limit L.PV high 60 cm is in its funnel: (\S+) after 10 s, closed after 1 min", line)
    assert found
    assert float(found[1]) == pytest.approx(65.0, abs=0.1)
    assert not any("funnel" in line for line in explained(tmp_path, 55.0))


def test_announced_disturbances_are_told_by_when_and_to_what(tmp_path: Path) -> None:
    """The newest sample is stamped 790 s, the feed rises at 810 s and falls at 830 s."""
    lines = explained(tmp_path, 55.0)
    assert "F.PV is announced to go from 20 to 22 kg/h in 20 s, to 20 kg/h in 40 s" in lines
    assert "F.PV may go (high) from 20 to 30 kg/h in 20 s, to 20 kg/h in 40 s" in lines


def test_many_announced_changes_are_counted_and_none_says_nothing(tmp_path: Path) -> None:
    plant = load_plant(site(tmp_path, 55.0))
    history = np.tile([50.0, 20.0, 55.0], (3, 1))
    future = np.array([[21.0], [22.0], [23.0], [24.0], [25.0]])
    (line,) = announced_changes(plant, history, Orders(future_dv_HV=future))
    assert line == ("F.PV is announced to go from 20 to 21 kg/h now, to 22 kg/h in 10 s, to 23 kg/h in 20 s and 2 more")
    assert announced_changes(plant, history, Orders(future_dv_HV=np.full((5, 1), np.nan))) == []
    assert announced_changes(plant, history, ORDINARY) == []


def test_a_limit_on_its_ramp_is_told_with_when_it_will_be_there(tmp_path: Path) -> None:
    """3 cm/min are 0.5 cm per advice: of 6 cm, 5.5 are left, which take 1.83 min."""
    plant = load_plant(site(tmp_path, 50.0))
    optimizer = optimizer_of(plant, artifact_of(plant))
    history = np.tile([50.0, 20.0, 50.0], (optimizer.rows_wanted, 1))
    first = optimizer.plan(history)
    orders = Orders(limits={"L.PV": {"high": 54.0}})
    second = optimizer.plan(history, orders, previous=first)
    (line,) = moving_limits(plant, second, orders)
    assert line == "limit L.PV high stands at 59.5 cm on its way to 54, by 3 cm/min: there in 1.83 min"
    assert moving_limits(plant, first, ORDINARY) == []


def test_a_step_is_answered_as_the_equation_says(tmp_path: Path) -> None:
    (line,) = [line for line in explained(tmp_path, 55.0) if "of a move by 1" in line]
    found = re.fullmatch(r"L.PV \[cm\] after 10 s, 20 s, 50 s, 2 min of a move by 1: V.SP (.*)", line)
    assert found
    answers = [float(value) for value in found[1].split(", ")]
    truth = GAIN * (1 - KEEP ** np.array([1, 2, 5, 12])) / (1 - KEEP)
    assert answers == pytest.approx(truth.tolist(), rel=5e-3)
