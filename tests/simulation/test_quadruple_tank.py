"""The quadruple tank against the figures that Johansson (2000) prints for P-."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procmodel.simulation import reference_plant, steady_gains, steady_state
from procmodel.simulation.quadruple_tank import pump_voltages, steady_levels

PUBLISHED_LEVELS = [12.4, 12.7, 1.8, 1.4]  # [cm]
SENSOR = 0.5  # [V/cm], kc of the paper
TANK = reference_plant("quadruple-tank")
levels_cm = st.floats(0.5, 19.0)
volts = st.floats(0.0, 6.0)


def linearised(x: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """A [X, X] and B [X, U] by central differences, both exact to 1e-8."""
    u, d, w = TANK.u0.tolist(), TANK.d0.tolist(), TANK.w0.tolist()

    def slope(of, at):
        columns = []
        for i in range(len(at)):
            up, down = list(at), list(at)
            up[i], down[i] = at[i] + 1e-5, at[i] - 1e-5
            columns.append((np.array(of(up)) - np.array(of(down))) / 2e-5)
        return np.stack(columns, axis=1)

    return slope(lambda x: TANK.equations(x, u, d, w), x), slope(lambda u: TANK.equations(x, u, d, w), u)


def test_it_rests_near_the_levels_that_the_paper_read_off():
    # The paper's levels are readings of a real rig: its own parameters rest up to 0.17 cm beside them.
    assert steady_state(TANK) == pytest.approx(PUBLISHED_LEVELS, abs=0.18)
    assert steady_state(TANK) == pytest.approx([12.263, 12.783, 1.634, 1.409], abs=5e-4)


def test_its_time_constants_are_the_published_ones():
    a, _ = linearised(PUBLISHED_LEVELS)
    # Computed 62.70, 90.34, 23.89, 29.99 s; the paper prints some of them cut off and one rounded.
    assert -1.0 / np.diag(a) == pytest.approx([62, 90, 23, 30], abs=0.95)


def test_its_gains_are_the_published_ones():
    a, b = linearised(PUBLISHED_LEVELS)
    gains = SENSOR * -np.linalg.solve(a, b)[:2]
    assert np.round(gains, 1).tolist() == [[2.6, 1.5], [1.4, 2.8]]


def test_its_relative_gain_is_the_published_one():
    gains = steady_gains(TANK)[:2]
    assert gains[0, 0] * np.linalg.inv(gains)[0, 0] == pytest.approx(1.4, abs=0.005)


def test_its_transmission_zeros_are_the_published_ones():
    a, b = linearised(PUBLISHED_LEVELS)
    c = np.eye(2, 4)
    pencil = np.block([[a, b], [c, np.zeros((2, 2))]])
    # det [A - sI, B; C, 0] is a polynomial of degree 2 in s: three points fix it.
    points = np.array([-0.1, 0.0, 0.1])
    mass = np.diag([1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    values = [np.linalg.det(pencil - s * mass) for s in points]
    zeros = np.sort(np.roots(np.polyfit(points, values, 2)))
    assert zeros == pytest.approx([-0.060, -0.018], rel=0.05)


@given(x=st.tuples(levels_cm, levels_cm, levels_cm, levels_cm), u=st.tuples(volts, volts))
def test_water_is_neither_made_nor_lost(x, u):
    rates = TANK.equations(x, u, [20.0], [0.3, -0.2])
    stored = 28 * rates[0] + 32 * rates[1] + 28 * rates[2] + 32 * rates[3]
    leaving = 0.071 * np.sqrt(2 * 981 * x[0]) + 0.057 * np.sqrt(2 * 981 * x[1])
    assert stored == pytest.approx(3.33 * u[0] + 3.35 * u[1] + 0.3 - 0.2 - leaving, abs=1e-4)


def test_an_empty_tank_lets_nothing_out_and_stays_defined_below_zero():
    for level in (0.0, -0.05):
        rates = TANK.equations([level] * 4, [0.0, 0.0], [20.0], [0.0, 0.0])
        assert max(abs(rate) for rate in rates) < 3e-3


@given(u=st.tuples(st.floats(1.0, 4.0), st.floats(1.0, 4.0)))
def test_pump_voltages_undo_steady_levels(u):
    level1, level2 = steady_levels(u)[:2]
    assert pump_voltages(level1, level2) == pytest.approx(u, rel=1e-9)


def test_the_setpoints_change_every_40_min_to_3_5_h():
    table = TANK.setpoints(40000, 3)
    for column in (0, 1):
        changes = np.flatnonzero(np.diff(table[:, column]))
        gaps = np.diff(changes) * 5.0
        # Two draws in a row may be equal to the printed 0.1 cm, which joins two gaps.
        assert gaps.min() >= 2400 - 5
        assert np.median(gaps) <= 12600
    assert np.isnan(table[:, 2]).all()


def test_the_room_temperature_does_nothing():
    x, u, w = TANK.x0.tolist(), [3.2, 2.9], [0.1, 0.0]
    assert TANK.equations(x, u, [20.0], w) == TANK.equations(x, u, [35.0], w)
