"""The loop with the real optimizer: what it plans passes the guard, tick after tick, and brings the plant there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import torch
from torch import Tensor

from procmodel.advice import Advice
from procmodel.control.optimizer import Optimizer
from procmodel.data.window import Columns, Scaler, Window
from procmodel.plant import Plant
from procmodel.runtime import Advisor, Tick, run

START = datetime(2024, 5, 1, tzinfo=UTC)
# Per row and unit of deviation: the level follows FC1, the temperature falls with FC2, both forget.
KEEP = np.array([0.95, 0.9])
GAIN = np.array([[0.05, 0.0], [0.0, -0.1]])
REST_U, REST_Y = np.array([40.0, 30.0]), np.array([45.0, 70.0])


@dataclass(frozen=True)
class TwoLags:
    """`y+ = rest + keep (y - rest) + gain (u - rest)`; scaled and plain units are the same."""

    columns: Columns
    rows: int = 2
    latent_size: int = 2

    def encode(self, window: Window) -> Tensor:
        return window.values[:, -1, list(self.columns.cv)]

    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        rest_y, rest_u, keep, gain = (torch.as_tensor(v, dtype=z_BD.dtype) for v in (REST_Y, REST_U, KEEP, GAIN))
        return rest_y + keep * (z_BD - rest_y) + (u_BU - rest_u) @ gain.T

    def read_out(self, z_BD: Tensor) -> Tensor:
        return z_BD


class NoisyPlant:
    """Follows the advice; the level is pushed by something that nobody measures. Source and sink in one."""

    def __init__(self, plant: Plant, count: int) -> None:
        self.plant, self.rng, self.now = plant, np.random.default_rng(1), START
        self.rows_RC = np.tile([*REST_U, *REST_Y, 12.0], (count, 1))
        self.y = REST_Y.copy()

    def __iter__(self) -> Iterator[Tick]:
        while True:
            yield Tick(rows_RC=self.rows_RC, newest=self.now, now=self.now + timedelta(seconds=2))

    def show(self, advice: Advice) -> None:
        u = np.array([advice.setpoints[name] for name in self.plant.mvs]) if advice.is_move else self.rows_RC[-1, :2]
        self.y = REST_Y + KEEP * (self.y - REST_Y) + GAIN @ (u - REST_U) + [0.1, 0.0]
        measured = self.y + self.rng.normal(scale=0.05, size=2)
        self.rows_RC = np.vstack([self.rows_RC[1:], [*u, *measured, 12.0]])
        self.now += timedelta(seconds=10)


@pytest.mark.slow
def test_the_optimizer_s_plans_pass_the_guard_and_bring_the_level_to_its_setpoint(small_plant: Plant) -> None:
    columns = Columns.of(small_plant)
    scaler = Scaler(centre=np.zeros(5), spread=np.ones(5))
    model = TwoLags(columns)
    optimizer = Optimizer(plant=small_plant, model=model, scaler=scaler)
    advisor = Advisor(plant=small_plant, planner=optimizer, model=model, scaler=scaler, surprise_limit=0.1, name="m")
    world = NoisyPlant(small_plant, optimizer.rows_wanted)
    tally = run(advisor, world, world, ticks=60)
    assert tally.last is not None
    assert tally.holds == 0, tally.last.reason
    # 45 at rest, 50 wanted, and 2 of it from what nobody measures.
    assert np.mean(world.rows_RC[-10:, 2]) == pytest.approx(50.0, abs=0.3)


def test_a_tick_runs_on_one_core() -> None:
    assert hasattr(Advisor.advise, "__wrapped__")
