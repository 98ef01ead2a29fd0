"""A reference plant's world model, trained once and kept, for experiments that ask about something else."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from procmodel.data import condition, load_dataset, save_dataset
from procmodel.data.dataset import Dataset
from procmodel.data.historians import open_historian
from procmodel.plant import Plant, load_plant
from procmodel.simulation import ReferencePlant, record, reference_plant
from procmodel.training.artifact import Artifact, load_artifact, save_artifact
from procmodel.training.train import train

RECORD_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Learned:
    """A reference plant with what its record taught."""

    reference: ReferencePlant
    plant: Plant
    dataset: Dataset
    artifact: Artifact


def learned(name: str, *, rows: int, folder: Path = Path("runs/experiments/learned"), epochs: int = 6) -> Learned:
    """Record, condition and train; what an earlier call left in `folder` is taken up."""
    reference, home = reference_plant(name), folder / f"{name}-{rows}-{epochs}"
    if not (home / "export").exists():
        record(reference, rows=rows, seed=RECORD_SEED, folder=home / "export")
    plant = load_plant(home / "export" / "plant.yaml")
    plant = plant.model_copy(update={"training": plant.training.model_copy(update={"epochs": epochs})})
    if not (home / "dataset").exists():
        save_dataset(condition(plant, open_historian(plant)), home / "dataset")
    dataset = load_dataset(home / "dataset", plant)
    if not (home / "model").exists():
        print(f"Training the world model of the {name} ({rows} rows, once)", file=sys.stderr)
        save_artifact(train(dataset, plant, home / "scratch"), home / "model")
    return Learned(reference=reference, plant=plant, dataset=dataset, artifact=load_artifact(home / "model", plant))
