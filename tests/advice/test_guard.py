"""The guard: a move only where nothing speaks against it, and one clear reason where something does."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from procmodel.advice import Action, Advice, GivenUp, Mode, Proposal, guard
from procmodel.advice.instruments import Fault
from procmodel.plant import Calculated, Limit, Limits, Plant, Status

NOW = datetime(2024, 10, 27, 1, 30, tzinfo=UTC)
MEASURED = {"FC1.SP": 40.0, "FC2.SP": 30.0, "LI1.PV": 55.0, "TI1.PV": 70.0, "FI9.PV": 12.0}
GOOD = Proposal(
    status="converged",
    usable=True,
    moves={"FC1.SP": 43.0, "FC2.SP": 25.0},
    planned={"FC1.SP": [43.0, 44.0, 44.0], "FC2.SP": [25.0, 25.0, 25.0]},
    predicted={"LI1.PV": [55.0, 53.0, 50.0], "TI1.PV": [70.0, 71.0, 72.0]},
    unmoved={"LI1.PV": [55.0, 55.0, 55.0], "TI1.PV": [70.0, 70.0, 70.0]},
    cost=1.0,
    cost_unmoved=2.0,
)


def decide(plant: Plant, proposal: Proposal = GOOD, **changed: Any) -> Advice:
    given: dict[str, Any] = {
        "measured": MEASURED,
        "newest": NOW - timedelta(seconds=8),
        "now": NOW,
        "surprise": 1.0,
        "surprise_limit": 4.0,
        "model": "m1",
    }
    return guard(plant, proposal, **{**given, **changed})


def test_a_sound_proposal_becomes_a_move_with_all_its_lines(small_plant: Plant) -> None:
    advice = decide(small_plant)
    assert advice.action is Action.MOVE
    assert advice.setpoints == {"FC1.SP": 43.0, "FC2.SP": 25.0}
    first = advice.moves[0]
    assert (first.tag, first.unit, first.current, first.delta, first.low, first.high, first.up) == (
        "FC1.SP", "kg/h", 40.0, 3.0, 0.0, 100.0, 5.0,
    )  # fmt: skip
    level = advice.outlooks[0]
    assert (level.measured, level.end, level.least, level.most, level.unmoved_end) == (55.0, 50.0, 50.0, 55.0, 55.0)
    assert (level.low, level.high, level.setpoint, level.status) == (20.0, 80.0, 50.0, "inside")
    assert advice.data_age == 8.0
    assert (advice.plant, advice.model, advice.solve) == ("small-plant", "m1", "converged")


def test_it_expires_after_one_advice_interval_or_what_the_plant_file_says(small_plant: Plant) -> None:
    def expiry(**advising: float) -> timedelta:
        file = small_plant.model_copy(update={"advice": small_plant.advice.model_copy(update=advising)})
        return decide(file).expires - NOW

    assert expiry() == timedelta(seconds=10)
    assert expiry(every=60.0) == timedelta(seconds=60)
    assert expiry(every=60.0, expires=45.0) == timedelta(seconds=45)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"mode": Mode.OFF}, "switched off"),
        ({"newest": None}, "no sample at all"),
        ({"newest": NOW - timedelta(seconds=51)}, "newest sample is 51 s old; at most 50 s"),
        ({"newest": NOW + timedelta(seconds=11)}, "stamped 11 s ahead of the clock"),
        ({"newest": NOW + timedelta(hours=1)}, "Check the clocks and time zones"),
        ({"measured": {**MEASURED, "FC2.SP": math.nan}}, "present value of FC2.SP is not known"),
        ({"measured": {"FC1.SP": 40.0}}, "present value of FC2.SP is not known"),
        ({"measured": {**MEASURED, "FC1.SP": 106.0}}, "FC1.SP stands at 106 kg/h, too far outside its limits 0 to 100"),
        ({"measured": {**MEASURED, "FC1.SP": 37.0}}, "sets FC1.SP to 43 kg/h, more than 5 above the measured 37"),
        ({"measured": {**MEASURED, "FC2.SP": 33.5}}, "sets FC2.SP to 25 kg/h, more than 8 below the measured 33.5"),
        ({"surprise": 4.1}, "surprised by the plant: 4.1, limit 4"),
        ({"surprise": None}, "how well the model was lately"),
        ({"surprise": math.nan}, "how well the model was lately"),
        ({"surprise_limit": math.nan}, "how well the model was lately"),
        ({"support": 9.0, "support_limit": 8.0}, "leaves what the plant has shown: 9, limit 8"),
        ({"support": None, "support_limit": 8.0}, "whether the plan is known ground"),
    ],
)
def test_what_the_plant_or_its_data_say_against_it_is_the_reason_of_the_hold(
    small_plant: Plant, changed: dict[str, Any], reason: str
) -> None:
    advice = decide(small_plant, **changed)
    assert advice.action is Action.HOLD
    assert reason in advice.reason
    assert advice.setpoints == {}
    assert all(math.isnan(move.recommended) and math.isnan(move.delta) for move in advice.moves)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"usable": False, "status": "hold", "reason": "no program solved"}, "ended 'hold': no program solved"),
        ({"moves": {"FC1.SP": 43.0}}, "no value for FC2.SP"),
        ({"moves": {**GOOD.moves, "FC3.SP": 1.0}}, "FC3.SP, which is no MV of this plant"),
        ({"moves": {**GOOD.moves, "LI1.PV": 1.0}}, "LI1.PV, which is no MV"),
        ({"moves": {**GOOD.moves, "FC1.SP": math.nan}}, "value for FC1.SP is not a finite number"),
        ({"moves": {**GOOD.moves, "FC1.SP": math.inf}}, "value for FC1.SP is not a finite number"),
        ({"moves": {**GOOD.moves, "FC1.SP": None}}, "value for FC1.SP is not a finite number"),
        ({"moves": {**GOOD.moves, "FC1.SP": 45.01}}, "sets FC1.SP to 45.01 kg/h, more than 5 above"),
        ({"predicted": {"LI1.PV": GOOD.predicted["LI1.PV"]}}, "no complete prediction for TI1.PV"),
        ({"predicted": {**GOOD.predicted, "TI1.PV": [70.0]}}, "no complete prediction for TI1.PV"),
        ({"unmoved": {**GOOD.unmoved, "TI1.PV": []}}, "no complete prediction for TI1.PV"),
        ({"predicted": {**GOOD.predicted, "TI1.PV": [70.0, math.nan, 1.0]}}, "prediction for TI1.PV is not finite"),
        ({"predicted": {**GOOD.predicted, "LI1.PV": [55.0, 81.2, 60.0]}}, "takes LI1.PV 1.2 cm beyond its rank-1 high"),
    ],
)
def test_what_is_wrong_with_the_plan_is_the_reason_of_the_hold(
    small_plant: Plant, changed: dict[str, Any], reason: str
) -> None:
    advice = decide(small_plant, replace(GOOD, **changed))
    assert advice.action is Action.HOLD
    assert reason in advice.reason


def test_a_hard_limit_stops_a_plan_even_within_the_largest_move(small_plant: Plant) -> None:
    near_top = {**MEASURED, "FC1.SP": 98.0}
    advice = decide(small_plant, replace(GOOD, moves={"FC1.SP": 101.0, "FC2.SP": 30.0}), measured=near_top)
    assert "sets FC1.SP to 101 kg/h, above its high limit 100" in advice.reason
    top = decide(small_plant, replace(GOOD, moves={"FC1.SP": 100.0, "FC2.SP": 30.0}), measured=near_top)
    assert top.moves[0].clamp == "at its high limit"


def test_a_solver_s_rounding_is_taken_back_and_not_shown(small_plant: Plant) -> None:
    proposal = replace(GOOD, moves={"FC1.SP": 45.000002, "FC2.SP": 30.000001})
    advice = decide(small_plant, proposal)
    assert advice.setpoints == {"FC1.SP": 45.0, "FC2.SP": 30.0}
    assert advice.moves[0].clamp == "largest move up"
    assert advice.moves[1].delta == 0.0


def test_an_mv_just_outside_its_limits_may_come_back(small_plant: Plant) -> None:
    advice = decide(
        small_plant, replace(GOOD, moves={"FC1.SP": 100.0, "FC2.SP": 30.0}), measured={**MEASURED, "FC1.SP": 103.0}
    )
    assert advice.is_move
    assert advice.moves[0].delta == -3.0


def test_a_rank_one_violation_that_was_coming_anyway_does_not_stop_a_plan_that_softens_it(small_plant: Plant) -> None:
    coming = {**GOOD.unmoved, "LI1.PV": [78.0, 85.0, 90.0]}
    softened = {**GOOD.predicted, "LI1.PV": [78.0, 84.0, 81.0]}
    assert decide(small_plant, replace(GOOD, unmoved=coming, predicted=softened)).is_move
    worse = {**GOOD.predicted, "LI1.PV": [78.0, 90.0, 92.0]}
    assert "without a move it would be 10" in decide(small_plant, replace(GOOD, unmoved=coming, predicted=worse)).reason


def test_a_limit_of_lower_rank_may_be_given_up_and_is_named(small_plant: Plant) -> None:
    proposal = replace(
        GOOD,
        predicted={**GOOD.predicted, "TI1.PV": [70.0, 91.0, 93.0]},
        give_ups=(GivenUp(tag="TI1.PV", side="high", limit=90.0, amount=3.0, rank=2),),
    )
    advice = decide(small_plant, proposal)
    assert advice.is_move
    assert advice.reason == "Not every limit can be kept: TI1.PV high 90 gives up 3 degC."
    assert advice.outlooks[1].status == "leaves"


def test_nothing_to_gain_is_a_move_of_zero_that_says_so(small_plant: Plant) -> None:
    advice = decide(small_plant, replace(GOOD, moves={"FC1.SP": 40.0, "FC2.SP": 30.0}))
    assert advice.is_move
    assert [move.delta for move in advice.moves] == [0.0, 0.0]
    assert "Nothing to gain" in advice.reason


def test_a_constraint_of_the_plant_must_have_its_margin_in_the_plan(small_plant: Plant) -> None:
    plant = Plant.model_validate(
        {
            "name": "p",
            "sample_time": "10 s",
            "tags": {
                name: tag.model_dump(exclude={"name"}, exclude_none=True) for name, tag in small_plant.tags.items()
            },
            "constraints": {"foaming": {"labels": "foaming.csv", "unit": "mm", "rank": 1}},
        }
    )
    assert "no margin for constraint 'foaming'" in decide(plant).reason
    assert "'foaming' is not finite" in decide(plant, replace(GOOD, margins={"foaming": [1.0, math.nan]})).reason
    advice = decide(plant, replace(GOOD, margins={"foaming": [2.0, 0.5, 1.0]}))
    assert advice.is_move
    assert (advice.margins[0].least, advice.margins[0].unit) == (0.5, "mm")


def test_a_cv_without_a_good_sample_is_noted_and_does_not_hold(small_plant: Plant) -> None:
    advice = decide(small_plant, measured={**MEASURED, "TI1.PV": math.nan})
    assert advice.is_move
    assert any("TI1.PV has no good sample now" in note for note in advice.notes)


def test_stamps_without_a_zone_are_our_own_slip(small_plant: Plant) -> None:
    with pytest.raises(ValueError, match="aware"):
        decide(small_plant, now=datetime(2024, 1, 1))


anything = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(-200, 200),
    st.sampled_from([0.0, 100.0, 45.0, 35.0, 80.0, 34.0, 22.0, 1e308, -1e308, None, "high"]),
)
trend = st.one_of(st.lists(anything, max_size=3), st.just([50.0, 51.0, 52.0]))
names = st.sampled_from(["FC1.SP", "FC2.SP", "LI1.PV", "TI1.PV", "FI9.PV", "XX"])


def mostly(sound: Any, other: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Sound values nine times in ten, so that one fault at a time gets its chance to slip through."""
    return st.integers(0, 9).flatmap(lambda n: other if n == 9 else sound)


