"""Defects that other projects shipped: each test fails when the defect is put in, and the defect is put in here too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from control_fakes import COLUMN, TANKS, TanksModel, latent_model, make_plant, tanks_next, tanks_scaler
from torch import Tensor

from procmodel.control import qp
from procmodel.control.engines import Engine, Piqp, Standard
from procmodel.control.horizon import Horizon
from procmodel.control.limits import Score
from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Status
from procmodel.control.problem import Problem
from procmodel.control.sensitivities import Forecaster
from procmodel.data.window import Scaler, Window
from procmodel.world_model.protocol import rollout

Check = Callable[[Optimizer], None]
ROWS = np.tile(np.array([3.0, 3.0, 10.0, 8.0]), (2, 1))


def optimizer(model: type[TanksModel] = TanksModel) -> Optimizer:
    plant, scaler = make_plant(TANKS), tanks_scaler()
    return Optimizer(plant=plant, model=model(plant, scaler), scaler=scaler)


def breaks(check: Check, opt: Optimizer) -> None:
    """The check passes without the defect and fails with it."""
    check(optimizer())
    with pytest.raises(AssertionError):
        check(opt)


# Bounds not applied (to what a sampler or a step proposes).


def moves_inside(opt: Optimizer) -> None:
    plan = opt.plan(ROWS, setpoints={"L1": 19.0, "L2": 18.0})
    change = np.diff(np.vstack([[3.0, 3.0], plan.moves]), axis=0)
    assert (plan.moves >= 0).all()
    assert (plan.moves <= 6).all()
    assert (change <= [0.5 + 1e-9, 0.5 + 1e-9]).all()
    assert (change >= [-1 - 1e-9, -0.5 - 1e-9]).all()


def test_bounds_not_applied() -> None:
    opt = optimizer()
    wide = replace(opt.horizon, up_U=np.array([5.0, 5.0]))
    opt.formulation.horizon = wide
    breaks(moves_inside, opt)


# A failed iterate returned as the answer, and reused for the next. The solver's word for it is "solved".


class GivesUpOutside(Piqp):
    """Ends at an iterate far outside the bounds and reports success."""

    def solve(self, program: Standard) -> tuple[np.ndarray, np.ndarray]:
        found = super().solve(program)
        assert found is not None
        return found[0] + 10.0, found[1]


def with_engine(broken: Engine) -> Optimizer:
    """No other solver is asked."""
    opt = optimizer()
    opt._solver._engines = {"broken": broken}
    return opt


def failure_is_a_hold_and_no_start(opt: Optimizer) -> None:
    held = opt.plan(ROWS)
    assert held.status is Status.HOLD
    assert "no solver could solve" in held.reason
    again = opt.plan(ROWS, previous=held)
    assert again.status is Status.HOLD
    assert "no previous plan" in again.reason


def test_a_failed_iterate_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    failure_is_a_hold_and_no_start(with_engine(GivesUpOutside()))
    monkeypatch.setattr(qp, "_is_answer", lambda program, x, price_B: True)
    with pytest.raises(AssertionError):
        failure_is_a_hold_and_no_start(with_engine(GivesUpOutside()))


def test_a_failed_iterate_reused(monkeypatch: pytest.MonkeyPatch) -> None:
    failure_is_a_hold_and_no_start(with_engine(GivesUpOutside()))
    monkeypatch.setattr(Optimizer, "usable", lambda self, previous: previous is not None)
    with pytest.raises(AssertionError):
        failure_is_a_hold_and_no_start(with_engine(GivesUpOutside()))


# NaN after an infeasible solve reported as success.


class SolvedWithNan(Piqp):
    """What interior-point methods leave after a breakdown, with the flag of a success."""

    def solve(self, program: Standard) -> tuple[np.ndarray, np.ndarray]:
        return np.full(len(program.g), np.nan), np.full(len(program.a), np.nan)


def test_nan_reported_as_success(monkeypatch: pytest.MonkeyPatch) -> None:
    failure_is_a_hold_and_no_start(with_engine(SolvedWithNan()))
    monkeypatch.setattr(qp, "_is_answer", lambda program, x, price_B: True)
    with np.errstate(invalid="ignore"), pytest.raises(AssertionError):  # a warning is none in a control room
        failure_is_a_hold_and_no_start(with_engine(SolvedWithNan()))


class LosesItsNumbers(TanksModel):
    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        ahead = super().step(z_BD, u_BU, d_BV)
        return torch.where(u_BU[:, :1] * self._spread_u[0] + self._centre_u[0] > 3.2, torch.nan, ahead)


def what_is_shown_is_finite(opt: Optimizer) -> None:
    plan = opt.plan(ROWS, setpoints={"L1": 18.0})
    assert not plan.status.usable or np.isfinite(plan.predicted).all()
    assert not plan.status.usable or np.isfinite(plan.cost)


def test_nan_of_the_model_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The full step leads where the model has no numbers; a plan there is never the better one."""
    what_is_shown_is_finite(optimizer(LosesItsNumbers))
    monkeypatch.setattr(Score, "beats", lambda self, other, by=0.0: not self.merit >= other.merit - by)
    monkeypatch.setattr(Problem, "evaluate", unguarded)
    with pytest.raises(AssertionError):
        what_is_shown_is_finite(optimizer(LosesItsNumbers))


