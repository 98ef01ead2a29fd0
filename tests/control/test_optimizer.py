"""The optimizer as a plant would notice it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import casadi as ca
import numpy as np
import pytest
import torch
from control_fakes import (
    INFLOW,
    TANKS,
    LinearModel,
    MlpModel,
    make_plant,
    tanks_at_rest,
    tanks_next,
    tanks_step,
    unit_scaler,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from tank_optimizers import DOWN, ECONOMICS, UP, optimizer, rows, tanks
from torch import Tensor

from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Plan, Status


def closed_loop(
    opt: Optimizer, ticks: int, *, inflow: np.ndarray | float = 0.0, **asked: Any
) -> tuple[np.ndarray, list[Plan]]:
    """Rows [T, C] and plans when every plan is followed; starts at rest with 3 V each."""
    u = np.array([3.0, 3.0])
    h = tanks_at_rest(u)
    history = [np.concatenate([u, h])] * opt.rows_wanted
    plans: list[Plan] = []
    for _ in range(ticks):
        plans.append(opt.plan(np.array(history), previous=plans[-1] if plans else None, **asked))
        u = plans[-1].moves[0]
        h = tanks_next(h, u, inflow)
        history = [*history[1:], np.concatenate([u, h])]
    return np.array(history[-ticks:]), plans


def by_ipopt(opt: Optimizer, u0: tuple[float, float], h0: tuple[float, float], stage: Any) -> float:
    """Cost per advice of the same problem, single shooting over the same blocks, by IPOPT on CasADi's equations."""
    hz = opt.horizon
    x, h, before = ca.MX.sym("x", 2 * hz.blocks), ca.DM(h0), ca.DM(u0)
    cost, inside = 0, []
    for share_MU in hz.share_NMU:
        u = ca.vertcat(*(u0[i] + ca.dot(ca.DM(share_MU[:, i]), x[i::2]) for i in range(2)))
        h = tanks_step(h, u)
        cost += stage(h, u) / opt.cost.size + opt.cost.move_weight * ca.sumsqr((u - before) / opt.cost.span_U)
        before = u
        inside += [u, h]
    quiet = {"print_time": False, "ipopt": {"print_level": 0, "sb": "yes", "tol": 1e-9}}
    solver = ca.nlpsol("oracle", "ipopt", {"x": x, "f": cost, "g": ca.vertcat(*inside)}, quiet)
    answer = solver(
        x0=0,
        lbx=(-hz.moves_MU * hz.down_U).ravel(),
        ubx=(hz.moves_MU * hz.up_U).ravel(),
        lbg=np.tile([0, 0, 1, 1], hz.steps),
        ubg=np.tile([6, 6, 20, 20], hz.steps),
    )
    assert solver.stats()["success"]
    return opt.cost.per_advice(float(answer["f"]))


STARTS = [((3.0, 3.0), (10.0, 8.0)), ((1.0, 5.0), (4.0, 15.0)), ((5.5, 5.9), (19.5, 18.0))]


@pytest.mark.parametrize(("u0", "h0"), STARTS)
def test_tracking_costs_what_ipopts_plan_costs(u0: tuple[float, float], h0: tuple[float, float]) -> None:
    opt = optimizer()
    plan = opt.plan(rows(u0, h0))
    oracle = by_ipopt(opt, u0, h0, lambda h, u: ((h[0] - 12) / 19) ** 2 + ((h[1] - 9) / 19) ** 2)
    assert plan.status is Status.CONVERGED
    assert plan.cost <= oracle * 1.001
    assert plan.cost == pytest.approx(oracle, rel=1e-3)


@pytest.mark.parametrize("name", ECONOMICS)
@pytest.mark.parametrize(("u0", "h0"), STARTS[:2])
def test_an_economic_plan_costs_what_ipopts_costs(name: str, u0: tuple[float, float], h0: tuple[float, float]) -> None:
    text, stage = ECONOMICS[name]
    opt = optimizer(tanks(setpoints=False, objective=text))
    plan = opt.plan(rows(u0, h0))
    oracle = by_ipopt(opt, u0, h0, stage)
    assert plan.status is Status.CONVERGED
    assert plan.cost <= oracle + 1e-3 * abs(oracle)


