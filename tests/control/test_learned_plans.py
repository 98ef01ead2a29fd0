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
from procmodel.control.plan import Status
from procmodel.plant import Plant

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


@pytest.mark.parametrize("name", MODELS)
def test_a_plan_from_prepared_derivatives_is_as_good(name: str) -> None:
    plant = make_plant(ONE_RANK, horizon="100 s", blocks=5)
    model = MODELS[name](plant)
    optimizer = Optimizer(plant=plant, model=model, scaler=unit_scaler(plant))
    before = HISTORY[:-1]
    previous = optimizer.plan(before)
    prepared = optimizer.prepare(before, previous)
    assert prepared is not None
    after = HISTORY.copy()
    after[-1, :2] = previous.moves[0]
    whole = optimizer.plan(after, previous=previous)
    reaction = optimizer.plan(after, previous=previous, prepared=prepared)
    assert whole.status is reaction.status is Status.CONVERGED
    assert reaction.cost == pytest.approx(whole.cost, rel=1e-3)
    # Other limits than the derivatives were taken for: they are left aside.
    other = optimizer.plan(after, previous=previous, prepared=prepared, out_of_service=["Level"])
    assert other.cost == pytest.approx(optimizer.plan(after, previous=previous, out_of_service=["Level"]).cost)


def test_a_hold_prepares_nothing() -> None:
    plant = make_plant(ONE_RANK, horizon="100 s", blocks=5)
    optimizer = Optimizer(plant=plant, model=latent_model(plant), scaler=unit_scaler(plant))
    held = optimizer.plan(HISTORY, deadline=0.0)
    assert held.status is Status.HOLD
    assert optimizer.prepare(HISTORY, held) is None
