"""The oracle against answers known by other means: the simulator, linear algebra, a published optimum, brute force."""

from __future__ import annotations

import math
from typing import Any

import casadi as ca
import numpy as np
import pytest

import procmodel.evaluation.oracle as oracle_module
from procmodel.evaluation.elements import element_of, row_function
from procmodel.evaluation.limits import soft_limits
from procmodel.evaluation.oracle import Oracle
from procmodel.plant import Plant
from procmodel.simulation import (
    REFERENCE_PLANTS,
    Disturbances,
    ReferencePlant,
    Simulator,
    reference_plant,
    steady_state,
)

ROWS = 12


def linear_plant(limits: dict[str, Any] | None = None) -> ReferencePlant:
    """Two coupled tanks with outputs linear in everything; every row of the horizon is a block of its own."""
    plant = Plant.model_validate(
        {
            "name": "linear",
            "sample_time": "10 s",
            "tags": {
                "U1": {"role": "MV", "unit": "1", "limits": [-50, 50], "range": [0, 10]},
                "U2": {"role": "MV", "unit": "1", "limits": [-50, 50], "range": [0, 5]},
                "Y1": {"role": "CV", "unit": "1", "range": [0, 4], "setpoint": 1, "limits": limits or {}},
                "Y2": {"role": "CV", "unit": "1", "range": [0, 8], "weight": 2},
            },
            "advice": {"horizon": f"{ROWS * 10} s", "blocks": ROWS, "move_weight": 0.3},
        }
    )

    def equations(x: Any, u: Any, d: Any, w: Any, *, sqrt: Any = math.sqrt) -> list[Any]:
        return [-0.05 * x[0] + 0.04 * u[0] + 0.01 * u[1] + w[0], 0.03 * x[0] - 0.02 * x[1] + 0.05 * u[1]]

    def outputs(x: Any, u: Any, d: Any, w: Any, *, sqrt: Any = math.sqrt) -> list[Any]:
        return [x[0], x[1] + 0.1 * u[0]]

    return ReferencePlant(
        name="linear",
        plant=plant,
        citation="this test",
        states=("x1", "x2"),
        unmeasured=("w",),
        x0=np.zeros(2),
        u0=np.zeros(2),
        d0=np.zeros(0),
        w0=np.zeros(1),
        equations=equations,
        outputs=outputs,
        margins={},
        noise=np.zeros(4),
        lab_error={},
        substeps=2,
        operator=lambda seed: None,  # type: ignore[arg-type,return-value]
        disturbances=lambda rows, seed: Disturbances(d=np.zeros((rows, 0)), w=np.zeros((rows, 1))),
        setpoints=lambda rows, seed: np.tile([1.0, 3.0], (rows, 1)),
    )


def simulated(reference: ReferencePlant, x: Any, u_NU: np.ndarray, d: Any, w: Any) -> tuple[np.ndarray, np.ndarray]:
    """True CVs [N, Y] and margins [N, G] under planned moves."""
    simulator = Simulator(reference, seed=0, noise=False, x0=x)
    readings = [simulator.tick(u, d, w) for u in u_NU]
    return np.array([r.y for r in readings]), np.array([r.margins for r in readings])


@pytest.mark.parametrize("name", REFERENCE_PLANTS)
def test_its_row_is_the_simulators_row(name: str) -> None:
    reference, rng = reference_plant(name), np.random.default_rng(1)
    row = row_function(reference)
    for _ in range(5):
        x = np.asarray(reference.x0) * rng.uniform(0.95, 1.05, len(reference.x0))
        u = np.asarray(reference.u0) * rng.uniform(0.9, 1.1, len(reference.u0))
        d = np.asarray(reference.d0) * rng.uniform(0.97, 1.03, len(reference.d0))
        w = np.asarray(reference.w0) + rng.uniform(-0.1, 0.1, len(reference.w0))
        reading = Simulator(reference, seed=0, noise=False, x0=x).tick(u, d, w)
        end, seen = (np.array(v)[:, 0] for v in row(x, reading.u, d, w))
        np.testing.assert_allclose(end, reading.x, rtol=1e-12)
        np.testing.assert_allclose(seen, np.concatenate([reading.y, reading.margins]), rtol=1e-11)


