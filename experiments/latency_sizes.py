"""Plants, models and ticks of the sizes at which the optimizer's speed is measured.

Shapes: T rows, C columns (MVs, DVs, CVs), U MVs, V DVs, Y CVs.

A random stable plant with a bend, recorded under random steps; a latent model whose linear state is identified from
that record and whose networks have small random weights, or a gated recurrent model trained on it for some seconds.
What a solve takes depends on sizes and on which limits bind, not on how well a network was trained; the closed loop
over which ticks are measured has setpoints that change, disturbances and limits that bind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Plan
from procmodel.data.window import Columns, Scaler, Window
from procmodel.plant import Plant
from procmodel.world_model.latent_model import LatentModel, ModelConfig
from procmodel.world_model.linear import fit_linear_state
from procmodel.world_model.protocol import rollout
from procmodel.world_model.recurrent import GruConfig, GruModel


@dataclass(frozen=True, kw_only=True)
class Size:
    """One size.

    Attributes:
        mvs, dvs, cvs: Tags by role.
        steps, blocks: Rows and blocks of the horizon.
        rows: History rows of the encoder.
        state, latent, hidden: Of a latent model; a gated one has `latent` only.
    """

    name: str
    mvs: int
    dvs: int
    cvs: int
    steps: int
    blocks: int
    rows: int
    state: int
    latent: int
    hidden: int

    @property
    def is_gated(self) -> bool:
        return self.hidden == 0


LARGE = Size(name="large", mvs=5, dvs=2, cvs=8, steps=60, blocks=10, rows=31, state=32, latent=32, hidden=256)
SMALL = Size(name="small", mvs=2, dvs=1, cvs=3, steps=10, blocks=5, rows=12, state=8, latent=8, hidden=112)
GATED = Size(name="gru", mvs=5, dvs=2, cvs=8, steps=60, blocks=10, rows=31, state=0, latent=64, hidden=0)
SIZES = (LARGE, SMALL, GATED)


class RandomPlant:
    """`x+ = a x + (1 - a) tanh(G [u, d])`, two lags in a row per CV; `y = x`, without a unit."""

    def __init__(self, size: Size, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        inputs = size.mvs + size.dvs
        self._slow = rng.uniform(0.75, 0.93, size=size.cvs)
        self._gain = rng.normal(size=(size.cvs, inputs)) * 0.8 / np.sqrt(inputs)
        self._gain[np.arange(size.cvs), np.arange(size.cvs) % size.mvs] += 0.9
        self.size, self.x, self.lagged = size, np.zeros(size.cvs), np.zeros(size.cvs)

    def step(self, u_U: np.ndarray, d_V: np.ndarray) -> np.ndarray:
        """CVs one row later, [Y]."""
        self.lagged += 0.35 * (np.tanh(self._gain @ np.concatenate([u_U, d_V])) - self.lagged)
        self.x += (1.0 - self._slow) * (self.lagged - self.x)
        return self.x.copy()


@dataclass(frozen=True, kw_only=True)
class Rig:
    """One size, ready to be measured; `make` builds an optimizer that has planned nothing yet."""

    size: Size
    plant: Plant
    model: LatentModel | GruModel
    scaler: Scaler
    record_TC: np.ndarray

    def make(self) -> Optimizer:
        return Optimizer(plant=self.plant, model=self.model, scaler=self.scaler)

    @property
    def parameters(self) -> int:
        """Numbers in what the optimizer rolls out."""
        network = self.model.cell if isinstance(self.model, GruModel) else self.model.predictor
        return sum(weight.numel() for weight in network.parameters())


def rig(size: Size, seed: int = 0, *, epochs: int = 150) -> Rig:
    """Plant, record and model; `epochs` of the gated one."""
    plant = plant_of(size)
    record_TC = _record(size, 3000, seed)
    scaler = Scaler.fit(record_TC)
    model = _gated(size, plant, scaler, record_TC, epochs) if size.is_gated else _latent(size, plant, scaler, record_TC)
    return Rig(size=size, plant=plant, model=model, scaler=scaler, record_TC=record_TC)


def plant_of(size: Size) -> Plant:
    """A setpoint on the first CVs, as many as there are MVs; limits on both sides of all."""
    tags: dict[str, Any] = {}
    for i in range(size.mvs):
        tags[f"MV{i}"] = {"role": "MV", "unit": "%", "limits": [-1.5, 1.5], "max_move": 0.3}
    for i in range(size.dvs):
        tags[f"DV{i}"] = {"role": "DV", "unit": "%"}
    for i in range(size.cvs):
        limits = {"low": {"at": -0.75, "rank": 1}, "high": {"at": 0.75, "rank": 1}}
        tags[f"CV{i}"] = {"role": "CV", "unit": "%", "range": [-1, 1], "limits": limits}
        tags[f"CV{i}"] |= {"setpoint": 0.0} if i < size.mvs else {}
    advice = {"horizon": f"{size.steps} min", "blocks": size.blocks}
    return Plant.model_validate({"name": size.name, "sample_time": "1 min", "tags": tags, "advice": advice})


def ticks(
    rig: Rig, count: int, seed: int = 1
) -> Iterator[tuple[np.ndarray, dict[str, float], Callable[[np.ndarray], None]]]:
    """History, setpoints, and where to put the move made, tick by tick of a closed loop on the true plant.

    Setpoints jump every 20 rows, DVs drift, and measurements are noisy.
    """
    size, rng = rig.size, np.random.default_rng(seed)
    truth = RandomPlant(size)
    keep = size.rows + size.steps + 3
    rows = _record(size, keep, seed + 10, plant=truth)
    u, d = rows[-1, : size.mvs].copy(), rows[-1, size.mvs : size.mvs + size.dvs].copy()
    tracked = [f"CV{i}" for i in range(min(size.mvs, size.cvs))]
    setpoints = dict.fromkeys(tracked, 0.0)
    for tick in range(count):
        if tick % 20 == 0:
            setpoints = {name: float(rng.uniform(-0.6, 0.6)) for name in tracked}
        yield rows, setpoints, lambda move_U: np.copyto(u, move_U)
        d += 0.05 * rng.normal(size=size.dvs) - 0.02 * d
        y = truth.step(u, d) + 0.004 * rng.normal(size=size.cvs)
        rows = np.concatenate([rows[1:], np.concatenate([u, d, y])[None]])


@dataclass(frozen=True, kw_only=True)
class Driven:
    """One tick of a closed loop: what it was planned from, the plan, and its seconds of CPU and of the clock."""

    rows_RC: np.ndarray
    setpoints: dict[str, float]
    plan: Plan
    cpu: float
    clock: float


def driven(rig: Rig, optimizer: Optimizer, count: int, *, prepare: bool = False) -> Iterator[Driven]:
    """Plans of a closed loop from its beginning; the first one is cold where the optimizer is new."""
    previous: Plan | None = None
    prepared = None
    for rows_RC, setpoints, put in ticks(rig, count):
        begun, began = time.process_time(), time.perf_counter()
        plan = optimizer.plan(rows_RC, setpoints=setpoints, previous=previous, prepared=prepared)
        cpu, clock = time.process_time() - begun, time.perf_counter() - began
        yield Driven(rows_RC=rows_RC, setpoints=setpoints, plan=plan, cpu=cpu, clock=clock)
        prepared = optimizer.prepare(rows_RC, plan, setpoints=setpoints) if prepare else None
        put(plan.moves[0])
        previous = plan


def _record(size: Size, rows: int, seed: int, plant: RandomPlant | None = None) -> np.ndarray:
    rng = np.random.default_rng(seed)
    plant = plant or RandomPlant(size)
    inputs = size.mvs + size.dvs
    v, found = np.zeros(inputs), []
    for _ in range(rows):
        moved = rng.random(inputs) < 0.08
        v = np.where(moved, rng.uniform(-1.2, 1.2, size=inputs), v)
        y = plant.step(v[: size.mvs], v[size.mvs :])
        found.append(np.concatenate([v, y + 0.004 * rng.normal(size=size.cvs)]))
    return np.array(found)


def _latent(size: Size, plant: Plant, scaler: Scaler, record_TC: np.ndarray) -> LatentModel:
    columns, lags = Columns.of(plant), 6
    scaled = scaler.scale(record_TC)
    y, v = scaled[:, list(columns.cv)], scaled[:, [*columns.mv, *columns.dv]]
    linear = fit_linear_state([(y, v)], lags, size.state)
    config = ModelConfig(
        columns=columns, rows=size.rows, lags=lags, state=size.state, latent=size.latent, hidden=size.hidden
    )
    torch.manual_seed(0)
    model = LatentModel(config).double().requires_grad_(False)
    model.start_from(linear)
    for network in (model.predictor, model.head):
        network[-1].weight.normal_(std=0.02 / size.hidden**0.5)
    return model


def _gated(size: Size, plant: Plant, scaler: Scaler, record_TC: np.ndarray, epochs: int) -> GruModel:
    columns = Columns.of(plant)
    torch.manual_seed(0)
    model = GruModel(GruConfig(columns=columns, rows=size.rows, latent=size.latent))
    scaled = torch.as_tensor(scaler.scale(record_TC), dtype=torch.float32)
    optimizer, rng, ahead = torch.optim.Adam(model.parameters(), lr=4e-3), np.random.default_rng(0), 30
    for _ in range(epochs):
        at = torch.as_tensor(rng.integers(size.rows, len(scaled) - ahead, size=32))
        seen = scaled[at[:, None] + torch.arange(-size.rows, 0)]
        future = scaled[at[:, None] + torch.arange(ahead)]
        z = model.encode(Window(values=seen, mask=torch.ones_like(seen)))
        z = rollout(model, z, future[:, :, list(columns.mv)], future[:, :, list(columns.dv)])
        loss = (model.read_out(z) - future[:, :, list(columns.cv)]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.double().requires_grad_(False)