moves_near = st.fixed_dictionaries({"FC1.SP": st.floats(33, 47), "FC2.SP": st.floats(20, 36)})
measured_near = st.fixed_dictionaries({"FC1.SP": st.floats(39, 41), "FC2.SP": st.floats(28, 32)})
at_the_edge = st.fixed_dictionaries({"FC1.SP": st.floats(-6, 6), "FC2.SP": st.floats(76, 86)})


@settings(max_examples=600, suppress_health_check=[HealthCheck.function_scoped_fixture])  # the plant is frozen
@given(
    moves=mostly(moves_near | at_the_edge, st.dictionaries(names, anything)),
    predicted=mostly(st.just(GOOD.predicted), st.dictionaries(names, trend)),
    unmoved=mostly(st.just(GOOD.unmoved), st.dictionaries(names, trend)),
    measured=mostly(measured_near | at_the_edge, st.dictionaries(names, anything)),
    age=mostly(st.integers(0, 40), st.integers(-3600, 3600)),
    surprise=mostly(st.floats(0, 4), st.none() | st.floats()),
    usable=mostly(st.just(True), st.just(False)),
)
def test_whatever_is_proposed_a_move_is_fresh_finite_and_inside_limits_and_move_sizes(
    small_plant: Plant,
    moves: dict[str, Any],
    predicted: dict[str, Any],
    unmoved: dict[str, Any],
    measured: dict[str, Any],
    age: int,
    surprise: float | None,
    usable: bool,
) -> None:
    proposal = Proposal(status="s", usable=usable, moves=moves, predicted=predicted, unmoved=unmoved)
    newest = NOW - timedelta(seconds=age)
    advice = decide(small_plant, proposal, measured=measured, newest=newest, surprise=surprise)
    json.dumps(advice.to_dict(), allow_nan=False)
    assert advice.reason
    if not advice.is_move:
        assert advice.setpoints == {}
        return
    assert usable
    assert -10 <= age <= 50
    assert surprise is not None
    assert surprise <= 4.0
    assert set(advice.setpoints) == set(small_plant.mvs)
    for name, value in advice.setpoints.items():
        tag = small_plant.tags[name]
        assert tag.limits.low is not None
        assert tag.limits.high is not None
        assert tag.max_move is not None
        assert tag.limits.low.at <= value <= tag.limits.high.at
        assert -tag.max_move.down - 1e-9 <= value - measured[name] <= tag.max_move.up + 1e-9
        assert abs(value - moves[name]) <= 1e-5  # nothing but rounding was altered


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shift=st.floats(-4.99, 4.99))
def test_a_plan_within_all_bounds_is_not_held(small_plant: Plant, shift: float) -> None:
    moves = {"FC1.SP": 40.0 + shift, "FC2.SP": 30.0 + min(shift, 3.99)}
    advice = decide(small_plant, replace(GOOD, moves=moves))
    assert advice.is_move
    assert advice.setpoints == pytest.approx(moves)


