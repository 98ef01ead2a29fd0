"""Which objective, and is it worth more than a baseline? Every objective and every baseline on six reference plants.

Each plant is run by its own people and recorded by its own historian; every row of the table learns from that record
alone, with the same number of batches. Judged twice, by the CVs' error after 1, 30 and 120 free-running rows over each
CV's standard deviation: over random steps of the MVs with the unmeasured disturbances off (`moved`, which is what
control depends on and what the claim is about), and over the moves that were recorded in the rows held back
(`recorded`, where a model may also profit from what moves announce; docs/closed-loop-data.md).

The seed is that of record, training and judgement. Finished trainings are kept one by one in `runs/objectives/`: a
stopped run goes on where it was, and Ctrl-C gives the figures of what is done.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import procmodel
from experiments.contract import BOUNDS, Outcome, chosen_of, run_experiment
from experiments.objective_models import BASELINES, DEFAULT, MAKERS, Task
from procmodel.data import condition, load_dataset, save_dataset
from procmodel.data.historians import open_historian
from procmodel.evaluation.interventions import Interventions, intervene
from procmodel.evaluation.open_loop import open_loop
from procmodel.evaluation.plain import plain
from procmodel.plant import load_plant
from procmodel.simulation import REFERENCE_PLANTS, record, reference_plant
from procmodel.training.prepare import prepare

STEPS = (1, 30, 120)
JUDGED, LAST = "moved", "120"
CLAIM = "default_over_best_baseline_120"
BOUND = BOUNDS["objectives"][CLAIM][1]
PARTS = ("raw", "generative", "linear-state", "arx-on-its-scales")
"""The default with another loss, and what it begins with: no baselines, but how much of it is whose."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """What is run.

    Attributes:
        plants: Names of reference plants.
        names: Names of `MAKERS`.
        seeds: Of record, training and judgement.
        rows: Of each record.
        epochs, batches: Of every training.
        starts: Free runs over random steps.
        home: Where finished trainings are kept.
    """

    plants: tuple[str, ...] = REFERENCE_PLANTS
    names: tuple[str, ...] = tuple(MAKERS)
    seeds: tuple[int, ...] = (0, 1, 2)
    rows: int = 12_000
    epochs: int = 4
    batches: int = 50
    starts: int = 40
    home: Path = Path("runs/objectives")


QUICK = Study(
    plants=("evaporator",), names=(DEFAULT, "raw", "arx", "persistence"), seeds=(0,), rows=4_000, epochs=1,
    batches=5, starts=4, home=Path("runs/objectives/quick"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
    """One plant's record and what it is judged by."""

    task: Task
    moved: Interventions


@dataclass(kw_only=True)
class Grounds:
    """Grounds of the seed that is run, made when one is first asked for."""

    study: Study
    key: str
    made: dict[tuple[str, int], Ground] = field(default_factory=dict)

    def __call__(self, name: str, seed: int) -> Ground:
        if (name, seed) not in self.made:
            self.made = {key: each for key, each in self.made.items() if key[1] == seed}
            self.made[name, seed] = ground(name, seed, self.study)
        return self.made[name, seed]


def ground(name: str, seed: int, study: Study) -> Ground:
    """Record, condition and prepare; a dataset that an earlier run left is taken up."""
    reference, home = reference_plant(name), study.home / name / f"seed-{seed}-{study.rows}"
    if not (home / "dataset").exists():
        made = record(reference, rows=study.rows, seed=seed, folder=home / "export")
        plant = load_plant(made.plant_file)
        save_dataset(condition(plant, open_historian(plant)), home / "dataset")
    plant = load_plant(home / "export" / "plant.yaml")
    budget = plant.training.model_copy(update={"epochs": study.epochs, "batches": study.batches})
    plant = plant.model_copy(update={"training": budget, "constraints": {}})
    dataset = load_dataset(home / "dataset", plant)
    prepared = prepare(dataset, plant)
    moved = intervene(
        reference, seed=seed + 1000, starts=study.starts, history=prepared.settings.rows, ahead=max(STEPS)
    )
    return Ground(task=Task(plant=plant, dataset=dataset, prepared=prepared), moved=moved)


