"""Conformal allowance: its sizes, its quantile and its coverage, against known answers."""

from __future__ import annotations

import numpy as np
import pytest

from procmodel.constraints.calibration import allowances, least_labels, require_labels, upper_quantile
from procmodel.errors import LabelError


@pytest.mark.parametrize(("confidence", "least"), [(0.9, 9), (0.95, 19), (0.99, 99), (0.8, 4), (0.75, 3), (0.67, 3)])
def test_a_confidence_needs_one_over_alpha_labels_less_one(confidence: float, least: int) -> None:
    assert least_labels(confidence) == least
    require_labels(least, confidence, constraint="foaming")
    with pytest.raises(LabelError, match=f"'foaming'.*at least {least} labelled samples.*got {least - 1}"):
        require_labels(least - 1, confidence, constraint="foaming")


@pytest.mark.parametrize(("confidence", "least"), [(0.9, 9), (0.95, 19), (0.99, 99)])
def test_allowances_are_refused_where_one_step_has_too_few_labels(confidence: float, least: int) -> None:
    excess_NH = np.linspace(-1, 1, least)[:, None] * np.ones((1, 3))
    assert allowances(excess_NH, confidence, constraint="c").tolist() == [1.0, 1.0, 1.0]  # the largest of all
    excess_NH[0, 2] = np.nan
    with pytest.raises(LabelError, match="with 3 rows of history before them"):
        allowances(excess_NH, confidence, constraint="c")


def test_the_refusal_says_what_confidence_the_labels_do_carry() -> None:
    with pytest.raises(LabelError, match=r"Label 9 more.*\(10 labels carry 90 %\)"):
        require_labels(10, 0.95, constraint="c")


@pytest.mark.parametrize(("count", "rank"), [(9, 9), (10, 10), (19, 18), (20, 19), (40, 37), (99, 90)])
def test_the_quantile_is_the_rank_of_the_finite_sample(count: int, rank: int) -> None:
    assert upper_quantile(np.random.default_rng(0).permutation(count) + 1.0, 0.9) == rank


def test_a_fresh_exchangeable_residual_stays_below_the_quantile_as_often_as_promised() -> None:
    rng = np.random.default_rng(3)
    draws, count = 20_000, 12
    residuals = rng.standard_cauchy(size=(draws, count + 1))
    limit = np.array([upper_quantile(row[:-1], 0.8) for row in residuals])
    # ceil(0.8 * 13) = 11, and 11 / 13 = 0.846 exactly, whatever the distribution.
    assert np.mean(residuals[:, -1] <= limit) == pytest.approx(11 / 13, abs=0.008)


def test_the_allowance_never_falls_and_never_gets_negative() -> None:
    columns = [-3.0, 1.0, 4.0, 2.0, 5.0]
    excess_NH = np.tile(columns, (20, 1))
    assert allowances(excess_NH, 0.9, constraint="c").tolist() == [0.0, 1.0, 4.0, 4.0, 5.0]