def test_on_a_linear_plant_with_quadratic_cost_it_finds_the_least_squares_solution() -> None:
    reference = linear_plant()
    x, before, w, target = np.array([0.3, -0.2]), np.array([0.5, -0.1]), np.array([0.01]), np.array([1.0, 3.0])
    # Superposition: CVs of all rows are affine in the moves of all rows, found by simulating each unit move.
    unit = np.eye(2 * ROWS).reshape(-1, ROWS, 2)
    free = simulated(reference, x, np.zeros((ROWS, 2)), [], w)[0].ravel()
    answer = np.stack([simulated(reference, x, u, [], w)[0].ravel() - free for u in unit], axis=1)
    difference = np.eye(2 * ROWS) - np.eye(2 * ROWS, k=-2)
    start = np.concatenate([before, np.zeros(2 * ROWS - 2)])
    by_y, by_u = np.tile(np.sqrt([1.0, 2.0]) / [4.0, 8.0], ROWS), np.tile(np.sqrt(0.3) / np.array([10.0, 5.0]), ROWS)
    system = np.concatenate([by_y[:, None] * answer, by_u[:, None] * difference])
    wanted = np.concatenate([by_y * (np.tile(target, ROWS) - free), by_u * start])
    expected = np.linalg.lstsq(system, wanted, rcond=None)[0].reshape(ROWS, 2)
    moves, ended = Oracle(reference).plan(x, np.zeros(0), w, before, target)
    assert ended == "Solve_Succeeded"
    np.testing.assert_allclose(moves, expected, atol=2e-4)


def test_a_setpoint_that_is_not_there_does_not_pull() -> None:
    reference = linear_plant()
    moves, _ = Oracle(reference).plan(np.zeros(2), np.zeros(0), np.zeros(1), np.zeros(2), np.array([0.0, np.nan]))
    np.testing.assert_allclose(moves, 0.0, atol=1e-4)


