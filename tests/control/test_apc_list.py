"""What an APC engineer expects: one test per row of docs/apc.md that no other file holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from control_fakes import TANKS, LinearModel, TanksModel, make_plant, tanks_at_rest, tanks_scaler, unit_scaler

from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Plan
from procmodel.control.prices import prices
from procmodel.errors import PlantFileError
from procmodel.plant import Plant, Status


def tanks(changes: dict[str, dict[str, Any]] | None = None, **advice: Any) -> Plant:
    return make_plant({name: {**tag, **(changes or {}).get(name, {})} for name, tag in TANKS.items()}, **advice)


def optimizer(plant: Plant | None = None) -> Optimizer:
    plant, scaler = plant or tanks(), tanks_scaler()
    return Optimizer(plant=plant, model=TanksModel(plant, scaler), scaler=scaler)


def rows(u: tuple[float, float] = (3.0, 3.0), h: tuple[float, float] = (10.0, 8.0)) -> np.ndarray:
    return np.tile(np.array([*u, *h]), (2, 1))


def level(plan: Plan, name: str = "L1") -> np.ndarray:
    return plan.predicted[:, plan.cvs.index(name)]


def test_a_zone_leaves_a_cv_alone_inside_and_brings_it_back_from_outside() -> None:
    """CV zones: limits without a setpoint."""
    zone = {"L1": {"setpoint": None, "limits": {"low": 9, "high": 13}}, "L2": {"setpoint": None}}
    rest = tanks_at_rest(np.array([3.0, 3.0]))
    inside = tanks({**zone, "L1": {**zone["L1"], "limits": {"low": rest[0] - 2, "high": rest[0] + 2}}})
    still = optimizer(inside).plan(rows(h=(float(rest[0]), float(rest[1]))))
    np.testing.assert_allclose(still.moves, 3.0, atol=1e-6)
    above = optimizer(tanks(zone)).plan(rows(h=(15.0, 8.0)))
    assert level(above)[0] > 13
    assert level(above)[20] <= 13 + 1e-2


def test_a_funnel_lets_a_cv_come_back_along_a_line() -> None:
    """Funnels: the limit closes from where the CV stands; without one all of the pump's travel is spent at once."""
    limits = {"low": {"at": 1, "rank": 2}, "high": {"at": 12, "rank": 1}}
    plain = {"L1": {"setpoint": None, "limits": limits}, "L2": {"setpoint": None}}
    hurried = optimizer(tanks(plain)).plan(rows(h=(15.0, 8.0)))
    funnel = {**plain, "L1": {**plain["L1"], "funnel": "150 s"}}
    calm = optimizer(tanks(funnel)).plan(rows(h=(15.0, 8.0)))
    line = 12 + 3 * np.clip(1 - np.arange(1, 61) / 30, 0, 1)
    assert (level(calm) <= line + 2e-3).all()
    assert level(calm)[5] > level(hurried)[5]
    assert np.abs(np.diff(calm.moves[:, 0])).sum() < np.abs(np.diff(hurried.moves[:, 0])).sum()
    assert calm.give_ups == ()  # inside the funnel nothing is given up
    assert hurried.give_ups


def test_a_changed_limit_is_followed_at_its_ramp() -> None:
    """Limit ramping: 1.2 cm/min are 0.1 cm per advice of 5 s."""
    opt = optimizer(tanks({"L1": {"ramp": 1.2}}))
    first = opt.plan(rows())
    assert first.limits["L1", "high"] == 20.0
    second = opt.plan(rows(), previous=first, limits={"L1": {"high": 11.0}})
    third = opt.plan(rows(), previous=second, limits={"L1": {"high": 11.0}})
    assert (second.limits["L1", "high"], third.limits["L1", "high"]) == (pytest.approx(19.9), pytest.approx(19.8))
    back = opt.plan(rows(), previous=third)
    assert back.limits["L1", "high"] == pytest.approx(19.9)
    without = optimizer().plan(rows(), previous=first, limits={"L1": {"high": 11.0}})
    assert without.limits["L1", "high"] == 11.0
    assert level(without).max() < 11.05


