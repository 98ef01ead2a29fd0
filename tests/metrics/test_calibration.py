"""The allowance keeps its promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procmodel.metrics.calibration import conformal_quantile, coverage


@pytest.mark.parametrize(
    ("count", "confidence", "rank"),
    [(9, 0.9, 9), (10, 0.9, 10), (19, 0.9, 18), (19, 0.95, 19), (99, 0.9, 90), (99, 0.55, 55)],
)
def test_the_quantile_is_the_score_of_rank_n_plus_one_times_confidence(
    count: int, confidence: float, rank: int
) -> None:
    scores = np.random.default_rng(0).permutation(np.arange(1.0, count + 1))
    assert conformal_quantile(scores, confidence) == rank


@pytest.mark.parametrize(("count", "confidence"), [(0, 0.9), (8, 0.9), (18, 0.95)])
def test_too_few_cases_promise_nothing(count: int, confidence: float) -> None:
    assert conformal_quantile(np.arange(count, dtype=float), confidence) == math.inf


def test_gaps_are_not_scores() -> None:
    scores = np.array([np.nan, *range(1, 10), np.nan], dtype=float)
    assert conformal_quantile(scores, 0.9) == 9


@pytest.mark.parametrize("count", [12, 39, 40])
def test_coverage_of_new_cases_is_what_the_theory_says(count: int) -> None:
    # For continuous scores the coverage is exactly ceil((n + 1) c) / (n + 1) in the mean.
    rng = np.random.default_rng(count)
    confidence, trials = 0.9, 20_000
    scores = rng.standard_exponential((trials, count + 1))
    hits = [new <= conformal_quantile(old, confidence) for *old_, new in scores for old in [np.array(old_)]]
    exact = math.ceil((count + 1) * confidence - 1e-9) / (count + 1)
    assert np.mean(hits) == pytest.approx(exact, abs=0.008)
    assert exact >= confidence


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.floats(0.51, 0.99))
def test_at_least_the_promised_share_of_the_scores_lies_below(scores: list[float], confidence: float) -> None:
    quantile = conformal_quantile(np.array(scores), confidence)
    assert np.mean(np.array(scores) <= quantile) >= confidence - 1e-9


def test_coverage_counts_both_sides_and_leaves_gaps_out() -> None:
    truth = np.array([0.0, 1.0, 2.0, np.nan, 4.0])
    low = np.array([-1.0, 1.5, 2.0, 0.0, np.nan])
    assert coverage(truth, low) == pytest.approx(2 / 3)
    assert coverage(truth, low, high_N=np.array([-0.5, 2, 3, 4, 5.0])) == pytest.approx(1 / 3)
    assert math.isnan(coverage(np.array([np.nan]), np.zeros(1)))
