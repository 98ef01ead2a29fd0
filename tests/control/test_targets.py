"""The target layer: against hand calculations, closed forms, long runs, and on models that have no rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import casadi as ca
import numpy as np
import pytest
import torch
from control_fakes import (
    COLUMN,
    TANKS,
    LinearModel,
    TanksModel,
    gru_model,
    latent_model,
    make_plant,
    model_with_products,
    newest_good,
    tanks_at_rest,
    tanks_scaler,
    tanks_step,
    unit_scaler,
)
from scipy.optimize import minimize
from torch import Tensor

from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Targets
from procmodel.control.rest import Equilibrium
from procmodel.control.targets import WORTH_LEAVING, TargetLayer
from procmodel.data.window import Columns, Window
from procmodel.plant import Plant, Status

CORNER: dict[str, Any] = {
    "U1": {"role": "MV", "unit": "t/h", "limits": [0, 10], "price": "-3 CHF/t"},
    "U2": {"role": "MV", "unit": "t/h", "limits": [0, 10], "price": "-2 CHF/t"},
    "Y1": {"role": "CV", "unit": "bar", "range": [0, 20], "limits": {"high": {"at": 12, "rank": 1}}},
    "Y2": {"role": "CV", "unit": "bar", "range": [0, 20], "limits": {"low": {"at": 15, "rank": 2}}},
}
NOW_U = np.array([4.0, 4.0])


class Given:
    """A linear plant with given steady gains, settled in a few rows."""

    def __init__(self, by: str, advice: dict[str, Any] | None = None, **changes: dict[str, Any]) -> None:
        self.by = by
        tags = {name: {**tag, **changes.get(name, {})} for name, tag in CORNER.items()}
        self.plant = make_plant(tags, **(advice or {}))

    def targets(
        self, gain: Any, before: Targets | None = None, y0: tuple[float, float] = (8.0, 15.5), **asked: Any
    ) -> Targets:
        """Where to rest, from MVs of 4; nothing moved, the CVs stay at y0: what the gains do not tell of them is an
        error of the model, which its past forecasts correct."""
        gain_YU = np.array(gain)
        model, scaler = LinearModel(self.plant, 0.5 * np.eye(2), 0.5 * gain_YU), unit_scaler(self.plant)
        optimizer = Optimizer(plant=self.plant, model=model, scaler=scaler)
        z, u, d = ca.MX.sym("z", 2), ca.MX.sym("u", 2), ca.MX.sym("d", 0)
        equilibrium = Equilibrium(
            ca.Function("step", [z, u, d], [0.5 * z + 0.5 * ca.DM(gain_YU) @ u]), ca.Function("read", [z], [z]),
            scaler, Columns.of(self.plant),
        )  # fmt: skip
        layer = TargetLayer(self.plant, optimizer, equilibrium=equilibrium if self.by == "equilibrium" else None)
        rows = np.tile([*NOW_U, *y0], (optimizer.rows_wanted, 1))
        found = layer.targets(optimizer.problem(rows, **asked), before)
        assert found is not None
        assert (found.by_gains == "") is (self.by == "equilibrium")
        return found


@pytest.fixture(params=["equilibrium", "gains"])
def by(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_target_is_the_corner_that_a_hand_calculation_finds(by: str) -> None:
    """Y1 leaves room for 4 bar; U1 earns 3 per 1 bar, U2 2 per 0.5 bar: fill up U2 first (6), then U1 with the rest."""
    found = Given(by).targets([[1.0, 0.5], [0.0, 0.0]])
    assert found.u["U2"] == pytest.approx(10.0, abs=0.02)
    assert found.u["U1"] == pytest.approx(5.0, abs=0.02)
    assert found.y["Y1"] == pytest.approx(12.0, abs=1e-3)
    assert found.cost == pytest.approx(-3 * 5 - 2 * 10, abs=0.1)
    assert found.give_ups == ()


def test_limits_that_no_rest_can_keep_are_given_up_lowest_rank_first(by: str) -> None:
    """More Y2 is more Y1, which is at its limit; only less U2 makes room, and of that there may be too little."""
    gain, y0 = [[1.0, 0.5], [1.0, 0.0]], (12.0, 13.0)
    found = Given(by).targets(gain, y0=y0)
    assert found.give_ups == ()
    assert (found.u["U1"], found.u["U2"]) == (pytest.approx(6.0, abs=0.01), pytest.approx(0.0, abs=0.01))
    worse = Given(by, U2={"limits": [4, 10]}).targets(gain, y0=y0)
    assert worse.y["Y1"] <= 12.0 + 1e-3
    assert [(g.tag, g.side, g.rank) for g in worse.give_ups] == [("Y2", "low", 2)]
    assert worse.give_ups[0].amount == pytest.approx(2.0, abs=0.01)
    turned = Given(by, U2={"limits": [4, 10]}, Y2={"limits": {"low": {"at": 15, "rank": 1}}}, Y1={
        "limits": {"high": {"at": 12, "rank": 2}}}).targets(gain, y0=y0)  # fmt: skip
    assert [(g.tag, g.rank) for g in turned.give_ups] == [("Y1", 2)]
    assert turned.give_ups[0].amount == pytest.approx(2.0, abs=0.01)


def test_a_limit_on_what_is_calculated_holds_where_the_plant_rests(by: str) -> None:
    """Both MVs together may come to 9 t/h, and U1 earns more; where rank 1 wants Y1 at 13 bar, that gives way."""
    sums = {"both": {"expression": "U1 + U2", "unit": "t/h", "limits": {"high": {"at": 9.0, "rank": 2}}}}
    found = Given(by, {"constraints": sums}).targets([[1.0, 0.5], [0.0, 0.0]])
    assert (found.u["U1"], found.u["U2"]) == (pytest.approx(9.0, abs=0.03), pytest.approx(0.0, abs=0.03))
    assert found.u["U1"] + found.u["U2"] <= 9.0 + 1e-3
    forced = Given(by, {"constraints": sums}, Y1={"limits": {"low": {"at": 13, "rank": 1}}}, U1={"limits": [0, 6]})
    (given_up,) = (each for each in forced.targets([[1.0, 0.5], [0.0, 0.0]]).give_ups if each.tag == "both")
    assert given_up.amount == pytest.approx(6 + 4 + 2 * 3 - 9, abs=0.01)  # U2 has to make up for 3 bar at 0.5 bar each


def test_a_target_does_not_flip_for_next_to_nothing(by: str) -> None:
    """Which of the two earns more per bar changes each time; the two corners are 9 apart."""
    even, odd = [[1.0, 0.667], [0.0, 0.0]], [[1.0, 0.666], [0.0, 0.0]]
    near_tie = Given(by)
    first = near_tie.targets(even)
    for gain in (even, odd, [[1.0, 0.668], [0.0, 0.0]]):
        again = near_tie.targets(gain, before=first)
        assert max(abs(again.u[name] - first.u[name]) for name in again.u) < 1.5
    worth_it = near_tie.targets([[1.0, 3.0], [0.0, 0.0]], before=first)
    assert worth_it.stayed is False
    assert worth_it.u["U1"] > first.u["U1"] + 1
    assert worth_it.before["U1"] == first.u["U1"]


def test_a_target_is_left_for_what_it_is_worth(by: str) -> None:
    """A rest that costs less than `WORTH_LEAVING` more than the best one is kept, one that costs more is left; prices
    of 3 and 2 over spreads of 1 make a typical size of sqrt(13)."""
    plant, gain = Given(by), [[1.0, 0.5], [0.0, 0.0]]
    best = plant.targets(gain)
    for share, stays in ((0.8, True), (1.4, False)):
        lost = share * WORTH_LEAVING * 13.0**0.5 / 3.0
        last = replace(best, u={"U1": best.u["U1"] - lost, "U2": best.u["U2"]})
        found = plant.targets(gain, before=last)
        assert found.stayed is stays
        assert (found.u["U1"] == last.u["U1"]) is stays


def test_without_an_objective_targets_follow_their_setpoints_however_little_they_miss(by: str) -> None:
    """0.2 bar of 20 would be worth 1e-4 of a typical size."""
    free = {name: {"price": None} for name in ("U1", "U2")}
    gain, steered = [[1.0, 0.5], [0.0, 0.0]], {"Y1": {"setpoint": 9.0, "limits": {}}}
    first = Given(by, **free, **steered).targets(gain)
    second = Given(by, **free, Y1={"setpoint": 9.2, "limits": {}}).targets(gain, before=first)
    assert first.y["Y1"] == pytest.approx(9.0, abs=0.05)
    assert second.y["Y1"] == pytest.approx(9.2, abs=0.05)


def test_the_orders_of_a_tick_hold_for_its_targets(by: str) -> None:
    plant, gain = Given(by), [[1.0, 0.5], [0.0, 0.0]]
    narrow = plant.targets(gain, limits={"U2": {"high": 7.0}, "Y1": {"high": 10.0}})
    assert (narrow.u["U2"], narrow.y["Y1"]) == (pytest.approx(7.0, abs=0.02), pytest.approx(10.0, abs=1e-3))
    frozen = plant.targets(gain, out_of_service=("U2",))
    assert (frozen.u["U2"], frozen.u["U1"]) == (4.0, pytest.approx(8.0, abs=0.02))
    assert plant.targets(gain, statuses={"U2": Status.DROP}).u["U2"] == 4.0
    wound_up = plant.targets([[1.0, 0.2], [0.0, 0.0]], y0=(14.0, 15.5), statuses={"U1": Status.LOW})
    assert wound_up.u["U1"] == pytest.approx(4.0, abs=1e-6)  # it would be the one to go down
    assert plant.targets(gain, statuses={"Y1": Status.DROP}).u == pytest.approx({"U1": 10.0, "U2": 10.0}, abs=0.02)
    assert plant.targets(gain, statuses={"Y1": Status.LOW}).u == pytest.approx({"U1": 10.0, "U2": 10.0}, abs=0.02)
    steered = Given(by, U1={"price": None}, U2={"price": None}).targets(gain, setpoints={"Y1": 9.0})
    assert steered.y["Y1"] == pytest.approx(9.0, abs=0.05)


def test_where_no_mv_may_move_there_is_no_target() -> None:
    plant = Given("gains").plant
    optimizer = Optimizer(plant=plant, model=LinearModel(plant, 0.5 * np.eye(2), np.eye(2)), scaler=unit_scaler(plant))
    problem = optimizer.problem(np.tile([4.0, 4.0, 8.0, 15.5], (80, 1)), out_of_service=("U1", "U2"))
    assert TargetLayer(plant, optimizer).targets(problem) is None


# A plant that bends: two tanks whose level at rest is known from a long run, and one with a closed form.


def tank_layer(**advice: Any) -> tuple[Plant, Optimizer, TargetLayer]:
    free = {"setpoint": None, "limits": {"low": {"at": 1, "rank": 2}, "high": {"at": 14, "rank": 1}}}
    tags = {name: {**tag, **(free if name in ("L1", "L2") else {})} for name, tag in TANKS.items()}
    plant, scaler = make_plant(tags, **advice), tanks_scaler()
    optimizer = Optimizer(plant=plant, model=TanksModel(plant, scaler), scaler=scaler)
    z, u, d = ca.MX.sym("z", 2), ca.MX.sym("u", 2), ca.MX.sym("d", 0)
    (cu, cy), (su, sy) = ((ca.DM(part[:2]), ca.DM(part[2:])) for part in (scaler.centre, scaler.spread))
    step = ca.Function("step", [z, u, d], [(tanks_step(cy + sy * z, cu + su * u) - cy) / sy])
    equilibrium = Equilibrium(step, ca.Function("read", [z], [z]), scaler, Columns.of(plant))
    return plant, optimizer, TargetLayer(plant, optimizer, equilibrium=equilibrium)


def tank_rows(optimizer: Optimizer, u: tuple[float, float]) -> np.ndarray:
    return np.tile([*u, *tanks_at_rest(np.array(u))], (optimizer.rows_wanted, 1))


def test_on_a_plant_that_bends_the_target_is_the_one_that_scipy_finds_over_long_runs() -> None:
    """Profit of levels against pumping; each of scipy's evaluations is a run of 4,000 rows."""
    _, optimizer, layer = tank_layer(objective="4 * P1**2 + 6 * P2**2 - 9 * L1 - 7 * L2", horizon="300 s")
    found = layer.targets(optimizer.problem(tank_rows(optimizer, (2.0, 2.5))))
    assert found is not None
    assert found.by_gains == ""

    def cost(u: np.ndarray) -> float:
        h = tanks_at_rest(u)
        return float(4 * u[0] ** 2 + 6 * u[1] ** 2 - 9 * h[0] - 7 * h[1])

    inside = {"type": "ineq", "fun": lambda u: 14.0 - tanks_at_rest(u)}
    best = minimize(cost, [2.0, 2.0], bounds=[(0, 6)] * 2, constraints=inside, method="SLSQP", options={"ftol": 1e-9})
    assert best.success
    assert cost(np.array(list(found.u.values()))) == pytest.approx(best.fun, rel=2e-3)
    np.testing.assert_allclose(list(found.u.values()), best.x, atol=0.05)
    np.testing.assert_allclose(list(found.y.values()), tanks_at_rest(np.array(list(found.u.values()))), rtol=1e-5)


