"""`head fit`: a constraint head learned anew, on a model that stays as it is."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from procmodel.commands.model import Place, dataset_of
from procmodel.commands.progress import Progress
from procmodel.constraints.head import ConstraintHead
from procmodel.errors import PlantFileError
from procmodel.plant import Plant
from procmodel.training.artifact import Artifact, load_artifact, save_artifact
from procmodel.training.calibrate import learn_head
from procmodel.training.settings import horizon_rows


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The new head, the one it replaced (None where there was none), and what was left out."""

    head: ConstraintHead
    before: ConstraintHead | None
    remarks: tuple[str, ...]


def fit(plant: Plant, place: Place, name: str, progress: Progress) -> Fitted:
    """Learn one constraint of the plant file from its labels and store it beside the model, which is not touched.

    Raises:
        PlantFileError: The plant file has no such constraint.
        ArtifactError: There is no model yet.
        LabelError, GateError: The labels cannot carry a head; the stored model stays as it is.
    """
    if name not in plant.constraints:
        known = ", ".join(plant.constraints) or "none"
        raise PlantFileError(
            f"head fit: {plant.name!r} has no constraint {name!r}; known: {known}. Add it to `constraints` in the "
            "plant file, with its labels."
        )
    artifact = load_artifact(place.model, plant)
    dataset = dataset_of(plant, place, progress)
    progress.stage("head", f"Learning the margin {name}")
    remarks = list[str]()
    head = learn_head(
        name, plant.constraints[name], artifact.model, artifact.scaler, dataset, horizon_rows(plant),
        timezone=plant.history.timezone if plant.history else None, remark=remarks.append,
    )  # fmt: skip
    before = next((each for each in artifact.heads if each.name == name), None)
    save_artifact(_with_head(artifact, plant, head, remarks), place.model)
    load_artifact(place.model, plant)
    return Fitted(head=head, before=before, remarks=tuple(remarks))


def _with_head(artifact: Artifact, plant: Plant, head: ConstraintHead, remarks: list[str]) -> Artifact:
    """Heads in the order of the plant file; one that it no longer names is left out."""
    heads = {each.name: each for each in artifact.heads} | {head.name: head}
    kept = tuple(heads[name] for name in plant.constraints if name in heads)
    notes = {**artifact.notes, "remarks": [*artifact.notes.get("remarks", []), *remarks]}
    return dataclasses.replace(artifact, heads=kept, notes=notes)


def head_facts(fitted: Fitted) -> dict[str, Any]:
    """What `head fit` tells."""
    head = fitted.head
    return {
        "head": head.name,
        "labels": head.labels,
        "form": head.form,
        "confidence": head.confidence,
        "error": head.error,
        "skill": head.skill,
        "unit": head.unit,
        "left_out": "campaigns" if head.campaigns > 1 else "blocks of time",
        "campaigns": head.campaigns,
        "allowance_now": head.allowance_now,
        "allowance_by_row": head.allowance_H.tolist(),
        "allowance_last": float(head.allowance_H[-1]) if head.allowance_H.size else None,
        "replaced": None if fitted.before is None else {"labels": fitted.before.labels, "error": fitted.before.error},
        "remarks": list(fitted.remarks),
    }
