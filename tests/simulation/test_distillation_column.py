"""Column A against the figures that Skogestad prints."""

from __future__ import annotations

import numpy as np
import pytest

from procmodel.simulation import Simulator, reference_plant, steady_gains
from procmodel.simulation.simulator import runge_kutta_row

COLUMN = reference_plant("distillation-column")
STAGES = 41


def test_it_rests_at_the_printed_products_and_holdups():
    assert COLUMN.x0[40] == pytest.approx(0.99, abs=1e-5)
    assert COLUMN.x0[0] == pytest.approx(0.01, abs=1e-5)
    assert COLUMN.x0[STAGES:] == pytest.approx(np.full(STAGES, 0.5), abs=1e-5)


def test_its_steady_gains_are_the_printed_ones():
    # Skogestad and Postlethwaite: [0.878 -0.864; 1.082 -1.096] in units of 0.01 of the light fraction per kmol/min.
    assert steady_gains(COLUMN) == pytest.approx(np.array([[87.8, -86.4], [108.2, -109.6]]), rel=4e-3)


def test_its_relative_gain_is_the_printed_one():
    # So nearly singular that 0.3 % of a gain, by which the printed matrix differs from this model, is 2.5 % of it.
    gains = steady_gains(COLUMN)
    assert gains[0, 0] * np.linalg.inv(gains)[0, 0] == pytest.approx(35.1, rel=0.03)


def test_its_slowest_answer_takes_the_printed_194_minutes():
    x, u, d, w = COLUMN.x0, COLUMN.u0.tolist(), COLUMN.d0.tolist(), COLUMN.w0.tolist()
    ends = [
        np.array([COLUMN.equations((x + sign * e).tolist(), u, d, w) for e in 1e-6 * np.eye(len(x))])
        for sign in (1, -1)
    ]
    slowest = np.linalg.eigvals((ends[0] - ends[1]).T / 2e-6).real.max()
    assert -1.0 / slowest / 60.0 == pytest.approx(194, abs=1)


def test_a_row_in_arrays_is_a_row_of_its_equations():
    rng = np.random.default_rng(3)
    x = COLUMN.x0 * rng.uniform(0.97, 1.03, len(COLUMN.x0))
    u, d, w = [2.75, 3.25], [1.01], [0.49]
    end, y = runge_kutta_row(COLUMN, x.tolist(), u, d, w)
    reading = Simulator(COLUMN, seed=0, noise=False, x0=x).tick(u, d, w)
    assert reading.x == pytest.approx(end, rel=1e-10)
    assert reading.y == pytest.approx(y, rel=1e-10)


def test_light_component_is_neither_made_nor_lost():
    rng = np.random.default_rng(4)
    light, held = rng.uniform(0.05, 0.95, STAGES), rng.uniform(0.45, 0.55, STAGES)
    rates = 60.0 * np.array(COLUMN.equations([*light, *held], [2.7, 3.2], [1.02], [0.51]))
    distillate, bottoms = (0.5 + 10.0 * (held[i] - 0.5) for i in (40, 0))
    stored = light @ rates[STAGES:] + held @ rates[:STAGES]
    assert stored == pytest.approx(1.02 * 0.51 - distillate * light[40] - bottoms * light[0], rel=1e-9)
