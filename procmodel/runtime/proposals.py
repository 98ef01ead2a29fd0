"""A plan in plain numbers, as the guard judges it."""

from __future__ import annotations

from collections.abc import Mapping

from procmodel.advice import GivenUp, Proposal
from procmodel.control.plan import Plan


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
        give_ups=tuple(
            GivenUp(
                tag=g.tag,
                side=g.side,
                limit=g.limit,
                amount=g.amount,
                rank=g.rank,
                because=g.because,
                scenario=g.scenario,
            )
            for g in plan.give_ups
        ),
        active=plan.active,
        cost=plan.cost,
        cost_unmoved=plan.cost_unmoved,
    )
