"""Who should solve the optimizer's quadratic programs: PIQP called directly, or CasADi's `conic`, hot-started or not?

The programs of closed loops of the sizes of `latency_sizes.py`, in the order in which they came: those that the solver
was handed (the rows that probably decide), and the whole ones with all soft rows. Hot-started means with `x0`, `lam_x0`
and `lam_a0` of the last answer to a program of that shape; shapes are rounded up as `engines.py` does. An answer is
wrong where it leaves a bound by more than 1e-6 or costs more than 1e-4 above the best one, relative to 1 + cost; a
solver that says it failed is counted apart. Seconds are of CPU, per program.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Sequence
from typing import Any

import casadi as ca
import numpy as np

from experiments.contract import Outcome, run_experiment
from experiments.latency_sizes import LARGE, SMALL, Size, rig, ticks
from procmodel.control.engines import Piqp, Standard, padded
from procmodel.control.qp import QuadraticProgram, QuadraticSolver, Step, standard

TICKS, QUICK_TICKS = {"small": 60, "large": 20}, 4
MOST_WHOLE = 20
LEAVES, COSTS_MORE = 1e-6, 1e-4
OPTIONS: dict[str, dict[str, Any]] = {
    "piqp": {"error_on_fail": False, "piqp": {"eps_abs": 1e-9, "eps_rel": 1e-9}},
    "qpoases": {"error_on_fail": False, "printLevel": "none"},
    "daqp": {"error_on_fail": False, "daqp": {"primal_tol": 1e-9}},
}
Answer = np.ndarray | None


class Handed:
    """PIQP, which keeps what it was asked."""

    def __init__(self) -> None:
        self.programs: list[Standard] = []

    def solve(self, program: Standard) -> tuple[np.ndarray, np.ndarray] | None:
        self.programs.append(program)
        return Piqp().solve(program)


class Recorder(QuadraticSolver):
    """Solves as ever, and keeps the whole programs and what was handed over of them."""

    def __init__(self) -> None:
        super().__init__()
        self.whole, self.handed = list[Standard](), Handed()
        self._engines = {"piqp": self.handed}

    def solve(self, program: QuadraticProgram) -> Step | None:
        self.whole.append(standard(program))
        return super().solve(program)


class Conic:
    """A solver of the CasADi wheel."""

    def __init__(self, name: str, *, hot: bool) -> None:
        self._name, self._hot = name, hot
        self._built: dict[tuple[int, int], Any] = {}
        self._last: dict[tuple[int, int], dict[str, Any]] = {}

    def __call__(self, program: Standard) -> Answer:
        given = padded(program)
        key = given["a"].shape
        if key not in self._built:
            shape = {"h": ca.Sparsity.dense(key[1], key[1]), "a": ca.Sparsity.dense(*key)}
            self._built[key] = ca.conic("plan", self._name, shape, OPTIONS[self._name])
        try:
            answer = self._built[key](**given, **(self._last.get(key, {}) if self._hot else {}))
        except RuntimeError:
            return None
        if not self._built[key].stats()["success"]:
            return None
        self._last[key] = {"x0": answer["x"], "lam_x0": answer["lam_x"], "lam_a0": answer["lam_a"]}
        return np.array(answer["x"])[: len(program.g), 0]


def study(quick: bool) -> Outcome:
    """Seconds and wrong answers of solvers on the programs of closed loops."""
    results: dict[str, Any] = {}
    lines = []
    for size in (SMALL, LARGE):
        recorder = _recorded(size, QUICK_TICKS if quick else TICKS[size.name])
        kinds = {"handed over": recorder.handed.programs, "whole": recorder.whole[: 4 if quick else MOST_WHOLE]}
        for kind, programs in kinds.items():
            found = _race(programs)
            results[f"{size.name}, {kind}"] = found
            shapes = [program.a.shape for program in programs]
            rows, columns = (float(np.median([shape[i] for shape in shapes])) for i in range(2))
            lines.append(f"{size.name}, {kind}: {len(programs)} programs of {columns:.0f} unknowns and {rows:.0f} rows")
            lines += [
                f"  {way:22} p50 {1e3 * each['p50']:7.2f} ms, mean {1e3 * each['mean']:7.2f}; wrong {each['wrong']}, "
                f"failed {each['failed']}"
                for way, each in found.items()
            ]
    return Outcome(values={}, results=results, seeds=(0, 1), lines=lines)


def _recorded(size: Size, count: int) -> Recorder:
    made = rig(size)
    optimizer, recorder, previous = made.make(), Recorder(), None
    optimizer._solver = recorder
    for rows_RC, setpoints, put in ticks(made, count):
        previous = optimizer.plan(rows_RC, setpoints=setpoints, previous=previous)
        put(previous.moves[0])
    return recorder


def _race(programs: Sequence[Standard]) -> dict[str, dict[str, Any]]:
    ways: dict[str, Callable[[Standard], Answer]] = {"piqp, direct": _direct}
    for name in OPTIONS:
        ways |= {f"{name}, conic": Conic(name, hot=False), f"{name}, conic, hot": Conic(name, hot=True)}
    answers: dict[str, list[Answer]] = {}
    seconds: dict[str, list[float]] = {}
    with contextlib.redirect_stdout(io.StringIO()):  # qpOASES writes a banner whatever its print level
        for way, solve in ways.items():
            for each in (programs[0], *programs):  # the first one twice: what is built once is not to count
                began = time.process_time()
                answer = solve(each)
                seconds.setdefault(way, []).append(time.process_time() - began)
                answers.setdefault(way, []).append(answer)
    found = {}
    for way in ways:
        judged = [_judged([answers[w][i + 1] for w in ways], answers[way][i + 1], p) for i, p in enumerate(programs)]
        found[way] = {
            "p50": float(np.median(seconds[way][1:])),
            "mean": float(np.mean(seconds[way][1:])),
            "wrong": judged.count("wrong"),
            "failed": judged.count("failed"),
        }
    return found


def _direct(program: Standard) -> Answer:
    found = Piqp().solve(program)
    return None if found is None else found[0]


def _judged(all_answers: Sequence[Answer], answer: Answer, program: Standard) -> str:
    if answer is None:
        return "failed"
    best = min(_cost(program, each) for each in all_answers if each is not None and _leaves(program, each) <= LEAVES)
    right = _leaves(program, answer) <= LEAVES and _cost(program, answer) - best <= COSTS_MORE * (1.0 + abs(best))
    return "right" if right else "wrong"


def _cost(program: Standard, x: np.ndarray) -> float:
    return float(0.5 * x @ program.h @ x + program.g @ x)


def _leaves(program: Standard, x: np.ndarray) -> float:
    """By how much the bounds are left; infinite for what is no number."""
    rows = program.a @ x
    beyond = [program.lbx - x, x - program.ubx, program.lba - rows, rows - program.uba]
    worst = max(float(part.max(initial=0.0)) for part in beyond)
    return worst if np.isfinite(x).all() else np.inf


if __name__ == "__main__":
    raise SystemExit(run_experiment("quadratic_programs", study))
