"""A whole tick of advice on a learned model against IPOPT on the true equations: seconds and closed-loop cost.

Evaporator and quadruple tank, each learned from 40,000 rows of its operators' record with the demo's settings. The
rival is the evaluation's oracle: CasADi and IPOPT on the true equations, from the true state, with today's disturbances
and the same horizon, blocks and move limits. Episodes are paired: the same weather, noise and setpoints. They are
short, 120 rows with a seed of its own each. Seconds are those of the processor, since the machine may have other work
and the two controllers take their turns; those of the clock are reported beside them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from experiments.contract import Outcome, run_experiment
from procmodel.commands.advise import advisor_of, optimizer_of
from procmodel.commands.model import Place, ingest, train_model
from procmodel.commands.progress import Progress
from procmodel.evaluation.closed_loop import run_trials
from procmodel.evaluation.controllers import AdviceControl, OracleControl
from procmodel.evaluation.oracle import Oracle
from procmodel.plant import load_plant
from procmodel.simulation import record, reference_plant

PLANTS = ("evaporator", "quadruple-tank")
RECORD_SEED = 0
TRIAL_SEEDS = tuple(range(201, 251))
"""Not the record's: the same seed is the same weather."""
ROWS, QUICK_ROWS = 120, 40


def study(quick: bool) -> Outcome:
    """Ticks of advice on learned models against IPOPT on the true equations."""
    seeds = TRIAL_SEEDS[: 3 if quick else None]
    with tempfile.TemporaryDirectory() as folder:
        found = {name: race(name, Path(folder) / name, seeds, quick=quick) for name in PLANTS}
    values: dict[str, float | None] = {
        "p95_over_ipopt_true": max(each["p95_ratio"] for each in found.values()),
        "cost_over_oracle": max(each["cost_ratio"]["ratio"] for each in found.values()),
    }
    return Outcome(
        values=values, results=found, seeds=(RECORD_SEED, *seeds), lines=[_line(*each) for each in found.items()]
    )


def _line(name: str, found: dict[str, Any]) -> str:
    ours, theirs = (1e3 * found[part]["p95"] for part in ("advice_cpu_seconds", "oracle_cpu_seconds"))
    cost = found["cost_ratio"]
    return (
        f"{name}: p95 {ours:.1f} ms against {theirs:.1f} ms, ratio {found['p95_ratio']:.2f}; cost over oracle "
        f"{cost['ratio']:.3f} [{cost['low']:.3f}, {cost['high']:.3f}], holds {found['holds']}"
    )


def race(name: str, out: Path, seeds: tuple[int, ...], *, quick: bool) -> dict[str, Any]:
    """One plant: learned from its record, then both controllers through every episode."""
    reference, progress = reference_plant(name), Progress()
    rows = QUICK_ROWS if quick else ROWS
    recorded = record(reference, rows=12_000 if quick else 40_000, seed=RECORD_SEED, folder=out / "export")
    plant, place = load_plant(recorded.plant_file), Place(out=out)
    artifact = train_model(plant, ingest(plant, place, progress), place, progress)
    optimizer = optimizer_of(plant, artifact)
    advice = AdviceControl(advisor_of(plant, artifact, optimizer), optimizer.rows_wanted)
    oracle = OracleControl(Oracle(reference))
    progress.stage("race", f"{name}: advice against IPOPT on the true equations")
    trials = run_trials(
        reference,
        [advice, oracle],
        seeds,
        rows=rows,
        warmup=optimizer.rows_wanted,
        progress=lambda who, done, total: progress.step(done, total, who),
    ).to_dict()
    ours, theirs = trials[advice.name], trials[oracle.name]
    return {
        "rows": rows,
        **{
            f"{who}_{clock}": each[f"solve_{clock}"]
            for who, each in (("advice", ours), ("oracle", theirs))
            for clock in ("seconds", "cpu_seconds")
        },
        **{f"{q}_ratio": ours["solve_cpu_seconds"][q] / theirs["solve_cpu_seconds"][q] for q in ("p50", "p95")},
        "p95_ratio_by_the_clock": ours["solve_seconds"]["p95"] / theirs["solve_seconds"]["p95"],
        "cost_ratio": ours["cost_over"][oracle.name] or {"ratio": float(np.nan), "low": np.nan, "high": np.nan},
        "cost": {"advice": ours["cost"], "oracle": theirs["cost"]},
        "violation": {"advice": ours["violation"], "oracle": theirs["violation"]},
        "holds": ours["holds"],
        "decisions": ours["decisions"],
    }


if __name__ == "__main__":
    sys.exit(run_experiment("true_model_race", study))
