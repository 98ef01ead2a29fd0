"""The quadratic program: one answer from every solver, and limits given up lowest rank first."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import casadi as ca
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procmodel.control import engines
from procmodel.control.limits import SLACK_CURVATURE
from procmodel.control.qp import SOLVERS, QuadraticProgram, QuadraticSolver, in_use
from procmodel.control.ranks import solve_by_rank

BLOCKS, MVS, ROWS = 4, 2, 40
CHANGES = BLOCKS * MVS


def random_program(seed: int, hardness: float) -> QuadraticProgram:
    """Ten soft limits of four rows each; the harder, the more of them cannot hold."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(30, CHANGES))
    return QuadraticProgram(
        hessian_PP=root.T @ root / 30 + 0.05 * np.eye(CHANGES),
        gradient_P=rng.normal(size=CHANGES),
        least_P=np.full(CHANGES, -0.3),
        most_P=np.full(CHANGES, 0.2),
        levels_AP=np.kron(np.tril(np.ones((BLOCKS, BLOCKS))), np.eye(MVS)),
        level_low_A=np.full(CHANGES, -0.5),
        level_high_A=np.full(CHANGES, 0.4),
        soft_BP=rng.normal(size=(ROWS, CHANGES)) * 0.5,
        excess_B=rng.normal(size=ROWS) * 0.3 - 0.4 + hardness,
        slack_B=np.repeat(np.arange(10), 4),
        price_Q=np.full(10, 1e3),
        slack_most_Q=np.full(10, math.inf),
    )


def objective(program: QuadraticProgram, p: np.ndarray) -> float:
    """Value with the slacks that p needs."""
    slack = np.zeros(len(program.price_Q))
    np.maximum.at(slack, program.slack_B, program.excess_B + program.soft_BP @ p)
    cost = 0.5 * p @ program.hessian_PP @ p + program.gradient_P @ p
    return float(cost + program.price_Q @ (slack + 0.5 * SLACK_CURVATURE * slack**2))


def by_ipopt(program: QuadraticProgram) -> float:
    """The same program by an interior-point method that shares no code with the solvers."""
    p, s = ca.SX.sym("p", CHANGES), ca.SX.sym("s", len(program.price_Q))
    cost = 0.5 * ca.bilin(ca.DM(program.hessian_PP), p, p) + ca.dot(ca.DM(program.gradient_P), p)
    cost += ca.dot(ca.DM(program.price_Q), s + 0.5 * SLACK_CURVATURE * s**2)
    rows = ca.vertcat(
        ca.DM(program.levels_AP) @ p, ca.DM(program.excess_B) + ca.DM(program.soft_BP) @ p - s[program.slack_B.tolist()]
    )
    options: dict[str, Any] = {
        "print_time": False,
        "ipopt": {"print_level": 0, "sb": "yes", "tol": 1e-10, "bound_relax_factor": 0.0},
    }
    solver = ca.nlpsol("s", "ipopt", {"x": ca.vertcat(p, s), "f": cost, "g": rows}, options)
    answer = solver(
        x0=0,
        lbx=np.concatenate([program.least_P, np.zeros(10)]),
        ubx=np.concatenate([program.most_P, np.full(10, np.inf)]),
        lbg=np.concatenate([program.level_low_A, np.full(len(program.excess_B), -np.inf)]),
        ubg=np.concatenate([program.level_high_A, np.zeros(len(program.excess_B))]),
    )
    return float(answer["f"])


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("hardness", [-0.5, 0.0, 0.5])
def test_every_solver_finds_what_ipopt_finds(name: str, hardness: float) -> None:
    solver = QuadraticSolver((name,))
    for seed in range(3):
        program = random_program(seed, hardness)
        step = solver.solve(program)
        assert step is not None
        assert step.solver == name
        assert objective(program, step.change_P) == pytest.approx(by_ipopt(program), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", SOLVERS)
def test_prices_of_limits_satisfy_the_first_order_conditions(name: str) -> None:
    """Gradient plus prices is zero wherever a change is inside its bounds."""
    program = replace(
        random_program(1, 0.0), least_P=np.full(CHANGES, -9.0), most_P=np.full(CHANGES, 9.0),
        level_low_A=np.full(CHANGES, -99.0), level_high_A=np.full(CHANGES, 99.0),
    )  # fmt: skip
    step = QuadraticSolver((name,)).solve(program)
    assert step is not None
    assert (step.price_B > 1e-3).any()
    rest = program.hessian_PP @ step.change_P + program.gradient_P + step.price_B @ program.soft_BP
    np.testing.assert_allclose(rest, 0.0, atol=1e-4)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), hardness=st.floats(-1, 1))
