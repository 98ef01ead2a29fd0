"""One plan over several futures, against the plan of one, a general solver, and what the futures would bring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
import pytest
import torch
from control_fakes import (
    COLUMN,
    LinearModel,
    TanksModel,
    curved_head,
    gru_model,
    latent_model,
    make_plant,
    tanks_scaler,
    unit_scaler,
)
from scenario_oracle import ScenarioOracle
from tank_optimizers import ECONOMICS, rows, tanks

from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Plan, Status
from procmodel.control.qp import QuadraticSolver
from procmodel.control.scenarios import Scenarios
from procmodel.control.sqp import minimise
from procmodel.control.watch import Watch
from procmodel.errors import DatasetError
from procmodel.plant import Plant

Shared = Literal["first", "all"]
BOTH: tuple[Shared, ...] = ("first", "all")


def mild_latent_model(plant: Plant) -> Any:
    """Bent less than the one of other tests, which has several best plans where limits of several futures bind."""
    model = latent_model(plant)
    for network in (model.predictor, model.head):
        for weight in network.parameters():
            weight.mul_(0.5)
    return model


MODELS: dict[str, Callable[..., Any]] = {"latent": mild_latent_model, "gated": partial(gru_model, spread=0.35)}
HISTORY = np.random.default_rng(2).normal(size=(40, 6)) * 0.4
FILL = ECONOMICS["as full as allowed"][0]
PROFIT = "3 * Steam + 0.5 * Reflux**2 - 4 * Purity - 2 * Level"
# Limits that bind in some scenarios and can be kept or nearly so: random networks that give up more have several best
# plans. Of one rank, since a general solver knows no ranks.
LIMITS = {"Purity": {"high": {"at": 0.35, "rank": 1}}, "Level": {"low": {"at": -0.4, "rank": 1}},
          "Yield": {"low": {"at": -0.9, "rank": 1}}}  # fmt: skip
ONE_RANK = {name: {**tag, **({"limits": LIMITS[name]} if name in LIMITS else {})} for name, tag in COLUMN.items()}


def with_advice(plant: Plant, **changes: Any) -> Plant:
    return plant.model_copy(update={"advice": plant.advice.model_copy(update=changes)})


def tank_optimizer(plant: Plant, *gains: float) -> Optimizer:
    """The first gain advises, the others are members."""
    plant = with_advice(plant, scenarios=["members"])
    scaler = tanks_scaler()
    first, *others = (TanksModel(plant, scaler, gain=gain) for gain in gains)
    return Optimizer(plant=plant, model=first, scaler=scaler, members=others)


def column_optimizer(name: str, *seeds: int, **advice: Any) -> Optimizer:
    plant = make_plant(ONE_RANK, horizon="60 s", blocks=4, **advice)
    first, *others = (disturbed(MODELS[name](plant), seed) for seed in seeds)
    heads = [curved_head(7, rank=1)]
    plant = with_advice(plant, scenarios=["members"])
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
    plant = tanks(setpoints=objective is None, objective=objective, horizon="75 s", shared_moves=shared_moves)
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
    assert any(words.startswith("L1 high 12") for words in unsure.active)
    assert unsure.moves[0] @ [0.30, 0.12] < sure.moves[0] @ [0.30, 0.12]  # the first move lets in less


@pytest.mark.parametrize("shared_moves", BOTH)
@pytest.mark.parametrize(("name", "objective"), [("latent", PROFIT), ("gated", None)])
def test_the_plan_costs_what_ipopts_plan_costs(name: str, objective: str | None, shared_moves: Shared) -> None:
    optimizer = column_optimizer(name, 0, 2, objective=objective, shared_moves=shared_moves)
    futures = {"high": np.full((1, 1), 0.2)}
    problem = optimizer.scenarios(HISTORY, futures=futures)
    assert isinstance(problem, Scenarios)
    assert [scenario.name for scenario in problem.scenarios] == ["expected", "member 2", "high"]
    expected, *others = problem.scenarios
    problem = replace(  # the costs of the futures need not count alike
        problem, scenarios=(replace(expected, weight=0.5), *(replace(other, weight=0.25) for other in others))
    )
    start = problem.evaluate(np.zeros((1, int(problem.block_SM.max()) + 1, 2)))
    outcome = minimise(problem, start, QuadraticSolver(), Watch())
    answer = ScenarioOracle(problem).solve()
    assert answer.success
    theirs = problem.evaluate(answer.changes_MU[None])
    assert theirs.score.merit == pytest.approx(answer.merit, rel=1e-3)  # both speak of the same problem
    assert outcome.converged
    assert outcome.trial.score.merit < start.score.merit
    assert outcome.trial.score.merit <= answer.merit + 1e-3 * abs(answer.merit)


@pytest.mark.parametrize("name", MODELS)
def test_later_moves_that_may_differ_cost_no_more_than_one_sequence_for_all(name: str) -> None:
    futures = {"low": np.full((1, 1), -0.3), "high": np.full((1, 1), 0.2)}
    plans = [
        column_optimizer(name, 0, 2, objective=PROFIT, shared_moves=shared).plan(HISTORY, futures=futures)
        for shared in BOTH
    ]
    problem = column_optimizer(name, 0, 2, objective=PROFIT).scenarios(HISTORY, futures=futures)
    assert isinstance(problem, Scenarios)
    free, tied = (problem.evaluate(changes_of(problem, plan)[None]).score.merit for plan in plans)
    assert free <= tied + 1e-4 * abs(tied)
    assert free < tied - 1e-3 * abs(tied)  # and here they do differ
    for plan in plans:
        assert [branch.name for branch in plan.branches] == ["expected", "member 2", "low", "high"]
        for branch in plan.branches:
            np.testing.assert_array_equal(branch.moves[0], plan.moves[0])
    assert any((branch.moves != plans[0].moves).any() for branch in plans[0].branches)
    assert all((branch.moves == plans[1].moves).all() for branch in plans[1].branches)


def changes_of(problem: Scenarios, plan: Plan) -> np.ndarray:
    """Changes of all blocks from the moves of a plan's branches."""
    changes_BU = np.zeros((int(problem.block_SM.max()) + 1, len(plan.mvs)))
    for block_M, branch in zip(problem.block_SM, plan.branches, strict=True):
        changes_BU[block_M] = problem.nominal.as_changes(branch.moves)
    return changes_BU


