"""The drum boiler against the operating points that Bell and Astrom (1987) print."""

from __future__ import annotations

import math

import numpy as np
import pytest

from procmodel.simulation import Simulator, reference_plant, steady_state
from procmodel.simulation.drum_boiler import FEED_FLOW, OPERATING_POINTS, VOLUME, drum

BOILER = reference_plant("drum-boiler")


@pytest.mark.parametrize("point", OPERATING_POINTS[1:], ids=lambda p: f"{p[1]:g} MW")
def test_it_rests_at_the_printed_operating_points_to_the_digits_given(point):
    pressure, power, density, fuel, steam, feed_water, level = point
    # A reset that makes the level loop ask for the printed feed water at the printed level, beside the steam's.
    state = [pressure, power, density, feed_water - (1.1 * steam - 0.19) * pressure / 141.0 + 0.5 * level]
    now = drum(state, [fuel, steam], [1.0], math.sqrt)
    assert now.level == pytest.approx(level, abs=0.012)
    assert now.feed_water == pytest.approx(feed_water, abs=0.006)
    rates = BOILER.equations(state, [fuel, steam], [], [1.0])
    assert rates[:3] == pytest.approx([0.0, 0.0, 0.0], abs=0.012)


@pytest.mark.parametrize("point", [OPERATING_POINTS[2], OPERATING_POINTS[4]], ids=["90 %", "110 %"])
def test_the_inputs_of_other_points_lead_to_their_pressure_and_power(point):
    rest = steady_state(BOILER, u=[point[3], point[4]])
    assert rest[:2] == pytest.approx(point[:2], rel=0.01)


def test_the_level_loop_brings_the_water_back_to_its_middle():
    simulator = Simulator(BOILER, seed=0, noise=False)
    levels = [simulator.tick([0.36, 0.72], [], [1.0]).y[2] for _ in range(900)]
    assert max(np.abs(levels[:60])) > 0.01
    assert levels[-1] == pytest.approx(0.0, abs=1e-3)


def test_feed_water_follows_the_steam_and_not_the_swell():
    rest = BOILER.x0
    more = drum(rest, [0.34, 0.75], [1.0], math.sqrt)  # the steam valve just opened
    assert more.level > 0.02  # swell
    steam = (1.1 * 0.75 - 0.19) * rest[0]
    assert more.feed_water == pytest.approx(steam / FEED_FLOW - 0.5 * more.level, abs=1e-4)
    # Fluid lost while the valve is trimmed, of the rest's: next to none.
    assert abs(BOILER.equations(rest, [0.34, 0.75], [], [1.0])[2]) == pytest.approx(
        FEED_FLOW * 0.5 * more.level / VOLUME, rel=1e-3
    )


def test_the_record_of_its_operators_keeps_the_level_within_its_limits():
    reference = BOILER
    rows, operator, simulator = 3000, reference.operator(0), Simulator(reference, seed=0)
    weather, asked = reference.disturbances(rows, 0), reference.setpoints(rows, 0)
    reading = simulator.look(weather.d[0], weather.w[0])
    levels = []
    for t in range(rows):
        reading = simulator.tick(operator.act(reading.row, asked[t]), weather.d[t], weather.w[t])
        levels.append(reading.y[2])
    assert max(np.abs(levels)) < 0.06
    assert np.std(levels) > 0.003


def test_a_feed_water_valve_at_its_end_stays_there_and_its_reset_does_not_wind_up():
    state = [108.0, 66.65, 480.0, -0.35]  # far too much water
    assert drum(state, [0.34, 0.69], [1.0], math.sqrt).feed_water == pytest.approx(0.0, abs=1e-3)
    assert BOILER.equations(state, [0.34, 0.69], [], [1.0])[3] == pytest.approx(-0.1 / 600.0, rel=0.2)
