"""One plan over several futures, against the plan of one, a general solver, and what the futures would bring."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
import pytest
import torch
from control_fakes import COLUMN, TanksModel, curved_head, gru_model, latent_model, make_plant, tanks_scaler, unit_scaler
from scenario_oracle import ScenarioOracle
from tank_optimizers import ECONOMICS, rows, tanks

from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Plan, Status
from procmodel.control.scenarios import Scenario, Scenarios, of_equal_weight
from procmodel.plant import Plant

Shared = Literal["first", "all"]
BOTH: tuple[Shared, ...] = ("first", "all")
MODELS: dict[str, Callable[..., Any]] = {"latent": latent_model, "gated": partial(gru_model, spread=0.35)}
HISTORY = np.random.default_rng(2).normal(size=(40, 6)) * 0.4
FILL = ECONOMICS["as full as allowed"][0]
PROFIT = "3 * Steam + 0.5 * Reflux**2 - 4 * Purity - 2 * Level"
ONE_RANK = {
    name: {**tag, "limits": {side: {**limit, "rank": 1} for side, limit in tag["limits"].items()}}
    if tag["role"] == "CV"
    else tag
    for name, tag in COLUMN.items()
}


def tank_optimizer(plant: Plant, *gains: float) -> Optimizer:
    """The first gain advises, the others are members."""
    scaler = tanks_scaler()
    first, *others = (TanksModel(plant, scaler, gain=gain) for gain in gains)
    return Optimizer(plant=plant, model=first, scaler=scaler, members=others)


def column_optimizer(name: str, *seeds: int, **advice: Any) -> Optimizer:
    plant = make_plant(ONE_RANK, horizon="60 s", blocks=4, **advice)
    first, *others = (disturbed(MODELS[name](plant), seed) for seed in seeds)
    heads = [curved_head(7, rank=1)]
    return Optimizer(plant=plant, model=first, scaler=unit_scaler(plant), heads=heads, members=others)


def disturbed(model: Any, seed: int) -> Any:
    """A member as another training may leave it; the model itself with seed 0."""
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        weight.add_(0.1 * bool(seed) * weight.std(correction=0) * torch.randn(weight.shape, generator=generator))
    return model


def worst(plan: Plan, tag: str) -> float:
    """Largest value of a CV over all scenarios."""
    return max(float(branch.predicted[:, plan.cvs.index(tag)].max()) for branch in plan.branches)


@pytest.mark.parametrize("shared_moves", BOTH)
@pytest.mark.parametrize("objective", [FILL, None])
def test_futures_that_are_all_alike_are_the_one_future(objective: str | None, shared_moves: Shared) -> None:
    plant = tanks(setpoints=objective is None, objective=objective, horizon="150 s", shared_moves=shared_moves)
    one = tank_optimizer(plant, 1.0).plan(rows())
    three = tank_optimizer(plant, 1.0, 1.0, 1.0).plan(rows())
    assert one.status is three.status is Status.CONVERGED
    np.testing.assert_allclose(three.moves[0], one.moves[0], atol=1e-3)
    assert three.cost == pytest.approx(one.cost, rel=1e-4)
    assert three.cost_unmoved == pytest.approx(one.cost_unmoved)
    assert sum(three.cost_shares.values()) == pytest.approx(three.cost)


@pytest.mark.parametrize("shared_moves", BOTH)
def test_futures_that_are_all_alike_give_up_the_same_limits(shared_moves: Shared) -> None:
    low = {"L1": {"limits": {"low": {"at": 18, "rank": 2}, "high": {"at": 20, "rank": 1}}}}
    plant = tanks(low, horizon="50 s", shared_moves=shared_moves)  # too far to be reached so soon
    one, two = tank_optimizer(plant, 1.0).plan(rows()), tank_optimizer(plant, 1.0, 1.0).plan(rows())
    assert [(g.tag, g.side) for g in two.give_ups] == [(g.tag, g.side) for g in one.give_ups] == [("L1", "low")]
    assert two.give_ups[0].amount == pytest.approx(one.give_ups[0].amount, rel=1e-3)
    assert two.give_ups[0].because == one.give_ups[0].because
    assert (one.give_ups[0].scenario, two.give_ups[0].scenario) == ("", "expected")


@pytest.mark.parametrize("shared_moves", BOTH)
def test_where_members_disagree_the_limit_is_kept_in_both(shared_moves: Shared) -> None:
    plant = tanks({"L1": {"limits": [1, 12]}}, setpoints=False, objective=FILL, horizon="150 s", blocks=4,
                  shared_moves=shared_moves)  # fmt: skip
    history = rows(h=(11.8, 8.0))
    sure, unsure = tank_optimizer(plant, 1.0).plan(history), tank_optimizer(plant, 1.0, 1.3).plan(history)
    # Where the second member is right, the first one's plan overfills the tank.
    other = tank_optimizer(plant, 1.3)
    problem = other.problem(history)
    assert problem.evaluate(problem.as_changes(sure.moves)[None]).forecast.y_KNY[0, :, 0].max() > 12.05
    assert unsure.status is Status.CONVERGED
    assert worst(unsure, "L1") <= 12.0 + 2e-3
    assert not unsure.give_ups
    assert any("L1 high 12" in words and "in scenario" in words for words in unsure.active) or shared_moves == "first"
    assert unsure.moves[0] @ [0.30, 0.12] < sure.moves[0] @ [0.30, 0.12]  # the first move lets in less


@pytest.mark.parametrize("shared_moves", BOTH)
@pytest.mark.parametrize(("name", "objective"), [("latent", None), ("latent", PROFIT), ("gated", PROFIT)])
def test_the_plan_costs_what_ipopts_plan_costs(name: str, objective: str | None, shared_moves: Shared) -> None:
    optimizer = column_optimizer(name, 0, 2, objective=objective, shared_moves=shared_moves)
    futures = {"high": np.full((1, 1), 0.8)}
    problem = optimizer.scenarios(HISTORY, futures=futures)
    assert isinstance(problem, Scenarios)
    assert [scenario.name for scenario in problem.scenarios] == ["expected", "member 2", "high"]
    plan = optimizer.plan(HISTORY, futures=futures)
    assert plan.status is Status.CONVERGED
    ours = problem.evaluate(changes_of(problem, plan)[None])
    answer = ScenarioOracle(problem).solve()
    assert answer.success
    theirs = problem.evaluate(answer.changes_MU[None])
    assert theirs.score.merit == pytest.approx(answer.merit, rel=1e-3)  # both speak of the same problem
    assert ours.score.merit <= answer.merit + 1e-3 * abs(answer.merit)


def changes_of(problem: Scenarios, plan: Plan) -> np.ndarray:
    """Changes of all blocks from the moves of a plan's branches."""
    changes_BU = np.zeros((int(problem.block_SM.max()) + 1, len(plan.mvs)))
    for block_M, branch in zip(problem.block_SM, plan.branches, strict=True):
        changes_BU[block_M] = problem.nominal.as_changes(branch.moves)
    return changes_BU
