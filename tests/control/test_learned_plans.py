"""Plans on the architectures that are trained, against general solvers on the exported model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from control_fakes import COLUMN, curved_head, gru_model, latent_model, make_plant, unit_scaler

from procmodel.control.optimizer import Optimizer
from procmodel.control.oracle import Oracle
from procmodel.control.plan import Plan, Status
from procmodel.control.prepared import Prepared
from procmodel.control.problem import Solvable
from procmodel.control.requests import Orders
from procmodel.plant import Plant
from procmodel.plant import Status as TagStatus

MODELS: dict[str, Callable[[Plant], Any]] = {"latent": latent_model, "gated": partial(gru_model, spread=0.35)}
# Weak limits bind; of one rank, since a general solver knows no ranks.
ONE_RANK = {
    name: {**tag, "limits": {side: {**limit, "rank": 1} for side, limit in tag["limits"].items()}}
    if tag["role"] == "CV"
    else tag
    for name, tag in COLUMN.items()
}
ASKED: dict[str, dict[str, Any]] = {
    "setpoints": {},
    "economics": {"objective": "3 * Steam + 0.5 * Reflux**2 - 4 * Purity - 2 * Level"},
}
HISTORY = np.random.default_rng(2).normal(size=(40, 6)) * 0.4


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("name", MODELS)
def test_the_plan_costs_what_general_solvers_plans_cost(name: str, asked: str) -> None:
    plant = make_plant(ONE_RANK, horizon="100 s", blocks=5, **ASKED[asked])
    model = MODELS[name](plant)
    optimizer = Optimizer(plant=plant, model=model, scaler=unit_scaler(plant), heads=[curved_head(7, rank=1)])
    problem = optimizer.problem(HISTORY)
    unmoved = problem.evaluate(np.zeros((1, *problem.bounds.down_MU.shape)))
    plan = optimizer.plan(HISTORY)
    assert plan.status is Status.CONVERGED
    ours = problem.evaluate(problem.as_changes(plan.moves)[None]).score.merit
    assert ours < unmoved.score.merit
    answers = [
        Oracle(problem).solve(problem),
        Oracle(problem, solver="fatrop").solve(problem),
        Oracle(problem, shooting="multiple").solve(problem),
    ]
    answers = [answer for answer in answers if answer.success]
    assert len(answers) >= 2  # one of the three may lose its way on a random network
    for answer in answers:
        # What the solver says its plan costs is what our rollout says.
        assert problem.evaluate(answer.changes_MU[None]).score.merit == pytest.approx(answer.merit, rel=1e-3)
    best = min(answer.merit for answer in answers)
    assert ours <= best + 1e-3 * abs(best)


def test_in_a_funnel_general_solvers_solve_the_same_problem() -> None:
    """A level that stands far above its limit comes back along its line; without it the solver would pay more."""
    tags = {**ONE_RANK, "Level": {**ONE_RANK["Level"], "funnel": "80 s", "limits": {"high": {"at": 0.0, "rank": 1}}}}
    plant = make_plant(tags, horizon="100 s", blocks=5)
    optimizer = Optimizer(plant=plant, model=latent_model(plant), scaler=unit_scaler(plant))
    high = CALM.copy()
    high[:, list(plant.columns).index("Level")] += 1.0
    problem = optimizer.problem(high)
    assert any(np.any(limit.funnel_N) for limit in problem.limits.limits)
    answer = Oracle(problem).solve(problem)
    assert answer.success
    assert problem.evaluate(answer.changes_MU[None]).score.merit == pytest.approx(answer.merit, rel=1e-3)
    plan = optimizer.plan(high)
    assert problem.evaluate(problem.as_changes(plan.moves)[None]).score.merit <= answer.merit * (1 + 1e-3)


# With less noise there is one best plan; on the other history two solvers may find two.
CALM = 0.5 * HISTORY
ORDERED: dict[str, Orders] = {
    "nothing": Orders(),
    "limits and statuses": Orders(limits={"Purity": {"high": 0.6}}, statuses={"Level": TagStatus.HIGH}),
    "rest and end": Orders(rest={"Steam": 0.1}, ends={"Level": 0.2}),
    "announced": Orders(future_dv_HV=np.linspace(0.0, 0.5, 12)[:, None]),
    "futures": Orders(futures={"high": np.full((12, 1), 0.4)}),
}


def one_advice_later(optimizer: Optimizer, orders: Orders) -> tuple[np.ndarray, Plan, Prepared]:
    """The history after the plan's first move was made, that plan, and what was prepared for the next one."""
    before, after = CALM[:-1], CALM.copy()
    previous = optimizer.plan(before, orders)
    prepared = optimizer.prepare(before, previous, orders)
    assert prepared is not None
    after[-1, :2] = previous.moves[0]
    return after, previous, prepared


