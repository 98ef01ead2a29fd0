"""Closed-loop figures against sums done by hand, and the bootstrap against the theory of a ratio."""

from __future__ import annotations

import numpy as np
import pytest

from procmodel.metrics.closed_loop import LimitTrace, excess, loop_figures, ratio_interval


def test_excess_is_the_distance_outside_the_limits() -> None:
    y = np.array([1.0, 4.0, 5.0, 9.0, np.nan])
    np.testing.assert_array_equal(excess(y, low=4, high=6), [3, 0, 0, 3, np.nan])
    np.testing.assert_array_equal(excess(y, high=6), [0, 0, 0, 3, np.nan])
    np.testing.assert_array_equal(excess(y), [0, 0, 0, 0, np.nan])


def test_figures_of_an_episode_are_sums_by_hand() -> None:
    figures = loop_figures(
        cost_T=np.array([1.0, 3.0, np.nan, 2.0]),
        limits=[
            LimitTrace(rank=2, excess=np.array([0.0, 4, 0, 0]), span=8.0),
            LimitTrace(rank=1, excess=np.array([0.0, 0, 1, 1]), span=2.0),
            LimitTrace(rank=2, excess=np.array([0.0, 1, 1, np.nan]), span=1.0),
        ],
        u_TU=np.array([[0.0, 10], [2, 10], [1, 10], [1, 0]]),
        mv_span_U=np.array([1.0, 20.0]),
        sample_time=5.0,
        held_T=np.array([True, False, False, False]),
    )
    assert figures.cost == 2.0
    assert figures.violation == {1: 5.0, 2: 12.5}
    assert figures.violated == {1: 0.5, 2: 0.5}
    assert list(figures.violation) == [1, 2]
    np.testing.assert_allclose(figures.travel, [1.0, 0.5 / 3])
    assert figures.holds == 0.25


def test_an_episode_that_keeps_every_limit_violates_nothing() -> None:
    quiet = LimitTrace(rank=1, excess=np.zeros(10), span=1.0)
    figures = loop_figures(np.ones(10), [quiet], np.zeros((10, 1)), np.ones(1), 1.0)
    assert (figures.violation, figures.violated, figures.holds) == ({1: 0.0}, {1: 0.0}, 0.0)


def test_pairing_removes_what_both_share() -> None:
    rng = np.random.default_rng(0)
    hard = rng.uniform(1, 100, 60)  # episodes differ a hundredfold
    paired = ratio_interval(1.1 * hard, hard)
    assert (paired.ratio, paired.low, paired.high) == pytest.approx((1.1, 1.1, 1.1))
    apart = ratio_interval(1.1 * hard, rng.permutation(hard))
    assert apart.high - apart.low > 0.2


def test_the_interval_covers_the_true_ratio_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for trial in range(300):
        hard = rng.gamma(4.0, 1.0, 60)
        ours, theirs = 0.9 * hard * rng.gamma(25, 1 / 25, 60), hard * rng.gamma(25, 1 / 25, 60)
        found = ratio_interval(ours, theirs, draws=400, seed=trial)
        hits += found.low <= 0.9 <= found.high
    assert 0.90 <= hits / 300 <= 0.99


def test_the_same_seed_gives_the_same_interval() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random(20), rng.random(20)
    assert ratio_interval(a, b) == ratio_interval(a, b)
    assert ratio_interval(a, b) != ratio_interval(a, b, seed=1)


def test_episodes_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="paired episodes need two equal lists"):
        ratio_interval(np.ones(3), np.ones(4))
