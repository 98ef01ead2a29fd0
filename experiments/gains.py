"""What does a move do? Gains found in operators' data alone, against the equations, beside ARX and N4SID.

Each reference plant is run by its own people and recorded by its own historian. From that record three models are
found: the world model, with no sign declared and, where it then has one wrong, with all of them; ARX by least squares
over the same history; N4SID. Each is asked for its step responses at six operating points, and so are the equations,
over the same horizon, so that slow and integrating pairs are compared like with like. Then somebody steps the MVs at
random on the plant without unmeasured disturbances, and the error of 120 free rows is the model's own.

Last, the plant test that is proposed for the record, or, where none is, the one that who asks would get, is made on the
plant in its usual weather, joins the record, and the world model is trained again.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments import results
from experiments.contract import Outcome, chosen_of, run_experiment
from experiments.plant_tests import choose_tests, make_tests
from procmodel.data import condition
from procmodel.data.dataset import Dataset
from procmodel.data.historians import open_historian
from procmodel.data.window import Columns
from procmodel.data.windows import scaled_runs
from procmodel.evaluation.baselines import ArxForecast, Forecaster, LinearForecast, ModelForecast
from procmodel.evaluation.gains import Gains, compare_gains
from procmodel.evaluation.interventions import Interventions, intervene
from procmodel.evaluation.step_response import StepResponse, model_response, operating_points, true_response
from procmodel.plant import Gain, Plant, load_plant
from procmodel.simulation import REFERENCE_PLANTS, ReferencePlant, record, reference_plant
from procmodel.training.callbacks import Told
from procmodel.training.prepare import Prepared, prepare
from procmodel.training.train import train_member
from procmodel.world_model.linear import fit_arx
from procmodel.world_model.n4sid import fit_n4sid

Array = np.ndarray
OURS, DECLARED, LINEAR = "world model", "world model, signs declared", ("arx", "n4sid")
TESTED = "world model, after a plant test"
POINTS, HORIZON, AHEAD, WITHIN = 6, 300, 120, 0.25


@dataclass(frozen=True, kw_only=True)
class Study:
    """What is run.

    Attributes:
        plants: Names of reference plants.
        seeds: Of the records.
        rows: Of each record.
        epochs: Of training; None: as the plant file says.
        starts: Free runs over random steps.
    """

    plants: tuple[str, ...] = REFERENCE_PLANTS
    seeds: tuple[int, ...] = (0,)
    rows: int = 30_000
    epochs: int | None = None
    starts: int = 40


QUICK = Study(plants=("evaporator",), rows=6_000, epochs=1, starts=6)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
    """A plant with its record and the truth to judge by."""

    reference: ReferencePlant
    plant: Plant
    dataset: Dataset
    prepared: Prepared
    histories: Array
    truth: StepResponse
    moved: Interventions


def ground(name: str, seed: int, study: Study) -> Ground:
    """Record, condition and prepare one plant; its declared signs are taken away."""
    reference = reference_plant(name)
    with tempfile.TemporaryDirectory() as folder:
        recorded = record(reference, rows=study.rows, seed=seed, folder=Path(folder))
        plant = load_plant(recorded.plant_file)
        dataset = condition(plant, open_historian(plant))
    plant = plant.model_copy(update={"gains": {}, "constraints": {}})
    if study.epochs is not None:
        plant = plant.model_copy(update={"training": plant.training.model_copy(update={"epochs": study.epochs})})
    prepared = prepare(dataset, plant)
    histories, points = operating_points(recorded.run, prepared.settings.rows, POINTS)
    return Ground(
        reference=reference, plant=plant, dataset=dataset, prepared=prepared, histories=histories,
        truth=true_response(reference, points, HORIZON),
        moved=intervene(reference, seed=seed + 1000, starts=study.starts, history=prepared.settings.rows, ahead=AHEAD),
    )  # fmt: skip


def linear_models(found: Ground) -> dict[str, Forecaster]:
    """ARX over the world model's own history, and N4SID."""
    prepared, columns = found.prepared, Columns.of(found.plant)
    scaler = prepared.scaler.straight
    runs = scaled_runs(found.dataset, scaler, columns, prepared.parts.train)
    lags = prepared.settings.rows - 1
    return {
        "arx": ArxForecast(arx=fit_arx(runs, lags), scaler=scaler, columns=columns),
        "n4sid": LinearForecast(state=fit_n4sid(runs, lags), scaler=scaler, columns=columns),
    }


def trained(found: Ground, plant: Plant) -> ModelForecast:
    """The world model as `procmodel train` makes it."""
    prepared = found.prepared if plant is found.plant else prepare(found.dataset, plant)
    with tempfile.TemporaryDirectory() as folder:
        model, _ = train_member(
            found.dataset, plant, prepared, prepared.settings, Path(folder), Told(None, None, 0, 1, 0)
        )
    return ModelForecast(model=model, scaler=prepared.scaler, columns=Columns.of(plant))


def with_true_signs(found: Ground) -> Plant:
    """All signs declared, as the equations have them; a pair that counts as zero has none."""
    gains = judged(found, found.truth)
    plant = found.plant
    declared = {
        (mv, cv): Gain(sign="+" if found.truth.gain[y, u] > 0 else "-")
        for u, mv in enumerate(plant.mvs)
        for y, cv in enumerate(plant.cvs)
        if not gains.figures.zero[y, u]
    }
    return plant.model_copy(update={"gains": declared})


