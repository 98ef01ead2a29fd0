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
    tags = dict(plant.tags)
    for name, sides in (limits or {}).items():
        tag = _known(plant, name, "limits")
        tags[name] = tag.model_copy(update={"limits": _limits(tag, sides)})
    for name, status in (statuses or {}).items():
        tag = _known(plant, name, "status")
        if (status is Status.FEED_FORWARD and tag.role is not Role.MV) or (
            tag.role not in (Role.MV, Role.CV) and status not in (Status.ON, Status.CRITICAL)
        ):
            raise PlantFileError(f"status: {status} does not fit {name!r}, which is a {tag.role}.")
        tags[name] = tags[name].model_copy(update={"status": status})
    return plant.model_copy(update={"tags": tags})


def _known(plant: Plant, name: str, what: str) -> Tag:
    if name not in plant.tags:
        raise PlantFileError(f"{what}: unknown tag {name!r}; {nearest(name, plant.tags)}")
    return plant.tags[name]


def _limits(tag: Tag, sides: Mapping[str, float]) -> Limits:
    given: dict[str, Limit | None] = {"low": tag.limits.low, "high": tag.limits.high}
    for side, at in sides.items():
        limit = given.get(side)
        if limit is None:
            raise PlantFileError(
                f"limits: {tag.name!r} has no {side} limit. Give it one in the plant file, with its rank, first."
            )
        if not math.isfinite(at):
            raise PlantFileError(f"limits: {tag.name!r} {side} got {at}; a limit needs a finite number.")
        if tag.valid is not None and not tag.valid[0] <= at <= tag.valid[1]:
            raise PlantFileError(
                f"limits: {tag.name!r} {side} got {at:g} {tag.unit}, outside its valid limits {tag.valid[0]:g} to "
                f"{tag.valid[1]:g}."
            )
        if tag.role is Role.MV and (at < limit.at if side == "low" else at > limit.at):
            raise PlantFileError(
                f"limits: {tag.name!r} {side} got {at:g} {tag.unit}, beyond {limit.at:g} of the plant file. "
                "An MV's limits may be narrowed for a tick, not widened."
            )
        given[side] = limit.model_copy(update={"at": at})
    low, high = given["low"], given["high"]
    if low and high and low.at >= high.at:
        raise PlantFileError(
            f"limits: {tag.name!r} low {low.at:g} must be below high {high.at:g} {tag.unit}. Correct one of them."
        )
    return Limits(low=low, high=high)
