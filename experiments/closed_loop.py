"""Six reference plants, seven controllers, the same weather for each: what is the advice worth, and against whom?

Every plant is run by its operators for 12,000 rows and more and recorded by its historian; from that export alone come
the world model, and two linear models for the same optimizer. Then all controllers meet the same seeds. Models are kept
in `runs/closed_loop/`, finished seeds beside them: a stopped run goes on where it was, and Ctrl-C gives the figures of
the seeds that are done.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import procmodel
from experiments import results
from experiments.contract import Outcome, chosen_of, run_experiment
from procmodel.advisor import advisor_of, soon
from procmodel.commands.model import Place, dataset_of, ingest, model_of
from procmodel.commands.progress import Progress
from procmodel.control.optimizer import Optimizer
from procmodel.data.dataset import Dataset
from procmodel.data.window import Columns, Scaler
from procmodel.data.windows import scaled_runs
from procmodel.evaluation.closed_loop import run_trials
from procmodel.evaluation.controllers import AdviceControl, Controller, HoldControl, OperatorControl, OracleControl
from procmodel.evaluation.linear_peers import LinearWorld, fit_step_response
from procmodel.evaluation.oracle import Oracle
from procmodel.evaluation.pid import LOOPS, PidControl
from procmodel.evaluation.plain import plain
from procmodel.metrics import ratio_interval
from procmodel.plant import Plant, load_plant
from procmodel.runtime.loop import Advisor
from procmodel.simulation import REFERENCE_PLANTS, ReferencePlant, record, reference_plant
from procmodel.training.artifact import Artifact
from procmodel.training.prepare import parts_of
from procmodel.training.settings import horizon_rows, window_rows
from procmodel.world_model.doubt import doubt_about
from procmodel.world_model.linear import LinearState
from procmodel.world_model.n4sid import fit_n4sid

HOME = Path("runs/closed_loop")
RECORD_SEED = 0
RECORD_ROWS: Mapping[str, int] = {
    "evaporator": 12_000,  # 8 days
    "quadruple-tank": 40_000,  # 56 h
    "van-de-vusse": 12_000,  # 67 h
    "distillation-column": 12_000,  # 8 days
    "drum-boiler": 12_000,  # 33 h
    "gas-turbine": 12_000,  # 7 h
}
SEEDS = tuple(range(1001, 1101))
DECISIONS: Mapping[str, int] = {
    "evaporator": 24,
    "quadruple-tank": 84,  # of 5 s: seven minutes, with one change of both setpoints or two
    "van-de-vusse": 30,
    "distillation-column": 24,
    "drum-boiler": 36,
    "gas-turbine": 24,
}
"""Control ticks of one episode."""
SETTLE = 60
"""Rows of a step response, as many as the optimizer looks ahead on these plants."""
LINEAR = ("lmpc-n4sid", "dmc")
PLANTS_CODE = ("simulation/*.py", "evaluation/*.py", "plant/*.py", "metrics/*.py", "control/horizon.py")
"""What a trial of a controller that learned nothing runs through."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What comes of one plant's record; controllers by the key under which their finished trials are kept."""

    reference: ReferencePlant
    controllers: Mapping[str, tuple[Controller, ...]]
    warmup: int


def study_of(quick: bool, plants: Sequence[str], kept: Mapping[str, Mapping[str, Any]]) -> Outcome:
    """Some plants through all seeds, beside the tables of an earlier run for those that are not run."""
    seeds, home = (SEEDS[:1], HOME / "quick") if quick else (SEEDS, HOME)
    trained = {name: train(name, home / name, 6_000 if quick else RECORD_ROWS[name]) for name in plants}
    done: list[dict[str, dict[str, Any]]] = []
    with asked_to_stop() as asked:
        for seed in seeds:  # all plants of a seed before the next: a run that is cut short is short everywhere
            decisions = {name: 12 if quick else DECISIONS[name] for name in plants}
            found: dict[str, dict[str, Any]] = {}
            for name in plants:
                if asked:
                    break
                found[name] = episode(trained[name], home / name, seed, decisions[name])
            else:
                done.append(found)
                print(f"seed {seed} done on {len(plants)} plants", file=sys.stderr, flush=True)
    if not done:
        raise KeyboardInterrupt
    if asked:
        print(f"Stopped: the figures are of {len(done)} of {len(seeds)} seeds.", file=sys.stderr, flush=True)
    tables = {**kept, **{name: table([each[name] for each in done]) for name in plants}}
    return outcome({name: tables[name] for name in REFERENCE_PLANTS if name in tables}, seeds[: len(done)])


@contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """Gets an entry at Ctrl-C, in place of the exception: CasADi swallows that inside IPOPT and counts the solve as a
    failed one, which would stand in the figures."""
    asked: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: asked.append(number))
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def train(name: str, folder: Path, rows: int) -> Trained:
    """Record, world model and linear models of one plant; what is there already is taken."""
    place, progress = Place(out=folder.absolute()), Progress()
    reference, plant, artifact = recorded_model(name, folder, rows)
    dataset = dataset_of(plant, place, progress)
    linear = linear_controllers(plant, dataset, artifact.scaler.straight)
    learned = (AdviceControl(advisor_of(plant, artifact)), *linear)
    others = (PidControl(plant, LOOPS[name]), OperatorControl(), HoldControl(), OracleControl(Oracle(reference)))
    warmup = max(each.history for each in learned)
    return Trained(
        reference=reference,
        # Trials belong to the weights that advised in them and to the code that ran them. Controllers that learned
        # nothing go through none of the advice's code, so their trials outlive its changes.
        controllers={
            key_of((place.model / "manifest.json").read_bytes()): learned,
            key_of(f"{plant.fingerprint} {warmup}".encode(), PLANTS_CODE): others,
        },
        warmup=warmup,
    )


def recorded_model(name: str, folder: Path, rows: int) -> tuple[ReferencePlant, Plant, Artifact]:
    """Record and world model of one plant; what is there already is taken."""
    reference, place, progress = reference_plant(name), Place(out=folder.absolute()), Progress()
    if not (place.dataset.exists() and (folder / "export" / "plant.yaml").exists()):
        made = record(reference, rows=rows, seed=RECORD_SEED, folder=folder / "export")
        ingest(load_plant(made.plant_file), place, progress)
    plant = load_plant(folder / "export" / "plant.yaml")
    return reference, plant, model_of(plant, place, progress)


def key_of(start: bytes, code: Sequence[str] = ("**/*.py",)) -> str:
    """Of some bytes and of the code of procmodel, all of it or these files."""
    found = hashlib.sha256(start)
    for pattern in code:
        for file in sorted(Path(procmodel.__file__).parent.glob(pattern)):
            found.update(file.read_bytes())
    return found.hexdigest()[:12]


def linear_controllers(plant: Plant, dataset: Dataset, scaler: Scaler) -> list[AdviceControl]:
    """Two linear models from the rows that the world model learns from, in the same optimizer and loop."""
    parts, columns = parts_of(dataset, plant), Columns.of(plant)
    runs, held = (scaled_runs(dataset, scaler, columns, part) for part in (parts.train, parts.validation))
    states: dict[str, LinearState] = {
        "lmpc-n4sid": fit_n4sid(runs, window_rows(plant) - 1),
        "dmc": fit_step_response(runs, held, SETTLE),
    }
    judged = [dataset.values[s.start : s.stop] for s in parts.validation]
    without = plant.model_copy(update={"constraints": {}})  # linear MPC learns no margins from a laboratory
    found = []
    for name, state in states.items():
        model = LinearWorld(state, columns)
        doubt = doubt_about(model, scaler, columns, judged, horizon_rows(plant), plant.advice.confidence)
        reserve = soon(doubt.backoff_HY)
        optimizer = Optimizer(plant=without, model=model, scaler=scaler, backoff_HY=reserve, bias=doubt.bias)
        advisor = Advisor(plant=without, planner=optimizer, model=model, scaler=scaler, name=name)
        found.append(AdviceControl(advisor, name=name))
    return found


def episode(trained: Trained, folder: Path, seed: int, decisions: int) -> dict[str, Any]:
    """All controllers through one seed; a finished one is read again."""
    plant = trained.reference.plant
    rows = decisions * max(1, round((plant.advice.every or plant.sample_time) / plant.sample_time))
    found: dict[str, Any] = {"seed": seed, "rows": rows}
    for key, controllers in trained.controllers.items():
        stored = folder / "trials" / f"{key}-{rows}-{seed}.json"
        if not stored.exists():
            stored.parent.mkdir(parents=True, exist_ok=True)
            part = stored.with_suffix(".part")
            part.write_text(json.dumps(_trials(trained, controllers, seed, rows)))
            part.replace(stored)
        found |= json.loads(stored.read_text())
    return found


def _trials(trained: Trained, controllers: Sequence[Controller], seed: int, rows: int) -> dict[str, Any]:
    loop = run_trials(trained.reference, controllers, (seed,), rows=rows, warmup=trained.warmup).to_dict()
    keep = ("cost", "violation", "holds", "hold_reasons", "decisions", "solve_seconds", "travel_percent_per_row")
    return {c.name: {k: loop[c.name][k] for k in keep} for c in controllers}


