"""Figures of step responses against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from procmodel.metrics.step_response import step_figures


def first_order(gain: float, lag: float, dead: float, time: np.ndarray) -> np.ndarray:
    """Answer to a unit step of a first-order lag with dead time."""
    return gain * np.where(time > dead, 1 - np.exp(-(time - dead) / lag), 0.0)


@pytest.mark.parametrize(("gain", "lag", "dead"), [(2.0, 30.0, 0.0), (-0.5, 60.0, 45.0), (1e-6, 20.0, 100.0)])
@pytest.mark.parametrize("step", [1.0, -4.0])
def test_a_first_order_lag_with_dead_time(gain: float, lag: float, dead: float, step: float) -> None:
    sample_time = 0.5
    time = np.arange(1, 1601) * sample_time
    found = step_figures(step * first_order(gain, lag, dead, time), step, sample_time)
    assert found.gain == pytest.approx(gain, rel=1e-4)
    assert found.dead_time == pytest.approx(dead - lag * np.log(0.95), abs=0.02)  # 5 % of the way
    assert found.settling_time == pytest.approx(dead - lag * np.log(0.05), abs=0.05)
    assert found.inverse == 0.0
    assert found.overshoot == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("damping", [0.2, 0.5, 0.7])
def test_overshoot_and_settling_of_a_second_order_lag(damping: float) -> None:
    time = np.arange(1, 20_001) * 0.01
    wd = np.sqrt(1 - damping**2)
    curve = 1 - np.exp(-damping * time) * (np.cos(wd * time) + damping / wd * np.sin(wd * time))
    found = step_figures(3 * curve, 1.0, 0.01)
    assert found.overshoot == pytest.approx(np.exp(-np.pi * damping / wd), rel=1e-3)
    outside = time[np.abs(curve - 1) > 0.05]
    assert found.settling_time == pytest.approx(outside[-1], abs=0.02)


def test_an_inverse_response_is_measured_by_its_depth() -> None:
    # (1 - b s) / (1 + s)^2: y = 1 - (1 + t (1 + b)) exp(-t), deepest at t = b / (1 + b).
    b, time = 3.0, np.arange(1, 4001) * 0.005
    curve = 1 - (1 + time * (1 + b)) * np.exp(-time)
    deepest = b / (1 + b)
    depth = -(1 - (1 + deepest * (1 + b)) * np.exp(-deepest))
    for sign in (1.0, -1.0):
        found = step_figures(sign * curve, 1.0, 0.005)
        assert found.gain == pytest.approx(sign, rel=1e-3)
        assert found.inverse == pytest.approx(depth, rel=1e-3)
        assert found.dead_time > deepest


def test_a_response_that_has_not_settled_says_so() -> None:
    time = np.arange(1, 101.0)
    assert np.isnan(step_figures(time, 1.0, 1.0).settling_time)  # an integrator never does
    assert np.isnan(step_figures(first_order(1, 100, 0, time), 1.0, 1.0).settling_time)


def test_no_answer_has_no_gain_and_no_times() -> None:
    found = step_figures(np.zeros(50), 2.0, 1.0)
    assert found.gain == 0
    assert np.isnan(found.dead_time)
    assert np.isnan(found.settling_time)


def test_an_immediate_answer_settles_within_the_first_sample() -> None:
    found = step_figures(np.full(100, 5.0), 2.0, 10.0)
    assert found.gain == 2.5
    assert found.settling_time == pytest.approx(9.5)  # on the straight line from rest to the first sample