def judged(found: Ground, response: StepResponse) -> Gains:
    return compare_gains(response, found.prepared.scaler.spread, found.truth.gain)


def step_gains(found: Ground, forecaster: Forecaster) -> Gains:
    """Gains by step response at the same operating points over the same horizon as the truth."""
    spread = found.prepared.scaler.spread
    return judged(found, model_response(forecaster, found.plant, found.histories, spread, HORIZON))


def facts(gains: Gains, error: Array) -> dict[str, Any]:
    """One model on one plant."""
    figures = gains.figures
    near = figures.relative_error <= WITHIN
    return {
        "right": figures.right_pairs,
        "pairs": figures.pairs,
        "gain_error": figures.mean_relative_error,
        "within_25_percent": int(near.sum()),
        "nonzero_pairs": figures.nonzero_pairs,
        "gain": gains.model.gain,
        "interventional_error_120": float(np.mean(error)),
        "interventional_error_120_by_cv": error,
    }


def one_plant(name: str, seed: int, study: Study) -> dict[str, Any]:
    """All models on one plant and one record."""
    tell(f"{name}, seed {seed}: record")
    found = ground(name, seed, study)
    tell(f"{name}, seed {seed}: train")
    models: dict[str, Forecaster] = {**linear_models(found), OURS: trained(found, found.plant)}
    table = {who: facts(step_gains(found, model), found.moved.error(model)) for who, model in models.items()}
    if table[OURS]["right"] < table[OURS]["pairs"]:
        tell(f"{name}, seed {seed}: train with signs")
        model = trained(found, with_true_signs(found))
        table[DECLARED] = facts(step_gains(found, model), found.moved.error(model))
    else:
        table[DECLARED] = {**table[OURS], "trained_again": False}  # nothing is imposed where all signs are right
    tests, asked = choose_tests(found.dataset, found.plant)
    tell(f"{name}, seed {seed}: train with a plant test")
    longer = make_tests(found.reference, found.dataset, tests, seed + 2000)
    after = dataclasses.replace(found, dataset=longer, prepared=prepare(longer, found.plant))
    model = trained(after, after.plant)
    table[TESTED] = facts(step_gains(after, model), found.moved.error(model))
    return {
        "plant": name,
        "seed": seed,
        "moves_answer_cvs": {mv: found.prepared.audit[mv]["moves_answer_cvs"] for mv in found.plant.mvs},
        "plant_test": {
            "asked_for": asked,
            "steps": {mv: str(test) for mv, test in tests.items()},
            "rows": longer.rows - found.dataset.rows,
        },
        "true_gain": found.truth.gain,
        "models": table,
        "error_over_best_linear_120": table[OURS]["interventional_error_120"]
        / min(table[who]["interventional_error_120"] for who in LINEAR),
    }


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The claims, over all plants and seeds; per plant first, so that no plant counts twice."""

    def share(who: str) -> float:
        return sum(r["models"][who]["right"] for r in runs) / sum(r["models"][who]["pairs"] for r in runs)

    def per_plant(of: Any) -> list[float]:
        names = dict.fromkeys(r["plant"] for r in runs)
        return [float(np.mean([of(r) for r in runs if r["plant"] == name])) for name in names]

    return {
        "sign_share_undeclared": share(OURS),
        "sign_share_declared": share(DECLARED),
        "mean_gain_error_undeclared": float(np.mean(per_plant(lambda r: r["models"][OURS]["gain_error"]))),
        "interventional_error_over_best_linear_120": float(
            np.median(per_plant(lambda r: r["error_over_best_linear_120"]))
        ),
    }


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def lines(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    out = [f"{'plant':<20} {'model':<32} {'signs':>7} {'gain error':>11} {'error at 120':>13}"]
    for run in runs:
        for who, of in run["models"].items():
            out.append(
                f"{run['plant']:<20} {who:<32} {of['right']:>3}/{of['pairs']:<3} {100 * of['gain_error']:>9.0f} % "
                f"{of['interventional_error_120']:>13.3f}"
            )
    return out


def study_of(study: Study, kept: Sequence[Mapping[str, Any]] = ()) -> Outcome:
    """The study, with runs of an earlier one beside it for plants that are not run."""
    runs = [*kept, *(one_plant(name, seed, study) for name in study.plants for seed in study.seeds)]
    runs.sort(key=lambda run: (REFERENCE_PLANTS.index(run["plant"]), run["seed"]))
    return Outcome(
        values=summary(runs),
        results={
            "study": {**dataclasses.asdict(study), "plants": list(dict.fromkeys(run["plant"] for run in runs))},
            "runs": runs,
        },
        seeds=study.seeds,
        lines=lines(runs),
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--plants", default="")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--others-stored", action="store_true")
    chosen, rest = parser.parse_known_args(argv)

    def gains(quick: bool) -> Outcome:
        """Gains from operators' data; --plants a,b and --seeds 0,1 choose what is run, --others-stored takes the other
        plants from the stored run."""
        plants = chosen_of("--plants", chosen.plants, REFERENCE_PLANTS)
        full = dataclasses.replace(Study(), plants=plants, seeds=tuple(int(seed) for seed in chosen.seeds.split(",")))
        stored = results.stored("gains").get("runs", []) if chosen.others_stored else []
        return study_of(QUICK if quick else full, [run for run in stored if run["plant"] not in full.plants])

    return run_experiment("gains", gains, rest)


if __name__ == "__main__":
    raise SystemExit(main())
