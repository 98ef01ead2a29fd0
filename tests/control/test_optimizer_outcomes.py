"""How a plan can end: warm starts, deadlines, models and solvers that fail, histories with gaps, wrong input."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from control_fakes import (
    TanksModel,
    tanks_next,
    tanks_scaler,
)
from tank_optimizers import ECONOMICS, optimizer, rows, tanks
from torch import Tensor

from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Status
from procmodel.control.qp import QuadraticProgram, QuadraticSolver
from procmodel.data.window import Window
from procmodel.errors import ArtifactError, DatasetError, PlantFileError


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
