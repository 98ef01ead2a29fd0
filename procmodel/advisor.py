"""From a trained model to what makes advice: optimizer, hierarchy, advisor, each with the model's own doubt."""

from __future__ import annotations

import dataclasses

import numpy as np

from procmodel.advice import Mode
from procmodel.advice.instruments import Instruments
from procmodel.control.hierarchy import Hierarchy
from procmodel.control.optimizer import Optimizer
from procmodel.control.target_planner import TargetPlanner
from procmodel.control.targets import TargetLayer
from procmodel.errors import ArtifactError
from procmodel.plant import Plant
from procmodel.plant.slow import slow_plant
from procmodel.runtime.loop import Advisor, Planner
from procmodel.training.artifact import Artifact
from procmodel.world_model.correction import BiasFilter
from procmodel.world_model.protocol import WorldModel
from procmodel.world_model.slow import SlowRows
from procmodel.world_model.unrest import REACT

UNDER_ADVICE = 5.0
"""Advice moves a plant more than its operators did, and to where they seldom went, so that its model is surprised more:
on healthy ticks by up to 1.9 times the limit that held-back rows of the record give on the quadruple tank, and by up to
4.4 times on the evaporator, at a pressure limit that its record of 8 days hardly touched (log of 2026-11-27)."""
ANYTIME = 0.7
"""Share of the time between two advices that planning may take; the best plan so far is advised when it is over."""


def optimizer_of(plant: Plant, artifact: Artifact) -> Optimizer:
    """The optimizer of a stored model, with doubt kept in reserve as it stands `REACT` rows ahead.

    Raises:
        ArtifactError: The plant file asks for members to be heard, and the model has but one.
    """
    heads = [dataclasses.replace(head, allowance_H=soon(head.allowance_H)) for head in artifact.heads]
    return Optimizer(
        plant=plant,
        model=artifact.model,
        scaler=artifact.scaler,
        heads=heads,
        backoff_HY=soon(artifact.calibration.backoff_HY),
        bias=BiasFilter(trust=artifact.calibration.trust),
        members=_members(plant, artifact),
        soon=REACT,
    )


def _members(plant: Plant, artifact: Artifact) -> tuple[WorldModel, ...]:
    """Members beside the first one, where the plant file gives them a say."""
    are_futures = "members" in plant.advice.scenarios
    if not are_futures and not plant.advice.member_spread:
        return ()
    if len(artifact.members) < 2:
        raise ArtifactError(
            f"advice.{'scenarios' if are_futures else 'member_spread'} of plant {plant.name!r} asks for the members of "
            "the model, which has one. Set training.members to 2 or more and train it again with 'procmodel train', or "
            "remove it from the plant file."
        )
    return artifact.members[1:]


def planner_of(plant: Plant, artifact: Artifact, slow: Artifact | None = None) -> Optimizer | Hierarchy | TargetPlanner:
    """The optimizer of a stored model: below a slow layer where there is one, and below a target layer where the plant
    file asks for one.

    Raises:
        ArtifactError: As of `optimizer_of`.
    """
    fast = optimizer_of(plant, artifact)
    planner: Optimizer | Hierarchy = fast
    if slow is not None:
        planner = Hierarchy(
            plant=plant,
            fast=fast,
            slow=optimizer_of(slow_plant(plant), slow),
            slow_rows=SlowRows.of(plant, artifact.model, artifact.scaler),
        )
    if not plant.advice.target_layer:
        return planner
    return TargetPlanner(planner=planner, layer=TargetLayer(plant, fast))


def soon(doubt: np.ndarray) -> np.ndarray:
    """Doubt per row ahead, which grows no more after `REACT` rows."""
    return np.asarray(np.minimum(doubt, doubt[min(REACT, len(doubt)) - 1]) if len(doubt) else doubt)


def advisor_of(
    plant: Plant, artifact: Artifact, planner: Planner | None = None, *, mode: Mode | None = None
) -> Advisor:
    """What makes advice from a trained model, with all that it knows of its own doubt; as `procmodel advise` uses it.

        advisor = advisor_of(plant, load_artifact("runs/tanks/model", plant))
        advice, plan = advisor.advise(history[-advisor.rows_wanted :], newest=stamp, now=stamp)

    Args:
        planner: None: the optimizer of this model, below a target layer where the plant file asks for one.
        mode: The most that is asked for; None: what the plant file says.

    Raises:
        ArtifactError: As of `optimizer_of`.
    """
    return Advisor(
        plant=plant,
        planner=planner or planner_of(plant, artifact),
        model=artifact.model,
        scaler=artifact.scaler,
        surprise_limit=UNDER_ADVICE * artifact.calibration.surprise_limit,
        error_covariance_YY=artifact.calibration.error_covariance_YY,
        support=artifact.support,
        instruments=Instruments(plant=plant, normals=artifact.normals) if artifact.normals else None,
        name=artifact.fingerprint[:8],
        mode=mode or Mode(plant.advice.mode),
        deadline=ANYTIME * (plant.advice.every or plant.sample_time),
    )
