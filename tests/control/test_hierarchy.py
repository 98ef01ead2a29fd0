"""The hierarchy: a slow layer says where the fast horizon should end, and is silent where it knows nothing.

One tank: a pump fills it, a known demand empties it, electricity has a price that is announced.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from control_fakes import LinearModel, latent_model, unit_scaler

from procmodel.control.hierarchy import Hierarchy
from procmodel.control.objective import END_WEIGHT
from procmodel.control.optimizer import Optimizer
from procmodel.control.oracle import Oracle
from procmodel.control.plan import Plan
from procmodel.errors import PlantFileError
from procmodel.plant import Plant
from procmodel.plant.slow import slow_plant
from procmodel.world_model.slow import SlowRows

ROW, SLOW_STEPS, STEPS, READ = 4, 8, 8, 4
TAGS: dict[str, Any] = {
    "P1": {"role": "MV", "unit": "m3/h", "limits": [0, 2]},
    "L1": {"role": "CV", "unit": "m3", "range": [0, 40], "limits": {"low": {"at": 2, "rank": 1}, "high": 30}},
    "D1": {"role": "DV", "unit": "m3/h"},
    "E1": {"role": "DV", "unit": "CHF/kWh"},
}


def tank(**slow: Any) -> Plant:
    """Fast rows of 5 s, slow ones of 20 s; the level rises by what the pump lifts above the demand, per row."""
    return Plant.model_validate(
        {
            "name": "tank",
            "sample_time": "5 s",
            "tags": TAGS,
            "advice": {"objective": "E1 * (P1 + 0.5 * P1**2)", "horizon": "40 s", "move_weight": 0.001},
            "slow": {"row": "20 s", "horizon": "160 s", "latents": 0, **slow},
        }
    )


def optimizer(plant: Plant, rise: float, rows: int) -> Optimizer:
    model = LinearModel(plant, [[1.0]], [[rise]], [[-rise, 0.0]], rows=rows)
    return Optimizer(plant=plant, model=model, scaler=unit_scaler(plant))


def hierarchy(plant: Plant | None = None) -> Hierarchy:
    """The slow model takes the mean of the level for where it is, as the last slow row left it."""
    plant = plant or tank()
    fast = optimizer(plant, 1.0, 2)
    rows = SlowRows.of(plant, fast.forecaster.model, fast.forecaster.scaler)
    return Hierarchy(plant=plant, fast=fast, slow=optimizer(slow_plant(plant), float(ROW), READ), slow_rows=rows)


def at_rest(rows: int = 40, level: float = 10.0) -> np.ndarray:
    """Columns P1, L1, D1, E1."""
    return np.tile([1.0, level, 1.0, 0.5], (rows, 1))


def dear_later(cheap: int) -> np.ndarray:
    """Demand of 1 m3/h; electricity costs ten times as much after so many rows."""
    price = np.where(np.arange(ROW * SLOW_STEPS) < cheap, 0.1, 1.0)
    return np.stack([np.ones_like(price), price], axis=1)


def test_a_slow_layer_that_says_nothing_gives_the_flat_plan() -> None:
    planner, rows = hierarchy(), at_rest(ROW * READ - 1)
    plan = planner.plan(rows, future_dv_HV=dear_later(16))
    flat = optimizer(tank(), 1.0, 2).plan(rows, future_dv_HV=dear_later(16))
    np.testing.assert_array_equal(plan.moves, flat.moves)
    assert plan.above is None
    assert "no slow layer: it reads 4 slow rows, the history has 3" in plan.reason


def test_a_slow_layer_without_targets_leaves_the_economics_to_the_fast_one() -> None:
    rows = at_rest()
    plan = hierarchy(tank(targets=[])).plan(rows, future_dv_HV=dear_later(16))
    flat = optimizer(tank(), 1.0, 2).plan(rows, future_dv_HV=dear_later(16))
    assert plan.above is not None
    np.testing.assert_allclose(plan.moves, flat.moves, atol=0.05)  # resting values pull a little


def test_it_stores_while_it_is_cheap_for_what_comes_after_the_fast_horizon() -> None:
    rows = at_rest()
    plan = hierarchy().plan(rows, future_dv_HV=dear_later(16))
    flat = optimizer(tank(), 1.0, 2).plan(rows, future_dv_HV=dear_later(16))
    assert flat.predicted[-1, 0] < 5.0  # it sells the store at the end of its horizon
    assert plan.predicted[-1, 0] > 11.0


def test_the_horizon_ends_where_the_slow_forecast_is_at_that_time() -> None:
    planner = hierarchy()
    plan = planner.plan(at_rest(), future_dv_HV=dear_later(16))
    above = plan.above
    assert above is not None
    # The fast horizon's last row is rows 7 to 8, slow middles are at 2, 6, 10: between the second and the third.
    slow = above.plan.predicted[:, 0]
    assert above.ends["L1"] == pytest.approx(slow[1] + (7.5 - 6.0) / 4.0 * (slow[2] - slow[1]))
    assert above.rest == {"P1": above.plan.moves[1, 0]}
    assert plan.predicted[-1, 0] == pytest.approx(above.ends["L1"], abs=0.2)


def test_the_slow_layer_plans_once_per_slow_row() -> None:
    planner, previous, ages = hierarchy(), None, []
    for _ in range(6):
        previous = planner.plan(at_rest(), future_dv_HV=dear_later(16), previous=previous)
        assert previous.above is not None
        ages.append(previous.above.age)
    assert ages == [0, 1, 2, 3, 0, 1]


def test_after_a_hold_the_slow_layer_plans_anew() -> None:
    planner = hierarchy()
    first = planner.plan(at_rest(), future_dv_HV=dear_later(16))
    again = planner.plan(at_rest(), future_dv_HV=dear_later(16), previous=first)
    anew = planner.plan(at_rest(), future_dv_HV=dear_later(16), previous=None)
    assert (again.above is not None, anew.above is not None) == (True, True)
    assert (again.above and again.above.age, anew.above and anew.above.age) == (1, 0)


def test_announced_disturbances_reach_the_slow_layer_as_means_over_its_rows() -> None:
    planner, known = hierarchy(), np.full((6, 2), np.nan)
    known[2:, 0] = [3.0, 3.0, 5.0, 7.0]
    future = planner._future(at_rest(), known)
    assert future is not None
    # Two rows hold what is measured now; what lies beyond the announcement holds its last value.
    np.testing.assert_allclose(future[:3, 0], [(1 + 1 + 3 + 3) / 4, (5 + 7 + 7 + 7) / 4, 7.0])
    np.testing.assert_allclose(future[:, 1], 0.5)


def test_it_wants_as_much_history_as_the_slow_layer_reads() -> None:
    planner = hierarchy()
    assert planner.rows_wanted == planner.slow.rows_wanted * ROW + 1
    assert planner.future_rows == ROW * SLOW_STEPS


class Told:
    """An optimizer that notes the time it was given."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer, self.deadlines = optimizer, list[float | None]()

    def plan(self, *args: Any, deadline: float | None, **asked: Any) -> Plan:
        self.deadlines.append(deadline)
        return self._optimizer.plan(*args, **asked)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._optimizer, name)


