"""The artifact: what training leaves and advising loads. Safetensors, JSON and hashes; nothing in it can run.

Neither Lightning nor a pickle is needed to load it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from procmodel.constraints.head import ConstraintHead
from procmodel.data.normal import Normal
from procmodel.data.sealed import read_sealed, write_sealed
from procmodel.data.window import Scaler
from procmodel.errors import ArtifactError
from procmodel.plant import Plant
from procmodel.world_model.correction import LastingTrust, Trust
from procmodel.world_model.latent_model import LatentModel, ModelConfig
from procmodel.world_model.support import Support

FACTS = "model.json"
_AGAIN = "Train it again with 'procmodel train'."


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What held-back rows say of the model's doubt.

    Attributes:
        backoff_HY: Quantile of the corrected forecast's error k rows ahead, per CV, never falling [unit].
        trust: How far past errors correct a forecast; None in artifacts of 0.1: they are believed whole.
        surprise_limit: Quantile of the surprise on normal data.
        confidence: Of the backoff [-].
        error_covariance_YY: Of the errors one row ahead on normal data, by which surprise is measured [scaled]; None:
            each CV by its own spread, as in artifacts of 0.1.
    """

    backoff_HY: np.ndarray
    surprise_limit: float
    confidence: float
    error_covariance_YY: np.ndarray | None = None
    trust: Trust | None = None


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A trained world model with all that belongs to it.

    Attributes:
        members: Models of the same plant from different seeds; the first one advises.
        heads: Constraint heads on the first member's latent.
        support: Where the record's latents lie; None in artifacts of 0.1.
        normals: What each tag usually does from row to row, by tag; empty in artifacts of 0.1.
        notes: Settings, curves, diagnostics and origin, for people.
    """

    plant: str
    fingerprint: str
    members: tuple[LatentModel, ...]
    scaler: Scaler
    calibration: Calibration
    heads: tuple[ConstraintHead, ...] = ()
    support: Support | None = None
    normals: dict[str, Normal] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> LatentModel:
        return self.members[0]


def save_artifact(artifact: Artifact, folder: Path | str) -> Path:
    """Write it; an artifact that is there already stays until the new one is complete.

    Raises:
        ArtifactError: Something else stands in that place.
    """
    facts = {
        "plant": artifact.plant,
        "fingerprint": artifact.fingerprint,
        "config": artifact.model.config.to_dict(),
        "members": len(artifact.members),
        "scaler": _scaler_facts(artifact.scaler),
        "calibration": {
            "backoff": artifact.calibration.backoff_HY.tolist(),
            "surprise_limit": artifact.calibration.surprise_limit,
            "confidence": artifact.calibration.confidence,
            "error_covariance": _listed(artifact.calibration.error_covariance_YY),
            "trust": _trust_facts(artifact.calibration.trust),
        },
        "heads": [head.to_dict() for head in artifact.heads],
        "support": None if artifact.support is None else artifact.support.to_dict(),
        "normals": {name: normal.to_dict() for name, normal in artifact.normals.items()},
        "notes": artifact.notes,
    }
    files = {FACTS: json.dumps(facts, indent=1, allow_nan=False).encode()}
    for i, member in enumerate(artifact.members):
        tensors = {name: value.detach().float().cpu().contiguous() for name, value in member.state_dict().items()}
        files[_weights(i)] = save_tensors(tensors)
    return write_sealed(folder, "world model", files, error=ArtifactError)


def load_artifact(folder: Path | str, plant: Plant) -> Artifact:
    """Read an artifact and check that it is whole and that it was learned from this plant. Models are float64.

    Raises:
        ArtifactError: It is missing, damaged, or of another plant.
    """
    files = read_sealed(folder, "world model", again=_AGAIN, error=ArtifactError)
    try:
        facts = json.loads(files[FACTS])
        _refuse_other_plant(Path(folder), facts, plant)
        config = ModelConfig.from_dict(facts["config"])
        members = tuple(_member(config, files[_weights(i)]) for i in range(facts["members"]))
        calibration = facts["calibration"]
        return Artifact(
            plant=facts["plant"],
            fingerprint=facts["fingerprint"],
            members=members,
            scaler=Scaler(**{key: np.array(value) for key, value in facts["scaler"].items()}),
            calibration=Calibration(
                backoff_HY=np.array(calibration["backoff"]),
                surprise_limit=calibration["surprise_limit"],
                confidence=calibration["confidence"],
                error_covariance_YY=_array(calibration.get("error_covariance")),
                trust=_trust(calibration.get("trust")),
            ),
            heads=tuple(ConstraintHead.from_dict(head) for head in facts["heads"]),
            support=Support.from_dict(facts["support"]) if facts.get("support") else None,
            normals={name: Normal.from_dict(each) for name, each in facts.get("normals", {}).items()},
            notes=facts["notes"],
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ArtifactError(f"{folder}: the model cannot be read ({error}). {_AGAIN}") from error


def _member(config: ModelConfig, content: bytes) -> LatentModel:
    model = LatentModel(config)
    model.load_state_dict(load_tensors(content))
    return model.to(torch.float64).eval().requires_grad_(False)


def _listed(values: np.ndarray | None) -> list[Any] | None:
    return None if values is None else values.tolist()


def _array(values: list[Any] | None) -> np.ndarray | None:
    return None if values is None else np.array(values)


def _scaler_facts(scaler: Scaler) -> dict[str, Any]:
    straight = {"centre": scaler.centre.tolist(), "spread": scaler.spread.tolist()}
    return straight if scaler.bend is None else straight | {"bend": scaler.bend.tolist()}


def _trust_facts(trust: Trust | None) -> dict[str, Any] | None:
    if trust is None:
        return None
    facts: dict[str, Any] = {"gain": trust.gain_HY.tolist(), "usual": trust.usual_HY.tolist()}
    if long := trust.lasting:
        facts["lasting"] = {"memory": long.memory, "gain": long.gain_HY.tolist(), "ratio": long.ratio_HY.tolist()}
    return facts


def _trust(facts: dict[str, Any] | None) -> Trust | None:
    if facts is None:
        return None
    lasting = None
    if long := facts.get("lasting"):
        lasting = LastingTrust(
            memory=int(long["memory"]), gain_HY=np.array(long["gain"]), ratio_HY=np.array(long["ratio"])
        )
    return Trust(gain_HY=np.array(facts["gain"]), usual_HY=np.array(facts["usual"]), lasting=lasting)


def _weights(member: int) -> str:
    return f"member-{member}.safetensors"


def _refuse_other_plant(folder: Path, facts: dict[str, Any], plant: Plant) -> None:
    if facts["fingerprint"] == plant.fingerprint:
        return
    if facts["plant"] != plant.name:
        why = f"it was learned from plant {facts['plant']!r}, not {plant.name!r}"
    else:
        why = f"a tag, role, unit, step flag or the sample time of plant {plant.name!r} has changed since"
    raise ArtifactError(f"The model in {folder} does not fit: {why}. {_AGAIN}")
