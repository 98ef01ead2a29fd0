"""A monitor is quiet on normal rows, and each chart sees what it is for."""

from __future__ import annotations

import numpy as np
import pytest

from procmodel.errors import DatasetError
from procmodel.world_model.monitor import Chart, Monitor, chart_values, fit_charts, smoothed

MIX = np.array([[1.0, 0.9], [0.0, 0.5]])


def noise(rows: int, seed: int) -> np.ndarray:
    """Two values that vary together."""
    return np.random.default_rng(seed).normal(size=(rows, 2)) @ MIX


def test_a_running_mean_is_the_recursion_it_stands_for() -> None:
    x, mean = noise(40, 0), np.array([3.0, -1.0])
    found = smoothed(x, 0.3, mean)
    for t in range(40):
        mean = 0.7 * mean + 0.3 * x[t]
        np.testing.assert_allclose(found[t], mean)


def test_a_gap_takes_the_value_before_it_and_a_leading_one_the_start() -> None:
    x = np.array([[np.nan, 1.0], [2.0, np.nan], [np.nan, np.nan], [5.0, 4.0]])
    np.testing.assert_array_equal(smoothed(x, 1.0, np.array([7.0, 8.0])), [[7, 1], [2, 1], [2, 1], [5, 4]])


def test_t2_is_the_distance_in_the_spread_of_normal_rows() -> None:
    chart = Chart.fit([noise(4000, 0), noise(4000, 1)], 1.0, shrink=0.0)
    values = chart(noise(20_000, 2))
    assert values.mean() == pytest.approx(2.0, rel=0.05)  # of two values that are normal: chi-square with 2
    assert np.mean(values > 9.21) == pytest.approx(0.01, abs=0.003)
    # Along what the two do together, 2 is usual; against it, it is far outside.
    along, against = np.array([[2.0, 2 * 0.9]]), np.array([[2.0, -2 * 0.9]])
    assert chart(along)[0] < 5 < 40 < chart(against)[0]


def test_a_slow_chart_sees_a_small_shift_that_a_fast_one_does_not() -> None:
    fast, slow = (Chart.fit([noise(5000, 0)], share) for share in (1.0, 0.1))
    limits = [np.quantile(chart(noise(5000, 1)), 0.99) for chart in (fast, slow)]
    shifted = noise(500, 2) + np.array([0.9, 0.9])
    found = [np.mean(chart(shifted)[50:] > limit) for chart, limit in zip((fast, slow), limits, strict=True)]
    assert found[0] < 0.1
    assert found[1] > 0.4


def test_all_charts_together_raise_no_more_false_alarms_than_asked_for() -> None:
    signals = [[noise(4000, s), noise(4000, s + 10)] for s in range(3)]
    charts = fit_charts([signals[0]])
    monitor = Monitor.of(charts, chart_values(charts, signals[1]), 0.01)
    assert [len(of_one) for of_one in monitor.charts] == [3, 3]
    assert np.mean(monitor.scores(signals[1]) > 1) == pytest.approx(0.01, abs=0.001)
    assert np.mean(monitor.scores(signals[2]) > 1) == pytest.approx(0.01, abs=0.008)
    jump = [noise(50, 40) + np.array([0.0, 6.0]), noise(50, 41)]
    assert (monitor.scores(jump) > 1).mean() > 0.95


def test_fewer_rows_than_values_are_refused() -> None:
    with pytest.raises(DatasetError, match="2 normal rows cannot say how 2 values vary together"):
        Chart.fit([noise(2, 0)], 1.0)
