"""A planner below a target layer: targets under the tick's orders, remembered in the plan, and told in the advice."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from control_fakes import LinearModel, latent_model, make_plant, unit_scaler

from procmodel.advice import Advice
from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Plan
from procmodel.control.target_planner import TargetPlanner
from procmodel.control.targets import TargetLayer
from procmodel.errors import PlantFileError
from procmodel.plant import Plant, Status
from procmodel.runtime import Advisor, Orders, Tick, run

NOW = datetime(2026, 3, 1, tzinfo=UTC)
# Which of the two pumps earns more per bar is nearly a tie; what is moved costs little.
TAGS: dict[str, Any] = {
    "U1": {"role": "MV", "unit": "t/h", "limits": [0, 10], "max_move": 1, "price": "-3 CHF/t"},
    "U2": {"role": "MV", "unit": "t/h", "limits": [0, 10], "max_move": 1, "price": "-2 CHF/t"},
    "Y1": {"role": "CV", "unit": "bar", "range": [0, 20], "limits": {"high": {"at": 12, "rank": 1}}},
}


def planner(gain: list[float], plant: Plant | None = None) -> TargetPlanner:
    plant = plant or make_plant(TAGS)
    model = LinearModel(plant, [[0.5]], [[0.5 * g for g in gain]])
    optimizer = Optimizer(plant=plant, model=model, scaler=unit_scaler(plant))
    return TargetPlanner(planner=optimizer, layer=TargetLayer(plant, optimizer))


def rows(of: TargetPlanner, u: tuple[float, float] = (4.0, 4.0), y: float = 8.0) -> np.ndarray:
    return np.tile([*u, y], (of.rows_wanted, 1))


def of(plan: Plan) -> dict[str, float]:
    assert plan.targets is not None
    return plan.targets.u


def test_the_plan_carries_its_targets_and_rests_there_by_preference() -> None:
    """Without prices in the way: a plant whose objective knows no MV, so that only its rest decides."""
    tags = {name: {k: v for k, v in tag.items() if k != "price"} for name, tag in TAGS.items()}
    plant = make_plant(tags | {"Y1": {**TAGS["Y1"], "setpoint": 9.0}}, move_weight=0.001)
    aimed = planner([1.0, 0.5], plant)
    plan = aimed.plan(rows(aimed))
    alone = aimed.fast.plan(rows(aimed), rest=of(plan))
    np.testing.assert_array_equal(plan.moves, alone.moves)
    assert plan.seconds["total"] >= plan.seconds["target layer"] > 0.0
    asked = aimed.plan(rows(aimed), rest={"U1": 2.0})  # what is asked for comes first
    np.testing.assert_array_equal(asked.moves, aimed.fast.plan(rows(aimed), rest={**of(asked), "U1": 2.0}).moves)


def test_targets_do_not_flip_from_tick_to_tick_but_leave_for_what_it_is_worth() -> None:
    """The same plant by models whose gains differ in the third digit, tick after tick. A model of quite another gain
    moves it, and a caller who hands back no plan has no memory."""
    models = [planner([1.0, ratio]) for ratio in (0.666, 0.6675, 0.666, 0.6675)]
    forgetful = [of(one.plan(rows(one))) for one in models]
    assert max(abs(a["U1"] - b["U1"]) for a in forgetful for b in forgetful) > 2.5
    plan = models[0].plan(rows(models[0]))
    first = of(plan)
    for one in models[1:]:
        plan = one.plan(rows(one), previous=plan)
        assert max(abs(of(plan)[name] - at) for name, at in first.items()) < 0.3
    dear = planner([1.0, 3.0])
    moved = dear.plan(rows(dear), previous=plan)
    assert abs(of(moved)["U2"] - first["U2"]) > 1.0
    assert moved.targets is not None
    assert moved.targets.before["U2"] == of(plan)["U2"]


def test_the_orders_of_the_tick_reach_the_targets() -> None:
    aimed = planner([1.0, 0.5])
    free = of(aimed.plan(rows(aimed)))
    assert free == pytest.approx({"U1": 5.0, "U2": 10.0}, abs=0.02)
    assert of(aimed.plan(rows(aimed), out_of_service=("U2",))) == pytest.approx({"U1": 8.0, "U2": 4.0}, abs=0.02)
    assert of(aimed.plan(rows(aimed), limits={"U2": {"high": 6.0}})) == pytest.approx({"U1": 7.0, "U2": 6.0}, abs=0.02)
    assert of(aimed.plan(rows(aimed), statuses={"Y1": Status.DROP}))["U1"] == pytest.approx(10.0, abs=0.02)
    with pytest.raises(PlantFileError, match="unknown tag 'U3'"):
        aimed.plan(rows(aimed), out_of_service=("U3",))


def test_rows_that_tell_nothing_of_an_mv_are_a_hold_without_targets() -> None:
    aimed = planner([1.0, 0.5])
    blind = rows(aimed)
    blind[:, 0] = np.nan
    plan = aimed.plan(blind)
    assert not plan.status.usable
    assert plan.targets is None


def test_a_tick_s_targets_take_from_its_time() -> None:
    aimed = planner([1.0, 0.5])
    clock = iter([0.0, 0.3])
    seen: list[float] = []

    class Told:
        def __getattr__(self, name: str) -> Any:
            return getattr(aimed.fast, name)

        def plan(self, *args: Any, deadline: float, **asked: Any) -> Plan:
            seen.append(deadline)
            return aimed.fast.plan(*args, **asked)

    timed: Any = TargetPlanner(planner=Told(), layer=aimed._layer, clock=lambda: next(clock))  # type: ignore[arg-type]
    timed.fast = aimed.fast
    plan = timed.plan(rows(aimed), deadline=1.0)
    assert seen == [pytest.approx(0.7)]
    assert plan.seconds["target layer"] == pytest.approx(0.3)


class Loop:
    """A plant that follows at once, and whose Y1 is measured with noise; source and sink in one."""

    def __init__(self, aimed: TargetPlanner, orders: dict[int, Orders]) -> None:
        self.rows_RC, self.shown, self._orders = rows(aimed), list[Advice](), orders

    def __iter__(self) -> Any:
        for tick in range(6):
            now = NOW + timedelta(seconds=5 * tick)
            yield Tick(rows_RC=self.rows_RC, newest=now, now=now, orders=self._orders.get(tick, Orders()))

    def show(self, advice: Advice) -> None:
        self.shown.append(advice)
        u = [advice.setpoints.get(name, 4.0) for name in ("U1", "U2")]
        y = 8.0 + (u[0] - 4.0) + 0.5 * (u[1] - 4.0)
        self.rows_RC = np.vstack([self.rows_RC[1:], [*u, y]])


def test_the_loop_says_at_every_tick_where_the_plant_should_rest_and_what_changed() -> None:
    aimed = planner([1.0, 0.5])
    plant = aimed.fast._plant
    model, scaler = aimed.fast.forecaster.model, aimed.fast.forecaster.scaler
    advisor = Advisor(plant=plant, planner=aimed, model=model, scaler=scaler, surprise_limit=1e3)
    loop = Loop(aimed, {3: Orders(limits={"U2": {"high": 6.0}})})
    run(advisor, loop, loop)
    told = [advice.rest for advice in loop.shown]
    assert all(advice.is_move for advice in loop.shown), [advice.reason for advice in loop.shown]
    values = [{t.tag: t.value for t in rest.targets} for rest in told if rest]
    assert len(values) == 6
    assert values[0]["U2"] == pytest.approx(10.0, abs=0.02)
    assert values[3]["U2"] == pytest.approx(6.0, abs=0.02)
    data = json.loads(json.dumps(loop.shown[3].to_dict()))["rest"]
    changed = {t["tag"]: t for t in data["targets"]}["U2"]
    assert (changed["unit"], changed["before"]) == ("t/h", pytest.approx(values[2]["U2"]))
    assert "cannot be written as an expression" in data["how"]
    assert loop.shown[3].rest is not None
    assert "U2 6 t/h (was 10)" in loop.shown[3].rest.lines[0]
    assert json.loads(json.dumps(loop.shown[0].to_dict()))["rest"]["targets"][0]["before"] is None


def test_a_learned_model_s_targets_are_those_of_its_equilibrium() -> None:
    plant = make_plant(TAGS)
    model = latent_model(plant)
    model.keep(0.1)
    optimizer = Optimizer(plant=plant, model=model, scaler=unit_scaler(plant))
    aimed = TargetPlanner(planner=optimizer, layer=TargetLayer(plant, optimizer))
    plan = aimed.plan(rows(aimed))
    assert plan.targets is not None
    assert plan.targets.by_gains == ""
