"""What a plan over several scenarios says of them: which one decides, and what is given up in which.

Shapes as in `scenarios.py`; engineering units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from procmodel.control.explain import cost_shares, with_reasons
from procmodel.control.plan import Branch, GiveUp, Plan
from procmodel.control.problem import Trial
from procmodel.control.scenarios import Scenarios
from procmodel.control.subproblem import Linearisation
from procmodel.plant import Plant


def over_scenarios(plan: Plan, plant: Plant, scenarios: Scenarios, trial: Trial, first: Linearisation | None) -> Plan:
    """A plan that shows the first scenario, with what the others add."""
    names = [scenario.name for scenario in scenarios.scenarios]
    touched, given, shares = [], [], dict[str, float]()
    for s, (scenario, part) in enumerate(zip(scenarios.scenarios, trial.parts, strict=True)):
        problem, sensitivity = scenario.problem, first.parts[s].sensitivity if first else None
        touched.append(problem.limits.touched(part.forecast))
        given.append(with_reasons(problem.limits.give_ups(part.forecast), plant, problem, part, sensitivity))
        for name, value in cost_shares(plant, problem, part).items():
            shares[name] = shares.get(name, 0.0) + scenario.weight * value
    soft = set(touched[0])
    hard = tuple(words for words in plan.active if words not in soft)
    return replace(
        plan,
        give_ups=_worst(names, given),
        active=(*hard, *_where(names, touched)),
        cost_shares=shares,
        branches=tuple(
            Branch(name=name, moves=part.forecast.moves_KNU[0], predicted=part.forecast.y_KNY[0])
            for name, part in zip(names, trial.parts, strict=True)
        ),
    )


def _worst(names: Sequence[str], given: Sequence[Sequence[GiveUp]]) -> tuple[GiveUp, ...]:
    """Each limit as the scenario gives it up that gives up most of it."""
    worst: dict[tuple[str, str], GiveUp] = {}
    for name, give_ups in zip(names, given, strict=True):
        for one in give_ups:
            key = one.tag, one.side
            if key not in worst or one.amount > worst[key].amount:
                worst[key] = replace(one, scenario=name)
    return tuple(sorted(worst.values(), key=lambda one: one.rank))


def _where(names: Sequence[str], touched: Sequence[Sequence[str]]) -> list[str]:
    """Limits that are reached, each with the scenarios in which it is; none are named where it is all of them."""
    at: dict[str, list[str]] = {}
    for name, limits in zip(names, touched, strict=True):
        for words in limits:
            at.setdefault(words, []).append(name)
    return [
        words if len(found) == len(names) else f"{words} in scenario {' and '.join(found)}"
        for words, found in at.items()
    ]
