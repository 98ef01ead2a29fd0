"""The gas turbine against what Rowen (1983) says of a machine at rated and at no load."""

from __future__ import annotations

import math

import pytest

from procmodel.simulation import Simulator, reference_plant, steady_gains, steady_state
from procmodel.simulation.gas_turbine import shaft

TURBINE = reference_plant("gas-turbine")


def test_rated_fuel_at_rated_speed_gives_rated_torque_and_950_degrees_fahrenheit():
    now = shaft([1.0, 1.0, 1.0, 510.0, 510.0], [104.0, 0.0], [0.0], math.sqrt)
    assert now.torque == pytest.approx(1.0, abs=0.002)
    assert now.exhaust * 9 / 5 + 32 == pytest.approx(950.0)
    assert now.demand == pytest.approx(1.0)  # 4 % of droop from no load to rated load


def test_without_load_it_turns_on_23_percent_of_its_fuel():
    rest = steady_state(TURBINE, u=[100.0, 0.0], d=[0.0])
    assert rest[:3] == pytest.approx([0.23, 0.23, 1.0], abs=1e-5)


def test_the_governor_keeps_fuel_between_its_limits():
    state = [0.9, 0.9, 1.0, 480.0, 480.0]
    for reference, limit in ((120.0, 1.5), (90.0, -0.1)):
        assert shaft(state, [reference, 0.0], [0.0], math.sqrt).demand == pytest.approx(0.23 + 0.77 * limit, abs=1e-5)


def test_a_load_step_lowers_the_speed_by_the_droop():
    simulator = Simulator(TURBINE, seed=0, noise=False)
    for _ in range(100):
        reading = simulator.tick(TURBINE.u0, [67.0], [0.0])
    # 4 % per rated load, but for what torque and fuel follow the speed.
    assert 100.0 - reading.y[0] == pytest.approx(5.0 * 0.04, rel=0.08)


def test_more_reference_speeds_it_up_and_cools_the_exhaust():
    gains = steady_gains(TURBINE)
    assert gains[0, 0] > 0 > gains[1, 0]
