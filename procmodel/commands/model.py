"""From the historian to a trained artifact: `ingest` and `train`."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from procmodel.commands.options import folder_of
from procmodel.commands.progress import Progress
from procmodel.data import load_dataset, save_dataset
from procmodel.data.dataset import Dataset
from procmodel.data.historians import open_historian
from procmodel.data.ingest import ingest as store
from procmodel.data.update import update
from procmodel.errors import ArtifactError
from procmodel.evaluation.record_facts import record_facts
from procmodel.plant import Plant
from procmodel.tracking import Tracker, seal_of
from procmodel.training.artifact import Artifact, load_artifact, save_artifact
from procmodel.training.processes import Processes
from procmodel.training.slow import load_slow, train_slow
from procmodel.training.train import train


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a plant's outputs live."""

    out: Path

    @property
    def dataset(self) -> Path:
        return self.out / "dataset"

    @property
    def model(self) -> Path:
        return self.out / "model"

    @property
    def slow_model(self) -> Path:
        return self.out / "slow-model"

    @property
    def scratch(self) -> Path:
        return self.out / "training"

    @property
    def report(self) -> Path:
        return self.out / "evaluation" / "report.html"


def place_of(plant: Plant, out: Path | None) -> Place:
    """`out`, or `runs/<plant name>` below the current folder.

    Raises:
        InputError: A file stands in its place, or where a folder above it would be.
    """
    return Place(out=folder_of("--out", out or Path("runs") / plant.name))


def ingest(
    plant: Plant, place: Place, progress: Progress, start: datetime | None = None, end: datetime | None = None
) -> Dataset:
    """Read the plant's history from `start` to `end` (None: all there is), put it on the grid, and store it."""
    progress.stage("ingest", "Reading and conditioning the history")
    folder = store(plant, open_historian(plant), place.dataset, start=start, end=end, progress=progress.step)
    return load_dataset(folder, plant)


def renew(plant: Plant, place: Place, progress: Progress, overlap: float) -> Dataset:
    """Bring the stored dataset up to date; samples up to `overlap` [s] late replace what was there."""
    dataset = load_dataset(place.dataset, plant)
    progress.stage("ingest", "Reading what is new")
    dataset = update(plant, open_historian(plant), dataset, overlap=overlap, progress=progress.step)
    save_dataset(dataset, place.dataset)
    return dataset


def dataset_of(plant: Plant, place: Place, progress: Progress) -> Dataset:
    """The stored dataset, or a fresh one where there is none."""
    if not place.dataset.exists():
        return ingest(plant, place, progress)
    return load_dataset(place.dataset, plant)


def shared_dataset_of(plant: Plant, place: Place, progress: Progress, processes: Processes) -> Dataset:
    """The same for processes that train together: one of them reads and stores it, and all load it."""
    found: list[Dataset] = []
    processes.agree(lambda: found.append(dataset_of(plant, place, progress)))
    return found[0] if found else load_dataset(place.dataset, plant)


def train_model(
    plant: Plant, dataset: Dataset, place: Place, progress: Progress, processes: Processes | None = None
) -> Artifact:
    """Train, store the artifact, and log the run; what a stop leaves is taken up by the next call."""
    together = processes or Processes()
    together.refuse_others(plant.training)
    _refuse_foreign(place)
    progress.stage("train", "Training the world model")
    if together.is_first:
        _train_tracked(plant, dataset, place, progress, together)
    else:
        train(dataset, plant, place.scratch, processes=together)
    together.agree(lambda: "stored")
    artifact = load_artifact(place.model, plant)
    if plant.slow is not None:
        progress.stage("train slow", "Training the slow model")
        scratch = place.scratch / "slow"
        slow = train_slow(dataset, plant, artifact, scratch, progress=progress.step, processes=together)
        if together.is_first:
            save_artifact(slow, place.slow_model)
    if together.is_first:
        shutil.rmtree(place.scratch, ignore_errors=True)
    return artifact  # loaded again: what advises is what was stored, to the last bit


def _train_tracked(plant: Plant, dataset: Dataset, place: Place, progress: Progress, processes: Processes) -> None:
    """Train and store under the eyes of MLflow."""
    facts = {"rows": dataset.rows, "sources": len(dataset.manifest.get("sources", {}))}
    tags = {"plant": plant.fingerprint, "data": seal_of(place.dataset)}
    place.out.mkdir(parents=True, exist_ok=True)
    with Tracker(place.out, experiment=plant.name, name="train", tags=tags) as run:
        with run.run("dataset", params=facts, tags={"data": seal_of(place.dataset), **_sources(dataset)}):
            pass
        seeds = {"seeds": list(range(plant.training.members))}
        with run.run("training", params={**plant.training.model_dump(), **seeds}) as training:
            artifact = train(
                dataset, plant, place.scratch, progress=progress.step, log=training.metrics, processes=processes
            )
            for member in artifact.notes["members"]:
                training.metrics(
                    {f"member-{member['seed']}/action_use/{k}": v for k, v in member["action_use"].items()}
                )
            save_artifact(artifact, place.model)
            training.artifact(place.model, "model")
        run.tags({"model": seal_of(place.model)})


def slow_model_of(plant: Plant, place: Place, fast: Artifact) -> Artifact | None:
    """The stored slow model; None where the plant file has no slow layer."""
    return load_slow(place.slow_model, plant, fast) if plant.slow is not None else None


def model_of(plant: Plant, place: Place, progress: Progress) -> Artifact:
    """The stored artifact, or a freshly trained one where there is none."""
    if place.model.exists():
        return load_artifact(place.model, plant)
    return train_model(plant, dataset_of(plant, place, progress), place, progress)


def _sources(dataset: Dataset) -> dict[str, str]:
    """Hashes of the files that were read, as tags; a long list is cut, its hash is part of `data`."""
    return {"sources": str(dataset.manifest.get("sources", {}))[:500]}


def _refuse_foreign(place: Place) -> None:
    """Hours of training must not end at a folder that cannot be written."""
    if place.model.exists() and not (place.model / "manifest.json").exists():
        raise ArtifactError(
            f"{place.model} is there already and holds no model; nothing was changed. Name another --out."
        )


def ingest_facts(dataset: Dataset, plant: Plant) -> dict[str, Any]:
    """What `ingest` tells."""
    return {
        "plant": plant.name,
        "rows": dataset.rows,
        "sample_time_s": dataset.step,
        "start": dataset.start.isoformat(),
        "campaigns": [s.name for s in dataset.stretches],
        "record": record_facts(dataset, plant),
        "report": dataset.manifest.get("report", {}),
    }


def train_facts(artifact: Artifact, plant: Plant) -> dict[str, Any]:
    """What `train` tells."""
    notes = artifact.notes
    return {
        "plant": plant.name,
        "excitation": notes["audit"],
        "root_scales": {
            name: {"distance_from": end, "unit": plant.tags[name].unit}
            for name, end in ((plant.columns[at], end) for at, end in artifact.scaler.roots().items())
        },
        "settings": notes["settings"],
        "members": [{k: v for k, v in member.items() if k != "curves"} for member in notes["members"]],
        "heads": {
            head.name: {"labels": head.labels, "error": head.error, "skill": head.skill, "unit": head.unit}
            for head in artifact.heads
        },
        "surprise_limit": artifact.calibration.surprise_limit,
    }


__all__ = [
    "Place",
    "dataset_of",
    "ingest",
    "ingest_facts",
    "model_of",
    "place_of",
    "renew",
    "shared_dataset_of",
    "slow_model_of",
    "train_facts",
    "train_model",
]
