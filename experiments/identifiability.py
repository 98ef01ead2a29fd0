"""Does a joint-embedding latent find what moves a plant? Ornstein-Uhlenbeck causes under a nonlinear mixing.

Four causes, each forgetting its past at the same rate, are seen through eight sensors that a nonlinear map mixes. The
model is shown the sensors alone and learns to predict its own encoding one row ahead. Of all latents that are standard
normal, the linear maps of the causes are the most predictable (a polynomial of degree k forgets k times as fast), so
with SIGReg the latent should be a rotation of the causes, and without it nothing holds it.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as lightning
import torch

from experiments.contract import Outcome, run_experiment
from procmodel.data.dataset import Stretch
from procmodel.data.window import Columns, Scaler
from procmodel.data.windows import Windows
from procmodel.training.feed import Feed
from procmodel.training.module import Fit
from procmodel.training.settings import Settings
from procmodel.world_model.latent_model import LatentModel, ModelConfig
from procmodel.world_model.objective import Weights

Array = np.ndarray
CAUSES, SENSORS, ROWS, TEST = 4, 8, 40_000, 10_000
KEPT = 0.8
"""Correlation of a cause with itself one row later."""
WARP, LAYERS = 1.0, 3
TAGS = Columns(mv=(), cv=(0,), dv=(), count=SENSORS)
"""The model needs a CV; its read-out counts nothing here."""
SIGREG = 0.02
SEEDS = (0, 1, 2)


def causes(rows: int, seed: int) -> Array:
    """Ornstein-Uhlenbeck processes, sampled: standard normal at every row, [T, CAUSES]."""
    fresh = np.random.default_rng(seed).normal(size=(rows, CAUSES))
    out = fresh.copy()
    for t in range(1, rows):
        out[t] = KEPT * out[t - 1] + np.sqrt(1 - KEPT**2) * fresh[t]
    return out


def mixing(seed: int) -> Callable[[Array], Array]:
    """A smooth map from causes to sensors that can be undone: rotations and shears by sines, then more sensors."""
    rng, half = np.random.default_rng([seed, 7]), CAUSES // 2
    turns = [np.linalg.qr(rng.normal(size=(CAUSES, CAUSES)))[0] for _ in range(LAYERS)]
    inner = [rng.normal(size=(half, half)) for _ in range(LAYERS)]
    spread = np.linalg.qr(rng.normal(size=(SENSORS, CAUSES)))[0].T

    def mix(x: Array) -> Array:
        for turn, weights in zip(turns, inner, strict=True):
            x = x @ turn
            x = np.concatenate([x[:, :half], x[:, half:] + WARP * np.sin(x[:, :half] @ weights)], axis=1)
        return x @ spread

    return mix


def r2(of: Array, to: Array) -> float:
    """Share of the variance of `to` that a linear map of `of` explains [-]."""
    off = to - to.mean(axis=0)
    here = np.concatenate([of, np.ones((len(of), 1))], axis=1)
    left = to - here @ np.linalg.lstsq(here, to, rcond=None)[0]
    return float(1 - (left**2).sum() / max((off**2).sum(), 1e-300))


def from_orthogonal(latent: Array, truth: Array) -> float:
    """How far the linear map from causes to latent, both of unit variance, is from a rotation: the largest distance of
    a singular value from 1 [-]."""
    scaled = [(x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-300) for x in (latent, truth)]
    values = np.linalg.svd(np.linalg.lstsq(scaled[1], scaled[0], rcond=None)[0], compute_uv=False)
    return float(np.abs(values - 1).max())


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The same for all: batches of so many windows."""

    epochs: int
    batches: int
    batch: int = 256


def latent_of(seed: int, sigreg: float, budget: Budget) -> tuple[Array, Array, Array]:
    """Latent, causes and sensors of rows that were not trained on, after training from this seed."""
    truth = causes(ROWS, seed)
    sensors = mixing(seed)(truth)
    scaler = Scaler.fit(sensors[:-TEST])
    windows = Windows(sensors, scaler, TAGS)
    lightning.seed_everything(seed, verbose=False)
    model = LatentModel(ModelConfig(columns=TAGS, rows=1, lags=0, state=0, latent=CAUSES, hidden=64))
    settings = Settings(
        rows=1, rollout=1, horizon=1, feedback=False, latent=CAUSES, hidden=64, epochs=budget.epochs,
        batches=budget.batches, batch=budget.batch, learning_rate=4e-3, seed=seed,
        weights=Weights(read_out=0.0, latent=1.0, sigreg=sigreg),
    )  # fmt: skip
    train = Stretch(name="train", start=0, stop=ROWS - TEST)
    test = Stretch(name="test", start=ROWS - TEST, stop=ROWS)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)  # its banners are not about the world
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        trainer = lightning.Trainer(
            max_epochs=budget.epochs, accelerator="cpu", devices=1, gradient_clip_val=1.0, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            num_sanity_val_steps=0, limit_val_batches=0, reload_dataloaders_every_n_epochs=1,
        )  # fmt: skip
        trainer.fit(Fit(model, settings), Feed(windows, [train], [test], settings))
    with torch.no_grad():
        latent = model.encode_rows(windows.values[-TEST:, None], windows.mask[-TEST:, None]).double().numpy()
    return latent, truth[-TEST:], sensors[-TEST:]


def found(seed: int, sigreg: float, budget: Budget) -> dict[str, Any]:
    latent, truth, sensors = latent_of(seed, sigreg, budget)
    return {
        "seed": seed,
        "latent_to_causes": r2(latent, truth),
        "causes_to_latent": r2(truth, latent),
        "from_orthogonal": from_orthogonal(latent, truth),
        "spread": float(latent.std(axis=0).mean()),
        "sensors_to_causes": r2(sensors, truth),
    }


def two_way(rows: list[dict[str, Any]]) -> float:
    """Mean over seeds of the worse direction."""
    return float(np.mean([min(row["latent_to_causes"], row["causes_to_latent"]) for row in rows]))


def study(quick: bool) -> Outcome:
    """Causes under a nonlinear mixing, found up to a rotation with SIGReg and not without."""
    budget = Budget(epochs=1, batches=150) if quick else Budget(epochs=5, batches=300)
    seeds = SEEDS[:1] if quick else SEEDS
    table = {
        "SIGReg": [found(seed, SIGREG, budget) for seed in seeds],
        "none": [found(seed, 0.0, budget) for seed in seeds],
    }
    sensors = float(np.mean([row["sensors_to_causes"] for row in table["SIGReg"]]))
    return Outcome(
        values={"two_way_r2": two_way(table["SIGReg"])},
        results={
            "two_way_r2": {name: two_way(rows) for name, rows in table.items()},
            "linear_map_of_the_sensors": sensors,
            "runs": table,
            "sigreg_weight": SIGREG,
            "budget": vars(budget),
        },
        seeds=list(seeds),
        lines=[
            *(f"{name:8} two-way R2 {two_way(rows):.3f}" for name, rows in table.items()),
            f"A linear map of the sensors themselves: {sensors:.3f}",
        ],
    )


if __name__ == "__main__":
    sys.exit(run_experiment("identifiability", study))