def test_an_operators_mv_limit_is_hard_and_may_only_be_narrower() -> None:
    opt = optimizer()
    assert opt.plan(rows()).moves[:, 0].max() > 3.3
    narrowed = opt.plan(rows(), limits={"P1": {"high": 3.3}})
    assert narrowed.moves[:, 0].max() <= 3.3
    with pytest.raises(PlantFileError, match="narrowed for a tick, not widened"):
        opt.plan(rows(), limits={"P1": {"high": 6.5}})


def test_validity_limits_refuse_a_setpoint_outside() -> None:
    opt = optimizer(tanks({"L1": {"valid": [5, 15]}}))
    opt.plan(rows(), setpoints={"L1": 15.0})
    with pytest.raises(PlantFileError, match="'L1' got 16, outside its valid limits 5 to 15"):
        opt.plan(rows(), setpoints={"L1": 16.0})


@pytest.mark.parametrize("status", [Status.DROP, Status.FEED_FORWARD])
def test_an_mv_that_is_dropped_or_for_feed_forward_only_stays_and_the_other_makes_up(status: Status) -> None:
    plan = optimizer().plan(rows(), statuses={"P1": status})
    np.testing.assert_array_equal(plan.moves[:, 0], 3.0)
    assert np.ptp(plan.moves[:, 1]) > 0.1
    from_file = optimizer(tanks({"P1": {"status": status.value}})).plan(rows())
    np.testing.assert_array_equal(from_file.moves, plan.moves)


def test_a_wound_up_mv_is_only_moved_the_other_way() -> None:
    """Status low and high of an MV: its slave controller is saturated there."""
    opt = optimizer(tanks({"L1": {"setpoint": 4}, "L2": {"setpoint": 3}}))
    free, low = opt.plan(rows()), opt.plan(rows(), statuses={"P1": Status.LOW})
    assert free.moves[:, 0].min() < 2.0
    assert low.moves[:, 0].min() >= 3.0
    up = optimizer(tanks({"L1": {"setpoint": 15}}))
    assert up.plan(rows()).moves[:, 0].max() > 3.4
    assert up.plan(rows(), statuses={"P1": Status.HIGH}).moves[:, 0].max() <= 3.0


def test_a_cv_may_be_dropped_or_held_by_one_limit_alone() -> None:
    changes = {"L1": {"setpoint": 4, "limits": {"low": {"at": 6}, "high": {"at": 9}}}}
    opt = optimizer(tanks(changes))
    assert opt.plan(rows(), statuses={"L1": Status.DROP}).give_ups == ()
    high = opt.plan(rows(), statuses={"L1": Status.HIGH})
    assert {(g.tag, g.side) for g in high.give_ups} == {("L1", "high")}
    assert ("L1", "low") not in high.limits
    # Neither its setpoint nor its low limit pulls any more, and it is above the high one only at the start.
    assert opt.plan(rows(h=(7.0, 8.0)), statuses={"L1": Status.LOW}).give_ups == ()


def test_an_mv_out_of_service_is_a_measured_disturbance() -> None:
    """What others do to it is answered: from another value of P1 the other pump goes elsewhere."""
    opt = optimizer()
    few, many = (opt.plan(rows(u=(p, 3.0)), out_of_service=("P1",)) for p in (2.0, 4.0))
    np.testing.assert_array_equal(few.moves[:, 0], 2.0)
    assert few.moves[:, 1].mean() > many.moves[:, 1].mean() + 0.1