def test_where_local_gains_lead_beyond_a_limit_the_equilibrium_stops_at_it() -> None:
    """The outflow bends, so that a level rises ever faster with the pumps: gains of a low level promise too little."""
    _, optimizer, layer = tank_layer(objective="-P1 - P2", horizon="300 s")
    rows = tank_rows(optimizer, (0.6, 0.6))
    right = layer.targets(optimizer.problem(rows))
    by_gains = TargetLayer(layer._plant, optimizer).targets(optimizer.problem(rows))
    assert right is not None
    assert by_gains is not None
    assert by_gains.by_gains == "a TanksModel cannot be written as an expression"
    truly = {name: tanks_at_rest(np.array(list(t.u.values()))) for name, t in (("rest", right), ("gains", by_gains))}
    assert truly["rest"].max() == pytest.approx(14.0, abs=1e-2)
    assert truly["gains"].max() > 15.0
    assert max(by_gains.y.values()) <= 14.0 + 1e-3  # what it believed


HEATER: dict[str, Any] = {
    "F": {"role": "MV", "unit": "kg/s", "limits": [1, 20], "price": "-0.001 CHF/kg"},
    "T": {"role": "CV", "unit": "K", "range": [0, 100], "limits": {"low": {"at": 12.5, "rank": 1}}},
    "Q": {"role": "DV", "unit": "kW"},
}


