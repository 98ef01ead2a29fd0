"""Closed-loop trials: paired for certain, and figures that a hand can check."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from procmodel.advice import Advice
from procmodel.evaluation.closed_loop import START, run_trials
from procmodel.evaluation.controllers import (
    AdviceControl,
    Decision,
    Episode,
    FunctionControl,
    HoldControl,
    Observation,
    OperatorControl,
    OracleControl,
)
from procmodel.evaluation.limits import TOLERANCE, soft_limits, traces
from procmodel.evaluation.oracle import Oracle
from procmodel.simulation import REFERENCE_PLANTS, operate, reference_plant

TANK = reference_plant("quadruple-tank")
EVAPORATOR = reference_plant("evaporator")


@dataclass
class Restless:
    """Moves at random, so that its plant goes elsewhere; remembers what it was shown."""

    name: str = "restless"
    every_row: bool = False
    seen: list[Observation] = field(default_factory=list)

    def reset(self, episode: Episode) -> None:
        self._rng = np.random.default_rng(episode.seed)
        self.seen.clear()

    def act(self, observation: Observation) -> Decision:
        self.seen.append(observation)
        return Decision(u=observation.u_previous + self._rng.uniform(-0.2, 0.2, len(observation.u_previous)))


@pytest.mark.parametrize("name", REFERENCE_PLANTS)
def test_all_controllers_meet_the_same_weather_the_same_noise_and_the_same_start(name: str) -> None:
    reference, restless = reference_plant(name), Restless()
    result = run_trials(reference, [HoldControl(), restless], seeds=[5, 6], rows=24, warmup=12)
    mv, cv, dv = (
        [reference.plant.columns.index(n) for n in names]
        for names in (reference.plant.mvs, reference.plant.cvs, reference.plant.dvs)
    )
    for held, moved in zip(result.trials["hold"], result.trials["restless"], strict=True):
        np.testing.assert_array_equal(held.d, moved.d)
        np.testing.assert_array_equal(held.setpoints, moved.setpoints)
        np.testing.assert_array_equal(held.rows[:, dv], moved.rows[:, dv])
        # The noise is what the instruments add to the truth; the truth differs.
        np.testing.assert_allclose(held.rows[:, cv] - held.y, moved.rows[:, cv] - moved.y, atol=1e-12)
        assert np.abs(held.y - moved.y).max() > 0
        np.testing.assert_array_equal(held.rows[:, mv], held.u)
    assert np.abs(result.trials["hold"][0].y - result.trials["hold"][1].y).max() > 0  # another seed, another day


@pytest.mark.parametrize("name", REFERENCE_PLANTS)
def test_the_operators_trial_is_the_end_of_the_operators_own_run(name: str) -> None:
    reference = reference_plant(name)
    result = run_trials(reference, [OperatorControl()], seeds=[9], rows=40, warmup=25, setpoints=reference.setpoints)
    trial = result.trials["operator"][0]
    run = operate(reference, rows=65, seed=9)
    np.testing.assert_array_equal(trial.rows, run.rows[25:])
    np.testing.assert_array_equal(trial.y, run.y[25:])
    np.testing.assert_array_equal(trial.margins, run.margins[25:])
    np.testing.assert_array_equal(trial.setpoints, run.setpoints[25:])


@pytest.mark.parametrize("name", REFERENCE_PLANTS)
def test_the_time_before_a_trial_is_what_a_record_of_the_plant_holds(name: str) -> None:
    """A task comes faster than operators are ever asked; at its pace they end where no record has been."""
    reference, seen = reference_plant(name), []
    look = FunctionControl("look", lambda now: seen.append(now.rows.copy()) or Decision(u=None))  # type: ignore[func-returns-value]
    run_trials(reference, [look], seeds=[9], rows=1, warmup=300)
    np.testing.assert_array_equal(seen[0], operate(reference, rows=300, seed=9).rows)


def test_hold_leaves_the_moves_where_the_operator_had_them() -> None:
    result = run_trials(TANK, [HoldControl()], seeds=[3], rows=30, warmup=20, setpoints=TANK.setpoints)
    trial = result.trials["hold"][0]
    run = operate(TANK, rows=20, seed=3)
    np.testing.assert_array_equal(trial.u, np.tile(run.u[-1], (30, 1)))
    assert trial.figures.travel.tolist() == [0.0, 0.0]


def test_a_controller_is_asked_once_per_advice_interval_and_sees_all_rows_so_far() -> None:
    interval = round((TANK.plant.advice.every or 5.0) / 5.0)
    restless = Restless()
    trial = run_trials(TANK, [restless], seeds=[3], rows=21, warmup=10).trials["restless"][0]
    assert [seen.t for seen in restless.seen] == list(range(0, 21, interval))
    assert [len(seen.rows) for seen in restless.seen] == [10 + t for t in range(0, 21, interval)]
    assert restless.seen[-1].time == START + timedelta(seconds=5 * len(restless.seen[-1].rows))
    assert len(trial.seconds) == len(restless.seen)
    with pytest.raises(ValueError, match="read-only"):
        restless.seen[0].rows[0, 0] = 1.0
    np.testing.assert_array_equal(np.diff(trial.u, axis=0)[np.arange(20) % interval != interval - 1], 0.0)


def test_moves_beyond_the_hard_limits_do_not_reach_the_plant() -> None:
    wild = FunctionControl("wild", lambda seen: Decision(u=np.array([99.0, -99.0])))
    trial = run_trials(TANK, [wild], seeds=[3], rows=6, warmup=5).trials["wild"][0]
    np.testing.assert_array_equal(trial.u, np.tile([6.0, 0.0], (6, 1)))


@dataclass(frozen=True)
class FakeAdvisor:
    """Advises one move up and then holds."""

    plant: Any
    calls: list[dict[str, Any]] = field(default_factory=list)

    def advise(self, rows_RC: np.ndarray, **given: Any) -> tuple[Advice, Any]:
        self.calls.append({"rows": rows_RC, **given})
        at, until = given["now"], given["now"] + timedelta(seconds=15)
        if len(self.calls) > 1:
            return Advice.hold(reason="the model is surprised", at=at, expires=until, plant="p"), "a plan that failed"
        from procmodel.advice.advice import Action, Move

        moves = tuple(
            Move(tag=n, unit="V", current=3, recommended=3.25, delta=0.25, low=0, high=6, up=1, down=1)
            for n in self.plant.mvs
        )
        return Advice(action=Action.MOVE, reason="go", at=at, expires=until, plant="p", moves=moves), "the plan"


def test_advice_is_followed_and_a_hold_is_the_operators_and_is_counted_with_its_reason() -> None:
    advisor = FakeAdvisor(plant=TANK.plant)
    result = run_trials(TANK, [AdviceControl(advisor, history=4)], seeds=[3], rows=9, warmup=10)  # type: ignore[arg-type]
    trial, told = result.trials["advice"][0], result.to_dict()["advice"]
    interval = round((TANK.plant.advice.every or 5.0) / 5.0)
    np.testing.assert_array_equal(trial.u[:interval], np.full((interval, 2), 3.25))
    assert np.abs(np.diff(trial.u[interval:], axis=0)).min() > 0  # the loops again, in every row
    holds = -(-9 // interval) - 1
    assert told["holds"] == holds
    assert told["hold_reasons"] == {"the model is surprised": holds}
    assert trial.held.sum() == 9 - interval
    assert all(len(call["rows"]) == 4 for call in advisor.calls)
    assert advisor.calls[0]["setpoints"].keys() == {"LI101.PV", "LI102.PV"}  # LI103 has none
    # A plan that became no move is forgotten.
    assert [call["previous"] for call in advisor.calls[:3]] == [None, "the plan", None]


def test_a_hold_leaves_moves_where_they_are_on_a_plant_that_nobody_runs() -> None:
    unattended = replace(TANK, attended=False)  # its operator would move anything anywhere, for a record's sake
    trial = run_trials(
        unattended, [AdviceControl(FakeAdvisor(plant=TANK.plant), history=4)], seeds=[3], rows=9, warmup=10
    )  # type: ignore[arg-type]
    np.testing.assert_array_equal(trial.trials["advice"][0].u, np.full((9, 2), 3.25))


@pytest.mark.parametrize("name", REFERENCE_PLANTS)
def test_an_operator_who_takes_over_does_so_without_a_bump(name: str) -> None:
    """However long somebody else moved it: a loop that kept the error of then would answer all since at once."""
    reference, rows, handover = reference_plant(name), 140, 40
    usual = np.abs(np.diff(operate(reference, rows=2000, seed=4).u, axis=0)).max(axis=0)
    still = FunctionControl("still", lambda seen: Decision(u=seen.u_previous if seen.t < handover else None))
    for trial in run_trials(reference, [still], seeds=[4, 5], rows=rows, warmup=30).trials["still"]:
        change = np.abs(np.diff(trial.u, axis=0))
        assert change[: handover - 1].max() == 0.0 < change[handover - 1 :].max()
        assert np.all(change[handover - 1] <= usual)


def test_costs_limits_and_ratios_are_those_of_the_true_values() -> None:
    result = run_trials(EVAPORATOR, [OperatorControl(), HoldControl()], seeds=[1, 2], rows=30, warmup=10)
    told = result.to_dict()
    trial = result.trials["operator"][0]
    by_hand = 600 * trial.y[:, 2] + 0.6 * trial.u[:, 1] + 1.009 * (trial.y[:, 3] + 50)
    np.testing.assert_allclose(trial.cost, by_hand)
    assert told["operator"]["cost_by_seed"][0] == pytest.approx(by_hand.mean())
    assert told["trial"]["cost_unit"] == "$/h"
    assert told["operator"]["cost_over"]["hold"]["ratio"] == pytest.approx(
        told["operator"]["cost"] / told["hold"]["cost"]
    )
    assert set(told["operator"]["violation"]) == {"1", "2"}


def test_an_excess_counts_from_the_tolerance_on_and_by_its_rank() -> None:
    y = np.tile([27.0, 50.0, 9.3, 2.0], (4, 1))
    y[1, 0] = 25.0 - 0.5 * TOLERANCE * 30  # within
    y[2, 0], y[3, 1] = 24.0, 83.0
    margins = np.array([[1.0], [1.0], [-2.0], [1.0]])
    names = [limit.name for limit in soft_limits(EVAPORATOR)]
    found = dict(zip(names, traces(EVAPORATOR, y, margins), strict=True))
    assert found["AI2.PV low 25"].excess.tolist() == [0, 0, 1.0, 0]
    assert found["PI2.PV high 80"].excess.tolist() == [0, 0, 0, 3.0]
    assert found["PI2.PV low 40"].excess.tolist() == [0, 0, 0, 0]
    assert found["entrainment_margin"].excess.tolist() == [0, 0, 2.0, 0]
    assert [found[n].rank for n in ("AI2.PV low 25", "PI2.PV high 80", "entrainment_margin")] == [1, 1, 2]


def test_the_plants_own_task_is_set_unless_another_is_given() -> None:
    def ask(rows: int, seed: int) -> np.ndarray:
        return np.tile([11.0, 12.0 + seed, np.nan], (rows, 1))

    given = run_trials(TANK, [HoldControl()], seeds=[2], rows=5, warmup=3, setpoints=ask).trials["hold"][0]
    np.testing.assert_array_equal(given.setpoints, ask(5, 2))
    own = run_trials(TANK, [HoldControl()], seeds=[2], rows=200, warmup=3).trials["hold"][0]
    assert TANK.task is not None
    np.testing.assert_array_equal(own.setpoints, TANK.task(200, 2))


def test_progress_counts_every_row_of_every_controller() -> None:
    told: list[tuple[str, int, int]] = []
    run_trials(
        TANK, [HoldControl(), OperatorControl()], seeds=[1, 2], rows=3, warmup=2, progress=lambda *at: told.append(at)
    )
    assert [done for _, done, _ in told] == list(range(1, 13))
    assert {total for _, _, total in told} == {12}
    assert [name for name, _, _ in told][::3] == ["hold", "operator", "hold", "operator"]


@pytest.mark.slow
def test_knowing_everything_costs_less_than_holding_still() -> None:
    oracle = Oracle(TANK)
    controllers = [OracleControl(oracle), HoldControl()]
    result = run_trials(TANK, controllers, seeds=[21, 22], rows=130, warmup=5)
    assert oracle.failures == 0
    assert (result.cost("oracle") < 0.5 * result.cost("hold")).all()
    assert result.to_dict()["oracle"]["violation"]["1"]["share"] == 0.0
