"""What an operator may change for a tick: limits inside those of the plant file, and how far a tag takes part."""

from __future__ import annotations

import math
from collections.abc import Mapping

from procmodel.errors import PlantFileError
from procmodel.plant.plant import Plant
from procmodel.plant.tag import Limit, Limits, Role, Status, Tag, nearest

LimitChanges = Mapping[str, Mapping[str, float]]
"""By tag and side ("low" or "high") [unit]."""


def changed_plant(
    plant: Plant, *, limits: LimitChanges | None = None, statuses: Mapping[str, Status] | None = None
) -> Plant:
    """The plant with limits and statuses in place of the plant file's.

    Raises:
        PlantFileError: A tag is unknown, has no such limit, the limits cross, leave the `valid` ones, or would let an
            MV go further than the plant file does; a status does not fit its tag.
    """
    if not limits and not statuses:
        return plant
    tags, calculated = dict(plant.tags), dict(plant.advice.constraints)
    for name, sides in (limits or {}).items():
        if name in calculated:
            changed = _changed(name, calculated[name].limits, sides, calculated[name].unit)
            calculated[name] = calculated[name].model_copy(update={"limits": changed})
            continue
        tag = _known(plant, name, "limits")
        tags[name] = tag.model_copy(update={"limits": _limits(tag, sides)})
    for name, status in (statuses or {}).items():
        tag = _known(plant, name, "status")
        if (status is Status.FEED_FORWARD and tag.role is not Role.MV) or (
            tag.role not in (Role.MV, Role.CV) and status not in (Status.ON, Status.CRITICAL)
        ):
            raise PlantFileError(f"status: {status} does not fit {name!r}, which is a {tag.role}.")
        tags[name] = tags[name].model_copy(update={"status": status})
    advice = plant.advice.model_copy(update={"constraints": calculated})
    return plant.model_copy(update={"tags": tags, "advice": advice})


def _known(plant: Plant, name: str, what: str) -> Tag:
    if name not in plant.tags:
        raise PlantFileError(f"{what}: unknown tag {name!r}; {nearest(name, plant.tags)}")
    return plant.tags[name]


def _limits(tag: Tag, sides: Mapping[str, float]) -> Limits:
    changed = _changed(tag.name, tag.limits, sides, tag.unit)
    for side, at in sides.items():
        limit = tag.limits.low if side == "low" else tag.limits.high
        if tag.valid is not None and not tag.valid[0] <= at <= tag.valid[1]:
            raise PlantFileError(
                f"limits: {tag.name!r} {side} got {at:g} {tag.unit}, outside its valid limits {tag.valid[0]:g} to "
                f"{tag.valid[1]:g}."
            )
        if tag.role is Role.MV and limit is not None and (at < limit.at if side == "low" else at > limit.at):
            raise PlantFileError(
                f"limits: {tag.name!r} {side} got {at:g} {tag.unit}, beyond {limit.at:g} of the plant file. "
                "An MV's limits may be narrowed for a tick, not widened."
            )
    return changed


def _changed(name: str, limits: Limits, sides: Mapping[str, float], unit: str) -> Limits:
    """Limits there are, each at its new place and with its rank."""
    given: dict[str, Limit | None] = {"low": limits.low, "high": limits.high}
    for side, at in sides.items():
        limit = given.get(side)
        if limit is None:
            raise PlantFileError(
                f"limits: {name!r} has no {side} limit. Give it one in the plant file, with its rank, first."
            )
        if not math.isfinite(at):
            raise PlantFileError(f"limits: {name!r} {side} got {at}; a limit needs a finite number.")
        given[side] = limit.model_copy(update={"at": at})
    low, high = given["low"], given["high"]
    if low and high and low.at >= high.at:
        raise PlantFileError(
            f"limits: {name!r} low {low.at:g} must be below high {high.at:g} {unit}. Correct one of them."
        )
    return Limits(low=low, high=high)
