"""Many problems at once on two cores: problems per second at batch 1, 64 and 1,024, and a year of one-minute ticks.

The small size of `latency_sizes.py` (16,704 parameters, 10 rows ahead). A batch is of unrelated problems: histories
from all over a record, no previous plan. The year is a backtest over a stretch of consecutive ticks, each plan starting
from the one before, taken 525,600 ticks long by its rate. Rates are by the clock; the year is also given by the CPU
seconds that the workers took, over two cores, which says what a machine without other work would need.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Any

import numpy as np
import psutil

from experiments.contract import Outcome, run_experiment
from experiments.latency_sizes import SMALL, rig
from procmodel.control.fleet import Fleet, Request
from procmodel.control.optimizer import Optimizer

YEAR, CORES = 525_600, 2
BATCHES, STRETCH = (1, 64, 1024), 20_000
QUICK_BATCHES, QUICK_STRETCH = (1, 8), 40


def study(quick: bool) -> Outcome:
    """Problems per second at several batch sizes, and what a year of minutes takes."""
    made = rig(SMALL)
    make = partial(Optimizer, plant=made.plant, model=made.model, scaler=made.scaler)
    wanted, rng = make().rows_wanted, np.random.default_rng(3)
    record_TC = np.tile(made.record_TC, (8, 1))
    results: dict[str, Any] = {"problems_per_s": {}}
    with Fleet(make, workers=CORES) as fleet:
        fleet.plan([Request(rows_RC=record_TC[:wanted])] * (4 * CORES))  # the workers are there and warm
        for size in QUICK_BATCHES if quick else BATCHES:
            ends = rng.integers(wanted, len(record_TC), size=size)
            requests = [Request(rows_RC=record_TC[end - wanted : end]) for end in ends]
            began = time.perf_counter()
            plans = fleet.plan(requests)
            seconds = time.perf_counter() - began
            results["problems_per_s"][str(size)] = size / seconds
            results[f"converged_share_{size}"] = float(np.mean([plan.status.value == "converged" for plan in plans]))
        count = QUICK_STRETCH if quick else STRETCH
        began, cpu = time.perf_counter(), _cpu_seconds()
        plans = fleet.backtest(record_TC, range(wanted, wanted + count), setpoints={"CV0": 0.3, "CV1": -0.2})
        seconds, cpu = time.perf_counter() - began, _cpu_seconds() - cpu
    year = YEAR * cpu / count / CORES
    results |= {
        "stretch_ticks": count,
        "stretch_seconds": seconds,
        "stretch_cpu_seconds": cpu,
        "year_seconds_by_the_clock": YEAR * seconds / count,
        "year_cpu_seconds_over_cores": year,
        "usable_share": float(np.mean([plan.status.usable for plan in plans])),
    }
    rates = ", ".join(f"{size}: {rate:.0f}/s" for size, rate in results["problems_per_s"].items())
    lines = [
        f"problems at batch {rates} on {CORES} cores",
        f"a year of minutes: {year:.0f} s of CPU over {CORES} cores, "
        f"{results['year_seconds_by_the_clock']:.0f} s by this clock ({count} ticks measured)",
    ]
    return Outcome(values={"year_of_minutes_seconds": year}, results=results, seeds=(0, 3), lines=lines)


def _cpu_seconds() -> float:
    """Of the workers so far."""
    return sum(sum(child.cpu_times()[:2]) for child in psutil.Process().children(recursive=True))


if __name__ == "__main__":
    sys.exit(run_experiment("batch_advice", study))
