"""The slow model: learned by the same path from means over many samples, it knows the plant's own gains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from training_plants import FADE, TO_MV, tiny_plant, tiny_record

from procmodel.data.window import Columns
from procmodel.errors import ArtifactError
from procmodel.plant import Plant, Slow
from procmodel.plant.slow import slow_plant
from procmodel.training.artifact import Artifact, save_artifact
from procmodel.training.slow import load_slow, train_slow
from procmodel.training.train import train
from procmodel.world_model.protocol import rollout

ROW = 6
# Engineering units of the tiny record: 10 degC and 1 bar per unit of the CVs, 5 and 4 % per unit of the MVs.
TRUE_GAIN = np.array([[10.0], [1.0]]) * TO_MV / (1 - FADE)[:, None] / np.array([5.0, 4.0])


def plant_with_a_slow_layer() -> Plant:
    slow = Slow(row=ROW * 5.0, horizon=8 * ROW * 5.0, window=6 * ROW * 5.0, latents=2)
    return tiny_plant(rollout=5.0).model_copy(update={"slow": slow})


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plant, Artifact, Artifact]:
    plant, scratch = plant_with_a_slow_layer(), tmp_path_factory.mktemp("slow")
    dataset = tiny_record(6000, holes=0)
    fast = train(dataset, plant, scratch / "fast")
    return plant, fast, train_slow(dataset, plant, fast, scratch / "slow")


def test_the_slow_model_learns_the_gains_of_a_slow_linear_system(both: tuple[Plant, Artifact, Artifact]) -> None:
    plant, _, slow = both
    columns, model = Columns.of(slow_plant(plant)), slow.model
    centre = slow.scaler.window(np.tile(slow.scaler.centre, (model.rows, 1)))
    moves_BU = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5]], dtype=torch.float64)
    held = moves_BU[:, None].expand(-1, 40, -1)
    none = torch.zeros((3, 40, 1), dtype=torch.float64)
    y_BY = slow.scaler.unscale(
        model.read_out(rollout(model, model.encode(centre).expand(3, -1), held, none)[:, -1]).numpy(), columns.cv
    )
    per_unit = 0.5 * slow.scaler.spread[list(columns.mv)]
    gain_YU = (y_BY[1:] - y_BY[0]).T / per_unit
    share_YU = (gain_YU - TRUE_GAIN) / np.abs(TRUE_GAIN).max(axis=1, keepdims=True)
    assert np.abs(share_YU).max() < 0.1


def test_the_slow_model_reads_the_fast_latent_beside_the_means(both: tuple[Plant, Artifact, Artifact]) -> None:
    plant, _, slow = both
    assert slow.model.config.columns.count == len(plant.columns) + 2
    assert slow.model.rows == 6


def test_a_slow_model_beside_another_fast_one_is_refused(
    both: tuple[Plant, Artifact, Artifact], tmp_path: Path
) -> None:
    plant, fast, slow = both
    save_artifact(slow, tmp_path / "slow")
    assert load_slow(tmp_path / "slow", plant, fast).plant == "tiny-slow"
    other = train(tiny_record(1500, seed=3), plant, tmp_path / "scratch")
    with pytest.raises(ArtifactError, match="another fast model"):
        load_slow(tmp_path / "slow", plant, other)