def test_the_costs_shown_are_those_of_the_moves_shown() -> None:
    """Cost and CVs recomputed outside from the moves, by numpy."""
    plan = optimizer().plan(rows(), setpoints={"L2": 11})
    h, before, total = np.array([10.0, 8.0]), np.array([3.0, 3.0]), 0.0
    for u, predicted in zip(plan.moves, plan.predicted, strict=True):
        h = tanks_next(h, u)
        np.testing.assert_allclose(predicted, h, rtol=1e-10)
        total += np.sum(((h - [12, 11]) / 19) ** 2) + 0.1 * np.sum(((u - before) / 6) ** 2)
        before = u
    assert plan.cost == pytest.approx(total / 60, rel=1e-9)
    assert plan.cost < plan.cost_unmoved
    assert {a.dtype for a in (plan.moves, plan.predicted, plan.unmoved, plan.steady_gain)} == {np.dtype(np.float64)}


def test_steady_gain_is_what_a_held_step_ends_in() -> None:
    opt = optimizer(tanks(horizon="10 min"))
    u = np.array([3.0, 3.0])
    h = tuple(tanks_at_rest(u))
    plan = opt.plan(rows(h=h), setpoints={"L1": h[0], "L2": h[1]})  # nothing to do: linearised at rest
    np.testing.assert_allclose(plan.moves, 3.0, atol=1e-6)
    for i in range(2):
        e = 1e-4 * np.eye(2)[i]
        truth = (tanks_at_rest(u + e) - tanks_at_rest(u - e)) / 2e-4
        np.testing.assert_allclose(plan.steady_gain[:, i], truth, rtol=1e-3)


@pytest.mark.parametrize("inflow", [0.0, np.array([0.15, -0.1])])
def test_setpoints_are_reached_without_offset_by_a_wrong_model(inflow: Any) -> None:
    """Gains 20 % too small and an inflow that nobody measures."""
    found, plans = closed_loop(optimizer(tanks(horizon="2 min"), gain=0.8), 70, inflow=inflow)
    np.testing.assert_allclose(found[-1, 2:], [12, 9], atol=0.01)
    assert {plan.status for plan in plans} == {Status.CONVERGED}


def test_without_correction_an_offset_would_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("procmodel.control.observer.correction", lambda errors, bias: np.zeros_like(errors[1:, 0]))
    found, _ = closed_loop(optimizer(tanks(horizon="2 min"), gain=0.8), 40, inflow=np.array([0.15, -0.1]))
    assert np.abs(found[-1, 2:] - [12, 9]).max() > 0.3


@settings(max_examples=25)
@given(
    u=st.tuples(st.floats(0, 6), st.floats(0, 6)),
    h=st.tuples(st.floats(0.5, 22), st.floats(0.5, 22)),
    target=st.tuples(st.floats(-10, 40), st.floats(-10, 40)),
    economic=st.booleans(),
)
def test_hard_limits_and_largest_moves_are_never_exceeded(
    u: tuple[float, float], h: tuple[float, float], target: tuple[float, float], economic: bool
) -> None:
    plan_of = ECONOMIC if economic else TRACKING
    plan = plan_of.plan(rows(u, h), setpoints=dict(zip(("L1", "L2"), target, strict=True)))
    assert plan.status.usable
    assert (plan.moves >= 0).all()
    assert (plan.moves <= 6).all()
    steps = np.diff(plan.moves, prepend=np.array([u]), axis=0)
    assert (steps <= UP + 1e-9).all()
    assert (steps >= -DOWN - 1e-9).all()
    assert np.isfinite(plan.predicted).all()


TRACKING, ECONOMIC = optimizer(), optimizer(tanks(objective=ECONOMICS["profit between limits"][0]))


def test_a_distant_target_is_approached_at_the_largest_moves_each_way() -> None:
    opt = optimizer()
    up = opt.plan(rows((2.0, 2.0), (3.0, 3.0)))
    down = opt.plan(rows((5.0, 5.0), (19.0, 19.0)))
    np.testing.assert_allclose(up.moves[0], [2.5, 2.5], atol=1e-6)
    np.testing.assert_allclose(down.moves[0], [4.0, 4.5], atol=1e-6)
    assert "P1 at its largest move 0.5 V" in up.active
    assert "P1 at its largest move 1 V" in down.active