class Heater:
    """A stirred heater, `T+ = T + 0.05 (Q - F T)`: at rest T = Q / F, a hyperbola. The latent is T."""

    rows, latent_size = 2, 1

    def __init__(self, plant: Plant) -> None:
        self._columns = Columns.of(plant)

    def encode(self, window: Window) -> Tensor:
        return newest_good(window, self._columns.cv)

    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        return z_BD + 0.05 * (d_BV - u_BU * z_BD)

    def read_out(self, z_BD: Tensor) -> Tensor:
        return z_BD


@pytest.mark.parametrize("offset", [0.0, 1.5])
def test_a_closed_form_rest_and_its_offset(offset: float) -> None:
    """As much flow as 12.5 K allow: F = Q / (12.5 - offset), the offset being what the plant is warmer than its model.
    What is announced of Q for the end of the horizon counts, not what it is now."""
    plant = make_plant(HEATER)
    optimizer = Optimizer(plant=plant, model=Heater(plant), scaler=unit_scaler(plant))
    z, u, d = (ca.MX.sym(name, 1) for name in "zud")
    step = ca.Function("step", [z, u, d], [z + 0.05 * (d - u * z)])
    equilibrium = Equilibrium(step, ca.Function("read", [z], [z]), unit_scaler(plant), Columns.of(plant))
    layer = TargetLayer(plant, optimizer, equilibrium=equilibrium)
    rows = np.tile([4.0, 100.0 / 4.0 + offset, 100.0], (optimizer.rows_wanted, 1))
    found = layer.targets(optimizer.problem(rows))
    assert found is not None
    # The model starts from the measured 25 K + offset, its rest at 25 K: with the correction it stays where it is.
    assert found.u["F"] == pytest.approx(100.0 / (12.5 - offset), rel=1e-3)
    assert found.y["T"] == pytest.approx(12.5, abs=1e-3)
    later = layer.targets(optimizer.problem(rows, future_dv_HV=np.full((60, 1), 150.0)))
    assert later is not None
    assert later.u["F"] == pytest.approx(150.0 / (12.5 - offset), rel=2e-2)


