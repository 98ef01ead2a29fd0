"""The study of surprise on a plant that was made up here: it needs no recording."""

from __future__ import annotations

import numpy as np
import pytest

from experiments import surprise
from experiments.surprise import Choice, choose, judged, monitor_of


def normal_rows(rows: int, seed: int) -> np.ndarray:
    """52 tags driven by five slow causes, with noise of their own."""
    rng = np.random.default_rng(seed)
    causes, mix = np.zeros((rows, 5)), np.random.default_rng(99).normal(size=(5, 52))
    for t in range(1, rows):
        causes[t] = 0.9 * causes[t - 1] + rng.normal(size=5)
    return causes @ mix + rng.normal(size=(rows, 52))


def test_a_broken_pattern_between_tags_is_found_and_normal_rows_are_left_alone() -> None:
    choice, table = choose(
        normal_rows(500, 0), [Choice(lags=1, order=5, ridge=0.1), Choice(lags=1, order=1, ridge=0.1)]
    )
    assert choice.order == 5  # as many as there are causes
    assert table[0]["error"] < table[1]["error"]
    expected, monitor = monitor_of(normal_rows(500, 0), choice)
    records = [normal_rows(960, 1), normal_rows(960, 2), normal_rows(960, 3)]
    records[2][160:, 7] += 4.0  # less than the tag's own spread, more than what the others leave open
    found = judged([monitor.scores(expected.signals(record)) for record in records])
    assert found["false_alarms_normal_file"] < 0.05
    assert found["detection_by_fault"][0] < 0.05
    assert found["detection_by_fault"][1] > 0.8
    assert found["minutes_to_three_alarms_in_a_row"][1] < 60


def test_detection_and_delay_are_counted_from_the_row_of_the_fault() -> None:
    quiet, fault = np.zeros(960), np.zeros(960)
    quiet[[3, 4, 500]] = 2.0
    fault[[10, 170]] = 2.0
    fault[180:] = 2.0
    found = judged([quiet, fault])
    assert found["mean_detection"] == pytest.approx(781 / 800)
    assert found["minutes_to_three_alarms_in_a_row"] == [3 * (180 - 160 + 3)]
    assert found["false_alarms_normal_file"] == pytest.approx(3 / 960)
    assert found["false_alarm_episodes_per_day"] == pytest.approx(1.0)  # two episodes in two days
    assert found["false_alarms_before_the_faults"] == pytest.approx(1 / 160)


def test_what_pca_finds_is_of_the_tags_and_not_of_their_units() -> None:
    normal, record, units = normal_rows(200, 0), normal_rows(50, 1), np.linspace(1, 1000, 52)
    one, other = surprise.pca([normal])(record), surprise.pca([normal * units])(record * units)
    np.testing.assert_allclose(one, other, rtol=1e-6)
