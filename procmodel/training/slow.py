"""Training of the slow model that stands on a trained fast one: the same path, on slow rows."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from procmodel.data.dataset import Dataset
from procmodel.errors import ArtifactError
from procmodel.plant import Plant
from procmodel.plant.slow import slow_plant
from procmodel.training.artifact import Artifact, load_artifact
from procmodel.training.callbacks import Log, Progress
from procmodel.training.processes import Processes
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
    processes: Processes | None = None,
) -> Artifact:
    """Artifact of the slow model of a plant with `slow` in its file; as `train`, whose errors it raises.

    Args:
        dataset: The fast record.
        fast: Trained on it; the slow model reads its latent.
    """
    slow_rows = SlowRows.of(plant, fast.model, fast.scaler)
    record = slow_rows.dataset(dataset, plant)
    slow = train(record, slow_plant(plant), scratch, progress=progress, log=log, processes=processes)
    return dataclasses.replace(slow, notes={**slow.notes, "reads": weights_hash(fast)})


def load_slow(folder: Path | str, plant: Plant, fast: Artifact) -> Artifact:
    """The stored slow model of a fast one.

    Raises:
        ArtifactError: It is missing, damaged, of another plant, or reads the latent of another fast model.
    """
    slow = load_artifact(folder, slow_plant(plant))
    if slow.notes.get("reads") != weights_hash(fast):
        raise ArtifactError(
            f"The slow model in {folder} reads the latent of another fast model than the one beside it. Train both "
            "again with 'procmodel train'."
        )
    return slow


def weights_hash(artifact: Artifact) -> str:
    """SHA-256 of the weights that advise, as they are stored."""
    weights = artifact.model.state_dict()
    return hashlib.sha256(b"".join(weights[name].float().numpy().tobytes() for name in sorted(weights))).hexdigest()