def merit(problem: Solvable, plan: Plan) -> float:
    """Cost and penalties over all scenarios."""
    return problem.evaluate(problem.as_changes(plan.moves)[None]).score.merit


@pytest.mark.parametrize("ordered", ORDERED)
@pytest.mark.parametrize("name", MODELS)
def test_a_plan_from_prepared_derivatives_is_as_good(name: str, ordered: str) -> None:
    plant = make_plant(ONE_RANK, horizon="100 s", blocks=5, shared_moves="all")
    model, orders = MODELS[name](plant), ORDERED[ordered]
    optimizer = Optimizer(plant=plant, model=model, scaler=unit_scaler(plant))
    after, previous, prepared = one_advice_later(optimizer, orders)
    whole = optimizer.plan(after, orders, previous=previous)
    reaction = optimizer.plan(after, orders, previous=previous, prepared=prepared)
    assert whole.status is reaction.status is Status.CONVERGED
    problem = optimizer.scenarios(after, orders)
    assert prepared.fitting(problem) is prepared.linearisation
    assert merit(problem, reaction) == pytest.approx(merit(problem, whole), rel=1e-3)


OTHERWISE: dict[str, tuple[Orders, bool]] = {
    "a limit elsewhere": (Orders(limits={"Purity": {"high": 0.5}}), True),
    "a setpoint elsewhere": (Orders(setpoints={"Purity": 0.1}), True),
    "a resting value elsewhere": (Orders(rest={"Steam": -0.3}), True),
    "a CV out of service": (Orders(out_of_service=("Level",)), False),
    "a limit that no longer counts": (Orders(statuses={"Level": TagStatus.HIGH}), False),
    "an end to reach": (Orders(ends={"Level": 0.2}), False),
    "one more future": (Orders(futures={"high": np.full((12, 1), 0.4)}), False),
}


@pytest.mark.parametrize("otherwise", OTHERWISE)
def test_orders_that_changed_since_are_answered_as_without_preparation(otherwise: str) -> None:
    plant = make_plant(ONE_RANK, horizon="100 s", blocks=5, shared_moves="all")
    optimizer = Optimizer(plant=plant, model=latent_model(plant), scaler=unit_scaler(plant))
    after, previous, prepared = one_advice_later(optimizer, Orders(rest={"Steam": 0.1}))
    changed, fits = OTHERWISE[otherwise]
    orders = changed if changed.rest else changed.but(rest={"Steam": 0.1})
    problem = optimizer.scenarios(after, orders)
    assert (prepared.fitting(problem) is not None) == fits
    whole = optimizer.plan(after, orders, previous=previous)
    reaction = optimizer.plan(after, orders, previous=previous, prepared=prepared)
    assert merit(problem, reaction) == pytest.approx(merit(problem, whole), rel=1e-3)


def test_derivatives_of_another_state_are_not_taken_for_those_of_this_one() -> None:
    """A disturbance moves the plant where nobody expected it, and the moves stay the same ones."""
    plant = make_plant(ONE_RANK, horizon="100 s", blocks=5)
    optimizer = Optimizer(plant=plant, model=latent_model(plant), scaler=unit_scaler(plant))
    after, _, prepared = one_advice_later(optimizer, Orders())
    after[-1, 2:] += 1.0
    problem = optimizer.problem(after)
    trial = problem.evaluate(prepared.linearisation.changes_MU[None])
    assert not prepared.linearisation.is_at(trial)
    assert problem.linearised(trial, None).is_at(trial)


def test_a_hold_prepares_nothing() -> None:
    plant = make_plant(ONE_RANK, horizon="100 s", blocks=5)
    optimizer = Optimizer(plant=plant, model=latent_model(plant), scaler=unit_scaler(plant))
    held = optimizer.plan(HISTORY, deadline=0.0)
    assert held.status is Status.HOLD
    assert optimizer.prepare(HISTORY, held) is None