def test_an_announced_disturbance_is_answered_before_it_comes() -> None:
    tags = {
        "U": {"role": "MV", "unit": "1", "limits": [-5, 5], "max_move": 0.2},
        "Y": {"role": "CV", "unit": "1", "setpoint": 0, "range": [-5, 5]},
        "D": {"role": "DV", "unit": "1"},
    }
    plant = make_plant(tags)
    opt = Optimizer(plant=plant, model=LinearModel(plant, [[0.8]], [[0.2]], [[0.2]]), scaler=unit_scaler(plant))
    history = np.zeros((2, 3))
    future = np.zeros((60, 1))
    future[15:] = 2.0
    plain, told = opt.plan(history), opt.plan(history, future_dv_HV=future)
    np.testing.assert_allclose(plain.moves, 0.0, atol=1e-9)
    assert told.moves[12, 0] < -0.3  # at 0.2 a row it could not wait
    assert told.moves[-1, 0] == pytest.approx(-2.0, abs=0.15)


def test_a_limit_that_is_given_up_says_what_stands_in_the_way() -> None:
    tight = {"L1": {"setpoint": None, "limits": {"low": {"at": 1}, "high": {"at": 8, "rank": 1}}}}
    plan = optimizer(tanks(tight)).plan(rows(u=(3.0, 3.0), h=(12.0, 8.0)))
    (given,) = plan.give_ups
    assert given.amount == pytest.approx(level(plan).max() - 8, rel=1e-6)
    assert "P1 is at its largest move 1 V a row" in given.because
    empty = optimizer(tanks(tight)).plan(rows(u=(0.0, 0.0), h=(12.0, 8.0)))
    assert "P1 is at its low limit 0 V and P2 is at its low limit 0 V" in empty.give_ups[0].because
    stuck = optimizer(tanks(tight)).plan(rows(h=(12.0, 8.0)), out_of_service=("P1",))
    assert "P1 is not to be moved" in stuck.give_ups[0].because


def one_valve(most: float = 10.0, max_move: float | None = None, **limits: Any) -> Optimizer:
    """One MV that two CVs follow alike, with a steady gain of 1 and half of the way in each row."""
    tags: dict[str, Any] = {"U": {"role": "MV", "unit": "V", "limits": [0, most], "max_move": max_move}}
    tags |= {
        name: {"role": "CV", "unit": "cm", "range": [0, 20], "limits": limits.get(name, {})} for name in ("A", "B")
    }
    plant = make_plant({name: {k: v for k, v in tag.items() if v is not None} for name, tag in tags.items()})
    return Optimizer(plant=plant, model=LinearModel(plant, 0.5 * np.eye(2), [[0.5], [0.5]]), scaler=unit_scaler(plant))


@pytest.mark.parametrize(
    ("valve", "start", "lost", "amount", "because"),
    [
        # B is to be below 6 and A above 8, which are the same at rest: the lower rank is 2 cm short, and says for whom.
        (
            {"A": {"low": {"at": 8, "rank": 1}}, "B": {"high": {"at": 6, "rank": 2}}},
            8.0,
            ("B", "high"),
            2.0,
            "A low 8 (rank 1) counts more",
        ),
        (
            {"A": {"low": 8}, "B": {"high": 6}},
            7.0,
            ("B", "high"),
            1.0,
            "it and the others of its rank cannot all be kept",
        ),
        # The valve ends at 6 V, and A with it.
        ({"most": 6.0, "A": {"low": 8}}, 6.0, ("A", "low"), 2.0, "U is at its high limit 6 V"),
        # From 4 V by 0.5 V a row: A is worst in the first row, at 0.5 * 4 + 0.5 * 4.5 = 4.25.
        ({"max_move": 0.5, "A": {"low": 8}}, 4.0, ("A", "low"), 3.75, "U is at its largest move 0.5 V a row"),
        # Nothing holds the valve back, but half of the way is all that one row can do: 0.5 * 0 + 0.5 * 10.
        ({"A": {"low": 8}}, 0.0, ("A", "low"), 3.0, "U is at its high limit 10 V"),
    ],
    ids=["higher rank", "same rank", "bound", "largest move", "first row"],
)
def test_what_stands_in_the_way_is_what_the_equation_says(
    valve: dict[str, Any], start: float, lost: tuple[str, str], amount: float, because: str
) -> None:
    plan = one_valve(**valve).plan(np.full((2, 3), start))
    given = {(g.tag, g.side): g for g in plan.give_ups}
    assert given[lost].amount == pytest.approx(amount, abs=0.01)
    assert given[lost].because == because