def test_limits_that_decide_are_named() -> None:
    plan = optimizer(tanks(setpoints=False, objective="P1 + 2 * P2")).plan(rows())
    assert "P2 low limit 0 V" in plan.active
    assert "L2 low 1 cm (rank 2)" in plan.active
    assert not any(words.startswith("L1 high") for words in plan.active)
    assert plan.give_ups == ()


def one_pump(low_rank: int, high_rank: int) -> Optimizer:
    """One MV and two CVs that follow it alike; one has to be above 8, the other below 6."""
    plant = make_plant(
        {
            "U": {"role": "MV", "unit": "V", "limits": [0, 10]},
            "A": {"role": "CV", "unit": "cm", "range": [0, 20], "limits": {"low": {"at": 8, "rank": low_rank}}},
            "B": {"role": "CV", "unit": "cm", "range": [0, 20], "limits": {"high": {"at": 6, "rank": high_rank}}},
        }
    )
    model = LinearModel(plant, 0.5 * np.eye(2), [[0.5], [0.5]])
    return Optimizer(plant=plant, model=model, scaler=unit_scaler(plant))


@pytest.mark.parametrize(("low_rank", "high_rank", "kept"), [(1, 2, 8.0), (2, 1, 6.0), (3, 9, 8.0)])
def test_of_two_limits_that_cannot_both_hold_the_lower_rank_gives_way(
    low_rank: int, high_rank: int, kept: float
) -> None:
    plan = one_pump(low_rank, high_rank).plan(np.array([[7.0, 7.0, 7.0]] * 2))
    assert plan.status is Status.CONVERGED
    np.testing.assert_allclose(plan.predicted[-10:], kept, atol=0.01)
    worst = plan.give_ups[-1]
    assert (worst.tag, worst.side, worst.limit) == (("B", "high", 6.0) if kept == 8 else ("A", "low", 8.0))
    assert worst.rank == max(low_rank, high_rank)
    assert worst.amount == pytest.approx(2.0, abs=0.02)
    assert [give_up.rank for give_up in plan.give_ups] == sorted(give_up.rank for give_up in plan.give_ups)


def test_an_economic_plan_goes_to_the_limit_and_keeps_the_distance_for_doubt() -> None:
    plant = tanks(setpoints=False, objective="-5 * L1 + 0.1 * P1")
    at_limit, _ = closed_loop(optimizer(plant), 35)
    assert at_limit[-1, 2] == pytest.approx(20.0, abs=0.01)
    assert at_limit[:, 2].max() <= 20.001
    backoff = np.stack([np.linspace(0.2, 1.5, 60), np.zeros(60)], axis=1)
    kept, plans = closed_loop(optimizer(plant, backoff_HY=backoff), 35)
    assert kept[:, 2].max() <= 20.0 - 0.2 + 1e-3
    assert (plans[-1].predicted[:, 0] <= 20 - backoff[:, 0] + 0.01).all()
    assert any("L1 high 20 cm (rank 1), " in words and "kept for doubt" in words for words in plans[-1].active)
    assert plans[-1].give_ups == ()


def test_doubt_wider_than_the_room_between_limits_leaves_a_way() -> None:
    plan = optimizer(backoff_HY=np.full((1, 2), 100.0)).plan(rows())
    assert plan.status is Status.CONVERGED
    np.testing.assert_allclose(plan.predicted[-1], 10.5, atol=1.0)  # the middle between 1 and 20


class Foam:
    """Margin falls with the first level: safe below 11 cm; an allowance that grows."""

    name, unit, rank = "foam", "cm", 1
    allowance_H = np.array([0.2, 0.5])

    def margin(self, z_BD: Tensor) -> Tensor:
        return 11.0 - (z_BD[:, 0] * 2.0 + 11.0)


def test_a_head_keeps_its_margin_above_zero_allowance_deducted() -> None:
    opt = optimizer(heads=[Foam()])
    found, plans = closed_loop(opt, 35)  # its setpoint is 12
    assert plans[-1].heads == ("foam",)
    assert found[-1, 2] == pytest.approx(10.5, abs=0.05)
    np.testing.assert_allclose(
        plans[-1].margins[:, 0], 11 - plans[-1].predicted[:, 0] - np.minimum(0.2 + 0.3 * np.arange(60), 0.5), atol=1e-6
    )
    assert plans[-1].margins.min() > -1e-3
    assert "foam margin (rank 1)" in plans[-1].active


