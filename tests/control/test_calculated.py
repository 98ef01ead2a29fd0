"""What the plant file calculates from tags and keeps within limits, against closed forms and general solvers."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from control_fakes import COLUMN, LinearModel, curved_head, gru_model, latent_model, make_plant, unit_scaler
from scenario_oracle import ScenarioOracle

from procmodel.control.batched import BatchedOptimizer
from procmodel.control.optimizer import Optimizer
from procmodel.control.oracle import Oracle
from procmodel.control.plan import Status
from procmodel.control.prices import prices
from procmodel.control.scenarios import Scenarios
from procmodel.data.window import Scaler
from procmodel.errors import InputError, PlantFileError
from procmodel.plant import Status as TagStatus

# A flow U that heats Y by a first-order lag of gain 1 against the DV's temperature D; the duty is what it carries.
HEATER: dict[str, Any] = {
    "U": {"role": "MV", "unit": "kg/s", "limits": [0, 10]},
    "Y": {"role": "CV", "unit": "degC", "setpoint": 6, "range": [0, 20]},
    "D": {"role": "DV", "unit": "degC"},
}
DUTY = {"duty": {"expression": "U * (Y - D)", "unit": "kW", "limits": {"high": {"at": 12, "rank": 2}}}}


def heater(constraints: dict[str, Any] | None = None, tags: dict[str, Any] | None = None, **settings: Any) -> Optimizer:
    given = {name: {**tag, **(tags or {}).get(name, {})} for name, tag in HEATER.items()}
    plant = make_plant(given, move_weight=0.001, constraints=DUTY if constraints is None else constraints)
    scaler = Scaler(centre=np.array([3.0, 3.0, 0.0]), spread=np.array([1.0, 1.0, 0.5]))
    return Optimizer(plant=plant, model=_Heater(plant, scaler), scaler=scaler, **settings)


class _Heater(LinearModel):
    """`y+ = 0.5 y + 0.5 u` in engineering units: the scaled model has the same matrices, for spreads of 1."""

    def __init__(self, plant: Any, scaler: Scaler) -> None:
        super().__init__(plant, [[0.5]], [[0.5]])


def rows(u: float, y: float, d: float) -> np.ndarray:
    return np.array([[u, y, d]] * 2)


def test_a_product_of_mv_and_cv_is_kept_at_its_limit() -> None:
    """At rest Y = U: with D = 1 the duty U (U - 1) = 12 ends at U = 4, where the setpoint would want 6."""
    opt = heater()
    plan = opt.plan(rows(2.0, 2.0, 1.0))
    assert plan.status is Status.CONVERGED
    assert plan.moves[-1, 0] == pytest.approx(4.0, abs=1e-3)
    duty = plan.calculated["duty"]
    np.testing.assert_allclose(duty.predicted, plan.moves[:, 0] * (plan.predicted[:, 0] - 1.0), rtol=1e-12)
    assert duty.predicted.max() <= 12.0 * (1 + 1e-4)
    assert (duty.now, duty.unit) == (2.0 * (2.0 - 1.0), "kW")
    np.testing.assert_allclose(duty.unmoved, 2.0, atol=1e-9)
    assert "duty high 12 kW (rank 2)" in plan.active
    assert plan.give_ups == ()
    free = heater({}).plan(rows(2.0, 2.0, 1.0))
    assert free.moves[-1, 0] == pytest.approx(6.0, abs=0.05)
    assert free.calculated == {}


def test_a_dv_counts_as_it_is_announced() -> None:
    """From row 31 on D is 3: U (U - 3) = 12 ends at (3 + sqrt(57)) / 2."""
    future = np.full((60, 1), 1.0)
    future[30:] = 3.0
    plan = heater().plan(rows(4.0, 4.0, 1.0), future_dv_HV=future)
    assert plan.moves[28, 0] == pytest.approx(4.0, abs=0.02)
    assert plan.moves[-1, 0] == pytest.approx((3 + np.sqrt(57)) / 2, abs=2e-3)


@pytest.mark.parametrize(("duty_rank", "level_rank", "end"), [(1, 2, 4.0), (2, 1, 5.0)])
def test_ranks_decide_between_it_and_a_cv(duty_rank: int, level_rank: int, end: float) -> None:
    """Y is to be above 5, where the duty is 20: one of the two gives way, by 1 degC or by 8 kW."""
    constraints = {"duty": {**DUTY["duty"], "limits": {"high": {"at": 12, "rank": duty_rank}}}}
    opt = heater(constraints, {"Y": {"setpoint": None, "limits": {"low": {"at": 5, "rank": level_rank}}}})
    plan = opt.plan(rows(5.0, 5.0, 1.0))
    assert plan.status is Status.CONVERGED
    assert plan.predicted[-1, 0] == pytest.approx(end, abs=0.01)
    given = plan.give_ups[-1]
    if duty_rank == 1:
        assert (given.tag, given.side, given.because) == ("Y", "low", "duty high 12 (rank 1) counts more")
        assert given.amount == pytest.approx(1.0, abs=0.01)
    else:
        assert (given.tag, given.side, given.limit, given.rank) == ("duty", "high", 12.0, 2)
        assert given.amount == pytest.approx(8.0, abs=0.05)
        assert given.because == "Y low 5 (rank 1) counts more"


def test_what_stands_in_the_way_is_named_by_the_chain_of_derivatives() -> None:
    """A duty of at least 12 needs a flow of 4; the pump stands at its limit of 2 and only more would help."""
    low = {"duty": {**DUTY["duty"], "limits": {"low": 12}}}
    plan = heater(low, {"U": {"limits": [0, 2]}}).plan(rows(2.0, 2.0, 1.0))
    (given,) = plan.give_ups
    assert given.because == "U is at its high limit 2 kg/s"
    assert given.amount == pytest.approx(12 - 2 * (2 - 1), rel=1e-6)


def test_its_limit_may_be_moved_for_a_tick_and_has_a_price() -> None:
    opt = heater()
    history = rows(4.0, 4.0, 1.0)
    plan = opt.plan(history)
    looser = opt.plan(history, limits={"duty": {"high": 20.0}})
    assert looser.moves[-1, 0] == pytest.approx(5.0, abs=1e-3)  # 5 * (5 - 1)
    assert looser.limits["duty", "high"] == 20.0
    plant = make_plant(HEATER, move_weight=0.001, constraints=DUTY)
    found = {(price.tag, price.side): price for price in prices(opt, plant, history, plan)}
    price = found["duty", "high"]
    # One advice costs ((U - 6) / 20)^2 at rest; U (U - 1) = duty, so that dU / d duty = 1 / (2 U - 1).
    assert price.per_unit == pytest.approx(2 * (6 - 4) / 20**2 / 7, rel=0.05)
    assert str(price).startswith("duty high 12 costs ")
    assert str(price).endswith(" per kW")
    with pytest.raises(PlantFileError, match="'duty' has no low limit"):
        opt.plan(history, limits={"duty": {"low": 1.0}})


def test_distance_for_doubt_follows_from_that_of_the_cvs() -> None:
    """At the recorded centre d duty / dY = U = 3: of 0.2 degC it makes 0.6 kW."""
    opt = heater(backoff_HY=np.full((1, 1), 0.2))
    limit = opt.limits.limits[-1]
    np.testing.assert_allclose(limit.backoff_N, 0.6)
    plan = opt.plan(rows(2.0, 2.0, 1.0))
    assert plan.calculated["duty"].predicted.max() == pytest.approx(11.4, abs=2e-3)
    assert "duty high 12 kW (rank 2), 0.6 kW kept for doubt" in plan.active
    wider = opt.limits.keeping(np.full((60, 1), 0.3)).limits[-1]
    np.testing.assert_allclose(wider.backoff_N, 0.9)


def test_what_reads_a_cv_that_is_left_alone_is_left_alone_too() -> None:
    opt = heater({**DUTY, "flow": {"expression": "2 * U", "unit": "kg/s", "limits": {"low": 1, "high": 9}}})
    dropped = opt.plan(rows(4.0, 4.0, 1.0), statuses={"Y": TagStatus.DROP})
    assert set(dropped.limits) == {("flow", "low"), ("flow", "high")}
    assert set(opt.plan(rows(4.0, 4.0, 1.0)).limits) == {("duty", "high"), ("flow", "low"), ("flow", "high")}


def test_a_value_that_is_no_number_is_a_hold_that_names_it() -> None:
    opt = heater({"root": {"expression": "sqrt(Y - 2)", "unit": "1", "limits": {"high": 3}}})
    sound = opt.plan(rows(3.0, 3.0, 0.0))
    assert sound.status.usable
    assert np.isfinite(sound.calculated["root"].predicted).all()
    held = opt.plan(rows(1.0, 1.0, 0.0))
    assert held.status is Status.HOLD
    assert "'root' is not finite without a move" in held.reason


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("U * X", r"advice\.constraints\.duty\.expression: unknown tag 'X'.*U, Y, D"),
        ("log(0 - Y)", r"advice\.constraints\.duty\.expression: 'log\(0 - Y\)' has no finite value"),
        ("U if Y else 2", "is not allowed"),
    ],
)
def test_an_expression_that_cannot_be_planned_with_is_refused(expression: str, said: str) -> None:
    with pytest.raises(PlantFileError, match=said):
        heater({"duty": {**DUTY["duty"], "expression": expression}})


def test_a_batch_refuses_it_by_name() -> None:
    constraints = {"load": {"expression": "Steam + Feed", "unit": "kg/h", "limits": {"high": 1}}}
    plant = make_plant(COLUMN, constraints=constraints)
    with pytest.raises(InputError, match=r"advice\.constraints"):
        BatchedOptimizer(plant=plant, model=latent_model(plant), scaler=unit_scaler(plant))


# On networks: one rank, since a general solver knows no ranks; the CVs' own limits are left away but for one.
NETWORK = {
    name: {**{k: v for k, v in tag.items() if k != "limits" or tag["role"] == "MV"}} for name, tag in COLUMN.items()
}
NETWORK["Level"]["limits"] = {"low": {"at": -0.5, "rank": 1}}
BENT = {
    "load": {
        "expression": "(Steam + 2) * (Purity + 2) + 0.5 * Feed * Reflux",
        "unit": "kW",
        "limits": {"low": {"at": 3.0, "rank": 1}, "high": {"at": 4.4, "rank": 1}},
    },
    "ratio": {
        "expression": "exp(0.5 * Yield) / (Reflux + 4)",
        "unit": "1",
        "limits": {"high": {"at": 0.24, "rank": 1}},
    },
}
MODELS = {"latent": latent_model, "gated": partial(gru_model, spread=0.35)}
HISTORY = np.random.default_rng(2).normal(size=(40, 6)) * 0.4
PROFIT = "3 * Steam + 0.5 * Reflux**2 - 4 * Purity - 2 * Level"


def network(name: str, **advice: Any) -> Optimizer:
    plant = make_plant(NETWORK, horizon="100 s", blocks=5, constraints=BENT, **advice)
    return Optimizer(plant=plant, model=MODELS[name](plant), scaler=unit_scaler(plant), heads=[curved_head(7, rank=1)])


@pytest.mark.parametrize("objective", [None, PROFIT], ids=["setpoints", "economics"])
@pytest.mark.parametrize("name", MODELS)
def test_the_plan_costs_what_general_solvers_plans_cost(name: str, objective: str | None) -> None:
    opt = network(name, objective=objective)
    problem = opt.problem(HISTORY)
    plan = opt.plan(HISTORY)
    assert plan.status is Status.CONVERGED
    assert any(words.startswith(("load", "ratio")) for words in plan.active)  # or nothing was tested
    ours = problem.evaluate(problem.as_changes(plan.moves)[None]).score.merit
    answers = [Oracle(problem).solve(problem), Oracle(problem, solver="fatrop").solve(problem)]
    answers = [answer for answer in answers if answer.success]
    assert answers
    for answer in answers:
        assert problem.evaluate(answer.changes_MU[None]).score.merit == pytest.approx(answer.merit, rel=1e-3)
    best = min(answer.merit for answer in answers)
    assert ours <= best + 1e-3 * abs(best)


@pytest.mark.parametrize("name", MODELS)
def test_derivatives_are_those_of_finite_differences(name: str) -> None:
    problem = network(name).problem(HISTORY)
    rng = np.random.default_rng(3)
    at_MU = problem.inside(rng.normal(size=problem.bounds.down_MU.shape) * 0.02)
    trial = problem.evaluate(at_MU[None])
    lin = problem.linearised(trial, None)
    eps, numbers = 1e-6, []
    for p in range(at_MU.size):
        e_MU = np.zeros(at_MU.size)
        e_MU[p] = eps
        both = [at_MU + sign * e_MU.reshape(at_MU.shape) for sign in (1.0, -1.0)]
        up, down = (problem.evaluate(each[None]).excess_KNR[0] for each in both)
        numbers.append((up - down) / (2 * eps))
    np.testing.assert_allclose(lin.soft_NRP, np.stack(numbers, axis=2), atol=2e-7)


def test_the_gradient_at_a_further_plan_is_exact() -> None:
    """By one pass back, with prices on what is calculated, against finite differences of the Lagrangian."""
    problem = network("latent").problem(HISTORY)
    rng = np.random.default_rng(4)
    start = problem.evaluate(np.zeros((1, *problem.bounds.down_MU.shape)))
    lin = problem.linearised(start, None)
    at_MU = problem.inside(rng.normal(size=problem.bounds.down_MU.shape) * 0.02)
    trial = problem.evaluate(at_MU[None])
    price_NR = rng.uniform(size=trial.excess_KNR[0].shape)
    found = problem.subproblem(lin, trial, price_NR)
    assert found.is_exact

    def lagrangian(changes_MU: np.ndarray) -> float:
        tried = problem.evaluate(changes_MU[None])
        return float(tried.cost_K[0] + np.sum(price_NR * tried.excess_KNR[0]))

    eps, true_P = 1e-6, np.empty(at_MU.size)
    for p in range(at_MU.size):
        e_MU = np.zeros(at_MU.size)
        e_MU[p] = eps
        both = [lagrangian(at_MU + sign * e_MU.reshape(at_MU.shape)) for sign in (1.0, -1.0)]
        true_P[p] = (both[0] - both[1]) / (2 * eps)
    expected_P = true_P - np.tensordot(price_NR, lin.soft_NRP, axes=2)
    np.testing.assert_allclose(found.program.gradient_P, expected_P, rtol=1e-5, atol=1e-6)


def test_it_is_kept_in_every_scenario_as_ipopt_keeps_it() -> None:
    tags = {**NETWORK, "Feed": {**COLUMN["Feed"]}}
    plant = make_plant(tags, horizon="60 s", blocks=4, constraints={"load": BENT["load"]})
    opt = Optimizer(plant=plant, model=latent_model(plant), scaler=unit_scaler(plant))
    futures = {"high": np.full((1, 1), 0.5)}
    problem = opt.scenarios(HISTORY, futures=futures)
    assert isinstance(problem, Scenarios)
    plan = opt.plan(HISTORY, futures=futures)
    assert plan.status is Status.CONVERGED
    assert any(words.startswith("load") for words in plan.active)
    answer = ScenarioOracle(problem).solve()
    assert answer.success
    theirs = problem.evaluate(answer.changes_MU[None])
    assert theirs.score.merit == pytest.approx(answer.merit, rel=1e-3)
    changes_BU = np.zeros_like(answer.changes_MU)
    for block_M, branch in zip(problem.block_SM, plan.branches, strict=True):
        changes_BU[block_M] = problem.nominal.as_changes(branch.moves)
    ours = problem.evaluate(changes_BU[None]).score.merit
    assert ours <= answer.merit + 1e-3 * abs(answer.merit)
