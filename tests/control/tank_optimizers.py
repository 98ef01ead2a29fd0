"""Optimizers on the two tanks, for the tests of several files."""

from __future__ import annotations

from typing import Any

import numpy as np
from control_fakes import (
    TANKS,
    TanksModel,
    make_plant,
    tanks_scaler,
)

from procmodel.control.optimizer import Optimizer
from procmodel.plant import Plant

UP, DOWN = np.array([0.5, 0.5]), np.array([1.0, 0.5])
ECONOMICS = {
    "pumping to the lowest allowed levels": ("1 * P1 + 2 * P2", lambda h, u: u[0] + 2 * u[1]),
    "profit between limits": ("3 * P1**2 + 2 * P2**2 - 2 * L1", lambda h, u: 3 * u[0] ** 2 + 2 * u[1] ** 2 - 2 * h[0]),
    "as full as allowed": ("2 * P1 + 1 * P2 - 0.3 * L1 * L1", lambda h, u: 2 * u[0] + u[1] - 0.3 * h[0] ** 2),
}


def tanks(changes: dict[str, dict[str, Any]] | None = None, *, setpoints: bool = True, **advice: Any) -> Plant:
    tags = {name: {**tag, **(changes or {}).get(name, {})} for name, tag in TANKS.items()}
    if not setpoints:
        tags = {name: {k: v for k, v in tag.items() if k != "setpoint"} for name, tag in tags.items()}
    return make_plant(tags, **advice)


def optimizer(plant: Plant | None = None, *, gain: float = 1.0, **settings: Any) -> Optimizer:
    plant, scaler = plant or tanks(), tanks_scaler()
    return Optimizer(plant=plant, model=TanksModel(plant, scaler, gain=gain), scaler=scaler, **settings)


def rows(u: tuple[float, float] = (3.0, 3.0), h: tuple[float, float] = (10.0, 8.0), count: int = 2) -> np.ndarray:
    return np.tile(np.array([*u, *h]), (count, 1))