def fault(tag: str, rows: int) -> dict[str, Fault]:
    return {tag: Fault(tag=tag, rows=rows, why="it has no good sample")}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"clock_step": 11.0}, "clock of this machine was set forward by 11 s"),
        ({"clock_step": -3600.0}, "clock of this machine was set back by 3600 s"),
        ({"faults": fault("FC1.SP", 1)}, r"FC1.SP is not to be believed for 1 rows \(10 s\): it has no good sample"),
        ({"faults": fault("LI1.PV", 6)}, r"LI1.PV is not to be believed for 6 rows \(60 s\)"),
        ({"still": ("FC1.SP",)}, "sets FC1.SP from 40 to 43 kg/h, but it is not to be moved"),
        ({"pending": {"FC1.SP": (37.0, 40.0)}}, "more than 5 above the last advice 37, not seen so far"),
        ({"pending": {"FC2.SP": (34.0, 30.0)}}, "more than 8 below the last advice 34, not seen so far"),
        ({"support": 5.0, "support_limit": 3.0}, "leaves what the plant has shown: 5, limit 3"),
        ({"support": math.nan, "support_limit": 3.0}, "whether the plan is known ground"),
    ],
)
def test_what_the_loop_knows_beside_the_plan_is_a_reason_too(
    small_plant: Plant, changed: dict[str, Any], reason: str
) -> None:
    advice = decide(small_plant, **changed)
    assert advice.action is Action.HOLD
    assert re.search(reason, advice.reason)


