"""Peers are given our problem, number for number, and their answers are kept with what they answer to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import casadi as ca
import numpy as np
import pytest

from experiments import latency_peers
from experiments.do_mpc_peer import numbers
from experiments.latency_peers import PEERS, Tick, fingerprint, kept_or_made, ticks_kept
from experiments.latency_sizes import SMALL, Rig, rig
from experiments.latency_steps import imported
from experiments.latency_verdicts import Run
from procmodel.control.export import step_function
from procmodel.control.limits import WEIGHT
from procmodel.control.oracle import Oracle
from procmodel.control.problem import Problem


@pytest.fixture(scope="module")
def made() -> Rig:
    return rig(SMALL)


@pytest.fixture(scope="module")
def tick(made: Rig) -> Tick:
    return ticks_kept(made, (7,))[0]


@pytest.fixture(scope="module")
def problem(made: Rig, tick: Tick) -> Problem:
    return made.make().problem(tick.rows_RC, setpoints=tick.setpoints)


def test_what_onnx_brings_back_is_the_step_with_its_derivatives(made: Rig, tmp_path: Path) -> None:
    step, own = imported(made, tmp_path / "step.onnx"), step_function(made.model)
    rng = np.random.default_rng(0)
    given = [rng.normal(size=size) for size in (made.model.latent_size, SMALL.mvs, SMALL.dvs)]
    np.testing.assert_allclose(np.array(step(*given)), np.array(own(*given)), rtol=1e-12)
    z, u, d = (ca.MX.sym(name, len(value)) for name, value in zip("zud", given, strict=True))
    slopes = [ca.Function("slope", [z, u, d], [ca.jacobian(f(z, u, d), z)])(*given) for f in (step, own)]
    np.testing.assert_allclose(np.array(slopes[0]), np.array(slopes[1]), rtol=1e-9, atol=1e-12)


def test_do_mpc_is_told_the_same_program(problem: Problem) -> None:
    """Row after row by its words, with numpy: the moves, the cost and the penalties are ours."""
    now = problem.now
    problem = replace(problem, now=replace(now, bias_NY=now.bias_NY + 0.5))  # beyond some limits
    told = {name: np.array(value) for name, value in numbers(problem).items()}
    hz, rng = problem.forecaster.horizon, np.random.default_rng(3)
    changes_MU = rng.uniform(problem.bounds.down_MU, problem.bounds.up_MU) / problem.cost.span_U * 0.5
    moves_NU, trial = problem.rows(changes_MU), problem.evaluate(changes_MU[None])
    u, e, block, moved = told["start_u"], np.zeros(SMALL.mvs), -1, 0.0
    for n in range(hz.steps):
        block += int(told["begins"][n])
        e = told["begins"][n] * changes_MU[block] / told["moves"][block] + told["holds"][n] * e
        u = u + told["span_u"] * e
        moved += float(told["move_weight"] * (e**2).sum())
        np.testing.assert_allclose(u, moves_NU[n], atol=1e-12)
    y_NY = trial.forecast.y_KNY[0]
    cost = moved + float((told["weight"] * (y_NY[:, told["targets"]] - told["setpoint"]) ** 2).sum())
    assert cost == pytest.approx(float(trial.cost_K[0]), rel=1e-9)
    excess_NR = told["limit_slope"] * y_NY[:, told["limit_column"]] + told["limit_at"]
    np.testing.assert_allclose(excess_NR, trial.excess_KNR[0], atol=1e-9)
    assert excess_NR.max() > 0.0  # or its penalty would not be seen
    starts = np.flatnonzero(told["segment_begins"])
    slack_QR = np.maximum(np.maximum.reduceat(excess_NR, starts), 0.0)
    penalty = float((told["segment_weight"][starts, None] * (slack_QR + 0.5 * slack_QR**2)).sum())
    assert penalty == pytest.approx(WEIGHT * float(trial.score.penalty_I.sum()), rel=1e-9)


def test_do_mpc_is_told_nothing_that_it_would_leave_out(problem: Problem) -> None:
    resting = replace(problem, cost=replace(problem.cost, rest_U=np.zeros(SMALL.mvs)))
    with pytest.raises(ValueError, match="nothing else"):
        numbers(resting)


def test_the_oracle_shows_each_iterate_up_to_its_answer(problem: Problem) -> None:
    seen: list[np.ndarray] = []
    answer = Oracle(problem, watch=seen.append).solve(problem)
    assert len(seen) == answer.iterations + 1
    np.testing.assert_allclose(seen[-1], answer.changes_MU, atol=1e-12)
    assert not np.allclose(seen[0], seen[-1])


def test_an_answer_is_kept_with_its_problem(
    made: Rig, tick: Tick, problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    solved = []

    def counted(*asked: object) -> Run:
        solved.append(asked)
        return Run(
            trace=[[0.1, 0.5]], seconds=0.2, excess=0.0, success=True, ran_out_of_time=False, iterations=3,
            build_seconds=0.1,
        )  # fmt: skip

    monkeypatch.setattr(latency_peers, "in_a_process", counted)
    first = kept_or_made(made, tick, PEERS[0], tmp_path, 5.0)
    assert kept_or_made(made, tick, PEERS[0], tmp_path, 5.0) == first
    assert len(solved) == 1
    other = replace(tick, setpoints=dict.fromkeys(tick.setpoints, 0.1))
    kept_or_made(made, other, PEERS[0], tmp_path, 5.0)
    kept_or_made(made, tick, PEERS[0], tmp_path, 9.0)
    assert len(solved) == 3
    assert fingerprint(problem, tick) != fingerprint(made.make().problem(tick.rows_RC, setpoints=other.setpoints), tick)


def test_every_peer_is_run_on_the_large_size_or_left_out_by_name() -> None:
    from experiments.advice_latency import NOT_RUN

    small_only = [peer.name for peer in PEERS if peer.sizes == (SMALL.name,)]
    assert small_only == ["IPOPT, SX, single shooting", "fatrop, MX, single shooting"]
    assert {"the whole program in SX, large and gated", "fatrop, large and gated"} <= set(NOT_RUN)
