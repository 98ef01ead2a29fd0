"""The optimizer as a plant would notice it."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from dataclasses import replace
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
    TanksModel,
    make_plant,
    tanks_at_rest,
    tanks_next,
    tanks_scaler,
    tanks_step,
    unit_scaler,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Plan, Status
from procmodel.control.qp import QuadraticProgram, QuadraticSolver
from procmodel.data.window import Window
from procmodel.errors import ArtifactError, DatasetError, PlantFileError
from procmodel.plant import Plant

UP, DOWN = np.array([0.5, 0.5]), np.array([1.0, 0.5])


def tanks(changes: dict[str, dict[str, Any]] | None = None, *, setpoints: bool = True, **advice: Any) -> Plant:
    tags = {name: {**tag, **(changes or {}).get(name, {})} for name, tag in TANKS.items()}
    if not setpoints:
        tags = {name: {k: v for k, v in tag.items() if k != "setpoint"} for name, tag in tags.items()}
    return make_plant(tags, **advice)


def optimizer(plant: Plant | None = None, *, gain: float = 1.0, **settings: Any) -> Optimizer:
    plant, scaler = plant or tanks(), tanks_scaler()
    return Optimizer(plant=plant, model=TanksModel(plant, scaler, gain=gain), scaler=scaler, **settings)


def rows(u: tuple[float, float] = (3.0, 3.0), h: tuple[float, float] = (10.0, 8.0), count: int = 2) -> np.ndarray:
    return np.tile(np.array([*u, *h]), (count, 1))


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


ECONOMICS = {
    "pumping to the lowest allowed levels": ("1 * P1 + 2 * P2", lambda h, u: u[0] + 2 * u[1]),
    "profit between limits": ("3 * P1**2 + 2 * P2**2 - 2 * L1", lambda h, u: 3 * u[0] ** 2 + 2 * u[1] ** 2 - 2 * h[0]),
    "as full as allowed": ("2 * P1 + 1 * P2 - 0.3 * L1 * L1", lambda h, u: 2 * u[0] + u[1] - 0.3 * h[0] ** 2),
}
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
    monkeypatch.setattr("procmodel.control.optimizer.correction", lambda errors, bias: np.zeros_like(errors[1:, 0]))
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


def test_a_warm_start_needs_fewer_iterations_and_reaches_the_same() -> None:
    opt = optimizer(tanks(setpoints=False, objective=ECONOMICS["profit between limits"][0]))
    first = opt.plan(rows())
    u, h = first.moves[0], tanks_next(np.array([10.0, 8.0]), first.moves[0])
    history = np.array([[3.0, 3.0, 10.0, 8.0], [*u, *h]])
    cold, warm = opt.plan(history), opt.plan(history, previous=first)
    assert warm.iterations < cold.iterations
    assert warm.cost == pytest.approx(cold.cost, abs=1e-3 * abs(cold.cost))


def test_a_plan_depends_on_what_is_handed_over_and_on_nothing_else() -> None:
    opt = optimizer()
    before = opt.plan(rows())
    opt.plan(rows((0.5, 5.0), (19.0, 2.0)), setpoints={"L1": 3.0})
    np.testing.assert_allclose(opt.plan(rows()).moves, before.moves, atol=1e-9)


class Clock:
    """A clock that a test moves: each reading takes `pace` seconds."""

    def __init__(self, pace: float) -> None:
        self._now, self.pace = 0.0, pace

    def __call__(self) -> float:
        self._now += self.pace
        return self._now


def test_a_deadline_before_the_first_program_is_a_hold_with_its_reason() -> None:
    plan = optimizer().plan(rows(), deadline=0.0)
    assert plan.status is Status.HOLD
    assert "deadline" in plan.reason
    assert "no previous plan" in plan.reason
    assert (plan.moves == 3.0).all()
    np.testing.assert_array_equal(plan.predicted, plan.unmoved)
    assert plan.cost == plan.cost_unmoved


def test_a_deadline_with_a_previous_plan_gives_it_shifted_and_forecast_anew() -> None:
    opt = optimizer()
    previous = opt.plan(rows())
    u, h = previous.moves[0], np.array([9.5, 8.5])  # not quite where it was expected
    plan = opt.plan(np.array([[*u, *h]] * 2), previous=previous, deadline=0.0)
    assert plan.status is Status.SHIFTED
    ends = np.array(opt.horizon.ends) - 1
    shifted = opt.horizon.shifted(previous.moves)
    np.testing.assert_allclose(plan.moves[ends], shifted[ends], atol=1e-9)
    np.testing.assert_array_equal(plan.moves[-1], previous.moves[-1])
    for u, predicted in zip(plan.moves, plan.predicted, strict=True):
        h = tanks_next(h, u)
        np.testing.assert_allclose(predicted, h, rtol=1e-10)


def test_a_previous_plan_that_no_longer_helps_is_not_followed() -> None:
    opt = optimizer()
    previous = opt.plan(rows((3.0, 3.0), (3.0, 3.0)))  # fills the tanks
    plan = opt.plan(rows((3.5, 3.5), (19.9, 19.9)), previous=previous, deadline=0.0)
    assert plan.status is Status.HOLD
    assert "worse than no move" in plan.reason


def test_a_deadline_between_iterations_gives_the_best_so_far() -> None:
    plant = tanks(setpoints=False, objective=ECONOMICS["as full as allowed"][0])
    full = optimizer(plant, clock=Clock(1.0)).plan(rows())
    assert full.iterations >= 3
    # Readings of the clock up to the first iteration and through it, so that there is no time for a second one.
    plan = next(
        plan
        for seconds in itertools.count(1)
        if (plan := optimizer(plant, clock=Clock(1.0)).plan(rows(), deadline=float(seconds))).iterations
    )
    assert plan.status is Status.FEASIBLE
    assert "deadline" in plan.reason
    assert 1 <= plan.iterations < full.iterations
    assert full.cost < plan.cost < plan.cost_unmoved


class Broken(TanksModel):
    """Fails where it is told to."""

    where = "encode"

    def encode(self, window: Window) -> Tensor:
        z_BD = super().encode(window)
        return z_BD * np.nan if self.where == "encode" else z_BD

    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        z_next = super().step(z_BD, u_BU, d_BV)
        return z_next / 0.0 if self.where == "step" else z_next

    def read_out(self, z_BD: Tensor) -> Tensor:
        return z_BD * np.inf if self.where == "read-out" else z_BD


@pytest.mark.parametrize("where", ["encode", "step", "read-out"])
def test_a_model_without_numbers_is_a_hold(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Broken, "where", where)
    plant, scaler = tanks(), tanks_scaler()
    opt = Optimizer(plant=plant, model=Broken(plant, scaler), scaler=scaler)
    plan = opt.plan(rows(), previous=optimizer().plan(rows()))
    assert plan.status is Status.HOLD
    assert "not finite" in plan.reason
    assert (plan.moves == 3.0).all()


def test_a_model_that_breaks_only_where_it_would_be_led_is_not_led_there() -> None:
    """Beyond 4 V the forecast has no number: the plan stays below, and is finite."""

    class Cliff(TanksModel):
        def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
            broken = (u_BU[:, :1] * self._spread_u[0] + self._centre_u[0]) > 4.0
            return torch.where(broken, torch.nan, super().step(z_BD, u_BU, d_BV))

    plant, scaler = tanks(), tanks_scaler()
    plan = Optimizer(plant=plant, model=Cliff(plant, scaler), scaler=scaler).plan(rows(h=(4.0, 4.0)))
    assert plan.status.usable
    assert np.isfinite(plan.predicted).all()
    assert plan.moves[:, 0].max() <= 4.0
    assert plan.cost < plan.cost_unmoved


def test_a_program_that_no_solver_solves_is_a_named_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    previous = optimizer().plan(rows())

    def fails(self: QuadraticSolver, program: QuadraticProgram) -> None:
        return None

    monkeypatch.setattr(QuadraticSolver, "solve", fails)
    held = optimizer().plan(rows())
    assert held.status is Status.HOLD
    assert "no solver could solve the program of iteration 1" in held.reason
    assert optimizer().plan(rows(), previous=previous).status is Status.SHIFTED


@pytest.mark.parametrize("bad", [{"status": Status.HOLD}, {"moves": np.full((60, 2), np.nan)}, {"mvs": ("P2", "P1")}])
def test_a_failed_or_foreign_plan_is_never_a_warm_start(bad: dict[str, Any]) -> None:
    opt = optimizer()
    plan = opt.plan(rows(), previous=replace(opt.plan(rows()), **bad), deadline=0.0)
    assert plan.status is Status.HOLD


def test_moves_start_from_the_last_good_value_and_never_from_a_gap() -> None:
    history = rows(count=5)
    history[-2:, 0] = np.nan
    plan = optimizer().plan(history)
    assert plan.status is Status.CONVERGED
    assert plan.moves[0, 0] == pytest.approx(3.5, abs=1e-6)
    history[:, 0] = np.nan
    plan = optimizer().plan(history)
    assert plan.status is Status.HOLD
    assert plan.reason == "P1: no good sample in the history"


def test_all_mvs_out_of_service_is_a_hold() -> None:
    plan = optimizer().plan(rows(), out_of_service=["P1", "P2"])
    assert plan.status is Status.HOLD
    assert plan.reason == "every MV is out of service"
    assert np.isfinite(plan.predicted).all()


def test_fewer_rows_than_wanted_are_enough_and_more_change_nothing() -> None:
    opt = optimizer(gain=0.9)
    assert opt.rows_wanted == 2 + 60 + 3
    rng = np.random.default_rng(0)
    history = rows(count=200) + rng.normal(0, 0.1, (200, 4))
    enough = opt.plan(history[-opt.rows_wanted :])
    np.testing.assert_allclose(opt.plan(history).predicted, enough.predicted, rtol=1e-9)
    assert opt.plan(history[-2:]).status is Status.CONVERGED


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda opt: opt.plan(rows(count=1)), DatasetError, "reads 2 rows, got 1"),
        (lambda opt: opt.plan(np.zeros((5, 3))), DatasetError, "needs rows of 4 columns"),
        (lambda opt: opt.plan(rows(), future_dv_HV=np.zeros((3, 1))), DatasetError, "0 columns"),
        (lambda opt: opt.plan(rows(), out_of_service=["P3"]), PlantFileError, "unknown tag 'P3'"),
        (lambda opt: opt.plan(rows(), setpoints={"L9": 1}), PlantFileError, "unknown CV 'L9'"),
        (lambda opt: optimizer(backoff_HY=np.zeros((4, 3))), ArtifactError, r"\[H, 2\], got shape \(4, 3\)"),
        (lambda opt: optimizer(backoff_HY=np.full((4, 2), -1.0)), ArtifactError, "non-negative"),
        (lambda opt: optimizer(tanks(objective="L9")), PlantFileError, "unknown tag 'L9'"),
    ],
)
def test_wrong_input_is_told_what_is_wrong(call: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        call(optimizer())


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
