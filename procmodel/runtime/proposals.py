"""What a planner found, in the plain words and numbers of advice, as the guard judges it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from procmodel.advice import GivenUp, Proposal, Rest, Target
from procmodel.control.plan import GiveUp, Plan, Targets
from procmodel.plant import Plant


def proposal_of(plan: Plan, setpoints: Mapping[str, float] | None = None) -> Proposal:
    """A plan in plain numbers."""
    planned = dict(zip(plan.mvs, plan.moves.T.tolist(), strict=True))
    return Proposal(
        status=plan.status.value,
        usable=plan.status.usable,
        reason=plan.reason,
        moves={name: values[0] for name, values in planned.items() if values},
        planned=planned,
        predicted=dict(zip(plan.cvs, plan.predicted.T.tolist(), strict=True))
        | {name: each.predicted.tolist() for name, each in plan.calculated.items()},
        unmoved=dict(zip(plan.cvs, plan.unmoved.T.tolist(), strict=True))
        | {name: each.unmoved.tolist() for name, each in plan.calculated.items()},
        calculated={name: each.now for name, each in plan.calculated.items()},
        margins=dict(zip(plan.heads, plan.margins.T.tolist(), strict=True)),
        setpoints=setpoints or {},
        give_ups=_given_up(plan.give_ups),
        active=plan.active,
        cost=plan.cost,
        cost_unmoved=plan.cost_unmoved,
    )


def rest_of(targets: Targets | None, plant: Plant) -> Rest | None:
    """What the target layer says, in plain words and numbers."""
    if targets is None:
        return None
    why = f"by the gains at the horizon's end: {targets.by_gains}"
    return Rest(
        how=why if targets.by_gains else "by the model's equilibrium",
        targets=tuple(
            Target(tag=name, unit=plant.tags[name].unit, value=at, before=targets.before.get(name, math.nan))
            for name, at in (targets.u | targets.y).items()
        ),
        give_ups=_given_up(targets.give_ups),
        stayed=targets.stayed,
        cost=targets.cost,
    )


def _given_up(give_ups: Iterable[GiveUp]) -> tuple[GivenUp, ...]:
    return tuple(GivenUp(**vars(each)) for each in give_ups)
