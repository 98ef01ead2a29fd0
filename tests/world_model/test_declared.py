"""Declared signs imposed on a linear state: brought about, by the least change, and none where none is missing."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from linear_systems import Innovations
from scipy.optimize import minimize

from procmodel.world_model import declared as declared_module
from procmodel.world_model.answers import LEAST_ANSWER
from procmodel.world_model.declared import impose_signs
from procmodel.world_model.linear import LinearState, fit_linear_state
from procmodel.world_model.products import following

ROWS = 40
Runs = list[tuple[np.ndarray, np.ndarray]]


@pytest.fixture(scope="module")
def runs() -> Runs:
    return Innovations().records(2, 3_000, seed=3, noise=0.5, feedback=0.3)


@pytest.fixture(scope="module")
def linear(runs: Runs) -> LinearState:
    return fit_linear_state(runs, 8, 2)


def ends(linear: LinearState) -> np.ndarray:
    """Answers after so many rows, [U, Y], by powers of A."""
    powers = sum(np.linalg.matrix_power(linear.A, k) for k in range(ROWS))
    return np.asarray(linear.C @ powers @ linear.B).T


def one_row_error(linear: LinearState, runs: Runs) -> float:
    """Mean square of what is missed of the states one row later."""
    now, v_next, ahead = following(linear, runs)
    missed = ahead - now @ linear.A.T - v_next @ linear.B.T - linear.bias
    return float(np.mean(missed**2))


def test_where_all_declared_signs_are_there_nothing_is_changed(linear: LinearState, runs: Runs) -> None:
    declared = np.sign(ends(linear))
    assert np.abs(ends(linear)).min() > LEAST_ANSWER
    assert impose_signs(linear, None, runs, declared, ROWS) is linear
    assert impose_signs(linear, None, runs, np.zeros((2, 2)), ROWS) is linear


@pytest.mark.parametrize("pair", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_missing_sign_is_brought_about_and_no_more(linear: LinearState, runs: Runs, pair: tuple[int, int]) -> None:
    before = ends(linear)
    declared = np.sign(before)
    declared[pair] *= -1.0
    found = impose_signs(linear, None, runs, declared, ROWS)
    after = ends(found)
    assert 0.979 * LEAST_ANSWER <= after[pair] * declared[pair] <= 0.1 * abs(before[pair])
    assert (after * declared >= 0.979 * LEAST_ANSWER).all()
    for name in ("C", "K", "offset", "encoder", "encoder_bias"):
        assert np.array_equal(getattr(found, name), getattr(linear, name))


def test_the_change_is_the_least_in_the_metric_of_the_fit(linear: LinearState) -> None:
    rng = np.random.default_rng(0)
    half = rng.normal(size=(2, 2)), rng.normal(size=(4, 4))
    noise, inverse = (each @ each.T + 0.1 * np.eye(len(each)) for each in half)
    slopes = np.stack([declared_module._slope(linear, u, y, ROWS) for u, y in ((0, 0), (0, 1), (1, 1))])
    short = np.array([0.3, -0.5, 0.2])
    found = declared_module._least_change(slopes, short, noise, inverse)

    def cost(change: np.ndarray) -> float:
        d = change.reshape(2, 4)
        return float(np.sum(np.linalg.inv(noise) @ d @ np.linalg.inv(inverse) * d))

    by_other_means = minimize(
        cost,
        np.zeros(8),
        method="SLSQP",
        constraints={"type": "ineq", "fun": lambda c: np.einsum("snq,nq->s", slopes, c.reshape(2, 4)) - short},
        options={"maxiter": 500, "ftol": 1e-14},
    )
    assert by_other_means.success
    assert cost(found.ravel()) == pytest.approx(by_other_means.fun, rel=1e-4)
    assert (np.einsum("snq,nq->s", slopes, found) >= short - 1e-8).all()


def test_the_slope_of_an_answer_is_its_derivative(linear: LinearState) -> None:
    found = declared_module._slope(linear, 1, 0, ROWS)
    nudge = 1e-6
    for n, q in np.ndindex(found.shape):
        answers = []
        for sign in (1.0, -1.0):
            a, b = linear.A.copy(), linear.B.copy()
            (a if q < 2 else b)[n, q % 2] += sign * nudge
            answers.append(ends(dataclasses.replace(linear, A=a, B=b))[1, 0])
        assert found[n, q] == pytest.approx((answers[0] - answers[1]) / (2 * nudge), rel=1e-4, abs=1e-6)


def test_a_true_sign_that_a_short_record_has_wrong_costs_it_little(runs: Runs) -> None:
    """The record decides little about a small gain, so little is what the declared sign costs it."""
    true = Innovations().steady_gain().T
    pair = np.unravel_index(np.abs(true).argmin(), true.shape)
    declared = np.zeros_like(true)
    declared[pair] = np.sign(true[pair])
    wrong = 0
    for seed in range(40):
        some = Innovations().records(1, 300, seed=seed, noise=3.0, feedback=0.3)
        linear = fit_linear_state(some, 4, 2)
        if ends(linear)[pair] * declared[pair] > 0.0:
            continue
        wrong += 1
        found = impose_signs(linear, None, some, declared, ROWS)
        assert ends(found)[pair] * declared[pair] > 0.0
        assert one_row_error(found, some) < 1.1 * one_row_error(linear, some)
    assert wrong >= 3


class Bent:
    """Products that make a CV's answer to the first input depend on where the second stands."""

    def __init__(self, pull_N: np.ndarray) -> None:
        self.pull_N = pull_N

    def added(self, x_BN: np.ndarray, v_BV: np.ndarray) -> np.ndarray:
        return np.asarray(0.2 * np.sign(v_BV[:, 1:]) * v_BV[:, :1] * self.pull_N)


def test_where_answers_differ_from_point_to_point_nine_in_ten_get_the_sign(linear: LinearState, runs: Runs) -> None:
    declared = np.zeros((2, 2))
    declared[0, 1] = -np.sign(ends(linear)[0, 1])
    bent: Any = Bent(linear.C[1])
    found = impose_signs(linear, bent, runs, declared, ROWS)
    now, v_next, _ = following(linear, runs)
    some = np.random.default_rng(0).integers(0, len(now), 400)
    answers = declared_module._answers(found, bent, now[some], v_next[some], 2, ROWS)[0, 1] * declared[0, 1]
    assert answers.std() > LEAST_ANSWER  # else this would be the case without products
    assert (answers > 0).mean() >= 0.85
