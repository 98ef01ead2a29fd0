"""How long a whole tick of advice takes, against general solvers on the very same problem and against the floor.

Three sizes (`latency_sizes.py`), cold and warm, whole tick and reaction after `Optimizer.prepare`. A tick is all of
`Optimizer.plan`: history in, named plan out. Peers solve the same nonlinear program (`procmodel/control/oracle.py`),
from half of the moves that are the answer. One that ends within 0.1 % of our merit is at the same optimum; one that its
patience ran out on, still above ours, counts with the time it had, which is less than it needs. Seconds are CPU seconds
of this process, which on a quiet core are those of the clock; both are reported.

The floor is what matrix products alone take: those of the tangent rollout with block causality, timed in this run at
the shapes that occur, and the condensing of the Hessian and one factorisation of the program at the rate of these.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from experiments.contract import Outcome, run_experiment
from experiments.latency_sizes import LARGE, SIZES, SMALL, Rig, Size, rig, ticks
from procmodel.control.optimizer import Optimizer
from procmodel.control.oracle import Oracle
from procmodel.control.plan import Plan
from procmodel.control.problem import Problem
from procmodel.control.threads import on_one_core

SEEDS = (0, 1)
SAME = 1e-3
# Seconds that one solve of a peer may take.
PATIENCE = 90.0
WARM_UP = 5


def study(quick: bool) -> Outcome:
    """Seconds per tick of advice, against peers and against the floating-point floor."""
    results, lines = {}, []
    for size in (SMALL,) if quick else SIZES:
        found = _one(size, quick=quick)
        results[size.name] = found
        lines += _lines(size, found)
        print("\n".join(_lines(size, found)), file=sys.stderr)
    values: dict[str, float | None] = {}
    if LARGE.name in results:
        large = results[LARGE.name]
        values = {
            "speed_over_ipopt_mx": large["speed_over_ipopt_mx"],
            "speed_over_best_peer": large["speed_over_best_peer"],
            "time_over_floor": large["time_over_floor"],
        }
    return Outcome(values=values, results=results | {"not_run": NOT_RUN}, seeds=SEEDS, lines=lines)


NOT_RUN = {
    "CasADi ONNX import": "CasADi 3.8.2 evaluates an imported graph through an ONNX Runtime library that is not in its "
    "wheel, and takes derivatives from sibling graphs; without these it has none for IPOPT.",
    "L4CasADi": "2.0.0 is a source package that compiles against an installed torch; its build does not find one.",
    "do-mpc": "5.1.2 has no blocked moves, largest moves per advice or slacks per segment: not the same problem.",
}


def _one(size: Size, *, quick: bool) -> dict[str, Any]:
    made = rig(size, epochs=5 if quick else 60)
    count = 12 if quick else 60
    cold = [_seconds(lambda: next(_driven(made, made.make(), 1))) for _ in range(2 if quick else 5)]
    warm, wall, iterations, kept = [], [], [], []
    optimizer = made.make()
    for number, (plan, cpu, clock, problem_of) in enumerate(_driven(made, optimizer, count)):
        if number >= WARM_UP:
            warm.append(cpu)
            wall.append(clock)
            iterations.append(plan.iterations)
        if number in (WARM_UP + 2, WARM_UP + 4):
            kept.append((problem_of(), plan))
    reaction = [cpu for _, cpu, _, _ in _driven(made, made.make(), count // 2, prepare=True)][WARM_UP:]
    floor = _floor(made)
    peers = _peers(size, kept[:1] if quick else kept)
    median = float(np.median(warm))
    best = min((p["seconds"] for p in peers.values() if p["same_optimum"]), default=None)
    ipopt = min(
        (p["seconds"] for k, p in peers.items() if k.startswith("IPOPT, MX") and p["same_optimum"]), default=None
    )
    return {
        "parameters": made.parameters,
        "warm": _spread(warm),
        "warm_clock": _spread(wall),
        "cold": _spread(cold),
        "reaction": _spread(reaction),
        "iterations_mean": float(np.mean(iterations)),
        "floor": floor,
        "time_over_floor": median / floor["seconds"],
        "peers": peers,
        "speed_over_best_peer": best / median if best else None,
        "speed_over_ipopt_mx": ipopt / median if ipopt else None,
    }


def _driven(
    made: Rig, optimizer: Optimizer, count: int, *, prepare: bool = False
) -> Iterator[tuple[Plan, float, float, Callable[[], Problem]]]:
    """Plans of a closed loop with their seconds of CPU and clock."""
    previous: Plan | None = None
    prepared = None
    for rows, setpoints, put in ticks(made, count):
        begun, began = time.process_time(), time.perf_counter()
        plan = optimizer.plan(rows, setpoints=setpoints, previous=previous, prepared=prepared)
        cpu, clock = time.process_time() - begun, time.perf_counter() - began
        yield plan, cpu, clock, lambda rows=rows, setpoints=setpoints: optimizer.problem(rows, setpoints=setpoints)
        prepared = optimizer.prepare(rows, plan, setpoints=setpoints) if prepare else None
        put(plan.moves[0])
        previous = plan


def _peers(size: Size, kept: list[tuple[Problem, Plan]]) -> dict[str, dict[str, Any]]:
    """Median seconds of each general solver on the kept ticks; on one of them where that takes minutes."""
    slow = size is not SMALL
    hessian = {"hessian_approximation": "limited-memory"} if slow else {}
    common = {"print_level": 0, "sb": "yes", "tol": 1e-6, "bound_relax_factor": 0.0, "max_cpu_time": PATIENCE}
    ipopt = {"ipopt": common | hessian}
    kinds: dict[str, dict[str, Any]] = {
        "IPOPT, MX, multiple shooting": {"shooting": "multiple", "options": ipopt},
        "IPOPT, MX, single shooting": {"options": ipopt},
    }
    if not slow:
        kinds["IPOPT, SX, single shooting"] = {"options": ipopt | {"expand": True}}
        kinds["fatrop, MX, single shooting"] = {"solver": "fatrop"}
    found = {}
    for name, settings in kinds.items():
        oracle = Oracle(kept[0][0], **settings)
        answers = []
        for problem, plan in kept[:1] if slow else kept:
            ours_MU = problem.as_changes(plan.moves)
            begun = time.process_time()
            answer = oracle.solve(problem, 0.5 * ours_MU)
            seconds = time.process_time() - begun
            ours = problem.evaluate(ours_MU[None]).score.merit
            theirs = problem.evaluate(answer.changes_MU[None]).score.merit
            answers.append((seconds, answer.success, theirs / ours - 1.0, answer.iterations))
            print(f"{size.name}: {name}: {answers[-1]}", file=sys.stderr)
        found[name] = {
            "seconds": float(np.median([a[0] for a in answers])),
            "success": all(bool(a[1]) for a in answers),
            "excess_over_ours": [a[2] for a in answers],
            "same_optimum": all(_counts(*a[:3]) for a in answers),
            "ran_out_of_time": any(not bool(a[1]) and a[0] >= 0.9 * PATIENCE for a in answers),
            "iterations": [a[3] for a in answers],
        }
    return found


def _counts(seconds: float, success: bool, excess: float) -> bool:
    """Whether a peer's time may be held against ours."""
    return bool(abs(excess) <= SAME if success else excess > -SAME and seconds >= 0.9 * PATIENCE)