def one_training(name: str, plant: str, seed: int, grounds: Grounds) -> dict[str, Any]:
    """Figures of one row of the table on one plant from one seed; finished ones are read again."""
    study = grounds.study
    stored = study.home / plant / "trained" / f"{grounds.key}-{seed}-{name}.json"
    if stored.exists():
        kept: dict[str, Any] = json.loads(stored.read_text())
        return kept
    found, began = grounds(plant, seed), time.process_time()
    made = MAKERS[name](found.task, seed)
    seconds, task = time.process_time() - began, found.task
    ahead = open_loop(
        task.dataset, task.plant, {name: made.forecaster}, task.prepared.parts.test,
        history=task.prepared.settings.rows, ahead=max(STEPS),
    )  # fmt: skip
    # Not that of the rows held back: where nobody changed a setpoint there, it is the noise.
    spread = task.prepared.scaler.spread[list(task.columns.cv)]
    figures = {
        "plant": plant,
        "name": name,
        "seed": seed,
        "cpu_seconds": round(seconds, 1),
        "moved": {str(k): plain(float(np.mean(found.moved.error(made.forecaster, k)))) for k in STEPS},
        "recorded": {str(k): plain(float(np.mean(ahead.rms[name][k - 1] / spread))) for k in STEPS},
        **made.facts,
    }
    stored.parent.mkdir(parents=True, exist_ok=True)
    part = stored.with_suffix(".part")
    part.write_text(json.dumps(figures))
    part.replace(stored)
    tell(f"{plant}, {name}, seed {seed}: {figures['moved']} in {seconds:.0f} s")
    return figures


def key_of(study: Study) -> str:
    """Trainings belong to their budget, and to the code that decides what they find."""
    found = hashlib.sha256(f"{study.rows} {study.epochs} {study.batches} {study.starts}".encode())
    home = Path(procmodel.__file__).parent
    for package in ("data", "simulation", "training", "world_model"):
        for file in sorted((home / package).rglob("*.py")):
            found.update(file.read_bytes())
    found.update((Path(__file__).parent / "objective_models.py").read_bytes())
    return found.hexdigest()[:12]


def study_of(study: Study) -> Outcome:
    """All of it, or what was done when it was stopped."""
    grounds, done = Grounds(study=study, key=key_of(study)), list[dict[str, Any]]()
    try:
        # Seed by seed, and every plant of a row before the next: a run that is cut short is short everywhere.
        for seed in study.seeds:
            for name in study.names:
                for plant in study.plants:
                    done.append(one_training(name, plant, seed, grounds))
    except KeyboardInterrupt:
        if not done:
            raise
        whole = len(study.seeds) * len(study.names) * len(study.plants)
        tell(f"Stopped: the figures are of {len(done)} of {whole} trainings.")
    return outcome(done, study)


def outcome(done: Sequence[Mapping[str, Any]], study: Study) -> Outcome:
    """Figures over seeds, and the claim."""
    table = [cell(plant, name, done) for plant in study.plants for name in study.names]
    table = [each for each in table if each["seeds"]]
    ratios = {plant: over_best(plant, done, study, BASELINES) for plant in study.plants}
    parts = {plant: over_best(plant, done, study, PARTS) for plant in study.plants}
    claimed = set(study.names) >= {DEFAULT, *BASELINES} and all(ratios.values())  # some of them claim nothing
    value = plain(float(np.median([each["ratio"] for each in ratios.values()]))) if claimed else None
    results = {
        "study": {**dataclasses.asdict(study), "home": str(study.home)},
        "trainings": len(done),
        "cpu_seconds": round(sum(each["cpu_seconds"] for each in done)),
        CLAIM: ratios,
        "default_over_best_of_its_parts_120": parts,
        "not_within_bound_on": [plant for plant, each in ratios.items() if each and each["ratio"] > BOUND],
        "table": table,
        "runs": done,
    }
    return Outcome(values={CLAIM: value}, results=results, seeds=study.seeds, lines=lines(table, ratios))


