"""The receding loop, with a planner that does as it is told and a plant of one line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from procmodel.advice import Action, Advice, Mode
from procmodel.advice.instruments import Instruments
from procmodel.control.plan import GiveUp, Plan, Status
from procmodel.data.normal import Normal
from procmodel.data.window import Columns, Scaler, Window
from procmodel.errors import DatasetError
from procmodel.plant import Plant
from procmodel.plant import Status as TagStatus
from procmodel.runtime import Advisor, Orders, Tick, proposal_of, run
from procmodel.runtime.ticks import ORDINARY
from procmodel.world_model.support import Support

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
STEPS = 4


@dataclass(frozen=True)
class LevelModel:
    """`y+ = y + (u1 - 40) / 10` for the level and a temperature that stays; scaled and plain units are the same."""

    columns: Columns
    rows: int = 2
    latent_size: int = 2

    def encode(self, window: Window) -> Tensor:
        return window.values[:, -1, list(self.columns.cv)]

    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        return z_BD + torch.stack([(u_BU[:, 0] - 40.0) / 10.0, torch.zeros(len(u_BU), dtype=u_BU.dtype)], dim=1)

    def read_out(self, z_BD: Tensor) -> Tensor:
        return z_BD


def history(plant: Plant, count: int = 8, level: float = 55.0, valve: float = 40.0) -> np.ndarray:
    """Rows that the model predicts exactly: the valve at 40, everything still."""
    row = {"FC1.SP": valve, "FC2.SP": 30.0, "LI1.PV": level, "TI1.PV": 70.0, "FI9.PV": 12.0}
    return np.tile([row[name] for name in plant.columns], (count, 1))


def a_plan(plant: Plant, valve: float = 42.0, **changed: Any) -> Plan:
    still = np.tile([55.0, 70.0], (STEPS, 1))
    plan = Plan(
        status=Status.CONVERGED,
        reason="no step promises more",
        mvs=tuple(plant.mvs),
        cvs=tuple(plant.cvs),
        moves=np.tile([valve, 30.0], (STEPS, 1)),
        predicted=still + np.array([0.2, 0.0]),
        unmoved=still,
        margins=np.empty((STEPS, 0)),
        steady_gain=np.zeros((2, 2)),
        cost=1.0,
        cost_unmoved=3.0,
    )
    return replace(plan, **changed)


@dataclass
class ToldPlanner:
    """Hands over what it was given, and notes how it was asked."""

    answers: list[Plan | Exception]
    asked: list[dict[str, Any]] = field(default_factory=list)
    prepared_for: list[dict[str, Any]] = field(default_factory=list)
    preparation: Any = None

    def plan(
        self,
        rows_RC: np.ndarray,
        orders: Orders = ORDINARY,
        *,
        previous: Plan | None = None,
        deadline: float | None = None,
        prepared: Any = None,
    ) -> Plan:
        self.asked.append(
            {"rows": rows_RC, "orders": orders, "previous": previous, "deadline": deadline, "prepared": prepared}
        )
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def prepare(self, rows_RC: np.ndarray, previous: Plan, orders: Orders = ORDINARY) -> Any:
        self.prepared_for.append({"rows": rows_RC, "previous": previous, "orders": orders})
        if isinstance(self.preparation, Exception):
            raise self.preparation
        return self.preparation


@dataclass
class Shown:
    advices: list[Advice] = field(default_factory=list)

    def show(self, advice: Advice) -> None:
        self.advices.append(advice)


def advisor(plant: Plant, *answers: Plan | Exception, **changed: Any) -> Advisor:
    scaler = Scaler(centre=np.zeros(len(plant.columns)), spread=np.ones(len(plant.columns)))
    settings: dict[str, Any] = {"surprise_limit": 1.0, "name": "m1", **changed}
    return Advisor(
        plant=plant,
        planner=ToldPlanner(list(answers)),
        model=LevelModel(Columns.of(plant)),
        scaler=scaler,
        **settings,
    )


def advise(of: Advisor, rows_RC: np.ndarray, **changed: Any) -> tuple[Advice, Plan | None]:
    return of.advise(rows_RC, **{"newest": NOW - timedelta(seconds=4), "now": NOW, **changed})


def test_a_plan_becomes_guarded_advice_with_its_numbers(small_plant: Plant) -> None:
    plan = a_plan(
        small_plant, give_ups=(GiveUp(tag="TI1.PV", side="high", limit=90.0, amount=1.0, rank=2),), active=("a limit",)
    )
    advice, same = advise(advisor(small_plant, plan), history(small_plant), setpoints={"LI1.PV": 57.0})
    assert same is plan
    assert advice.setpoints == {"FC1.SP": 42.0, "FC2.SP": 30.0}
    assert advice.outlooks[0].end == pytest.approx(55.2)
    assert advice.outlooks[0].setpoint == 57.0
    assert (advice.cost, advice.cost_unmoved, advice.active) == (1.0, 3.0, ("a limit",))
    assert advice.give_ups[0].tag == "TI1.PV"
    assert (advice.model, advice.data_age, advice.surprise) == ("m1", 4.0, 0.0)


def test_a_plant_that_does_not_do_as_the_model_says_is_a_surprise_and_a_hold(small_plant: Plant) -> None:
    rows_RC = history(small_plant)
    rows_RC[3:, small_plant.columns.index("LI1.PV")] += 3.0 * np.arange(1, 6)
    advice, plan = advise(advisor(small_plant, a_plan(small_plant)), rows_RC)
    assert advice.action is Action.HOLD
    # 3 cm a row that the model knows nothing of, none in the temperature: mean square 4.5.
    assert advice.surprise == pytest.approx(4.5)
    assert "surprised by the plant: 4.5, limit 1" in advice.reason
    assert plan is not None


def test_without_a_calibrated_limit_surprise_is_only_noted(small_plant: Plant) -> None:
    advice, _ = advise(advisor(small_plant, a_plan(small_plant), surprise_limit=None), history(small_plant))
    assert advice.is_move
    assert "no calibrated surprise limit" in " ".join(advice.notes)
    assert (advice.requested, advice.mode) == (Mode.ADVISE, Mode.SIMULATE)  # nobody would notice where it is wrong
    assert "no calibrated surprise limit" in advice.why_mode


def test_the_moves_are_judged_from_the_newest_row_or_from_what_is_measured_now(small_plant: Plant) -> None:
    of = advisor(small_plant, a_plan(small_plant, valve=45.0))
    assert advise(of, history(small_plant))[0].is_move
    held, _ = advise(of, history(small_plant), measured={"FC1.SP": 38.0, "FC2.SP": 30.0})
    assert "more than 5 above the measured 38" in held.reason
    rows_RC = history(small_plant)
    rows_RC[-1, 0] = np.nan
    assert "present value of FC1.SP is not known" in advise(of, rows_RC)[0].reason


def test_input_that_the_planner_refuses_is_a_hold_and_no_crash(small_plant: Plant) -> None:
    of = advisor(small_plant, DatasetError("history: the model reads 20 rows, got 8. Ask for more."))
    advice, plan = advise(of, history(small_plant))
    assert plan is None
    assert advice.reason == (
        "The optimizer ended 'input refused': history: the model reads 20 rows, got 8. Ask for more."
    )
    with pytest.raises(ZeroDivisionError):  # our own bugs are not dressed up as a reason
        advise(advisor(small_plant, ZeroDivisionError()), history(small_plant))


def test_no_history_at_all_is_a_hold(small_plant: Plant) -> None:
    nothing = np.empty((0, len(small_plant.columns)))
    advice, _ = advise(advisor(small_plant, DatasetError("too short")), nothing, newest=None)
    assert advice.reason == "There is no sample at all."


def ticks(plant: Plant, count: int) -> Iterator[Tick]:
    for k in range(count):
        now = NOW + k * timedelta(seconds=10)
        yield Tick(rows_RC=history(plant), newest=now, now=now)


def test_only_a_plan_that_became_a_move_starts_the_next_one(small_plant: Plant) -> None:
    good, held = a_plan(small_plant), a_plan(small_plant, status=Status.HOLD)
    too_far = a_plan(small_plant, valve=60.0)
    of = advisor(small_plant, good, held, good, too_far, DatasetError("x"), good)
    sink = Shown()
    tally = run(of, ticks(small_plant, 6), sink)
    assert [advice.action.value for advice in sink.advices] == ["move", "hold", "move", "hold", "hold", "move"]
    asked = of.planner.asked  # type: ignore[attr-defined]
    assert [entry["previous"] for entry in asked] == [None, good, None, good, None, None]
    assert (tally.ticks, tally.moves, tally.holds) == (6, 3, 3)
    assert tally.last is sink.advices[-1]


def test_an_advice_is_prepared_after_the_one_before_was_shown(small_plant: Plant) -> None:
    good, held = a_plan(small_plant), a_plan(small_plant, status=Status.HOLD)
    of, sink = advisor(small_plant, good, held, good, good), Shown()
    planner = of.planner
    assert isinstance(planner, ToldPlanner)
    planner.preparation = object()
    shown_before: list[int] = []
    narrowed = Orders(limits={"FC1.SP": {"high": 49.0}})

    def source() -> Iterator[Tick]:
        for tick in ticks(small_plant, 9):
            shown_before.append(len(planner.prepared_for))
            yield replace(tick, setpoints={"LI1.PV": 51.0}, orders=narrowed)

    run(of, source(), sink, ticks=4)
    made = planner.preparation
    assert [entry["prepared"] for entry in planner.asked] == [None, made, None, made]
    assert shown_before == [0, 1, 1, 2]  # before the next tick is asked for; not after a hold, nor after the last tick
    assert planner.prepared_for[0]["previous"] is good
    assert planner.prepared_for[0]["orders"] == narrowed.but(setpoints={"LI1.PV": 51.0})
    np.testing.assert_array_equal(planner.prepared_for[0]["rows"], planner.asked[0]["rows"])


def test_a_preparation_that_fails_is_left_out_with_its_reason(
    small_plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    of, sink = advisor(small_plant, a_plan(small_plant)), Shown()
    planner = of.planner
    assert isinstance(planner, ToldPlanner)
    planner.preparation = ZeroDivisionError("no derivative here")
    assert run(of, ticks(small_plant, 3), sink).moves == 3
    assert [entry["prepared"] for entry in planner.asked] == [None] * 3
    assert len(planner.prepared_for) == 3
    assert "ZeroDivisionError: no derivative here" in caplog.text


@pytest.mark.parametrize(("seconds", "prepared"), [(3.0, 2), (4.0, 0)])
def test_a_plan_that_took_its_time_leaves_none_to_prepare(small_plant: Plant, seconds: float, prepared: int) -> None:
    of = advisor(small_plant, a_plan(small_plant, seconds={"total": seconds}), deadline=7.0)
    run(of, ticks(small_plant, 2), Shown())
    assert isinstance(of.planner, ToldPlanner)
    assert len(of.planner.prepared_for) == prepared


def test_the_loop_ends_after_so_many_ticks_and_asks_for_no_more(small_plant: Plant) -> None:
    source = ticks(small_plant, 9)
    of = advisor(small_plant, a_plan(small_plant), deadline=7.0, mode=Mode.SIMULATE)
    sink = Shown()
    assert run(of, source, sink, ticks=2).ticks == 2
    assert len(list(source)) == 7
    assert {advice.mode for advice in sink.advices} == {Mode.SIMULATE}
    assert of.planner.asked[0]["deadline"] == 7.0  # type: ignore[attr-defined]


def test_a_simulated_plant_that_follows_its_sink_closes_the_loop(small_plant: Plant) -> None:
    """One level, one valve: a planner that moves 2 kg/h towards the setpoint brings it there."""

    class Simulated:
        def __init__(self) -> None:
            self.rows_RC, self.seconds = history(small_plant, level=55.0), 0

        def __iter__(self) -> Iterator[Tick]:
            while True:
                now = NOW + timedelta(seconds=self.seconds)
                yield Tick(rows_RC=self.rows_RC, newest=now, now=now)

        def show(self, advice: Advice) -> None:
            row = self.rows_RC[-1].copy()
            row[0] = advice.setpoints.get("FC1.SP", row[0])
            row[2] += (row[0] - 40.0) / 10.0
            self.rows_RC, self.seconds = np.vstack([self.rows_RC[1:], row]), self.seconds + 10

    class Proportional:
        def plan(self, rows_RC: np.ndarray, *_: Any, **__: Any) -> Plan:
            wanted = 40.0 + 2.0 * (50.0 - rows_RC[-1, 2])
            return a_plan(small_plant, valve=float(np.clip(wanted, rows_RC[-1, 0] - 2, rows_RC[-1, 0] + 2)))

        def prepare(self, *_: Any) -> None:
            return None

    plant = Simulated()
    tally = run(replace(advisor(small_plant), planner=Proportional()), plant, plant, ticks=60)
    assert tally.moves == 60
    assert plant.rows_RC[-1, 2] == pytest.approx(50.0, abs=0.1)
    assert tally.last is not None
    assert tally.last.surprise == pytest.approx(0.0, abs=1e-20)


def test_a_plan_in_plain_numbers_keeps_every_name_with_its_column(small_plant: Plant) -> None:
    plan = a_plan(small_plant, heads=("foaming",), margins=np.array([[3.0], [2.0], [1.0], [2.0]]))
    proposal = proposal_of(plan)
    assert proposal.moves == {"FC1.SP": 42.0, "FC2.SP": 30.0}
    assert proposal.predicted["LI1.PV"] == pytest.approx([55.2] * 4)
    assert proposal.unmoved["TI1.PV"] == [70.0] * 4
    assert proposal.margins == {"foaming": [3.0, 2.0, 1.0, 2.0]}
    assert proposal.usable


def test_for_samples_that_are_not_believed_the_planner_sees_what_the_model_expects_and_the_guard_nothing(
    small_plant: Plant,
) -> None:
    still = Normal(low=-np.inf, high=np.inf, jump=1.0, still=np.inf)
    of = advisor(
        small_plant,
        a_plan(small_plant),
        instruments=Instruments(plant=small_plant, normals=dict.fromkeys(small_plant.cvs, still)),
    )
    rows_RC = history(small_plant)
    rows_RC[-1, 2] = 75.0
    advice, _ = advise(of, rows_RC)
    assert advice.is_move
    assert of.planner.asked[0]["rows"][-1, 2] == 55.0  # type: ignore[attr-defined]  # what the model expects there
    assert np.isnan(advice.outlooks[0].measured)
    assert any("LI1.PV is not believed now: it jumped from 55 to 75 cm" in note for note in advice.notes)
    rows_RC[-6:, 2] = 75.0
    held, _ = advise(of, np.vstack([history(small_plant), rows_RC]))
    assert "LI1.PV is not to be believed for 6 rows" in held.reason


def moved_by_hand(plant: Plant, shown: list[float], truly: list[float]) -> tuple[Advice, Plan | None]:
    """Advice where the valve shows these newest values, and the level goes with those."""
    normals = dict.fromkeys(plant.columns, Normal(low=-np.inf, high=np.inf, jump=np.inf, still=np.inf))
    of = advisor(
        plant,
        a_plan(plant, valve=shown[-1]),
        instruments=Instruments(plant=plant, normals=normals),
        error_covariance_YY=np.diag([0.01, 0.01]),
    )
    rows_RC, valve, level = history(plant), plant.columns.index("FC1.SP"), plant.columns.index("LI1.PV")
    rows_RC[-len(shown) :, valve] = shown
    rows_RC[-len(truly) :, level] += np.cumsum((np.array(truly) - 40.0) / 10.0)
    return advise(of, rows_RC)


def test_a_valve_moved_by_hand_is_believed_at_once_where_the_level_went_with_it(small_plant: Plant) -> None:
    advice, _ = moved_by_hand(small_plant, [50.0], [50.0])
    assert advice.is_move
    assert advice.setpoints["FC1.SP"] == 50.0


def test_a_hand_that_the_level_has_shown_is_believed_again_on_less(small_plant: Plant) -> None:
    """The level went 53 % of the way with the newest move, which speaks e^3 to 1 for it: by itself too little."""
    first, _ = moved_by_hand(small_plant, [50.0], [45.3])
    assert "which no advice did" in first.reason
    second, _ = moved_by_hand(small_plant, [50.0, 60.0], [50.0, 55.3])
    assert "which no advice did" not in second.reason
    third, _ = moved_by_hand(small_plant, [50.0, 60.0], [50.0, 55.1])  # e to 1 is too little even so
    assert "which no advice did" in third.reason


@pytest.mark.parametrize(
    ("shown", "truly"),
    [
        ([50.0], [40.0]),  # the signal alone
        ([50.0, 33.0], [40.0, 40.0]),  # a bad signal may come back on the other side
        ([50.0, 60.0], [50.0, 50.0]),  # a hand on the valve, and then a bad signal
    ],
)
def test_a_valve_whose_move_the_level_does_not_show_is_waited_for(
    small_plant: Plant, shown: list[float], truly: list[float]
) -> None:
    advice, _ = moved_by_hand(small_plant, shown, truly)
    assert "FC1.SP is not to be believed" in advice.reason
    assert "which no advice did" in advice.reason


def test_a_plan_that_leaves_what_the_record_showed_is_a_hold(small_plant: Plant) -> None:
    support = Support(centre_D=np.zeros(2), whiten_KD=np.eye(2), limit=3.0)
    near, far = (a_plan(small_plant, latents=np.full((STEPS, 2), size)) for size in (2.9, 3.1))
    assert advise(advisor(small_plant, near, support=support), history(small_plant))[0].is_move
    held, _ = advise(advisor(small_plant, far, support=support), history(small_plant))
    assert "leaves what the plant has shown: 3.1, limit 3" in held.reason
    assert (held.support, held.support_limit) == (pytest.approx(3.1), 3.0)


def test_orders_reach_the_planner_and_the_guard_alike(small_plant: Plant) -> None:
    of = advisor(small_plant, a_plan(small_plant))
    narrowed = Orders(limits={"FC1.SP": {"high": 41.0}})
    held, _ = advise(of, history(small_plant), orders=narrowed)
    assert "sets FC1.SP to 42 kg/h, above its high limit 41" in held.reason
    assert of.planner.asked[0]["orders"] == narrowed  # type: ignore[attr-defined]
    held, _ = advise(of, history(small_plant), orders=Orders(out_of_service=("FC1.SP",)))
    assert "sets FC1.SP from 40 to 42 kg/h, but it is not to be moved" in held.reason
    refused, plan = advise(of, history(small_plant), orders=Orders(limits={"FC1.SP": {"high": 400.0}}))
    assert plan is None
    assert "narrowed for a tick, not widened" in refused.reason


def test_a_dropped_valve_need_not_be_seen(small_plant: Plant) -> None:
    rows_RC = history(small_plant)
    rows_RC[-1, 0] = np.nan
    of = advisor(small_plant, a_plan(small_plant, valve=40.0))
    assert "present value of FC1.SP is not known" in advise(of, rows_RC)[0].reason
    assert advise(of, rows_RC, orders=Orders(statuses={"FC1.SP": TagStatus.DROP}))[0].is_move