def test_where_a_first_try_leads_nowhere_a_second_one_from_held_moves_does(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = linear_plant({"high": {"at": 0.8, "rank": 1}})
    now = (np.zeros(2), np.zeros(0), np.zeros(1), np.zeros(2), np.array([1.0, 3.0]))
    best, _ = Oracle(reference).plan(*now)
    monkeypatch.setattr(oracle_module, "_WARM", {**oracle_module._WARM, "ipopt.max_iter": 1})
    oracle = Oracle(reference)
    assert oracle.plan(*now)[1] == "Maximum_Iterations_Exceeded"
    oracle.reset()
    np.testing.assert_allclose(oracle.act(*now), best[0], atol=1e-4)
    assert oracle.failures == 0


def test_a_soft_limit_wins_over_the_setpoint_beyond_it_and_gives_way_only_where_it_must() -> None:
    reference = linear_plant({"high": {"at": 0.8, "rank": 1}})
    oracle = Oracle(reference)
    moves, _ = oracle.plan(np.zeros(2), np.zeros(0), np.zeros(1), np.zeros(2), np.array([1.0, 3.0]))
    assert simulated(reference, [0, 0], moves, [], [0.0])[0][:, 0].max() <= 0.8 + 1e-4
    oracle.reset()
    moves, ended = oracle.plan(np.array([3.0, 0.0]), np.zeros(0), np.zeros(1), np.zeros(2), np.array([1.0, 3.0]))
    assert ended == "Solve_Succeeded"  # infeasible at first, yet solved
    assert simulated(reference, [3.0, 0], moves, [], [0.0])[0][-1, 0] <= 0.8 + 1e-4


def test_the_evaporator_settles_within_a_tenth_of_a_per_cent_of_the_published_optimum() -> None:
    """Amrit, Rawlings and Biegler (2013): X2 = 25 %, P100 = 191.713 kPa, F200 = 215.888 kg/min."""
    reference = reference_plant("evaporator")
    best_u = np.array([191.713, 215.888])
    state = steady_state(reference, best_u).tolist()
    best_y = reference.outputs(state, best_u.tolist(), reference.d0.tolist(), reference.w0.tolist())
    assert best_y[0] == pytest.approx(25.0, abs=1e-4)
    best = float(reference.hourly_cost(best_y, best_u))  # type: ignore[misc]
    oracle, simulator = Oracle(reference), Simulator(reference, seed=0, noise=False)
    u, cost, strength = np.asarray(reference.u0), [], []
    for t in range(180):
        if t % oracle.horizon.interval == 0:
            u = oracle.act(simulator.state, reference.d0, reference.w0, u, np.full(4, np.nan))
        reading = simulator.tick(u, reference.d0, reference.w0)
        cost.append(reference.stage_cost(reading.y, reading.u, u, np.full(4, np.nan)))
        strength.append(reading.y[0])
    assert oracle.failures == 0
    assert min(strength) >= 25.0 - 1e-3
    assert strength[-1] == pytest.approx(25.0, abs=5e-3)
    # The optimum is flat: from F200 = 216 down to 175 kg/min costs 0.1 % more.
    assert np.mean(cost[-60:]) == pytest.approx(best, rel=1e-3)


def test_no_random_plan_within_the_bounds_is_better() -> None:
    reference, rng = reference_plant("quadruple-tank"), np.random.default_rng(7)
    oracle = Oracle(reference)
    target, before = np.array([14.0, 10.5, np.nan]), np.asarray(reference.u0)
    x, d, w = np.asarray(reference.x0), np.asarray(reference.d0), np.asarray(reference.w0)
    best, _ = oracle.plan(x, d, w, before, target)
    bounds = oracle.horizon.bounds(before, np.zeros(2, dtype=bool))
    own = oracle.horizon.changes(bounds, best)

    def cost(moves: np.ndarray) -> float:
        y, margins = simulated(reference, x, moves, d, w)
        last = np.concatenate([before[None], moves[:-1]])
        total = sum(reference.stage_cost(*row, target) for row in zip(y, moves, last, strict=True))
        over = [
            np.maximum(s.side * (np.concatenate([y, margins], axis=1)[:, s.output] - s.at), 0)
            for s in soft_limits(reference)
        ]
        return total + sum(float(o.sum()) for o in over)

    least = cost(best)
    for size in (0.003, 0.03, 0.3):
        for _ in range(12):
            changes = np.clip(own + size * rng.standard_normal(own.shape), bounds.down_MU, bounds.up_MU)
            assert cost(oracle.horizon.rows(bounds, changes)) >= least - 1e-9


def test_moves_keep_to_the_limits_and_to_the_largest_move_per_advice() -> None:
    reference = reference_plant("quadruple-tank")
    oracle = Oracle(reference)
    before = np.array([5.9, 0.1])
    moves, _ = oracle.plan(reference.x0, reference.d0, reference.w0, before, np.array([18.0, 6.0, np.nan]))
    ticks = moves[oracle.horizon.ticks]
    assert moves.min() >= 0.0
    assert moves.max() <= 6.0
    assert np.abs(np.diff(np.concatenate([before[None], ticks]), axis=0)).max() <= 0.5 + 1e-9


def test_a_second_call_starts_from_the_first_plan_and_a_reset_forgets_it() -> None:
    reference = reference_plant("quadruple-tank")
    oracle, target = Oracle(reference), np.array([13.5, 12.0, np.nan])
    now = (reference.x0, reference.d0, reference.w0, reference.u0, target)
    first, again = oracle.act(*now), oracle.act(*now)
    oracle.reset()
    np.testing.assert_allclose(again, first, atol=1e-3)
    np.testing.assert_array_equal(oracle.act(*now), first)


@pytest.mark.parametrize("name", [name for name in REFERENCE_PLANTS if reference_plant(name).element_rows])
def test_twenty_elements_of_collocation_end_where_the_simulator_gets_to(name: str) -> None:
    # An element is longer than the fastest parts of the plant, which it damps: what comes of many of them has to agree.
    reference, count = reference_plant(name), 20
    element, rest = element_of(reference), np.asarray(reference.x0)
    u, d, w = np.array(reference.u0) * 1.003, np.array(reference.d0) * 1.01, np.array(reference.w0)
    y, _ = simulated(reference, rest, np.tile(u, (count * element.rows, 1)), d, w)
    both, begin = ca.MX.sym("states", 2 * len(rest)), ca.MX.sym("begin", len(rest))
    residual, seen = element.tie(begin, *ca.vertsplit(both, len(rest)), u, d, w)
    solve = ca.rootfinder("states", "newton", {"x": both, "p": begin, "g": residual})
    outputs = ca.Function("seen", [both, begin], [seen])
    states = np.tile(rest, 2)
    for _ in range(count):
        begun = states[len(rest) :]
        states = np.array(solve(x0=states, p=begun)["x"])[:, 0]
    average = np.array(outputs(states, begun))[:, 0]
    moved = np.abs(y[-1] - np.array(reference.outputs(rest.tolist(), u.tolist(), d.tolist(), w.tolist())))
    assert np.abs(average - y[-element.rows :].mean(axis=0)).max() < 0.02 * moved.max()