def cell(plant: str, name: str, done: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One row of the table on one plant: means over its seeds, and the spread of the last error."""
    mine = [each for each in done if each["plant"] == plant and each["name"] == name]
    out: dict[str, Any] = {"plant": plant, "name": name, "seeds": len(mine)}
    for which in ("moved", "recorded") if mine else ():
        by_step = {str(k): np.array([_number(each[which][str(k)]) for each in mine]) for k in STEPS}
        out[which] = {k: plain(float(errors.mean())) for k, errors in by_step.items()}
        out[f"{which}_std_{LAST}"] = plain(float(by_step[LAST].std()))
    if mine and "collapsed" in mine[0]:
        out["effective_rank"] = plain(float(np.mean([each["effective_rank"] for each in mine])))
        out["of"], out["collapsed"] = mine[0]["of"], sum(each["collapsed"] for each in mine)
    return out


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def over_best(plant: str, done: Sequence[Mapping[str, Any]], study: Study, among: Collection[str]) -> Any:
    """Error of the default over that of the best of these, and which that is, over the seeds of which every row of the
    table is done; None where there is none.

    A forecast that ran to infinity is no best baseline, and for the default it is a ratio without end.
    """
    mine = [each for each in done if each["plant"] == plant]
    whole = [s for s in study.seeds if {each["name"] for each in mine if each["seed"] == s} >= set(study.names)]
    paired = [each for each in mine if each["seed"] in whole]
    error = {name: cell(plant, name, paired)[JUDGED][LAST] for name in study.names if whole}
    others = {name: value for name, value in error.items() if name in among and value is not None}
    if DEFAULT not in error or not others:
        return None
    best = min(others, key=others.__getitem__)
    ours = float("inf") if error[DEFAULT] is None else error[DEFAULT]
    return {"ratio": ours / others[best], "best": best, "seeds": len(whole)}


def lines(table: Sequence[Mapping[str, Any]], ratios: Mapping[str, Any]) -> list[str]:
    """For reading."""
    out = [f"{'plant':<20} {'objective':<24} {'random steps 1, 30, 120':>26} {'recorded 1, 30, 120':>26}  rank"]
    for each in table:
        errors = ["".join(f"{_number(each[which][str(k)]):>9.3f}" for k in STEPS) for which in ("moved", "recorded")]
        rank = f"{_number(each['effective_rank']):.1f} of {each['of']}" if "of" in each else ""
        fell = f", collapsed {each['collapsed']} of {each['seeds']}" if each.get("collapsed") else ""
        out.append(f"{each['plant']:<20} {each['name']:<24} {errors[0]} {errors[1]}  {rank}{fell}")
    out += [f"{plant}: default over {each['best']} {each['ratio']:.3f}" for plant, each in ratios.items() if each]
    return out


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--plants", default="")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--only", default="")
    chosen, rest = parser.parse_known_args(argv)

    def objectives(quick: bool) -> Outcome:
        """Every objective and baseline; --plants a,b, --seeds 0,1 and --only default,arx choose what is run."""
        full = dataclasses.replace(
            Study(),
            plants=chosen_of("--plants", chosen.plants, REFERENCE_PLANTS),
            names=chosen_of("--only", chosen.only, tuple(MAKERS)),
            seeds=tuple(int(seed) for seed in chosen.seeds.split(",")),
        )
        return study_of(QUICK if quick else full)

    return run_experiment("objectives", objectives, rest)


if __name__ == "__main__":
    raise SystemExit(main())