def test_a_pump_that_cannot_slow_down_sooner_is_named_and_one_that_another_limit_needs_is_not() -> None:
    """L2 stands 3 cm too high: P2 goes down as fast as it may, P1 does not, since L1 counts more."""
    both = {
        "L1": {"setpoint": None, "limits": {"low": {"at": 14, "rank": 1}, "high": {"at": 20, "rank": 1}}},
        "L2": {"setpoint": None, "limits": {"low": {"at": 1, "rank": 2}, "high": {"at": 5, "rank": 2}}},
    }
    plan = optimizer(tanks(both)).plan(rows(h=(14.5, 8.0)))
    (lost,) = plan.give_ups
    assert (lost.tag, lost.side, lost.because) == ("L2", "high", "P2 is at its largest move 0.5 V a row")
    assert plan.moves[0, 1] == pytest.approx(2.5)
    assert plan.moves[0, 0] > 2.0 + 0.1
    assert level(plan).min() >= 14 - 2e-3


def test_the_parts_of_the_cost_add_up_and_name_what_dominates() -> None:
    plan = optimizer(tanks({"L2": {"setpoint": 18}}, objective="2 * P1 + P2")).plan(rows())
    assert sum(plan.cost_shares.values()) == pytest.approx(plan.cost, rel=1e-9)
    assert {"objective", "L2 off its setpoint", "P1 moved"} <= set(plan.cost_shares)
    tracked = optimizer(tanks({"L2": {"setpoint": 18}})).plan(rows())
    assert max(tracked.cost_shares, key=lambda name: tracked.cost_shares[name]) == "L2 off its setpoint"


def test_the_price_of_an_active_limit_is_what_moving_it_earns() -> None:
    """Pumping costs 1 per V, and the level limit forces it: by the steady gain, so many V per cm."""
    cheap = {
        "L1": {"setpoint": None, "limits": {"low": {"at": 10}, "high": {"at": 20}}},
        "L2": {"setpoint": None, "limits": {"low": {"at": 1}, "high": {"at": 20}}},
    }
    plant = tanks(cheap, objective="P1 + P2", move_weight=0.0)
    opt = optimizer(plant)
    history = rows(u=(3.0, 3.0), h=(11.0, 9.0))
    plan = opt.plan(history)
    found = {(price.tag, price.side): price for price in prices(opt, plant, history, plan)}
    price = found["L1", "low"]
    looser = opt.plan(history, previous=plan, limits={"L1": {"low": 9.5}})
    assert price.per_unit == pytest.approx((plan.cost - looser.cost) / 0.5, rel=0.1)
    assert price.per_unit > 0.05
    assert all(p.per_unit < 0.2 * price.per_unit for key, p in found.items() if key[0] == "L2")


def test_the_gain_matrix_is_that_of_the_equations() -> None:
    tags = {
        "U1": {"role": "MV", "unit": "1", "limits": [-5, 5]},
        "U2": {"role": "MV", "unit": "1", "limits": [-5, 5]},
        "Y1": {"role": "CV", "unit": "1", "setpoint": 1, "range": [-5, 5]},
        "Y2": {"role": "CV", "unit": "1", "range": [-5, 5]},
    }
    plant = make_plant(tags)
    a, b = np.diag([0.5, 0.6]), np.array([[1.0, -0.5], [0.2, 0.8]])
    opt = Optimizer(plant=plant, model=LinearModel(plant, a, b), scaler=unit_scaler(plant))
    gain = opt.plan(np.zeros((2, 4))).steady_gain
    np.testing.assert_allclose(gain, np.linalg.solve(np.eye(2) - a, b), rtol=1e-9)
