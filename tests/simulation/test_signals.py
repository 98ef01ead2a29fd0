"""The surroundings' signals against their closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from procmodel.simulation.signals import lagged, levels, stream, wander


def test_a_wandering_signal_has_the_spread_and_the_memory_that_were_asked_for():
    values = wander(200_000, step=60.0, time_constant=600.0, spread=2.0, rng=stream(0, "test"))
    # 10,000 correlation times: the variance is known to 1.4 %.
    assert values.std() == pytest.approx(2.0, rel=0.03)
    assert np.corrcoef(values[:-10], values[10:])[0, 1] == pytest.approx(np.exp(-1.0), abs=0.02)


def test_a_wandering_signal_is_stationary_from_its_first_row():
    first = [wander(1, step=1.0, time_constant=50.0, spread=1.0, rng=stream(seed, "test"))[0] for seed in range(2000)]
    assert np.std(first) == pytest.approx(1.0, rel=0.06)


def test_levels_hold_as_long_as_drawn():
    values = levels(1000, hold=lambda rng: 70, draw=lambda rng: rng.uniform(), rng=stream(3, "test"))
    changes = np.flatnonzero(np.diff(values))
    assert changes[0] < 70
    assert set(np.diff(changes)) == {70}


def test_a_lagged_step_reaches_63_percent_after_one_time_constant():
    step = np.r_[np.zeros(10), np.ones(200)]
    answer = lagged(step, step=1.0, time_constant=40.0)
    assert answer[:10] == pytest.approx(0.0)
    assert answer[10 + 39] == pytest.approx(1.0 - np.exp(-1.0), rel=1e-9)


def test_streams_of_different_purposes_are_independent():
    draws = [stream(1, *purpose).standard_normal(5000) for purpose in (("a",), ("b",), ("a", "b"))]
    assert np.abs(np.corrcoef(draws) - np.eye(3)).max() < 0.06
    assert np.array_equal(stream(1, "a").standard_normal(5000), draws[0])