def unguarded(self: Problem, changes_KMU: np.ndarray, moves_KNU: np.ndarray | None = None) -> Any:
    """`Problem.evaluate` with costs that are no numbers left as they are."""
    trial = guarded(self, changes_KMU, moves_KNU)
    cost_K = np.where(trial.forecast.finite_K, trial.cost_K, np.nan)
    scores = tuple(replace(score, merit=float(cost)) for score, cost in zip(trial.scores, cost_K, strict=True))
    return replace(trial, cost_K=cost_K, scores=scores)


guarded = Problem.evaluate


# Cost and constraints from two different rollouts.


def numbers_are_those_of_the_moves(opt: Optimizer) -> None:
    plan = opt.plan(ROWS)
    h, before, total = np.array([10.0, 8.0]), np.array([3.0, 3.0]), 0.0
    for u, shown in zip(plan.moves, plan.predicted, strict=True):
        h = tanks_next(h, u)
        assert np.allclose(shown, h, rtol=1e-9)
        total += np.sum(((h - [12, 9]) / 19) ** 2) + 0.1 * np.sum(((u - before) / 6) ** 2)
        before = u
    assert np.isclose(plan.cost, total / 60, rtol=1e-8)


def test_cost_and_constraints_from_two_rollouts(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers_are_those_of_the_moves(optimizer())
    true = Problem.evaluate

    def costed_elsewhere(self: Problem, changes_KMU: np.ndarray, moves_KNU: np.ndarray | None = None) -> Any:
        trial = true(self, changes_KMU, moves_KNU)
        return replace(trial, cost_K=true(self, 0.9 * changes_KMU).cost_K)

    monkeypatch.setattr(Problem, "evaluate", costed_elsewhere)
    with pytest.raises(AssertionError):
        numbers_are_those_of_the_moves(optimizer())


# Warm-start tail filled with the mean.


def tail_holds_the_last_move(opt: Optimizer) -> None:
    rising = np.linspace([1.0, 2.0], [5.0, 3.0], opt.horizon.steps)
    shifted = opt.horizon.shifted(rising)
    assert np.array_equal(shifted[-1], rising[-1])
    assert np.array_equal(shifted[:-1], rising[1:])


def test_warm_start_tail_filled_with_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    tail_holds_the_last_move(optimizer())

    def with_mean(self: Horizon, moves_NU: np.ndarray) -> np.ndarray:
        return np.vstack([moves_NU[self.interval :], np.tile(moves_NU.mean(axis=0), (self.interval, 1))])

    monkeypatch.setattr(Horizon, "shifted", with_mean)
    with pytest.raises(AssertionError):
        tail_holds_the_last_move(optimizer())


# Planner history unlike training history: other gap handling, other scaling, other rollout.


class Recorder(TanksModel):
    seen: list[Window]

    def encode(self, window: Window) -> Tensor:
        self.seen = [*getattr(self, "seen", []), window]
        return super().encode(window)


def history_is_handed_over_as_in_training(opt: Optimizer) -> None:
    rows = np.vstack([ROWS, ROWS])
    rows[-2, 2] = np.nan
    opt.plan(rows)
    window = opt._model.seen[0]  # type: ignore[attr-defined]
    wanted = opt.forecaster.scaler.window(np.stack([rows[i : i + 2] for i in range(3)]))
    assert torch.equal(window.mask, wanted.mask)
    assert torch.equal(window.values * window.mask, wanted.values * wanted.mask)


def test_planner_history_unlike_training_history(monkeypatch: pytest.MonkeyPatch) -> None:
    history_is_handed_over_as_in_training(optimizer(Recorder))
    from procmodel.control import bias
    from procmodel.control import past as module

    def filled_first(model: Any, scaler: Any, rows_RC: np.ndarray) -> Any:
        return unspoilt(model, scaler, bias.filled(rows_RC))

    unspoilt = bias.encode_history
    monkeypatch.setattr(module, "encode_history", filled_first)
    with pytest.raises(AssertionError):
        history_is_handed_over_as_in_training(optimizer(Recorder))


def test_the_forecast_is_the_rollout_of_training() -> None:
    opt = optimizer()
    plan = opt.plan(ROWS)
    moves = torch.as_tensor(opt.forecaster.scaler.scale(plan.moves, (0, 1)))[None]
    z = opt._model.encode(opt.forecaster.scaler.window(ROWS))
    latents = rollout(opt._model, z, moves, torch.empty(1, opt.horizon.steps, 0, dtype=torch.float64))
    np.testing.assert_allclose(opt.forecaster.scaler.unscale(latents[0].numpy(), (2, 3)), plan.predicted, rtol=1e-12)


# An optimiser that never steps.


def the_plan_moves_where_moving_pays(opt: Optimizer) -> None:
    plan = opt.plan(ROWS)
    assert plan.cost < 0.9 * plan.cost_unmoved
    assert np.abs(plan.moves - 3.0).max() > 0.1


def test_an_optimiser_that_never_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    the_plan_moves_where_moving_pays(optimizer())
    from procmodel.control import sqp

    monkeypatch.setattr(sqp, "_changes", lambda problem, trial, step, lengths: trial.changes_KMU[[0] * len(lengths)])
    with pytest.raises(AssertionError):
        the_plan_moves_where_moving_pays(optimizer())


# A planner that peeks at the true environment.


def only_history_decides(opt: Optimizer) -> None:
    """The model that plans is wrong by a fifth; the plan is that of the model, not that of the plant."""
    plan = opt.plan(ROWS)
    h = np.array([10.0, 8.0])
    for u in plan.moves:
        h = tanks_next(h, u, inflow=-0.2)
    assert abs(plan.predicted[-1, 0] - h[0]) > 0.5


class Peeks(TanksModel):
    """Knows the leak that nobody has told it of."""

    def __init__(self, plant: Any, scaler: Any) -> None:
        super().__init__(plant, scaler, leak=0.2)


def test_a_planner_that_peeks_at_the_true_environment() -> None:
    breaks(only_history_decides, optimizer(Peeks))


# Derivatives in float32.


def derivatives_are_exact_to_nine_digits(opt: Optimizer) -> None:
    plan = opt.plan(ROWS)
    assert plan.moves.dtype == plan.steady_gain.dtype == np.float64

    def end(pump: float) -> np.ndarray:
        h = np.array([10.0, 8.0])
        for _ in range(opt.horizon.steps):
            h = tanks_next(h, np.array([pump, 3.0]))
        return h

    step = 1e-3  # five points: exact to the fourth power of it
    slope = (8 * (end(3 + step) - end(3 - step)) - (end(3 + 2 * step) - end(3 - 2 * step))) / (12 * step)
    # The first linearisation is along no move, where the differences were taken.
    start = opt.plan(ROWS, out_of_service=("P2",))
    assert np.allclose(start.steady_gain[:, 0], slope, rtol=1e-9)


class InSinglePrecision(TanksModel):
    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        return super().step(z_BD.float().double(), u_BU.float().double(), d_BV).float().double()


def test_derivatives_in_single_precision() -> None:
    breaks(derivatives_are_exact_to_nine_digits, optimizer(InSinglePrecision))


# The network evaluated more than it need be.


class Counts(TanksModel):
    calls = 0

    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        type(self).calls += 1
        return super().step(z_BD, u_BU, d_BV)


class CountsDouble(Counts):
    calls = 0

    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        super().step(z_BD, u_BU, d_BV)
        return super().step(z_BD, u_BU, d_BV)


def as_few_evaluations_as_the_method_needs(model: type[Counts]) -> None:
    """One rollout for the starts, and per iteration one for all step lengths and one pass for the derivatives."""
    opt = optimizer(model)
    model.calls = 0
    plan = opt.plan(ROWS)
    steps, bias = opt.horizon.steps, 4
    assert plan.iterations >= 1
    assert model.calls <= (steps + bias) + plan.iterations * (steps + 1)


def test_the_network_is_not_evaluated_twice_per_iteration() -> None:
    as_few_evaluations_as_the_method_needs(Counts)
    with pytest.raises(AssertionError):
        as_few_evaluations_as_the_method_needs(CountsDouble)


def as_few_passes_as_the_method_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the compiled rows: one rollout for the starts and one per program, one pass back per program, and tangents
    once per linearisation. No pass is of more rows than the horizon has."""
    plant = make_plant(COLUMN)
    size = len(plant.columns)
    opt = Optimizer(plant=plant, model=latent_model(plant), scaler=Scaler(centre=np.zeros(size), spread=np.ones(size)))
    made: dict[str, list[int]] = {"roll": [], "tangents": [], "adjoint": []}
    for name, passes in made.items():
        monkeypatch.setattr(opt.forecaster._cell, name, counted(getattr(opt.forecaster._cell, name), passes))
    plan = opt.plan(np.zeros((3, size)))
    assert plan.iterations >= 2
    assert len(made["tangents"]) >= 1
    assert len(made["roll"]) <= 1 + plan.iterations
    assert len(made["adjoint"]) <= plan.iterations + len(made["tangents"])
    assert 2 * len(made["tangents"]) <= 1 + plan.iterations


def counted(true: Callable[..., Any], passes: list[int]) -> Callable[..., Any]:
    def pass_on(*given: Any, **more: Any) -> Any:
        passes.append(1)
        return true(*given, **more)

    return pass_on


def test_the_compiled_rows_are_not_run_twice_per_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    as_few_passes_as_the_method_needs(monkeypatch)
    once = Forecaster.forecast

    def twice(self: Forecaster, now: Any, moves_KNU: np.ndarray) -> Any:
        once(self, now, moves_KNU)  # as for the constraints, apart from the cost
        return once(self, now, moves_KNU)

    monkeypatch.setattr(Forecaster, "forecast", twice)
    with pytest.raises(AssertionError):
        as_few_passes_as_the_method_needs(monkeypatch)
