"""The Van de Vusse reactor against what Klatt and Engell (1998) print."""

from __future__ import annotations

import math

import numpy as np
import pytest

from procmodel.simulation import reference_plant, steady_state
from procmodel.simulation.arithmetic import exponential, larger, smaller

REACTOR = reference_plant("van-de-vusse")


def test_it_rests_at_the_printed_operating_point():
    printed = [1.235, 0.9, 134.14, 128.95]  # mol/L, mol/L, degC, degC under 18.83 1/h and -4495.7 kJ/h
    assert steady_state(REACTOR) == pytest.approx(printed, rel=3e-4)


def test_its_rate_constants_are_arrhenius_law():
    kelvin = 134.14 + 273.15
    rate = 1.287e12 * math.exp(-9758.3 / kelvin)
    rates = REACTOR.equations([0.0, 1.0, 134.14, 134.14], [0.0, 0.0], [130.0], [5.1])
    assert rates[1] == pytest.approx(-rate / 3600.0, rel=1e-9)  # B alone reacts on to C


@pytest.mark.parametrize("feed", [12.0, 25.0])
def test_at_rest_its_concentrations_solve_the_balances_by_hand(feed):
    a, b, temperature, _ = steady_state(REACTOR, u=[feed, 4495.7])
    kelvin = temperature + 273.15
    first, third = 1.287e12 * math.exp(-9758.3 / kelvin), 9.043e9 * math.exp(-8560.0 / kelvin)
    root = math.sqrt((feed + first) ** 2 + 4 * third * feed * 5.1)
    assert a == pytest.approx((root - feed - first) / (2 * third), rel=1e-8)
    assert b == pytest.approx(first * a / (feed + first), rel=1e-8)


@pytest.mark.parametrize("z", np.linspace(-4.0, 4.0, 9))
def test_the_exponential_made_of_four_operations_is_the_exponential(z):
    assert exponential(z) == pytest.approx(math.exp(z), rel=3e-12)


def test_smaller_and_larger_choose_and_round_off_only_close_by():
    assert smaller(1.0, 3.0, 1e-3, math.sqrt) == pytest.approx(1.0, abs=1e-6)
    assert larger(1.0, 3.0, 1e-3, math.sqrt) == pytest.approx(3.0, abs=1e-6)
    assert larger(2.0, 2.0, 1e-3, math.sqrt) - 2.0 == pytest.approx(5e-4)