def fed(**advice: Any) -> tuple[Plant, np.ndarray]:
    """A tank with a valve and a feed, at rest; the level's limit is near."""
    tags = {
        "V": {"role": "MV", "unit": "1", "limits": [-5, 5], "max_move": 0.5},
        "F": {"role": "DV", "unit": "1"},
        "L": {
            "role": "CV",
            "unit": "cm",
            "range": [-10, 10],
            "setpoint": 0,
            "limits": {"high": {"at": 0.5, "rank": 1}},
        },
    }
    return make_plant(tags, horizon="100 s", **advice), np.zeros((4, 3))


def filling(plant: Plant) -> LinearModel:
    return LinearModel(plant, [[1.0]], [[0.2]], [[0.2]])


@pytest.mark.parametrize("shared_moves", BOTH)
def test_a_feed_that_may_come_is_made_room_for_as_far_as_needed(shared_moves: Shared) -> None:
    plant, history = fed(shared_moves=shared_moves)
    optimizer = Optimizer(plant=plant, model=filling(plant), scaler=unit_scaler(plant))
    surge = np.concatenate([np.full((4, 1), np.nan), np.full((3, 1), 4.0), np.zeros((1, 1))])
    quiet, ready = optimizer.plan(history), optimizer.plan(history, futures={"high": surge})
    np.testing.assert_allclose(quiet.moves, 0.0, atol=1e-6)  # at its setpoint, and nothing is to come
    assert ready.moves[0, 0] < -0.01
    assert worst(ready, "L") <= 0.5 + 2e-3
    assert "L high 0.5 cm (rank 1) in scenario high" in ready.active
    assert not quiet.branches


def test_what_is_given_up_is_named_with_the_future_that_takes_most_of_it() -> None:
    plant, history = fed()
    optimizer = Optimizer(plant=plant, model=filling(plant), scaler=unit_scaler(plant))
    futures = {"high": np.full((1, 1), 4.0), "flood": np.full((1, 1), 20.0)}
    plan = optimizer.plan(history, futures=futures)
    (given,) = plan.give_ups
    assert (given.tag, given.side, given.scenario) == ("L", "high", "flood")
    flood = next(branch for branch in plan.branches if branch.name == "flood")
    assert given.amount == pytest.approx(float(flood.predicted.max()) - 0.5, rel=1e-6)
    assert "V" in given.because


def test_a_member_that_answers_without_a_number_is_a_hold() -> None:
    plant, history = fed(scenarios=["members"])
    broken = LinearModel(plant, [[np.nan]], [[0.2]], [[0.2]])
    optimizer = Optimizer(plant=plant, model=filling(plant), scaler=unit_scaler(plant), members=[broken])
    plan = optimizer.plan(history)
    assert plan.status is Status.HOLD
    assert "not finite" in plan.reason


def test_a_plan_over_futures_goes_on_from_the_one_before() -> None:
    plant, history = fed()
    optimizer = Optimizer(plant=plant, model=filling(plant), scaler=unit_scaler(plant))
    futures = {"high": np.full((1, 1), 4.0)}
    before = optimizer.plan(history, futures=futures)
    again = optimizer.plan(history, futures=futures, previous=before)
    np.testing.assert_allclose(again.moves[0], before.moves[0], atol=1e-3)
    late = optimizer.plan(history, futures=futures, previous=before, deadline=0.0)
    assert late.status in (Status.SHIFTED, Status.HOLD)


@pytest.mark.parametrize(
    ("futures", "message"), [({"high": np.zeros((3, 2))}, "1 columns"), ({"expected": np.zeros((3, 1))}, "another")]
)
def test_futures_that_cannot_be_are_refused(futures: dict[str, np.ndarray], message: str) -> None:
    plant, history = fed()
    optimizer = Optimizer(plant=plant, model=filling(plant), scaler=unit_scaler(plant))
    with pytest.raises(DatasetError, match=message):
        optimizer.plan(history, futures=futures)


def test_a_head_is_kept_by_the_member_whose_latent_it_reads() -> None:
    # The margin of the first member falls below zero without a plan that minds it; the other has no such margin.
    optimizer = column_optimizer("latent", 0, 2, objective=PROFIT)
    problem = optimizer.scenarios(HISTORY)
    assert isinstance(problem, Scenarios)
    assert [len(each.problem.limits.limits) for each in problem.scenarios] == [4, 3]
    plan = optimizer.plan(HISTORY)
    assert plan.status is Status.CONVERGED
    assert plan.margins.shape == (12, 1)
    careless = Optimizer(plant=optimizer._plant, model=optimizer._model, scaler=optimizer.forecaster.scaler).plan(
        HISTORY
    )
    one = optimizer.problem(HISTORY)
    least = [float(one.evaluate(one.as_changes(p.moves)[None]).forecast.margins_KNG.min()) for p in (careless, plan)]
    assert least[0] < -0.01 < least[1]
