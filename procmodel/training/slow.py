"""Training of the slow model that stands on a trained fast one: the same path, on slow rows."""

from __future__ import annotations

from pathlib import Path

from procmodel.data.dataset import Dataset
from procmodel.plant import Plant
from procmodel.plant.slow import slow_plant
from procmodel.training.artifact import Artifact
from procmodel.training.callbacks import Log, Progress
from procmodel.training.train import train
from procmodel.world_model.slow import SlowRows


def train_slow(
    dataset: Dataset,
    plant: Plant,
    fast: Artifact,
    scratch: Path,
    *,
    progress: Progress | None = None,
    log: Log | None = None,
) -> Artifact:
    """Artifact of the slow model of a plant with `slow` in its file; as `train`, whose errors it raises.

    Args:
        dataset: The fast record.
        fast: Trained on it; the slow model reads its latent.
    """
    slow_rows = SlowRows.of(plant, fast.model, fast.scaler)
    return train(slow_rows.dataset(dataset, plant), slow_plant(plant), scratch, progress=progress, log=log)