def outcome(tables: Mapping[str, Mapping[str, Any]], seeds: Sequence[int]) -> Outcome:
    """Figures over all seeds, and the claims."""
    over = {name: each["advice"]["cost_over"]["oracle"]["ratio"] for name, each in tables.items()}
    beaten = [all(each["advice"]["cost"] < each[peer]["cost"] for peer in LINEAR) for each in tables.values()]
    ticks = sum(each["advice"]["decisions"] for each in tables.values())
    held = sum(each["advice"]["holds"] for each in tables.values())
    excess = {name: each["advice"]["rank_1"] - each["oracle"]["rank_1"] for name, each in tables.items()}
    without = sum(each["oracle"]["holds"] for each in tables.values())
    asked = sum(each["oracle"]["decisions"] for each in tables.values())
    values = {
        "worst_cost_over_oracle": max(over.values()),
        "beats_linear_mpc_share": float(np.mean(beaten)),
        "hold_share": held / ticks,
        "worst_rank_1_above_oracle": max(excess.values()),
    }
    return Outcome(
        values=values,
        results={**values, "oracle_without_solution_share": without / asked, "plants": tables},
        seeds=list(seeds),
        lines=lines(tables),
    )


def table(trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Per controller: mean cost, its ratio to the oracle's and to the advice's with 95 % intervals, and the rest."""
    names = [who for who, each in trials[0].items() if isinstance(each, Mapping)]
    cost = {who: np.array([trial[who]["cost"] for trial in trials]) for who in names}
    out: dict[str, Any] = {"rows": trials[0]["rows"], "seeds": len(trials)}
    for who in names:
        mine = [trial[who] for trial in trials]
        out[who] = {
            "cost": plain(float(cost[who].mean())),
            "cost_over": {other: ratio(cost[who], cost[other]) for other in ("oracle", "advice") if other != who},
            "rank_1": float(np.mean([each["violation"].get("1", {}).get("share", 0.0) for each in mine])),
            "holds": sum(each["holds"] for each in mine),
            "hold_reasons": reasons(mine),
            "decisions": sum(each["decisions"] for each in mine),
            "travel_percent_per_row": plain(float(np.mean([sum(e["travel_percent_per_row"].values()) for e in mine]))),
            "median_seconds": plain(float(np.median([each["solve_seconds"]["p50"] for each in mine]))),
        }
    return out


def ratio(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Ratio of mean costs over the same seeds, with its paired 95 % interval; one seed has none."""
    if len(ours) < 2:
        value = float(ours.mean() / theirs.mean())
        return {"ratio": value, "low": value, "high": value}
    interval = ratio_interval(ours, theirs)
    return {"ratio": plain(interval.ratio), "low": plain(interval.low), "high": plain(interval.high)}


def reasons(mine: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Why there was no advice, counted."""
    found: dict[str, int] = {}
    for each in mine:
        for reason, count in each["hold_reasons"].items():
            found[reason] = found.get(reason, 0) + count
    return found


def lines(tables: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """For reading."""
    out = []
    for name, each in tables.items():
        out.append(f"{name}: {each['seeds']} seeds of {each['rows']} rows")
        if without := each["oracle"]["holds"]:
            out.append(f"  the oracle had no solution {without} times of {each['oracle']['decisions']}")
        for who, figures in each.items():
            if not isinstance(figures, Mapping):
                continue
            over = figures["cost_over"].get("oracle")
            words = f"{over['ratio']:7.3f} of the oracle's ({over['low']:.3f} to {over['high']:.3f})" if over else ""
            out.append(
                f"  {who:11} cost {figures['cost']:<10.5g} rank 1 broken {100 * figures['rank_1']:5.2f} %  "
                f"holds {figures['holds']:3d}  {words}"
            )
    return out


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--plants", default="")
    parser.add_argument("--others-stored", action="store_true")
    chosen, rest = parser.parse_known_args(argv)

    def closed_loop(quick: bool) -> Outcome:
        """Advice against hold, operator, PID, linear MPC (N4SID and DMC) and an all-knowing oracle on six plants;
        --plants a,b chooses what is run, --others-stored takes the other plants from the stored run."""
        wish = chosen.plants or ("quadruple-tank" if quick else "")
        plants = chosen_of("--plants", wish, REFERENCE_PLANTS)
        return study_of(quick, plants, results.stored("closed_loop").get("plants", {}) if chosen.others_stored else {})

    return run_experiment("closed_loop", closed_loop, rest)


if __name__ == "__main__":
    raise SystemExit(main())