def test_the_answer_never_leaves_the_hard_bounds(seed: int, hardness: float) -> None:
    program = random_program(seed, hardness)
    step = solve_by_rank(QuadraticSolver(), program, np.arange(10) % 3 + 1)
    assert step is not None
    assert (step.change_P >= program.least_P).all()
    assert (step.change_P <= program.most_P).all()
    level = program.levels_AP @ step.change_P
    assert (level >= program.level_low_A - 1e-6).all()
    assert (level <= program.level_high_A + 1e-6).all()


def test_a_program_without_limits_in_reach_is_solved() -> None:
    program = random_program(0, 0.0)
    none = replace(
        program, soft_BP=np.zeros((0, CHANGES)), excess_B=np.zeros(0), slack_B=np.zeros(0, dtype=int),
        price_Q=np.zeros(0), slack_most_Q=np.zeros(0),
    )  # fmt: skip
    step = solve_by_rank(QuadraticSolver(), none, np.zeros(0, dtype=int))
    assert step is not None
    assert step.slack_Q.size == 0


def conflict(ranks: tuple[int, ...], wants: tuple[float, ...]) -> tuple[QuadraticProgram, np.ndarray]:
    """One change p; limit i wants p = wants[i] and exceeds by the distance to it."""
    sides = np.repeat([[1.0], [-1.0]], len(wants), axis=1).T.ravel()
    program = QuadraticProgram(
        hessian_PP=np.eye(1),
        gradient_P=np.zeros(1),
        least_P=np.full(1, -10.0),
        most_P=np.full(1, 10.0),
        levels_AP=np.zeros((0, 1)),
        level_low_A=np.zeros(0),
        level_high_A=np.zeros(0),
        soft_BP=sides[:, None],
        excess_B=-sides * np.repeat(wants, 2),
        slack_B=np.repeat(np.arange(len(wants)), 2),
        price_Q=np.full(len(wants), 1e3),
        slack_most_Q=np.full(len(wants), math.inf),
    )
    return program, np.array(ranks)


@pytest.mark.parametrize(
    ("ranks", "wants", "kept"),
    [
        ((1, 2), (1.0, -1.0), 1.0),
        ((2, 1), (1.0, -1.0), -1.0),
        ((1, 2, 2, 2, 2), (1.0, -1.0, -1.0, -1.0, -1.0), 1.0),  # four of a lower rank do not outvote one
        ((9, 5, 7), (4.0, -2.0, 3.0), -2.0),
        (tuple(range(1, 10)), tuple(float(9 - i) for i in range(9)), 9.0),  # nine ranks need no eighteen decades
    ],
)
def test_the_lower_rank_gives_way(ranks: tuple[int, ...], wants: tuple[float, ...], kept: float) -> None:
    program, rank_Q = conflict(ranks, wants)
    step = solve_by_rank(QuadraticSolver(), program, rank_Q)
    assert step is not None
    assert step.change_P[0] == pytest.approx(kept, abs=1e-4)
    np.testing.assert_allclose(step.slack_Q, np.abs(np.array(wants) - kept), atol=1e-4)


def test_what_a_higher_rank_leaves_open_the_next_one_decides() -> None:
    """Rank 1 wants p <= 2, rank 2 wants 5, rank 3 wants -5, the cost wants 0: rank 2 gets all that rank 1 allows."""
    program, _ = conflict((1, 2, 3), (2.0, 5.0, -5.0))
    one_sided = replace(program, excess_B=np.where(np.arange(6) == 1, -1e3, program.excess_B))
    step = solve_by_rank(QuadraticSolver(), one_sided, np.array([1, 2, 3]))
    assert step is not None
    assert step.change_P[0] == pytest.approx(2.0, abs=1e-4)


