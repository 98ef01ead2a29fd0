"""What is asked for at one tick: setpoints, which tags take part and how, and the limits in force.

Shapes: N rows of the horizon, M blocks, U MVs, Y CVs. Engineering units.

A funnel lets a CV that stands beyond a limit come back along a straight line instead of at once:
`limit_n = at + (now - at) (1 - n / funnel)` for the side it is beyond. A ramp moves a changed limit by so much per
advice from where the last plan had it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from procmodel.control.horizon import Bounds, Horizon
from procmodel.control.limits import SoftLimits
from procmodel.control.objective import setpoints_of
from procmodel.control.plan import Plan
from procmodel.control.soft_limit import SoftLimit, Source
from procmodel.errors import PlantFileError
from procmodel.plant import Plant, Status
from procmodel.plant.changes import LimitChanges, changed_plant
from procmodel.plant.units import parse_duration

_STILL = (Status.DROP, Status.FEED_FORWARD)
_ONE_SIDED = (Status.LOW, Status.HIGH)


@dataclass(frozen=True, kw_only=True)
class TickOrders:
    """What holds for one plan.

    Attributes:
        plant: With the limits and statuses of this tick.
        setpoint_Y: NaN where a CV is not steered.
        frozen_U: MVs that stay where they are.
        out: CVs that are left alone.
    """

    plant: Plant
    setpoint_Y: np.ndarray
    frozen_U: np.ndarray
    out: frozenset[str]

    def bounds(self, horizon: Horizon, start_U: np.ndarray) -> Bounds:
        """Hard bounds of the moves: those of the horizon, narrowed by this tick's limits and statuses."""
        tags = [self.plant.tags[name] for name in self.plant.mvs]
        low_U = np.array([-np.inf if tag.limits.low is None else tag.limits.low.at for tag in tags])
        high_U = np.array([np.inf if tag.limits.high is None else tag.limits.high.at for tag in tags])
        narrowed = replace(horizon, low_U=np.maximum(horizon.low_U, low_U), high_U=np.minimum(horizon.high_U, high_U))
        bounds = narrowed.bounds(start_U, self.frozen_U)
        down_MU, up_MU = bounds.down_MU.copy(), bounds.up_MU.copy()
        low_NU, high_NU = bounds.low_NU.copy(), bounds.high_NU.copy()
        for u, tag in enumerate(tags):
            if tag.status is Status.LOW:  # wound up: what lies below where it stands is out of reach
                low_NU[:, u], down_MU[0, u] = np.maximum(low_NU[:, u], start_U[u]), 0.0
            elif tag.status is Status.HIGH:
                high_NU[:, u], up_MU[0, u] = np.minimum(high_NU[:, u], start_U[u]), 0.0
        return replace(bounds, down_MU=down_MU, up_MU=up_MU, low_NU=low_NU, high_NU=high_NU)

    def soft(self, limits: SoftLimits, now_Y: np.ndarray, previous: Plan | None, interval: float) -> SoftLimits:
        """The soft limits in force.

        Args:
            now_Y: Measured CVs; NaN where unknown.
            previous: The plan of one advice ago, from whose limits a ramp goes on.
            interval: Time between two advices [s].
        """
        reads = limits.calculated.reads if limits.calculated is not None else ()
        kept = []
        for limit in limits.limits:
            if limit.source is Source.CALCULATED:
                if not self.out & reads[limit.column]:  # what reads a CV that is left alone is left alone too
                    kept.append(replace(limit, at=self._calculated_at(limit)))
            elif limit.is_head:
                kept.append(limit)
            elif self._counts(limit):
                kept.append(self._in_force(limit, now_Y, previous, interval, len(limits.segment_N)))
        return replace(limits, limits=tuple(kept))

    def _calculated_at(self, limit: SoftLimit) -> float:
        given = self.plant.advice.constraints[limit.tag].limits
        asked = given.low if limit.side == "low" else given.high
        return limit.at if asked is None else asked.at

    def _counts(self, limit: SoftLimit) -> bool:
        status = self.plant.tags[limit.tag].status
        return limit.tag not in self.out and (status not in _ONE_SIDED or status == limit.side)

    def _in_force(
        self, limit: SoftLimit, now_Y: np.ndarray, previous: Plan | None, interval: float, steps: int
    ) -> SoftLimit:
        tag = self.plant.tags[limit.tag]
        asked = tag.limits.low if limit.side == "low" else tag.limits.high
        at = limit.at if asked is None else asked.at
        before = previous.limits.get((limit.tag, limit.side)) if previous is not None else None
        if tag.ramp is not None and before is not None:
            most = tag.ramp * interval / 60.0
            at = float(np.clip(at, before - most, before + most))
        funnel_N: np.ndarray | float = 0.0
        if tag.funnel is not None and np.isfinite(now_Y[limit.column]):
            rows = max(1.0, parse_duration(tag.funnel) / self.plant.sample_time)
            beyond = max(0.0, limit.sign * (float(now_Y[limit.column]) - at))
            funnel_N = beyond * np.clip(1.0 - np.arange(1, steps + 1) / rows, 0.0, 1.0)
        return replace(limit, at=at, funnel_N=funnel_N)


def orders_of(
    plant: Plant,
    setpoints: Mapping[str, float] | None,
    out_of_service: Collection[str],
    limits: LimitChanges | None,
    statuses: Mapping[str, Status] | None,
) -> TickOrders:
    """Checked orders of one tick.

    Raises:
        PlantFileError: A name is unknown, or a limit, setpoint or status cannot be.
    """
    for name in out_of_service:
        if name not in plant.mvs and name not in plant.cvs:
            known = ", ".join(plant.mvs + plant.cvs)
            raise PlantFileError(f"out of service: unknown tag {name!r}; it may be one of {known}.")
    plant = changed_plant(plant, limits=limits, statuses=statuses)
    for name, value in (setpoints or {}).items():
        valid = plant.tags[name].valid if name in plant.tags else None
        if valid is not None and not valid[0] <= value <= valid[1]:
            raise PlantFileError(
                f"setpoints: {name!r} got {value:g}, outside its valid limits {valid[0]:g} to {valid[1]:g}."
            )
    out = {name for name in plant.cvs if name in out_of_service or plant.tags[name].status is Status.DROP}
    setpoint_Y = setpoints_of(plant, setpoints)
    unsteered = [name in out or plant.tags[name].status in _ONE_SIDED for name in plant.cvs]
    return TickOrders(
        plant=plant,
        setpoint_Y=np.where(unsteered, np.nan, setpoint_Y),
        frozen_U=np.array([name in out_of_service or plant.tags[name].status in _STILL for name in plant.mvs]),
        out=frozenset(out),
    )
