"""Solvers of quadratic programs: each finds a known optimum, and a wrong answer is told from a right one."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.quadratic_programs import OPTIONS, Conic, _direct, _judged
from procmodel.control.engines import Standard

# minimise (x - 3)^2 + (y - 1)^2 with x <= 2 and x + y <= 2.5: at (2, 0.5), 1.25 above the free optimum.
PROGRAM = Standard(
    h=2.0 * np.eye(2),
    g=np.array([-6.0, -2.0]),
    a=np.array([[1.0, 1.0]]),
    lbx=np.array([-5.0, -5.0]),
    ubx=np.array([2.0, 5.0]),
    lba=np.array([-np.inf]),
    uba=np.array([2.5]),
)
BEST = np.array([2.0, 0.5])


@pytest.mark.parametrize("hot", [False, True])
@pytest.mark.parametrize("name", OPTIONS)
def test_each_solver_finds_the_optimum_again_and_again(name: str, hot: bool) -> None:
    solve = Conic(name, hot=hot)
    for _ in range(3):
        np.testing.assert_allclose(solve(PROGRAM), BEST, atol=1e-6)
    np.testing.assert_allclose(_direct(PROGRAM), BEST, atol=1e-6)


@pytest.mark.parametrize(
    ("answer", "judged"),
    [(BEST, "right"), (np.array([2.0, 0.4]), "wrong"), (np.array([2.0, 0.6]), "wrong"), (None, "failed")],
    ids=["best", "dearer", "outside", "none"],
)
def test_answers_are_judged_by_bounds_and_cost(answer: np.ndarray | None, judged: str) -> None:
    assert _judged([BEST, answer], answer, PROGRAM) == judged
