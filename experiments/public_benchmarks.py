"""Free runs on two real rigs, under the protocols that other authors used: 50 samples are seen, then the inputs only.

The world model is the one that `procmodel train` makes, with settings of the plant file; no test row chose them.

- Micro gas turbine (UCI 994): `examples/micro_gas_turbine/plant.yaml`; official runs, error on the recorded stamps [W].
- Cascaded tanks (nonlinearbenchmark.org): the first half estimates, the second tests; error from sample 51 on [V].
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from experiments.contract import Outcome, run_experiment
from experiments.recordings import cascaded_tanks, folder_of
from procmodel.data import condition
from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.historians import open_historian
from procmodel.data.samples import Query
from procmodel.data.window import Columns
from procmodel.data.windows import scaled_runs
from procmodel.evaluation.baselines import ArxForecast, Forecaster, ModelForecast
from procmodel.evaluation.free_run import GIVEN, free_run, judge_free_run
from procmodel.evaluation.raw import raw_samples
from procmodel.plant import Plant, load_plant
from procmodel.training.prepare import Prepared, prepare
from procmodel.training.train import Told, train_member
from procmodel.world_model.linear import fit_arx

Array = np.ndarray
SEEDS = (0, 1, 2)
SCRATCH = Path("runs/experiments/public_benchmarks/training")
"""Below the current folder: a run that was stopped, or done before, is taken up by the next."""
TURBINE = Path(__file__).resolve().parents[1] / "examples" / "micro_gas_turbine" / "plant.yaml"
TANKS: dict[str, Any] = {
    "name": "cascaded-tanks",
    "description": "Two tanks one above the other; a pump fills the upper one, and both overflow.",
    "sample_time": "4 s",
    "tags": {
        "U": {"role": "MV", "unit": "V", "limits": [0, 10], "max_move": 1},
        "Y": {"role": "CV", "unit": "V", "range": [0, 10], "setpoint": 5},
    },
    "split": {"test": ["test"], "validation": 0.07},
    "training": {
        "window": "40 s", "rollout": "240 s", "latent": 2, "hidden": 16, "epochs": 6, "batches": 60, "batch": 64,
        "learning_rate": 4e-3, "sigreg": 0.2, "shrink": 0.1, "scales": "straight",
    },
    "advice": {"horizon": "120 s"},
}  # fmt: skip


def tanks() -> tuple[Plant, Dataset]:
    """The tanks' record as a dataset: a row holds the level at its end and the pump's voltage that led there."""
    estimation, test = (np.column_stack([np.r_[u[:1], u[:-1]], y]) for u, y in cascaded_tanks())
    plant, begin = Plant.model_validate(TANKS), datetime(2016, 1, 1, tzinfo=UTC)
    values = np.concatenate([estimation, test])
    return plant, Dataset(
        columns=("U", "Y"),
        values=values,
        good_fraction=np.ones_like(values, dtype=np.float32),
        start=begin,
        step=plant.sample_time,
        stretches=(
            Stretch(name="estimation", start=0, stop=len(estimation)),
            Stretch(name="test", start=len(estimation), stop=len(values), began=begin + timedelta(days=1)),
        ),
    )


def turbine() -> tuple[Plant, Dataset]:
    """The turbine's plant file, and its record on the grid."""
    os.environ["PROCMODEL_DATA"] = str(folder_of("micro_gas_turbine").parent)
    plant = load_plant(TURBINE)
    return plant, condition(plant, open_historian(plant))


def shorter(plant: Plant) -> Plant:
    """The same plant for the quick form; of a small latent, so few batches could leave one dimension idle."""
    wishes = {"epochs": 1, "batches": 4, "latent": 8}
    return plant.model_copy(update={"training": plant.training.model_copy(update=wishes)})


def members(plant: Plant, dataset: Dataset, prepared: Prepared, seeds: Sequence[int]) -> Iterator[ModelForecast]:
    """One trained model per seed; a run that was stopped goes on from its last epoch, as `procmodel train` does."""
    for seed in seeds:
        chosen = dataclasses.replace(prepared.settings, seed=seed)
        scratch = SCRATCH / plant.name / f"member-{seed}"
        model, _ = train_member(dataset, plant, prepared, chosen, scratch, Told(None, None, 0, 1, seed))
        print(f"{plant.name}: seed {seed} is trained", file=sys.stderr)
        yield ModelForecast(
            model=model.double().eval().requires_grad_(False), scaler=prepared.scaler, columns=Columns.of(plant)
        )