# Learned architectures: the rest is where a long run of the same model ends.


@pytest.mark.parametrize("make", [latent_model, model_with_products, gru_model])
def test_the_rest_of_a_learned_model_is_where_its_long_run_ends(make: Any) -> None:
    plant = make_plant(COLUMN)
    model = make(plant)
    if hasattr(model, "predictor"):  # random ones would not come to rest
        model.keep(0.2)
    optimizer = Optimizer(plant=plant, model=model, scaler=unit_scaler(plant))
    rests = Equilibrium.of(optimizer.forecaster)
    u_U, d_V, z_D = np.array([0.4, -0.3]), np.array([0.2]), np.zeros(model.latent_size)
    found = rests.rest(z_D, u_U, d_V)
    assert found is not None
    z, u, d = torch.as_tensor(z_D)[None], torch.as_tensor(u_U)[None], torch.as_tensor(d_V)[None]
    with torch.no_grad():
        for _ in range(3000):
            z = model.step(z, u, d)
        y = model.read_out(z)
    np.testing.assert_allclose(found, z[0].numpy(), atol=1e-8)
    np.testing.assert_allclose(rests.read(found), y[0].numpy(), atol=1e-8)
    problem = optimizer.problem(np.random.default_rng(0).normal(size=(optimizer.rows_wanted, 6)) * 0.1)
    targets = TargetLayer(plant, optimizer).targets(problem)
    assert targets is not None
    assert targets.by_gains == ""


