"""Many quadratic programs at once: the answers of an active-set solver, one program at a time."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from procmodel.control.batched_qp import Programs, Steps, solve_programs
from procmodel.control.limits import SLACK_CURVATURE
from procmodel.control.qp import QuadraticProgram, QuadraticSolver

BLOCKS, MVS, LIMITS = 5, 2, 4
CHANGES = BLOCKS * MVS
SEGMENT_N = np.array([0, 1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4])
PRICE_Q = 1e3 * np.array([1.0, 1.0, 2.0, 3.0, 5.0])
LEVELS = np.kron(np.tril(np.ones((BLOCKS, BLOCKS))), np.eye(MVS))


def random_programs(seeds: list[int], hardness: float, *, pinned: int | None = None) -> Programs:
    """One per seed, of all sizes of cost; the harder, the more limits cannot hold. Some MVs start at a limit."""
    found: dict[str, list[np.ndarray]] = {}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        root = rng.normal(size=(30, CHANGES)) * 10 ** rng.uniform(-2, 0)
        low, high = np.full(2 * CHANGES, -0.3), np.full(2 * CHANGES, 0.2)
        low[CHANGES:] *= rng.random(CHANGES) < 0.9
        if pinned is not None:
            low[pinned], high[pinned] = 0.0, 0.0
        each = {
            "hessian_BPP": root.T @ root / 30 + 1e-4 * np.eye(CHANGES),
            "gradient_BP": rng.normal(size=CHANGES) * 10 ** rng.uniform(-2, 0),
            "low_BA": low,
            "high_BA": high,
            "soft_BRNP": rng.normal(size=(LIMITS, len(SEGMENT_N), CHANGES)) * 0.5,
            "excess_BRN": rng.normal(size=(LIMITS, len(SEGMENT_N))) * 0.3 - 0.6 + hardness,
        }
        for name, array in each.items():
            found.setdefault(name, []).append(array)
    return Programs(
        rows_AP=torch.from_numpy(np.concatenate([np.eye(CHANGES), LEVELS])),
        segment_N=torch.from_numpy(SEGMENT_N),
        price_Q=torch.from_numpy(PRICE_Q),
        curvature=SLACK_CURVATURE,
        **{name: torch.from_numpy(np.array(arrays)) for name, arrays in found.items()},
    )


def alone(programs: Programs, b: int) -> QuadraticProgram:
    """One of them as `qp.py` knows it."""
    slack_B = (np.arange(LIMITS)[:, None] * len(PRICE_Q) + SEGMENT_N).ravel()
    low, high = programs.low_BA[b].numpy(), programs.high_BA[b].numpy()
    return QuadraticProgram(
        hessian_PP=programs.hessian_BPP[b].numpy(),
        gradient_P=programs.gradient_BP[b].numpy(),
        least_P=low[:CHANGES],
        most_P=high[:CHANGES],
        levels_AP=LEVELS,
        level_low_A=low[CHANGES:],
        level_high_A=high[CHANGES:],
        soft_BP=programs.soft_BRNP[b].numpy().reshape(-1, CHANGES),
        excess_B=programs.excess_BRN[b].numpy().ravel(),
        slack_B=slack_B,
        price_Q=np.tile(PRICE_Q, LIMITS),
        slack_most_Q=np.full(LIMITS * len(PRICE_Q), math.inf),
    )


def objective(program: QuadraticProgram, p: np.ndarray) -> float:
    """Value with the slacks that p needs."""
    slack = np.zeros(len(program.price_Q))
    np.maximum.at(slack, program.slack_B, program.excess_B + program.soft_BP @ p)
    cost = 0.5 * p @ program.hessian_PP @ p + program.gradient_P @ p
    return float(cost + program.price_Q @ (slack + 0.5 * SLACK_CURVATURE * slack**2))


def check(programs: Programs, steps: Steps) -> None:
    """Each is solved, inside its hard rows, and as good as the active-set solver's."""
    assert steps.solved_B.all()
    p_BP = steps.change_BP.numpy()
    rows_BA = p_BP @ programs.rows_AP.numpy().T
    assert (rows_BA >= programs.low_BA.numpy() - 1e-8).all()
    assert (rows_BA <= programs.high_BA.numpy() + 1e-8).all()
    for b in range(len(p_BP)):
        program = alone(programs, b)
        known = QuadraticSolver().solve(program)
        assert known is not None
        assert objective(program, p_BP[b]) == pytest.approx(objective(program, known.change_P), rel=1e-7, abs=1e-7)


@pytest.mark.parametrize("hardness", [-0.6, 0.0, 0.3, 0.8])
def test_each_answer_is_that_of_an_active_set_solver(hardness: float) -> None:
    programs = random_programs(list(range(20)), hardness)
    check(programs, solve_programs(programs))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), hardness=st.floats(-1, 1))
def test_no_program_is_too_hard(seed: int, hardness: float) -> None:
    programs = random_programs([seed, seed + 1], hardness)
    check(programs, solve_programs(programs))


def test_a_change_without_room_stays_where_it_is() -> None:
    programs = random_programs(list(range(8)), 0.2, pinned=3)
    steps = solve_programs(programs)
    check(programs, steps)
    assert (steps.change_BP[:, 3] == 0.0).all()
    assert (steps.change_BP[:, 2].abs() > 1e-3).any()


def test_prices_and_gradient_balance_where_changes_are_free() -> None:
    programs = random_programs(list(range(6)), 0.2)
    wide = torch.full_like(programs.low_BA, 9.0)
    programs = replace(programs, low_BA=-wide, high_BA=wide)
    steps = solve_programs(programs)
    assert (steps.price_BRN > 1.0).any()
    rest = torch.einsum("bpq,bq->bp", programs.hessian_BPP, steps.change_BP) + programs.gradient_BP
    rest = rest + torch.einsum("brn,brnp->bp", steps.price_BRN, programs.soft_BRNP)
    torch.testing.assert_close(rest, torch.zeros_like(rest), atol=1e-4, rtol=0.0)


def test_no_program_feels_its_neighbours() -> None:
    programs = random_programs(list(range(32)), 0.1)
    together = solve_programs(programs)
    for b in (0, 7, 31):
        by_itself = solve_programs(programs.take(torch.tensor([b])))
        torch.testing.assert_close(by_itself.change_BP[0], together.change_BP[b], atol=1e-9, rtol=0.0)
        assert int(by_itself.iterations_B[0]) == int(together.iterations_B[b])


def test_numbers_that_are_not_finite_have_no_solution_and_harm_no_other() -> None:
    programs = random_programs([0, 1, 2], 0.0)
    programs.gradient_BP[1, 0] = math.nan
    steps = solve_programs(programs)
    assert steps.solved_B.tolist() == [True, False, True]
    check(programs.take(torch.tensor([0, 2])), solve_programs(programs.take(torch.tensor([0, 2]))))
    torch.testing.assert_close(steps.change_BP[2], solve_programs(random_programs([2], 0.0)).change_BP[0])
