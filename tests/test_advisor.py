"""What a model knows of its own doubt reaches the advice, whoever makes it."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from procmodel.advice import Mode
from procmodel.advisor import REACT, UNDER_ADVICE, advisor_of, optimizer_of, soon
from procmodel.data.dataset import Stretch
from procmodel.data.normal import normals_of
from procmodel.data.window import Columns, Scaler
from procmodel.plant import Plant
from procmodel.training.artifact import Artifact, Calibration
from procmodel.world_model.latent_model import LatentModel, ModelConfig

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def artifact(small_plant: Plant) -> Artifact:
    """CVs that keep nine tenths of their distance and take up both valves, learned from a record of noise."""
    columns = Columns.of(small_plant)
    model = LatentModel(ModelConfig(columns=columns, rows=3, lags=1, state=2, latent=2, hidden=4)).double()
    model.requires_grad_(False)
    for weights in model.parameters():
        weights.zero_()
    model.A.copy_(0.9 * torch.eye(2))
    model.B[:, :2] = 0.05
    model.C.copy_(torch.eye(2))
    rows_TC = history(small_plant, 500)
    steps = [tag.is_step for tag in small_plant.tags.values()]
    return Artifact(
        plant=small_plant.name,
        fingerprint="0123456789abcdef",
        members=(model.eval(),),
        scaler=Scaler(centre=np.array([40.0, 30.0, 55.0, 70.0, 12.0]), spread=np.full(5, 5.0)),
        calibration=Calibration(
            backoff_HY=np.tile(np.linspace(0.1, 3.0, 60)[:, None], 2), surprise_limit=2.0, confidence=0.9
        ),
        normals=normals_of(small_plant.columns, steps, rows_TC, (Stretch(name="record", start=0, stop=500),)),
    )


def history(plant: Plant, rows: int) -> np.ndarray:
    row = {"FC1.SP": 40.0, "FC2.SP": 30.0, "LI1.PV": 55.0, "TI1.PV": 70.0, "FI9.PV": 12.0}
    noise = 0.1 * np.random.default_rng(0).normal(size=(rows, 5)) * [tag not in plant.mvs for tag in plant.columns]
    return np.array([row[name] for name in plant.columns]) + noise


def test_the_advisor_has_the_models_limits_and_the_plant_files_pace(small_plant: Plant, artifact: Artifact) -> None:
    advisor = advisor_of(small_plant, artifact)
    assert advisor.surprise_limit == UNDER_ADVICE * 2.0
    assert advisor.name == "01234567"
    assert advisor.mode is Mode(small_plant.advice.mode)
    assert advisor.deadline == pytest.approx(7.0)  # 70 % of the 10 s between two advices
    assert advisor.rows_wanted == optimizer_of(small_plant, artifact).rows_wanted
    assert advisor_of(small_plant, artifact, mode=Mode.OFF).mode is Mode.OFF


def test_a_sample_that_the_record_never_saw_the_like_of_is_not_believed(small_plant: Plant, artifact: Artifact) -> None:
    advisor = advisor_of(small_plant, artifact)
    rows_RC = history(small_plant, advisor.rows_wanted)
    healthy, _ = advisor.advise(rows_RC, newest=NOW, now=NOW)
    assert healthy.is_move, healthy.reason
    rows_RC[-30:, small_plant.columns.index("LI1.PV")] *= 10.0  # mm for cm
    held, _ = advisor.advise(rows_RC, newest=NOW, now=NOW)
    assert "LI1.PV is not to be believed" in held.reason


def test_doubt_is_kept_in_reserve_as_it_stands_a_few_rows_ahead() -> None:
    growing = np.linspace(0.1, 3.0, 60)
    kept = soon(growing)
    np.testing.assert_array_equal(kept[:REACT], growing[:REACT])
    assert set(kept[REACT:]) == {growing[REACT - 1]}
    assert len(soon(np.empty(0))) == 0
