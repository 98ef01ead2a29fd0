"""Gains judged as the published table of the quadruple tank study was."""

import numpy as np
import pytest

from procmodel.metrics.gain import judge_gains

ONE = np.ones(2)
# Quadruple tank, two pumps on four levels: true gains, and those an ARX of order 16 found in closed-loop data.
TRUE = np.array([[2.96, 4.78], [4.84, 3.01], [0.0, 3.16], [2.79, 0.0]])
ARX = np.array([[2.5, 4.0], [4.6, 2.7], [-0.1, 2.5], [3.0, -0.2]])
WRONG = np.array([[-6.8, 8.4], [7.6, -0.6], [-5.4, 4.9], [5.4, -2.3]])


def test_right_signs_and_small_zeros_are_all_right() -> None:
    judged = judge_gains(ARX, TRUE, ONE, np.ones(4))
    assert (judged.pairs, judged.nonzero_pairs, judged.right_pairs) == (8, 6, 8)
    expected = np.mean(np.abs(ARX - TRUE)[TRUE != 0] / TRUE[TRUE != 0])
    assert judged.mean_relative_error == pytest.approx(expected)
    assert np.isnan(judged.relative_error[2, 0])


def test_wrong_signs_and_large_zeros_are_counted() -> None:
    judged = judge_gains(WRONG, TRUE, ONE, np.ones(4))
    np.testing.assert_array_equal(judged.right, [[False, True], [True, False], [False, True], [True, False]])


@pytest.mark.parametrize(
    ("true", "found", "zero", "right"),
    [
        (0.049, -0.09, True, True),  # below 5 % of the largest: zero, and found below 10 %
        (0.049, -0.11, True, False),
        (0.049, 0.11, True, False),
        (0.051, 0.2, False, True),  # above 5 %: the sign decides
        (0.051, -0.01, False, False),
        (0.051, np.nan, False, False),
        (np.nan, 0.3, False, False),
    ],
)
def test_the_border_between_zero_and_not(true: float, found: float, zero: bool, right: bool) -> None:
    judged = judge_gains(np.array([[1.0, found]]), np.array([[1.0, true]]), ONE, np.ones(1))
    assert judged.zero[0, 1] == zero
    assert judged.right[0, 1] == right
    assert judged.pairs == (1 if np.isnan(true) else 2)


def test_spans_decide_what_is_small() -> None:
    true = np.array([[1.0, 0.01]])
    assert judge_gains(true, true, np.array([1.0, 1.0]), ONE[:1]).zero[0, 1]
    assert not judge_gains(true, true, np.array([1.0, 100.0]), ONE[:1]).zero[0, 1]


def test_a_cv_that_no_mv_moves_is_right_only_if_none_was_found() -> None:
    assert judge_gains(np.zeros((1, 2)), np.zeros((1, 2)), ONE, ONE[:1]).right.all()
    assert not judge_gains(np.full((1, 2), 0.1), np.zeros((1, 2)), ONE, ONE[:1]).right.any()


def test_a_level_that_its_own_loop_keeps_has_no_gain_even_if_rounding_left_one() -> None:
    judged = judge_gains(np.array([[-0.04, 0.01]]), np.array([[-5e-6, -1e-6]]), ONE, ONE[:1])
    assert judged.zero.all()
    assert judged.right.all()
