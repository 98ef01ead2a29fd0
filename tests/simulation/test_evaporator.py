"""The evaporator against the base case of Newell and Lee and the optimum of Amrit, Rawlings and Biegler."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from procmodel.simulation import reference_plant, steady_state
from procmodel.simulation.evaporator import CIRCULATION, FLOODING_LOAD, entrainment_margin, flows, hourly_cost

EVAPORATOR = reference_plant("evaporator")
STATES = st.tuples(st.floats(0.8, 1.2), st.floats(20, 35), st.floats(40, 80), st.floats(1.0, 3.0))
INPUTS = st.tuples(st.floats(120, 400), st.floats(80, 400))
FEEDS = st.tuples(st.floats(9, 11), st.floats(35, 45), st.floats(22, 28))


def settled(u):
    x = steady_state(EVAPORATOR, u).tolist()
    return x, EVAPORATOR.outputs(x, u, EVAPORATOR.d0.tolist(), EVAPORATOR.w0.tolist())


def test_it_rests_at_the_published_base_case():
    x, (composition, pressure, steam, product) = settled([194.7, 208.0])
    now = flows(x, [194.7, 208.0], EVAPORATOR.d0.tolist())
    assert (round(composition, 1), round(pressure, 1), round(steam, 1), round(product, 1)) == (25.0, 50.5, 9.3, 2.0)
    assert (round(now.vapour, 1), round(now.condensate, 1), round(now.vapour_temperature, 1)) == (8.0, 8.0, 80.6)
    assert (round(now.steam * 36.6), round(now.condensate * 38.5)) == (339, 308)  # Q100, Q200 [kW]
    assert x[0] == pytest.approx(1.0, abs=1e-9)


def test_its_economic_optimum_is_the_published_one():
    low_product = {"type": "ineq", "fun": lambda u: settled(u.tolist())[1][0] - 25.0}
    found = minimize(
        lambda u: hourly_cost(settled(u.tolist())[1], u.tolist()),
        [200.0, 210.0],
        method="SLSQP",
        bounds=[(120, 400), (80, 400)],
        constraints=[low_product],
        options={"ftol": 1e-10, "eps": 1e-4},
    )
    x, _ = settled(found.x.tolist())
    assert found.x == pytest.approx([191.713, 215.888], abs=0.2)
    assert x[1:3] == pytest.approx([25.0, 49.743], abs=0.02)


@given(x=STATES, u=INPUTS, d=FEEDS, w=st.floats(4.5, 5.5))
def test_mass_solute_and_energy_balance(x, u, d, w):
    level, composition, pressure, _ = (60.0 * rate for rate in EVAPORATOR.equations(x, u, d, [w]))  # per minute
    y = EVAPORATOR.outputs(x, u, d, [w])
    temperature = 0.5616 * x[2] + 0.3126 * x[1] + 48.43
    vapour = (36.6 * y[2] - 0.07 * d[0] * (temperature - d[1])) / 38.5  # what steam is left to boil off
    condensed = vapour - 4.0 * pressure
    assert 20.0 * level == pytest.approx(d[0] - vapour - y[3], abs=1e-9)
    assert 20.0 * composition == pytest.approx(d[0] * w - y[3] * x[1], abs=1e-9)
    # The condenser gives off what the cooling water takes up: F200 Cp (T201 - T200) = UA2 (T3 - mean of T200 and T201).
    heat = 38.5 * condensed
    outlet = d[2] + heat / (0.07 * u[1])
    mean_difference = 0.507 * x[2] + 55.0 - 0.5 * (d[2] + outlet)
    assert heat == pytest.approx(6.84 * mean_difference, rel=1e-9)


@given(x=STATES, u=INPUTS, d=FEEDS)
def test_the_margin_vanishes_at_the_flooding_load(x, u, d):
    margin = entrainment_margin(x, u, d, [5.0])
    load = flows(x, u, d).vapour * np.sqrt((0.507 * x[2] + 55.0 + 273.15) / x[2])
    assert load == pytest.approx(FLOODING_LOAD * (1.0 - margin / 100.0), rel=1e-12)


def test_entrainment_binds_near_the_optimum_at_a_pressure_slightly_lower():
    def margin(u):
        x, _ = settled(u)
        return entrainment_margin(x, u, EVAPORATOR.d0.tolist(), [5.0])

    assert 0.0 < margin([191.713, 215.888]) < 4.0
    assert margin([185.0, 260.0]) < 0.0


def test_the_objective_of_the_plant_file_is_the_cost():
    objective = EVAPORATOR.plant.advice.objective
    y, u = [25.3, 50.0, 9.4, 1.9], [200.0, 210.0]
    values = dict(zip([*EVAPORATOR.plant.cvs, *EVAPORATOR.plant.mvs], [*y, *u], strict=True))
    text = objective
    for name, value in values.items():
        text = text.replace(name, repr(value))
    assert eval(text, {"__builtins__": {}}) == pytest.approx(hourly_cost(y, u), rel=1e-12)
    assert hourly_cost(y, u) == pytest.approx(600 * 9.4 + 0.6 * 210.0 + 1.009 * (1.9 + CIRCULATION))


def test_the_valve_of_the_level_loop_never_runs_backwards():
    y = EVAPORATOR.outputs([0.2, 25.0, 50.0, 1.0], [194.7, 208.0], [10.0, 40.0, 25.0], [5.0])
    assert 0.0 < y[3] < 0.01