def linear(plant: Plant, prepared: Prepared, dataset: Dataset) -> ArxForecast:
    """ARX of as many lags as the model's window has rows, less one."""
    columns, scaler = Columns.of(plant), prepared.scaler.straight
    runs = scaled_runs(dataset, scaler, columns, prepared.parts.train)
    return ArxForecast(arx=fit_arx(runs, prepared.settings.rows - 1), scaler=scaler, columns=columns)


def turbine_errors(quick: bool) -> dict[str, Any]:
    """Error of each test run [W], by seed, and that of ARX."""
    plant, dataset = turbine()
    plant = shorter(plant) if quick else plant
    prepared, [cv] = prepare(dataset, plant), plant.cvs
    raw = raw_samples(open_historian(plant).read(Query(tags=(cv,))), cv)
    runs = [s for s in dataset.stretches if s.name in plant.split.test]

    def errors(forecaster: Forecaster) -> list[float]:
        return [
            judge_free_run(forecaster, dataset, plant, run, raw, cv, history=prepared.settings.rows).rmse
            for run in runs
        ]

    by_seed = [errors(one) for one in members(plant, dataset, prepared, SEEDS[:1] if quick else SEEDS)]
    return table([run.name for run in runs], by_seed, errors(linear(plant, prepared, dataset)), plant, prepared)


def tanks_errors(quick: bool) -> dict[str, Any]:
    """Error of the test half from sample 51 on [V], by seed, and that of ARX."""
    plant, dataset = tanks()
    plant = shorter(plant) if quick else plant
    prepared, columns = prepare(dataset, plant), Columns.of(plant)
    [test] = [s for s in dataset.stretches if s.name == "test"]
    rows = dataset.values[test.start : test.stop]

    def errors(forecaster: Forecaster) -> list[float]:
        ahead = free_run(forecaster, columns, rows, given=GIVEN, history=prepared.settings.rows)
        return [float(np.sqrt(np.mean((ahead[:, 0] - rows[GIVEN:, columns.cv[0]]) ** 2)))]

    by_seed = [errors(one) for one in members(plant, dataset, prepared, SEEDS[:1] if quick else SEEDS)]
    return table(["test"], by_seed, errors(linear(plant, prepared, dataset)), plant, prepared)


def table(
    names: Sequence[str], by_seed: Sequence[Sequence[float]], arx: Sequence[float], plant: Plant, prepared: Prepared
) -> dict[str, Any]:
    """Mean, spread and each seed's error by test run."""
    found = np.array(by_seed)
    return {
        "unit": plant.tags[plant.cvs[0]].unit,
        "errors": {
            name: {"mean": found[:, i].mean(), "spread": found[:, i].std(), "by_seed": found[:, i], "arx": arx[i]}
            for i, name in enumerate(names)
        },
        "settings": prepared.settings.to_dict(),
        "training_rows": sum(s.rows for s in prepared.parts.train),
    }


def study(quick: bool) -> Outcome:
    """Free runs on a real micro gas turbine and on real cascaded tanks."""
    found = {"cascaded_tanks": tanks_errors(quick), "micro_gas_turbine": turbine_errors(quick)}
    gas, water = found["micro_gas_turbine"]["errors"], found["cascaded_tanks"]["errors"]
    return Outcome(
        values={
            "cascaded_tanks_rmse": float(water["test"]["mean"]),
            "mgt_rmse_ex_4": float(gas["ex_4"]["mean"]),
            "mgt_rmse_ex_22": float(gas["ex_22"]["mean"]),
        },
        results=found,
        seeds=SEEDS[:1] if quick else SEEDS,
        lines=[
            f"{rig:18} {name:6} {one['mean']:8.3f} +- {one['spread']:.3f} {each['unit']} (ARX {one['arx']:.3f})"
            for rig, each in found.items()
            for name, one in each["errors"].items()
        ],
    )


if __name__ == "__main__":
    sys.exit(run_experiment("public_benchmarks", study))
