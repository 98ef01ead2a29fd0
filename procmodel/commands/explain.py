"""What `advise --explain` tells of a plan: its cost, what limits cost, what moves do, what comes, where to rest."""

from __future__ import annotations

import numpy as np

from procmodel.commands.ahead import announced_changes, moving_limits
from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Plan
from procmodel.control.prices import prices
from procmodel.control.requests import Orders
from procmodel.control.target_planner import TargetPlanner
from procmodel.control.targets import TargetLayer
from procmodel.plant import Plant
from procmodel.runtime.proposals import rest_of

_PARTS, _PRICES = 5, 5


def explanation(plant: Plant, optimizer: Optimizer, rows_RC: np.ndarray, plan: Plan, orders: Orders) -> tuple[str, ...]:
    """Lines of a usable plan; none for a hold."""
    if not plan.status.usable:
        return ()
    lines = [_cost(plan), *_gains(plant, plan)]
    lines += [*moving_limits(plant, plan, orders), *announced_changes(plant, rows_RC, orders)]
    if plan.above is not None:
        asked_for = ", ".join(f"{name} {value:.4g} {plant.tags[name].unit}" for name, value in plan.above.ends.items())
        lines.append(f"at the end of the horizon the slow layer wants {asked_for or 'nothing'}")
    lines += [f"limit {price}" for price in prices(optimizer, plant, rows_RC, plan, orders)[:_PRICES]]
    if plan.targets is None:  # with a target layer the advice says it anyway
        planner = TargetPlanner(planner=optimizer, layer=TargetLayer(plant, optimizer))
        if (rest := rest_of(planner.targets(rows_RC, orders), plant)) is not None:
            lines += rest.lines
    return tuple(lines)


def _cost(plan: Plan) -> str:
    parts = sorted(plan.cost_shares.items(), key=lambda part: -abs(part[1]))[:_PARTS]
    return "cost per advice: " + ", ".join(f"{name} {value:.4g}" for name, value in parts)


def _gains(plant: Plant, plan: Plan) -> list[str]:
    """The gain matrix, with the declared signs beside it."""
    lines = []
    for y, cv in enumerate(plan.cvs):
        words = []
        for u, mv in enumerate(plan.mvs):
            declared = plant.gains.get((mv, cv))
            sign = declared.sign if declared is not None else None
            gain = float(plan.steady_gain[y, u])
            wrong = sign is not None and gain != 0 and (gain > 0) != (sign == "+")
            words.append(
                f"{mv} {gain:+.3g}" + (f" (declared {sign}{', CONTRADICTED' if wrong else ''})" if sign else "")
            )
        lines.append(f"gain on {cv} [{plant.tags[cv].unit} per unit]: {', '.join(words)}")
    return lines