def test_a_head_that_cannot_hold_is_given_up_by_name() -> None:
    plan = optimizer(heads=[Foam()]).plan(rows(h=(15.0, 8.0)))
    (give_up,) = plan.give_ups
    assert (give_up.tag, give_up.side, give_up.rank) == ("foam", "low", 1)
    assert give_up.amount == pytest.approx(-plan.margins.min())


def test_an_mv_out_of_service_stays_and_the_other_does_what_it_can() -> None:
    plan = optimizer().plan(rows(), out_of_service=["P2"])
    assert (plan.moves[:, 1] == 3.0).all()
    assert plan.moves[0, 0] > 3.0
    assert "P2 out of service, held at 3 V" in plan.active
    assert np.abs(plan.steady_gain[:, 1]).min() > 0  # its gain is still known


def test_a_cv_out_of_service_is_neither_steered_nor_limited() -> None:
    plan = optimizer().plan(rows(h=(12.0, 25.0)), out_of_service=["L2"])
    assert plan.give_ups == ()
    np.testing.assert_allclose(plan.predicted[-5:, 0], 12.0, atol=0.05)


def test_a_plant_without_any_limit_on_its_cvs_is_steered_too() -> None:
    plan = optimizer(tanks({"L1": {"limits": {}}, "L2": {"limits": {}}})).plan(rows())
    assert plan.status is Status.CONVERGED
    np.testing.assert_allclose(plan.predicted[-1], [12, 9], atol=1.0)
    assert optimizer().plan(rows(), out_of_service=["L1", "L2"]).status is Status.CONVERGED


def test_announced_disturbances_are_acted_on_before_they_come() -> None:
    plant = make_plant({**TANKS, "D": {"role": "DV", "unit": "cm"}})
    model = LinearModel(plant, 0.9 * np.eye(2), INFLOW, e=[[0.5], [0.0]])
    opt = Optimizer(plant=plant, model=model, scaler=unit_scaler(plant))
    b = np.linalg.solve(INFLOW, 0.1 * np.array([12.0, 9.0]))
    history = np.tile([*b, 12.0, 9.0, 0.0], (2, 1))
    quiet = opt.plan(history)
    np.testing.assert_allclose(quiet.moves, np.tile(b, (60, 1)), atol=1e-6)
    announced = np.concatenate([np.full((6, 1), np.nan), np.ones((4, 1))])  # nothing new for six rows, then 1 for good
    plan = opt.plan(history, future_dv_HV=announced)
    assert plan.unmoved[5, 0] == pytest.approx(12.0)
    assert plan.unmoved[-1, 0] == pytest.approx(12 + 5 * (1 - 0.9**54), rel=1e-6)
    assert plan.moves[4, 0] < b[0] - 0.1


def test_the_first_tick_loads_no_compiler() -> None:
    """`torch.func` would import `torch._dynamo`, which takes longer than many deadlines."""
    code = "import sys, test_optimizer as t; t.optimizer().plan(t.rows()); assert 'torch._dynamo' not in sys.modules"
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parents[1]), os.environ.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": path})


def test_a_network_with_training_parameters_plans_without_a_graph() -> None:
    """Parameters that ask for gradients are constants to the optimizer, and stay as they are."""
    plant = tanks()
    model = MlpModel(plant, latent=8, hidden=16)
    before = [p.clone() for p in model.parameters()]
    plan = Optimizer(plant=plant, model=model, scaler=unit_scaler(plant)).plan(rows(count=16))
    assert plan.status.usable
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_the_seconds_of_each_stage_add_up() -> None:
    plan = optimizer().plan(rows())
    stages = {k: v for k, v in plan.seconds.items() if k != "total"}
    assert set(stages) == {"encode", "bias", "first rollout", "sensitivities", "qp", "line search"}
    assert sum(stages.values()) <= plan.seconds["total"]


def test_an_mv_with_a_resting_value_drifts_there_when_nothing_else_decides() -> None:
    plant = tanks({"P1": {"rest_at": 3.6}, "P2": {"rest_at": 2.7}}, setpoints=False, horizon="2 min")
    found, _ = closed_loop(optimizer(plant), 60)
    np.testing.assert_allclose(found[-1, :2], [3.6, 2.7], atol=0.1)
