"""Advice problems as files, for `batch_device.py` to solve on a machine that has torch and numpy and little else.

    python -m experiments.batch_problems runs/batch_problems

writes `small.npz` and `large.npz`: problems of the sizes of `latency_sizes.py`, from histories all over a record with
setpoints that some limits forbid, each with the merit that `Optimizer.plan` reached for it. A few MB, a minute.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.latency_sizes import LARGE, SMALL, Rig, rig
from procmodel.control.batched import BatchedOptimizer
from procmodel.control.batched_data import save_problems
from procmodel.control.requests import Orders, Request

COUNT, SEED = 64, 5


def requests_of(made: Rig, count: int, seed: int, *, setpoints: bool = True) -> list[Request]:
    """Unrelated problems: histories that end anywhere in a record, no previous plan."""
    rng, wanted = np.random.default_rng(seed), made.make().rows_wanted
    record_TC = np.tile(made.record_TC, (8, 1))
    found = []
    for end in rng.integers(wanted, len(record_TC), size=count):
        drawn = {f"CV{i}": float(rng.uniform(-0.9, 0.9)) for i in range(made.size.mvs)} if setpoints else {}
        found.append(Request(rows_RC=record_TC[end - wanted : end], orders=Orders(setpoints=drawn)))
    return found


def write(made: Rig, path: Path, count: int) -> float:
    """One size as a file; returns the CPU seconds of `Optimizer.plan` per problem."""
    requests, optimizer = requests_of(made, count, SEED), made.make()
    batched = BatchedOptimizer(plant=made.plant, model=made.model, scaler=made.scaler)
    began = time.process_time()
    plans = [request.planned_by(optimizer) for request in requests]
    seconds = (time.process_time() - began) / count
    merits = []
    for request, plan in zip(requests, plans, strict=True):
        problem = optimizer.problem(request.rows_RC, request.orders)
        merits.append(problem.evaluate(problem.as_changes(plan.moves)[None]).score.merit)
    given = batched.given(requests).problems
    save_problems(path, batched.shared, given, merit_B=np.array(merits), cpu_seconds=np.array(seconds))
    return seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Writes both files."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.batch_problems", description="Advice problems as files."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=COUNT, help="problems of each size")
    arguments = parser.parse_args(argv)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for size in (SMALL, LARGE):
        path = arguments.folder / f"{size.name}.npz"
        seconds = write(rig(size), path, arguments.count)
        print(
            f"{path}: {arguments.count} problems, {seconds * 1e3:.1f} ms of CPU each by Optimizer.plan", file=sys.stderr
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