@on_one_core
def _floor(made: Rig) -> dict[str, Any]:
    """Operations of one tangent rollout, of condensing and of one factorisation, and the seconds they take at best."""
    size, horizon = made.size, made.make().horizon
    begun_N = (horizon.block_of_row + 1) * size.mvs
    latent = made.model.latent_size
    if size.is_gated:
        shapes = [(latent + size.mvs, 2 * latent), (latent, latent)]
    else:
        shapes = [
            (latent + size.mvs, size.hidden),
            (size.hidden, size.hidden),
            (size.hidden + latent + size.mvs, latent),
        ]
    changes, outputs = horizon.blocks * size.mvs, size.cvs + size.mvs
    seconds, operations = 0.0, 0.0
    for rows in np.unique(begun_N):
        times = int((begun_N == rows).sum())
        for inner, outer in shapes:
            seconds += times * _product_seconds(int(rows), inner, outer)
            operations += times * 2.0 * rows * inner * outer
    rate = operations / seconds
    rest = 2.0 * size.steps * outputs * changes**2 + 2.0 * size.steps * size.cvs * latent * changes + changes**3 / 3.0
    return {"operations": operations + rest, "gflop_per_s": rate / 1e9, "seconds": seconds + rest / rate}


def _product_seconds(rows: int, inner: int, outer: int) -> float:
    """Of one matrix product into memory that is there already: the median of 30 tries."""
    rng = np.random.default_rng(0)
    a, b, into = rng.normal(size=(rows, inner)), rng.normal(size=(inner, outer)), np.empty((rows, outer))
    tries = []
    for _ in range(30):
        begun = time.process_time_ns()
        for _ in range(5):
            np.matmul(a, b, out=into)
        tries.append((time.process_time_ns() - begun) / 5e9)
    return float(np.median(tries))


def _seconds(act: Callable[[], object]) -> float:
    begun = time.process_time()
    act()
    return time.process_time() - begun


def _spread(seconds: list[float]) -> dict[str, float]:
    return {f"p{q}": float(np.percentile(seconds, q)) for q in (50, 95, 99)}


def _lines(size: Size, found: dict[str, Any]) -> list[str]:
    def shown(part: str) -> str:
        return " / ".join(f"{1e3 * found[part][q]:.1f}" for q in ("p50", "p95", "p99"))

    lines = [
        f"{size.name} ({found['parameters']} parameters): p50/p95/p99 [ms]: warm {shown('warm')}, "
        f"cold {shown('cold')}, reaction {shown('reaction')}; {found['iterations_mean']:.1f} programs per tick",
        f"  floor {1e3 * found['floor']['seconds']:.2f} ms ({found['floor']['gflop_per_s']:.0f} GFLOP/s): "
        f"{found['time_over_floor']:.1f} times",
    ]
    for name, peer in found["peers"].items():
        ok = "same optimum" if peer["same_optimum"] else "another optimum"
        late = ", out of time" if peer["ran_out_of_time"] else ""
        lines.append(f"  {name}: {peer['seconds']:.2f} s{late}, {ok}, {peer['iterations']} iterations")
    return lines


if __name__ == "__main__":
    sys.exit(run_experiment("advice_latency", study))