def test_the_slow_layer_may_take_half_the_time_and_the_fast_one_gets_what_is_left() -> None:
    plain, ticks = hierarchy(), iter([0.0, 0.4])
    fast, slow = Told(plain.fast), Told(plain.slow)
    rows = SlowRows.of(tank(), plain.fast.forecaster.model, plain.fast.forecaster.scaler)
    planner = Hierarchy(plant=tank(), fast=fast, slow=slow, slow_rows=rows, clock=lambda: next(ticks))  # type: ignore[arg-type]
    plan = planner.plan(at_rest(), deadline=1.0)
    assert (slow.deadlines, fast.deadlines) == ([0.5], [pytest.approx(0.6)])
    assert plan.seconds["slow layer"] == pytest.approx(0.4)


def test_an_end_that_is_no_cv_is_refused() -> None:
    with pytest.raises(PlantFileError, match="ends: X9 is no CV"):
        optimizer(tank(), 1.0, 2).plan(at_rest(), ends={"X9": 1.0})


def test_a_cv_out_of_service_is_led_nowhere() -> None:
    flat = optimizer(tank(), 1.0, 2)
    led = flat.plan(at_rest(), ends={"L1": 20.0}, out_of_service=["L1"])
    np.testing.assert_array_equal(led.moves, flat.plan(at_rest(), out_of_service=["L1"]).moves)


def test_the_cost_of_the_end_is_told_and_adds_up() -> None:
    plan = optimizer(tank(), 1.0, 2).plan(at_rest(), ends={"L1": 25.0})  # two pumps' worth too high
    missed = END_WEIGHT * ((plan.predicted[-1, 0] - 25.0) / 40.0) ** 2
    size = optimizer(tank(), 1.0, 2).cost.size
    assert plan.cost_shares["L1 off the end of the slow layer"] == pytest.approx(missed * size / STEPS)
    assert sum(plan.cost_shares.values()) == pytest.approx(plan.cost)


def test_ipopt_finds_the_same_plan_to_the_same_end() -> None:
    plant = tank()
    model = latent_model(plant)
    ours = Optimizer(plant=plant, model=model, scaler=unit_scaler(plant))
    rows = np.tile([1.0, 0.5, 1.0, 0.5], (12, 1))
    problem = ours.problem(rows)
    led = replace(
        problem, cost=replace(problem.cost, end_Y=np.array([3.0])), limits=problem.limits.without(frozenset({"L1"}))
    )
    answer = Oracle(led).solve(led)
    again = Optimizer(plant=plant, model=model, scaler=unit_scaler(plant))
    without = {"L1": {"low": -1e3, "high": 1e3}}
    plan = again.plan(rows, ends={"L1": 3.0}, limits=without)
    assert answer.success
    # The plan ends where a step promises no more than a thousandth of a typical cost per row.
    assert plan.cost * STEPS / ours.cost.size == pytest.approx(answer.merit, rel=5e-4)
