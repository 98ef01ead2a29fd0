"""What `advise --explain` tells of a plan: its cost, what limits cost, what moves do, what comes, where to rest."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from procmodel.commands.ahead import announced_changes, moving_limits
from procmodel.control.objective import setpoints_of
from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Plan
from procmodel.control.prices import prices
from procmodel.control.requests import Orders
from procmodel.control.targets import TargetLayer, Targets
from procmodel.data.window import Columns, Scaler
from procmodel.plant import Plant

_PARTS, _PRICES = 5, 5


def explanation(
    plant: Plant, optimizer: Optimizer, scaler: Scaler, rows_RC: np.ndarray, plan: Plan, orders: Orders
) -> tuple[str, ...]:
    """Lines of a usable plan; none for a hold."""
    if not plan.status.usable:
        return ()
    lines = [_cost(plan), *_gains(plant, plan)]
    lines += [*moving_limits(plant, plan, orders), *announced_changes(plant, rows_RC, orders)]
    if plan.above is not None:
        asked_for = ", ".join(f"{name} {value:.4g} {plant.tags[name].unit}" for name, value in plan.above.ends.items())
        lines.append(f"at the end of the horizon the slow layer wants {asked_for or 'nothing'}")
    lines += [f"limit {price}" for price in prices(optimizer, plant, rows_RC, plan, orders)[:_PRICES]]
    if (found := targets_of(plant, scaler, rows_RC, plan, orders.setpoints)) is not None:
        rest = ", ".join(f"{name} {value:.4g} {plant.tags[name].unit}" for name, value in found.u.items())
        lines.append(f"by the model's steady gains the plant should rest at {rest}")
        lines += [f"no rest keeps {g.tag} {g.side} {g.limit:.4g} (rank {g.rank})" for g in found.give_ups]
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


def targets_of(
    plant: Plant, scaler: Scaler, rows_RC: np.ndarray, plan: Plan, setpoints: Mapping[str, float] | None
) -> Targets | None:
    """Where the target layer would let the plant rest, by the gains of a plan."""
    if not np.isfinite(plan.steady_gain).all():
        return None
    columns = Columns.of(plant)
    known = np.array([_last(rows_RC[:, c]) for c in range(rows_RC.shape[1])])
    u_U = known[list(columns.mv)]
    return TargetLayer(plant, scaler).targets(
        plan.steady_gain,
        u_U=u_U,
        y_Y=plan.unmoved[-1],
        d_V=known[list(columns.dv)],
        setpoint_Y=setpoints_of(plant, setpoints),
    )


def _last(values_R: np.ndarray) -> float:
    good = values_R[np.isfinite(values_R)]
    return float(good[-1]) if len(good) else float("nan")
