"""Stages of a training: which parts of the model learn, and by which loss, in which epochs.

A training has one stage in which all learns, unless the encoder is trained first on masked windows, or the read-out
last on the frozen latent. Stages share the epochs equally, so that every way costs the same number of batches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from procmodel.training.settings import Settings
from procmodel.world_model.objective import Weights

ALL: tuple[str, ...] = ("encoder", "predictor", "decay", "head")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Some epochs in a row.

    Attributes:
        parts: Names of the model's parts that learn.
        weights: Of the objective's terms.
        masked: Whether the loss is that of masked pretraining.
    """

    parts: tuple[str, ...] = ALL
    weights: Weights
    masked: bool = False


def stages(settings: Settings) -> tuple[Stage, ...]:
    """All stages, in order."""
    weights, found, learn = settings.weights, list[Stage](), ALL
    if settings.encoder == "masked":
        found.append(Stage(parts=("encoder",), weights=weights, masked=True))
        learn = tuple(part for part in learn if part != "encoder")
    if settings.read_out == "frozen":
        learn = tuple(part for part in learn if part != "head")
        found.append(Stage(parts=learn, weights=replace(weights, read_out=0.0)))
        learn = ("head",)
    return (*found, Stage(parts=learn, weights=weights))


def stage_of(settings: Settings, epoch: int) -> Stage:
    """The stage that an epoch belongs to."""
    every = stages(settings)
    return every[min(epoch, settings.epochs - 1) * len(every) // settings.epochs]