@pytest.mark.parametrize(
    "changed",
    [
        {"clock_step": 2.0},  # drift
        {"faults": fault("LI1.PV", 5)},  # as long as samples may be old
        {"faults": fault("FI9.PV", 50)},  # a disturbance that is not critical
        {"faults": fault("LI1.PV", 50), "dropped": ("LI1.PV",)},
        {"pending": {"FC1.SP": (41.0, 40.0), "FC2.SP": (29.0, 30.0)}},
        {"pending": {"FC1.SP": (30.0, 35.0)}},  # somebody has set another value since
    ],
)
def test_what_is_no_reason_to_hold_is_at_most_a_note(small_plant: Plant, changed: dict[str, Any]) -> None:
    advice = decide(small_plant, **changed)
    assert advice.action is Action.MOVE, advice.reason
    for name in changed.get("faults", {}):
        assert any(f"{name} is not believed now" in note for note in advice.notes)


def test_without_a_sample_of_a_critical_tag_there_is_no_advice_at_all(small_plant: Plant) -> None:
    critical = small_plant.tags["FI9.PV"].model_copy(update={"status": Status.CRITICAL})
    plant = small_plant.model_copy(update={"tags": {**small_plant.tags, "FI9.PV": critical}})
    assert decide(plant).is_move
    assert "FI9.PV is not to be believed" in decide(plant, faults=fault("FI9.PV", 1)).reason