# What never comes to rest.


@pytest.mark.parametrize(("kept", "rests"), [(1.0, False), (0.9995, False), (1.02, False), (0.98, True)])
def test_a_level_that_integrates_is_told_and_its_gains_stand_in(kept: float, rests: bool) -> None:
    plant = make_plant({"U": {"role": "MV", "unit": "m3/h", "limits": [-1, 1]},
                        "L": {"role": "CV", "unit": "m", "range": [0, 10], "limits": [2, 8]}})  # fmt: skip
    scaler = unit_scaler(plant)
    optimizer = Optimizer(plant=plant, model=LinearModel(plant, [[kept]], [[0.1]]), scaler=scaler)
    z, u, d = ca.MX.sym("z", 1), ca.MX.sym("u", 1), ca.MX.sym("d", 0)
    step = ca.Function("step", [z, u, d], [kept * z + 0.1 * u])
    equilibrium = Equilibrium(step, ca.Function("read", [z], [z]), scaler, Columns.of(plant))
    rows = np.tile([0.0, 1.0], (optimizer.rows_wanted, 1))
    found = TargetLayer(plant, optimizer, equilibrium=equilibrium).targets(optimizer.problem(rows))
    assert found is not None
    if rests:
        assert found.by_gains == ""
    else:
        assert found.by_gains == "10 horizons after a move of U the model has not brought L to rest"


def test_a_mode_that_no_move_reaches_may_last_for_ever() -> None:
    """A disturbance that the latent carries along nearly unchanged, and the CV shows, beside a state that settles."""
    plant = make_plant({name: CORNER[name] for name in ("U1", "Y1")})
    z, u, d = ca.MX.sym("z", 2), ca.MX.sym("u", 1), ca.MX.sym("d", 0)
    read, one = ca.Function("read", [z], [z[0] + z[1]]), np.ones(1)
    for reached, found in ((0.0, None), (0.01, (0, 0))):
        step = ca.Function("step", [z, u, d], [ca.vertcat(0.5 * z[0] + u, 0.9999 * z[1] + reached * u)])
        rests = Equilibrium(step, read, unit_scaler(plant), Columns.of(plant))
        assert rests.unsettled(np.ones(2), one, np.empty(0), 600, one, one) == found


def test_where_ipopt_is_given_no_time_the_gains_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("procmodel.control.targets.SHARE", 1e-9)
    _, optimizer, layer = tank_layer(objective="-P1 - P2")
    found = layer.targets(optimizer.problem(tank_rows(optimizer, (0.6, 0.6))))
    assert found is not None
    assert found.by_gains == "no best rest of the model was found, or it would not last"
