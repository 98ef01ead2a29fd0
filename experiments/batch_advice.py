"""Many problems at once on two cores: problems per second at batch 1, 64 and 1,024, and a year of one-minute ticks.

The small size of `latency_sizes.py` (16,704 parameters, 10 rows ahead). A batch is of unrelated problems: histories
from all over a record, no previous plan. Two worker processes plan them in two ways, in turns: each problem by itself
(`Optimizer`), and each worker's share at once (`BatchedOptimizer`), with all that a plan says. The batch is also solved
for its moves alone, without the words around them, in one process: on a core, and on a graphics card where there is
one. Merits of both ways are held against each other.

The year is a backtest over a stretch of consecutive ticks, each plan starting from the one before (a batched one from
none), taken 525,600 ticks long by its rate. Rates are by the clock; CPU seconds say what a machine without other work
would need, and the year is also given by these, over two cores.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import psutil
import torch

from experiments.batch_problems import requests_of
from experiments.contract import Outcome, run_experiment
from experiments.latency_sizes import SMALL, Rig, rig
from procmodel.control.batched import BatchedOptimizer
from procmodel.control.fleet import Fleet
from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Plan
from procmodel.control.requests import Request

YEAR, CORES = 525_600, 2
BATCHES, STRETCH = (1, 64, 1024), 20_000
QUICK_BATCHES, QUICK_STRETCH = (1, 8), 40
# Runs of each way, in turns; the fastest counts, since others may use the cores.
RUNS = 3
# Problems whose merits are compared.
COMPARED = 64
T = TypeVar("T")


def study(quick: bool) -> Outcome:
    """Problems per second at several batch sizes, one by one and batched, and what a year of minutes takes."""
    made = rig(SMALL)
    parts = {"plant": made.plant, "model": made.model, "scaler": made.scaler}
    batches = QUICK_BATCHES if quick else BATCHES
    record_TC, wanted = np.tile(made.record_TC, (8, 1)), made.make().rows_wanted
    warm = [Request(rows_RC=record_TC[:wanted])] * (4 * CORES)
    with (
        Fleet(partial(Optimizer, **parts), workers=CORES) as one_by_one,
        Fleet(partial(BatchedOptimizer, **parts), workers=CORES, pieces=1) as batched,
    ):
        ways = {"one_by_one": one_by_one, "batched": batched}
        for fleet in ways.values():
            fleet.plan(warm)  # the workers are there and warm
        results: dict[str, Any] = {"ways": _rates(made, ways, batches)}
        results["moves_alone"] = _moves_alone(made, batches)
        results["merits"] = _merits(made, 8 if quick else COMPARED)
        stretch = QUICK_STRETCH if quick else STRETCH
        results |= _year(one_by_one, record_TC, wanted, stretch)
        results["batched_year"] = _year(batched, record_TC, wanted, stretch)
    results["problems_per_s"] = {size: each["per_s"] for size, each in results["ways"]["one_by_one"].items()}
    lines = [f"{way}: {_told(found)} on {CORES} cores" for way, found in results["ways"].items()]
    lines += [f"moves alone on {device}: {_told(found)}" for device, found in results["moves_alone"].items()]
    lines += [
        "merit of batched over one by one, less 1: "
        f"{results['merits']['least']:+.1e} to {results['merits']['most']:+.1e} over {results['merits']['problems']}",
        f"a year of minutes: {results['year_cpu_seconds_over_cores']:.0f} s of CPU over {CORES} cores, "
        f"{results['year_seconds_by_the_clock']:.0f} s by this clock ({results['stretch_ticks']} ticks measured); "
        f"batched {results['batched_year']['year_cpu_seconds_over_cores']:.0f} s of CPU over {CORES} cores",
    ]
    values = {"year_of_minutes_seconds": results["year_cpu_seconds_over_cores"]}
    return Outcome(values=values, results=results, seeds=(0, 3), lines=lines)


def _rates(made: Rig, ways: dict[str, Fleet], batches: Sequence[int]) -> dict[str, dict[str, dict[str, float]]]:
    """By way and batch: problems per second by the clock, CPU seconds of each, and how many converged."""
    found: dict[str, dict[str, dict[str, float]]] = {way: {} for way in ways}
    for size in batches:
        requests = requests_of(made, size, 3, setpoints=False)
        for _ in range(RUNS):
            for way, fleet in ways.items():
                plans, seconds, cpu = _timed(partial(fleet.plan, requests))
                found[way][str(size)] = _better(found[way].get(str(size)), size, seconds, cpu)
                found[way][str(size)]["converged_share"] = _converged(plans)
    return found


def _moves_alone(made: Rig, batches: Sequence[int]) -> dict[str, dict[str, dict[str, float]]]:
    """By device and batch, in this process with one thread."""
    torch.set_num_threads(1)
    found: dict[str, dict[str, dict[str, float]]] = {}
    devices = {"one core": "cpu"} | ({torch.cuda.get_device_name(): "cuda"} if torch.cuda.is_available() else {})
    for name, device in devices.items():
        optimizer = BatchedOptimizer(plant=made.plant, model=made.model, scaler=made.scaler, device=device)
        found[name] = {}
        for size in batches:
            requests = requests_of(made, size, 3, setpoints=False)
            optimizer.solve(requests)
            for _ in range(RUNS):
                _, seconds, cpu = _timed(partial(optimizer.solve, requests))
                found[name][str(size)] = _better(found[name].get(str(size)), size, seconds, cpu)
    return found


def _merits(made: Rig, count: int) -> dict[str, float]:
    """Merit of batched plans over that of plans made one by one, less 1."""
    optimizer, requests = made.make(), requests_of(made, count, 3, setpoints=False)
    batched = BatchedOptimizer(plant=made.plant, model=made.model, scaler=made.scaler)
    off = []
    for request, plan in zip(requests, batched.plan(requests), strict=True):
        problem, alone = optimizer.problem(request.rows_RC), optimizer.plan(request.rows_RC)
        tried = problem.evaluate(np.array([problem.as_changes(each.moves) for each in (plan, alone)]))
        off.append(tried.scores[0].merit / tried.scores[1].merit - 1.0)
    return {"problems": count, "least": min(off), "most": max(off)}


def _year(fleet: Fleet, record_TC: np.ndarray, wanted: int, count: int) -> dict[str, float]:
    """A stretch of a backtest, and what a year of it would take."""
    ticks = range(wanted, wanted + count)
    plans, seconds, cpu = _timed(partial(fleet.backtest, record_TC, ticks, setpoints={"CV0": 0.3, "CV1": -0.2}))
    return {
        "stretch_ticks": count,
        "stretch_seconds": seconds,
        "stretch_cpu_seconds": cpu,
        "year_seconds_by_the_clock": YEAR * seconds / count,
        "year_cpu_seconds_over_cores": YEAR * cpu / count / CORES,
        "usable_share": float(np.mean([plan.status.usable for plan in plans])),
    }


def _timed(act: Callable[[], T]) -> tuple[T, float, float]:
    """What it gives, and its seconds by the clock and of the CPU, workers included."""
    began, cpu = time.perf_counter(), _cpu_seconds()
    given = act()
    return given, time.perf_counter() - began, _cpu_seconds() - cpu


def _better(before: dict[str, float] | None, size: int, seconds: float, cpu: float) -> dict[str, float]:
    here = {"per_s": size / seconds, "cpu_ms_each": 1e3 * cpu / size}
    if before is None:
        return here
    return {
        "per_s": max(before["per_s"], here["per_s"]),
        "cpu_ms_each": min(before["cpu_ms_each"], here["cpu_ms_each"]),
    }


def _converged(plans: Sequence[Plan]) -> float:
    return float(np.mean([plan.status.value == "converged" for plan in plans]))


def _told(found: dict[str, dict[str, float]]) -> str:
    each = [f"{size}: {rate['per_s']:.0f}/s, {rate['cpu_ms_each']:.1f} ms of CPU each" for size, rate in found.items()]
    return "; ".join(each)


def _cpu_seconds() -> float:
    """Of this process and its workers so far."""
    here = psutil.Process()
    return sum(sum(each.cpu_times()[:2]) for each in (here, *here.children(recursive=True)))


if __name__ == "__main__":
    sys.exit(run_experiment("batch_advice", study))
