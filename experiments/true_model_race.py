"""A whole tick of advice on a learned model against IPOPT on the true equations: seconds and closed-loop cost.

Evaporator and quadruple tank, each learned from 40,000 rows of its operators' record with the demo's settings. The
rival is the evaluation's oracle: CasADi and IPOPT on the true equations, from the true state, with today's disturbances
and the same horizon, blocks and move limits. Episodes are paired: the same weather, noise and setpoints. They are
short, 120 rows with a seed of its own each. Seconds are those of the processor, since the machine may have other work
and the two controllers take their turns; those of the clock are reported beside them.

    python -m experiments.true_model_race [--keep FOLDER [--seconds S]] [--json] [--quick] [--out DIR]

With `--keep` what is trained and each episode that is over are kept, and the next call goes on from there; with
`--seconds` no further episode begins after so long, and the study says how many are left. A model that is kept is used
as it is: name a new folder after a change to what trains, plans or judges.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.contract import Outcome, run_experiment
from procmodel.advisor import advisor_of, optimizer_of
from procmodel.commands.model import Place, ingest, model_of
from procmodel.commands.progress import Progress
from procmodel.errors import ProcmodelError
from procmodel.evaluation.closed_loop import run_trials
from procmodel.evaluation.controllers import AdviceControl, Controller, OracleControl
from procmodel.evaluation.oracle import Oracle
from procmodel.evaluation.trial import ClosedLoop, Trial
from procmodel.metrics import LoopFigures
from procmodel.plant import load_plant
from procmodel.simulation import ReferencePlant, record, reference_plant

PLANTS = ("evaporator", "quadruple-tank")
RECORD_SEED = 0
TRIAL_SEEDS = tuple(range(201, 251))
"""Not the record's: the same seed is the same weather."""
ROWS, QUICK_ROWS = 120, 40


def study(quick: bool, *, keep: Path | None = None, seconds: float = float("inf")) -> Outcome:
    """Ticks of advice on learned models against IPOPT on the true equations."""
    seeds = TRIAL_SEEDS[: 3 if quick else None]
    until = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as scratch:
        folder = (keep or Path(scratch)) / ("quick" if quick else "full")
        found = {name: race(name, folder / name, seeds, until, quick=quick) for name in PLANTS}
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


def race(name: str, out: Path, seeds: tuple[int, ...], until: float, *, quick: bool) -> dict[str, Any]:
    """One plant: learned from its record, then both controllers through every episode.

    Raises:
        ProcmodelError: The time is over before all episodes are.
    """
    reference, progress = reference_plant(name), Progress()
    rows = QUICK_ROWS if quick else ROWS
    plant_file = out / "export" / "plant.yaml"
    if not (out / "model").exists():
        plant_file = record(
            reference, rows=12_000 if quick else 40_000, seed=RECORD_SEED, folder=out / "export"
        ).plant_file
    plant, place = load_plant(plant_file), Place(out=out)
    if not place.model.exists():
        ingest(plant, place, progress)
    artifact = model_of(plant, place, progress)
    optimizer = optimizer_of(plant, artifact)
    advice = AdviceControl(advisor_of(plant, artifact))
    oracle = OracleControl(Oracle(reference))
    progress.stage("race", f"{name}: advice against IPOPT on the true equations")
    trials = _trials(reference, [advice, oracle], seeds, rows, optimizer.rows_wanted, out / "episodes", until).to_dict()
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


def _trials(
    reference: ReferencePlant,
    controllers: list[Controller],
    seeds: tuple[int, ...],
    rows: int,
    warmup: int,
    folder: Path,
    until: float,
) -> ClosedLoop:
    """All episodes; one that is over is kept, and read when it is asked for again."""
    folder.mkdir(parents=True, exist_ok=True)
    kept: dict[str, tuple[Trial, ...]] = {controller.name: () for controller in controllers}
    for done, seed in enumerate(seeds):
        file = folder / f"{seed}.json"
        if not file.exists():
            if time.monotonic() > until:
                raise ProcmodelError(
                    f"{reference.plant.name}: {done} of {len(seeds)} episodes are over, and so is the time. "
                    "Call it again to go on."
                )
            loop = run_trials(reference, controllers, [seed], rows=rows, warmup=warmup)
            part = file.with_suffix(".part")
            told = {name: dataclasses.asdict(trial) for name, (trial,) in loop.trials.items()}
            part.write_text(json.dumps(told, default=lambda array: array.tolist()))
            part.replace(file)
            print(f"{reference.plant.name}: episode {done + 1} of {len(seeds)}", file=sys.stderr)
        trials = json.loads(file.read_text())
        kept = {name: (*found, _trial(trials[name])) for name, found in kept.items()}
    return ClosedLoop(reference=reference, seeds=seeds, rows=rows, warmup=warmup, trials=kept)


def _trial(told: dict[str, Any]) -> Trial:
    """A trial as its file tells it: arrays are lists there, and ranks are text."""
    figures = told["figures"]
    by_rank = {name: {int(rank): share for rank, share in figures[name].items()} for name in ("violation", "violated")}
    arrays = {name: np.array(value) for name, value in told.items() if isinstance(value, list) and name != "holds"}
    return Trial(
        **{
            **told,
            **arrays,
            "holds": tuple((row, why) for row, why in told["holds"]),
            "figures": LoopFigures(**{**figures, **by_rank, "travel": np.array(figures["travel"])}),
        }
    )


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    chosen, rest = parser.parse_known_args()
    wanted: Callable[[bool], Outcome] = partial(study, keep=chosen.keep, seconds=chosen.seconds)
    wanted.__doc__ = study.__doc__
    return run_experiment("true_model_race", wanted, rest)


if __name__ == "__main__":
    sys.exit(main())
