"""What a limit costs: the plan made again with each active limit moved a little outward.

A price by re-solving does not depend on how the program was solved, covers hard and soft limits alike, and is what it
says: what the plan would cost less, per unit of the limit. It takes one further plan per limit, so it is only made for
people who ask.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Plan
from procmodel.control.requests import ORDINARY, Orders
from procmodel.plant import Plant

# By how much a limit is moved, relative to the span of its tag [-]. Small against a span, large against the
# optimizer's tolerance.
STEP = 0.005


@dataclass(frozen=True, kw_only=True)
class Price:
    """What the plan's cost falls by, per unit by which a limit is moved outward [cost per advice / unit]."""

    tag: str
    side: str
    at: float
    per_unit: float
    unit: str

    def __str__(self) -> str:
        return f"{self.tag} {self.side} {self.at:.4g} costs {self.per_unit:.3g} per {self.unit}"


def prices(
    optimizer: Optimizer, plant: Plant, rows_RC: np.ndarray, plan: Plan, orders: Orders = ORDINARY
) -> tuple[Price, ...]:
    """Prices of the soft limits that a plan touches and of the MV limits that it rests against, dearest first.

    Args:
        orders: That the plan was made under.
    """
    given = {tag: dict(sides) for tag, sides in orders.limits.items()}
    base = optimizer.plan(rows_RC, orders, previous=plan)
    if not base.status.usable:
        return ()
    found = []
    for tag, side, at in _touched(plant, base):
        outward = STEP * _span(plant, tag, base) * (1.0 if side == "high" else -1.0)
        # An MV's limit may not be widened for a tick: it is moved inward, and what that costs is its price.
        step = -outward if tag in plan.mvs else outward
        changed = {**given, tag: {**given.get(tag, {}), side: at + step}}
        again = optimizer.plan(rows_RC, replace(orders, limits=changed), previous=base)
        if again.status.usable:
            gain = (again.cost - base.cost) if step == -outward else (base.cost - again.cost)
            unit = plant.tags[tag].unit if tag in plant.tags else plant.advice.constraints[tag].unit
            found.append(Price(tag=tag, side=side, at=at, per_unit=max(0.0, gain / abs(outward)), unit=unit))
    return tuple(sorted(found, key=lambda price: -price.per_unit))


def _touched(plant: Plant, plan: Plan) -> list[tuple[str, str, float]]:
    """Limits that decide: soft limits within a hundredth of a span of the prediction, MV limits that are reached."""
    found = []
    for name, values in _predicted(plan).items():
        near = 2 * STEP * _span(plant, name, plan)
        for side, sign in (("low", -1.0), ("high", 1.0)):
            at = plan.limits.get((name, side))
            if at is not None and float(np.max(sign * (values - at))) >= -near:
                found.append((name, side, at))
    for u, name in enumerate(plan.mvs):
        for side, limit in (("low", plant.tags[name].limits.low), ("high", plant.tags[name].limits.high)):
            if limit is not None and np.isclose(plan.moves[:, u], limit.at, atol=1e-6 * max(1.0, abs(limit.at))).any():
                found.append((name, side, limit.at))
    return found


def _predicted(plan: Plan) -> dict[str, np.ndarray]:
    """What has soft limits, by name, [H] each."""
    found = dict(zip(plan.cvs, plan.predicted.T, strict=True))
    return found | {name: each.predicted for name, each in plan.calculated.items()}


def _span(plant: Plant, name: str, plan: Plan) -> float:
    calculated = plant.advice.constraints.get(name)
    limits = plant.tags[name].limits if calculated is None else calculated.limits
    if calculated is None and (given := plant.tags[name].range) is not None:
        return given[1] - given[0]
    if limits.low is not None and limits.high is not None:
        return limits.high.at - limits.low.at
    values = plan.moves[:, plan.mvs.index(name)] if name in plan.mvs else _predicted(plan)[name]
    return float(np.ptp(values)) or max(1.0, abs(float(values[0])))
