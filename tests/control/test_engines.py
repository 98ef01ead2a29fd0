"""Solvers of quadratic programs against answers in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from procmodel.control.engines import Conic, Engine, Standard, engine, is_there
from procmodel.control.qp import SOLVERS


@pytest.fixture(params=SOLVERS)
def solver(request: pytest.FixtureRequest) -> Engine:
    if not is_there(request.param):
        pytest.skip(f"this machine has no {request.param}")
    return engine(request.param)


def program(low: float, high: float, wish: tuple[float, float] = (1.0, 2.0)) -> Standard:
    """The point nearest to `wish` with low <= x0 + x1 <= high, in a wide box."""
    return Standard(
        h=np.eye(2),
        g=-np.array(wish),
        a=np.ones((1, 2)),
        lbx=np.full(2, -50.0),
        ubx=np.full(2, 50.0),
        lba=np.array([low]),
        uba=np.array([high]),
    )


@pytest.mark.parametrize(
    ("low", "high", "x", "price"),
    [(-np.inf, 9.0, (1.0, 2.0), 0.0), (-np.inf, 1.0, (0.0, 1.0), 1.0), (5.0, np.inf, (2.0, 3.0), -1.0)],
    ids=["free", "at its upper bound", "at its lower bound"],
)
def test_the_projection_on_a_strip(
    solver: Engine, low: float, high: float, x: tuple[float, float], price: float
) -> None:
    found = solver.solve(program(low, high))
    assert found is not None
    np.testing.assert_allclose(found[0], x, atol=1e-6)
    np.testing.assert_allclose(found[1], [price], atol=1e-6)


def test_a_program_without_rows(solver: Engine) -> None:
    one = program(0.0, 0.0)
    none = Standard(
        h=one.h,
        g=one.g,
        a=np.zeros((0, 2)),
        lbx=np.zeros(2),
        ubx=np.array([0.5, 9.0]),
        lba=np.zeros(0),
        uba=np.zeros(0),
    )
    found = solver.solve(none)
    assert found is not None
    np.testing.assert_allclose(found[0], [0.5, 2.0], atol=1e-6)
    assert found[1].shape == (0,)


def test_bounds_that_contradict_each_other_have_no_answer(solver: Engine) -> None:
    found = solver.solve(program(200.0, 300.0))
    assert found is None


def test_a_built_solver_that_failed_is_thrown_away() -> None:
    conic = Conic("qpoases")
    assert conic.solve(program(-1.0, 1.0)) is not None
    assert len(conic._built) == 1
    assert conic.solve(program(200.0, 300.0)) is None
    assert not conic._built