def test_an_mv_out_of_service_may_stand_outside_its_limits_as_long_as_it_stays_there(small_plant: Plant) -> None:
    measured = {**MEASURED, "FC1.SP": 130.0}
    stays = replace(GOOD, moves={"FC1.SP": 130.0, "FC2.SP": 25.0})
    assert "too far outside its limits" in decide(small_plant, stays, measured=measured).reason
    advice = decide(small_plant, stays, measured=measured, still=("FC1.SP",))
    assert (advice.is_move, advice.moves[0].delta, advice.moves[0].clamp) == (True, 0.0, "not moved by advice")


def test_advice_says_which_mode_was_asked_for_and_why_it_got_less(small_plant: Plant) -> None:
    advice = decide(small_plant, mode=Mode.SIMULATE, requested=Mode.ADVISE, why_mode="nobody has looked at this model")
    assert (advice.mode, advice.requested, advice.why_mode) == (
        Mode.SIMULATE, Mode.ADVISE, "nobody has looked at this model",
    )  # fmt: skip
    assert decide(small_plant).requested is Mode.ADVISE


def with_load(plant: Plant, rank: int) -> Plant:
    load = Calculated(expression="FC1.SP * TI1.PV", unit="kW", limits=Limits(high=Limit(at=100.0, rank=rank)))
    return plant.model_copy(update={"advice": plant.advice.model_copy(update={"constraints": {"load": load}})})


def loaded(now: float, predicted: list[float], unmoved: list[float]) -> Proposal:
    return replace(
        GOOD,
        predicted={**GOOD.predicted, "load": predicted},
        unmoved={**GOOD.unmoved, "load": unmoved},
        calculated={"load": now},
    )


def test_what_is_calculated_has_a_line_of_its_own(small_plant: Plant) -> None:
    advice = decide(with_load(small_plant, 2), loaded(105.0, [104.0, 99.0, 98.0], [105.0, 105.0, 105.0]))
    assert advice.action is Action.MOVE
    (load,) = advice.calculated
    assert (load.tag, load.unit, load.measured, load.end, load.unmoved_end, load.high) == (
        "load", "kW", 105.0, 98.0, 105.0, 100.0,
    )  # fmt: skip
    assert load.status == "outside, returns"
    assert "load is outside its limits now." in advice.notes


def test_a_plan_that_says_nothing_of_it_or_breaks_its_first_rank_is_a_hold(small_plant: Plant) -> None:
    plant = with_load(small_plant, 1)
    assert decide(plant).reason == "The plan has no complete prediction for load."
    lost = decide(plant, loaded(99.0, [99.0, 99.0, math.nan], [99.0, 99.0, 99.0]))
    assert lost.reason == "The prediction for load is not finite."
    broken = loaded(99.0, [99.0, 103.0, 103.0], [99.0, 99.0, 99.0])
    assert "takes load 3 kW beyond its rank-1 high limit 100" in decide(plant, broken).reason
    assert decide(with_load(small_plant, 2), broken).action is Action.MOVE
    # What reads a tag that advice does without is not limited.
    assert decide(plant, broken, dropped={"TI1.PV"}).action is Action.MOVE
