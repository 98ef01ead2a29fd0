"""What the study of objectives trains: each row of its table is a way from a prepared record to a forecaster.

All gradient descent has the same budget: batches, windows per batch, optimizer, schedule, seed. Rows of `OBJECTIVES`
are the shipped model with another objective. `BASELINES` are what its figures are held against; those of the same
network ("generative", "raw") keep the linear state, the free runs and the guards of the shipped default, so
that only the loss differs. "raw-alone", "generative-alone" and the recurrent networks are what forecasters usually are:
trained on free runs over the recorded moves.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from procmodel.data.dataset import Dataset
from procmodel.data.window import Columns, Scaler
from procmodel.data.windows import scaled_runs
from procmodel.evaluation.baselines import ArxForecast, Forecaster, LinearForecast, ModelForecast, Persistence
from procmodel.plant import Plant
from procmodel.training.callbacks import Told
from procmodel.training.module import LEAST_RANK, LEAST_SPREAD
from procmodel.training.prepare import Prepared
from procmodel.training.settings import FREE_RUN, Settings
from procmodel.training.train import fit_member
from procmodel.world_model.diagnostics import effective_rank
from procmodel.world_model.latent_model import forward_fill
from procmodel.world_model.linear import LinearState, fit_arx
from procmodel.world_model.n4sid import fit_n4sid
from procmodel.world_model.objective import Weights, read_out_error
from procmodel.world_model.protocol import rollout
from procmodel.world_model.recurrent import GruConfig, GruModel, LstmModel

DEFAULT = "default"


@dataclass(frozen=True, kw_only=True)
class Task:
    """One plant's record, from which everything is learned."""

    plant: Plant
    dataset: Dataset
    prepared: Prepared

    @property
    def columns(self) -> Columns:
        return Columns.of(self.plant)


@dataclass(frozen=True, kw_only=True)
class Made:
    """A forecaster, and what its training says of its latent; nothing where there is none."""

    forecaster: Forecaster
    facts: Mapping[str, Any]


Maker = Callable[[Task, int], Made]


def trained(task: Task, chosen: Settings) -> Made:
    """A latent model by these settings, as `procmodel train` makes it, but not refused where it has collapsed."""
    with tempfile.TemporaryDirectory() as folder:
        told = Told(None, None, 0, 1, chosen.seed)
        model, z_BD = fit_member(task.dataset, task.plant, task.prepared, chosen, Path(folder), told)
    s_BS = z_BD[:, model.config.state :]
    spread, rank = float(s_BS.std(dim=0).mean()), float(effective_rank(s_BS))
    # "Not below" would pass a latent that is no number.
    alive = spread >= LEAST_SPREAD and rank >= LEAST_RANK
    forecaster = ModelForecast(model=model.eval(), scaler=task.prepared.scaler, columns=task.columns)
    return Made(
        forecaster=forecaster,
        facts={"spread": spread, "effective_rank": rank, "of": s_BS.shape[1], "collapsed": not alive},
    )


def weighed(**changes: Any) -> Maker:
    """The shipped settings with these weights instead."""

    def make(task: Task, seed: int) -> Made:
        shipped = task.prepared.settings
        return trained(task, replace(shipped, seed=seed, weights=replace(shipped.weights, **changes)))

    return make


def level(task: Task, seed: int) -> Made:
    """The course of a free run held as the answer to a move is; the default where nothing is held."""
    shipped = task.prepared.settings
    weights = replace(shipped.weights, level=shipped.weights.anchor)
    return trained(task, replace(shipped, seed=seed, weights=weights))


def staged(**changes: Any) -> Maker:
    """The shipped settings in stages."""

    def make(task: Task, seed: int) -> Made:
        return trained(task, replace(task.prepared.settings, seed=seed, **changes))

    return make


def alone(decode: float) -> Maker:
    """A network alone, trained on its CVs over free runs, and on all tags of the window where `decode` weighs
    anything; there is no linear answer to be held at."""

    def make(task: Task, seed: int) -> Made:
        shipped, columns = task.prepared.settings, task.columns
        inputs, cvs = len(columns.mv) + len(columns.dv), len(columns.cv)
        nothing = LinearState(
            A=np.zeros((0, 0)), B=np.zeros((0, inputs)), C=np.zeros((cvs, 0)), K=np.zeros((0, cvs)),
            bias=np.zeros(0), offset=np.zeros(cvs), encoder=np.zeros((shipped.rows, inputs + cvs, 0)),
            encoder_bias=np.zeros(0), values=np.zeros(0),
        )  # fmt: skip
        weights = Weights(read_out=shipped.weights.read_out, latent=0.0, sigreg=0.0, decode=decode)
        chosen = replace(shipped, seed=seed, rollout=max(FREE_RUN, shipped.rollout), weights=weights)
        bare = dataclasses.replace(task, prepared=replace(task.prepared, linear=nothing, products=None))
        return Made(forecaster=trained(bare, chosen).forecaster, facts={})  # nothing asks anything of its latent

    return make


