"""A tiny plant whose record is made here: two moves, two answers, one disturbance, linear with noise."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.window import Columns, Scaler
from procmodel.plant import Plant
from procmodel.training.prepare import prepare
from procmodel.world_model.latent_model import LatentModel, ModelConfig

STEP = 5.0
START = datetime(2026, 3, 1, tzinfo=UTC)
TO_MV = np.array([[0.05, 0.01], [-0.02, 0.06]])
FADE = np.array([0.9, 0.8])


def tiny_plant(**changes: Any) -> Plant:
    """`changes` replace whole sections, or single wishes of `training`."""
    sections = {key: changes.pop(key) for key in ("split", "advice", "constraints", "name") if key in changes}
    return Plant.model_validate(
        {
            "name": "tiny",
            "sample_time": "5 s",
            "tags": {
                "M1": {"role": "MV", "unit": "%"},
                "Y1": {"role": "CV", "unit": "degC"},
                "M2": {"role": "MV", "unit": "%"},
                "Y2": {"role": "CV", "unit": "bar"},
                "D1": {"role": "DV", "unit": "degC"},
            },
            "training": {
                "window": 8 * STEP,
                "latent": 4,
                "hidden": 16,
                "epochs": 2,
                "batches": 10,
                "batch": 32,
                "learning_rate": 0.01,
                "sigreg": 5.0,  # so few batches would not spread the latent otherwise
                **changes,
            },
            "advice": {"horizon": 10 * STEP},
            **sections,
        }
    )


def tiny_record(rows: int = 1500, *, seed: int = 0, feedback: float = 0.0, holes: int = 10) -> Dataset:
    """Moves every 12 rows or so, less `feedback` times the CVs of the row before."""
    rng = np.random.default_rng(seed)
    moves, disturbance = rng.normal(size=(rows, 2)), np.zeros(rows)
    own, u, y, x = np.zeros(2), np.zeros((rows, 2)), np.zeros((rows, 2)), np.zeros(2)
    for t in range(1, rows):
        disturbance[t] = 0.95 * disturbance[t - 1] + 0.1 * rng.normal()
        own = moves[t] if rng.random() < 0.08 else own
        u[t] = own - feedback * y[t - 1]
        x = FADE * x + TO_MV @ u[t] + 0.02 * disturbance[t] + 0.005 * rng.normal(size=2)
        y[t] = x + 0.01 * rng.normal(size=2)
    values = np.stack([50 + 5 * u[:, 0], 80 + 10 * y[:, 0], 30 + 4 * u[:, 1], 2 + y[:, 1], 20 + disturbance], axis=1)
    for row, column in zip(rng.integers(0, rows, holes), rng.integers(0, 5, holes), strict=True):
        values[row : row + 3, column] = np.nan
    return Dataset(
        columns=tuple(tiny_plant().columns),
        values=values,
        good_fraction=np.isfinite(values).astype(np.float32),
        start=START,
        step=STEP,
        stretches=(Stretch(name="record", start=0, stop=rows, began=START),),
        manifest={"sources": {"made.csv": "00"}},
    )


def linear_model(dataset: Dataset, plant: Plant) -> tuple[LatentModel, Scaler]:
    """The linear state of the record without any training, float64; latent and hidden layers as in the plant."""
    prepared = prepare(dataset, plant)
    torch.manual_seed(0)
    config = ModelConfig(
        columns=Columns.of(plant),
        rows=prepared.settings.rows,
        lags=prepared.settings.rows - 1,
        state=len(prepared.linear.A),
        latent=plant.training.latent,
        hidden=plant.training.hidden,
    )
    model = LatentModel(config).double()
    model.start_from(prepared.linear)
    return model.eval().requires_grad_(False), prepared.scaler


def train_and_die(scratch: str, at_step: int) -> None:
    """For a process of its own: train the tiny plant for four epochs and be killed at a step, without warning."""
    import os
    import signal

    from procmodel.training.train import train

    def progress(done: int, total: int, what: str) -> None:
        if done >= at_step:
            os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    train(tiny_record(), tiny_plant(epochs=4), Path(scratch), progress=progress)


if __name__ == "__main__":
    train_and_die(sys.argv[1], int(sys.argv[2]))
