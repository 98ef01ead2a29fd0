"""Block bootstrap: its block length against the closed form of an AR(1), its interval against repeated draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import t as student

from procmodel.metrics.bootstrap import _student_over_normal, block_interval, block_length


def autoregression(rho: float, count: int, seed: int) -> np.ndarray:
    return np.asarray(lfilter([1.0], [1.0, -rho], np.random.default_rng(seed).normal(size=count + 200)))[200:]


@pytest.mark.parametrize("rho", [0.3, 0.7])
def test_the_block_length_is_that_of_theory_for_an_autoregression(rho: float) -> None:
    """G = 2 R0 rho / (1 - rho)^2 and g(0) = R0 (1 + rho) / (1 - rho): b = (1.5 (2 rho / (1 - rho^2))^2 N)^(1/3)."""
    count = 4000
    found = [block_length(autoregression(rho, count, seed)) for seed in range(20)]
    assert np.median(found) == pytest.approx((1.5 * (2 * rho / (1 - rho**2)) ** 2 * count) ** (1 / 3), rel=0.25)


def test_noise_without_memory_and_a_constant_need_no_blocks() -> None:
    assert np.median([block_length(autoregression(0.0, 500, seed)) for seed in range(20)]) <= 3
    assert block_length(np.full(50, 3.0)) == 1


@pytest.mark.parametrize(("rho", "count"), [(0.0, 12), (0.5, 60)])
def test_the_interval_holds_the_true_mean_about_as_often_as_it_says(rho: float, count: int) -> None:
    held = 0
    for seed in range(300):
        found = block_interval(autoregression(rho, count, seed), draws=400, seed=seed)
        held += found.low <= 0.0 <= found.high
    assert held / 300 >= 0.88


def test_models_that_disagree_widen_the_interval_over_all_they_say() -> None:
    one = np.random.default_rng(0).normal(size=200)
    found = block_interval(np.stack([one, one + 10.0]))
    assert found.low < one.mean()
    assert found.high > one.mean() + 10.0
    assert found.mean == pytest.approx(one.mean() + 5.0)


def test_the_stretch_for_few_blocks_is_student_s() -> None:
    for freedom in (5.0, 11.0, 40.0):
        assert _student_over_normal(freedom, 0.95) == pytest.approx(student.ppf(0.975, freedom) / 1.95996, rel=2e-3)


def test_one_value_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least two"):
        block_interval(np.array([1.0]))