def recurrent(kind: type[GruModel] | type[LstmModel]) -> Maker:
    """A gated recurrent network of the hidden layers' width, trained on its CVs over free runs."""

    def make(task: Task, seed: int) -> Made:
        torch.manual_seed(seed)
        settings = task.prepared.settings
        model = kind(GruConfig(columns=task.columns, rows=settings.rows, latent=settings.hidden))
        fit_forecaster(model, task, seed)
        forecaster = ModelForecast(model=model.eval(), scaler=task.prepared.scaler, columns=task.columns)
        return Made(forecaster=forecaster, facts={})

    return make


def fit_forecaster(model: GruModel | LstmModel, task: Task, seed: int) -> None:
    """As many batches as a latent model gets, with its optimizer and schedule, on the CVs' error over free runs."""
    settings, windows, columns = task.prepared.settings, task.prepared.windows, task.columns
    rows, length, batches = settings.rows, settings.rows + FREE_RUN, settings.epochs * settings.batches
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2 * settings.learning_rate, total_steps=batches + 1)
    starts = windows.starts(task.prepared.parts.train, length)
    order = windows.sampler(starts, np.random.default_rng(seed), settings.batch)
    for _ in range(batches):
        window = windows.batch(next(order), length)
        filled = forward_fill(window.values, window.mask)
        z_BD = model.encode(type(window)(values=window.values[:, :rows], mask=window.mask[:, :rows]))
        z_BKD = rollout(model, z_BD, filled[:, rows:, columns.mv], filled[:, rows:, columns.dv])
        miss_BKY = model.read_out(z_BKD) - filled[:, rows:, columns.cv]
        loss = read_out_error(miss_BKY, window.mask[:, rows:, columns.cv], torch.ones(FREE_RUN))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def least_squares(task: Task, scaler: Scaler) -> tuple[list[tuple[np.ndarray, np.ndarray]], int]:
    """CVs and inputs of the training stretches, scaled, and the lags that the world model has too."""
    prepared = task.prepared
    return scaled_runs(task.dataset, scaler, task.columns, prepared.parts.train), prepared.settings.rows - 1


def arx(task: Task, seed: int) -> Made:
    """Least squares over the world model's own history, in engineering units; the seed changes nothing."""
    return _arx(task, task.prepared.scaler.straight)


def arx_on_its_scales(task: Task, seed: int) -> Made:
    """The same on the scales that the world model found for the CVs."""
    return _arx(task, task.prepared.scaler)


def _arx(task: Task, scaler: Scaler) -> Made:
    found = fit_arx(*least_squares(task, scaler))
    return Made(forecaster=ArxForecast(arx=found, scaler=scaler, columns=task.columns), facts={})


def n4sid(task: Task, seed: int) -> Made:
    """Subspace identification; the seed changes nothing."""
    scaler = task.prepared.scaler.straight
    found = fit_n4sid(*least_squares(task, scaler))
    return Made(forecaster=LinearForecast(state=found, scaler=scaler, columns=task.columns), facts={})


def linear_state(task: Task, seed: int) -> Made:
    """What the default begins with, untrained: the rest of its figures is what training adds."""
    state = task.prepared.linear
    return Made(forecaster=LinearForecast(state=state, scaler=task.prepared.scaler, columns=task.columns), facts={})


def persistence(task: Task, seed: int) -> Made:
    """Every CV stays; the seed changes nothing."""
    return Made(forecaster=Persistence(columns=task.columns), facts={})


# Terms beside others weigh a tenth of what they would alone; none was tuned. What prevents collapse by itself has no
# anti-collapse term beside it, as published.
OBJECTIVES: Mapping[str, Maker] = {
    DEFAULT: weighed(),
    "level": level,
    "staircase": weighed(term="staircase"),
    "subspaces": weighed(term="subspaces"),
    "vicreg": weighed(term="vicreg"),
    "coding-rate": weighed(term="coding_rate"),
    "contrast": weighed(compare="contrast", sigreg=0.0),
    "stop-gradient": weighed(target="stop_gradient", sigreg=0.0),
    "ema": weighed(target="ema", sigreg=0.0),
    "inverse": weighed(inverse=0.1),
    "straight": weighed(straight=0.1),
    "masked": staged(encoder="masked"),
    "frozen-read-out": staged(read_out="frozen"),
    "no-term": weighed(sigreg=0.0),
    "raw": weighed(latent=0.0, sigreg=0.0),
    "generative": weighed(latent=0.0, sigreg=0.0, decode=1.0),
    "linear-state": linear_state,
    "arx-on-its-scales": arx_on_its_scales,
}
"""The default with another loss, and parts of it by themselves."""
BASELINES: Mapping[str, Maker] = {
    "raw-alone": alone(decode=0.0),
    "generative-alone": alone(decode=1.0),
    "gru": recurrent(GruModel),
    "lstm": recurrent(LstmModel),
    "arx": arx,
    "n4sid": n4sid,
    "persistence": persistence,
}
"""What is used in its place: nothing of these was found by it."""
MAKERS: Mapping[str, Maker] = {**OBJECTIVES, **BASELINES}