def test_limits_of_equal_rank_share_the_excess() -> None:
    program, rank_Q = conflict((2, 2), (1.0, -1.0))
    step = solve_by_rank(QuadraticSolver(), program, rank_Q)
    assert step is not None
    np.testing.assert_allclose(step.slack_Q, [1.0, 1.0], atol=1e-3)


def test_numbers_that_are_not_finite_have_no_solution() -> None:
    program = random_program(0, 0.0)
    assert QuadraticSolver().solve(replace(program, gradient_P=np.full(CHANGES, np.nan))) is None


def test_a_solver_that_fails_hands_over_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    solver = QuadraticSolver()
    assert (step := solver.solve(random_program(0, 0.0))) is not None
    assert step.solver == SOLVERS[0]
    monkeypatch.setattr(engines.Piqp, "solve", lambda self, program: None)
    assert (step := solver.solve(random_program(0, 0.0))) is not None
    assert step.solver == SOLVERS[1]


def test_an_answer_outside_the_bounds_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = engines.Piqp.solve

    def beyond(self: engines.Piqp, program: engines.Standard) -> tuple[np.ndarray, np.ndarray] | None:
        found = answered(self, program)
        return None if found is None else (found[0] + 1.0, found[1])

    monkeypatch.setattr(engines.Piqp, "solve", beyond)
    assert (step := QuadraticSolver().solve(random_program(0, 0.0))) is not None
    assert step.solver == SOLVERS[1]


@pytest.mark.parametrize("name", SOLVERS)
def test_a_change_that_may_not_be_made_is_exactly_none(name: str) -> None:
    """An MV that is out of service leaves the solver no room at all."""
    free = random_program(3, 0.0)
    least_P, most_P = (np.where(np.arange(CHANGES) % MVS == 0, 0.0, each) for each in (free.least_P, free.most_P))
    step = QuadraticSolver((name,)).solve(replace(free, least_P=least_P, most_P=most_P))
    assert step is not None
    assert (step.change_P[::MVS] == 0.0).all()
    assert (step.change_P[1::MVS] != 0.0).any()


def test_nothing_is_written_to_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    for name in SOLVERS:
        assert QuadraticSolver((name,)).solve(random_program(0, 0.5)) is not None
    assert capfd.readouterr().out == ""


def many_rows(seed: int, hardness: float) -> QuadraticProgram:
    """Two hundred soft rows, more than are handed over at once."""
    program, rng = random_program(seed, hardness), np.random.default_rng(seed + 1000)
    return replace(
        program,
        soft_BP=rng.normal(size=(200, CHANGES)) * 0.5,
        excess_B=rng.normal(size=200) * 0.3 - 0.8 + hardness,
        slack_B=np.repeat(np.arange(10), 20),
    )


@pytest.mark.parametrize("hardness", [-0.5, 0.0, 0.5])
@pytest.mark.parametrize("hint", ["none", "right", "wrong"])
def test_rows_that_join_when_broken_give_the_whole_programs_answer(hardness: float, hint: str) -> None:
    for seed in range(4):
        program = many_rows(seed, hardness)
        whole = QuadraticSolver()._solved(program)
        assert whole is not None
        decisive_B = whole.price_B > 1e-6
        likely_B = {"none": None, "right": decisive_B, "wrong": ~decisive_B & (np.arange(200) % 7 == 0)}[hint]
        step = QuadraticSolver().solve(replace(program, likely_B=likely_B))
        assert step is not None
        np.testing.assert_allclose(step.change_P, whole.change_P, atol=1e-6)
        np.testing.assert_allclose(step.slack_Q, whole.slack_Q, atol=1e-6)
        np.testing.assert_allclose(step.price_B, whole.price_B, atol=1e-3)
        assert objective(program, step.change_P) == pytest.approx(by_ipopt(program), rel=1e-5, abs=1e-5)


def test_numbers_in_use_are_those_that_sorting_finds() -> None:
    rng = np.random.default_rng(5)
    for count in (1, 7, 40):
        values = rng.integers(0, count, size=rng.integers(0, 30))
        used, at = in_use(values, count)
        expected, expected_at = np.unique(values, return_inverse=True)
        np.testing.assert_array_equal(used, expected)
        np.testing.assert_array_equal(at, expected_at)
