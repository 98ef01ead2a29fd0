"""World models with known equations, each also as a CasADi function, and plants to go with them."""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np
import torch
from torch import Tensor

from procmodel.constraints.head import ConstraintHead
from procmodel.data.window import Columns, Scaler, Window
from procmodel.plant import Plant
from procmodel.world_model.latent_model import LatentModel, ModelConfig
from procmodel.world_model.recurrent import GruConfig, GruModel


def make_plant(tags: dict[str, Any], **advice: Any) -> Plant:
    """A plant on a grid of 5 s."""
    return Plant.model_validate({"name": "fake", "sample_time": "5 s", "tags": tags, "advice": advice})


def unit_scaler(plant: Plant) -> Scaler:
    """Scaled and engineering units are the same."""
    return Scaler(centre=np.zeros(len(plant.columns)), spread=np.ones(len(plant.columns)))


def newest_good(window: Window, columns: tuple[int, ...]) -> Tensor:
    """Last good value of each column, 0 where there is none."""
    values_BC = torch.zeros_like(window.values[:, 0, list(columns)])
    for row in range(window.values.shape[1]):
        good = window.mask[:, row, list(columns)] > 0
        values_BC = torch.where(good, window.values[:, row, list(columns)], values_BC)
    return values_BC


class LinearModel:
    """`z+ = A z + B u + E d`, `y = z`; the latent is the newest good CVs."""

    def __init__(self, plant: Plant, a: Any, b: Any, e: Any = None, rows: int = 2) -> None:
        self.rows, self._columns = rows, Columns.of(plant)
        self.a, self.b = (torch.as_tensor(m, dtype=torch.float64) for m in (a, b))
        self.e = torch.as_tensor(np.zeros((len(self.a), len(plant.dvs))) if e is None else e, dtype=torch.float64)
        self.latent_size = len(self.a)

    def encode(self, window: Window) -> Tensor:
        return newest_good(window, self._columns.cv)

    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        return z_BD @ self.a.T + u_BU @ self.b.T + d_BV @ self.e.T

    def read_out(self, z_BD: Tensor) -> Tensor:
        return z_BD


LEVEL_LIMITS = {"low": {"at": 1, "rank": 2}, "high": {"at": 20, "rank": 1}}
TANKS: dict[str, Any] = {
    "P1": {"role": "MV", "unit": "V", "limits": [0, 6], "max_move": {"up": 0.5, "down": 1.0}},
    "P2": {"role": "MV", "unit": "V", "limits": [0, 6], "max_move": 0.5},
    "L1": {"role": "CV", "unit": "cm", "setpoint": 12, "limits": LEVEL_LIMITS},
    "L2": {"role": "CV", "unit": "cm", "setpoint": 9, "limits": LEVEL_LIMITS},
}
INFLOW = np.array([[0.30, 0.12], [0.10, 0.28]])
OUTFLOW, BEND = 0.13, 9.0


class TanksModel:
    """Two coupled tanks whose outflow bends: `h+ = h + K u - c h / (1 + (h / b)^2)^(1/4)`; scaled by any scaler."""

    rows, latent_size = 2, 2

    def __init__(self, plant: Plant, scaler: Scaler, *, gain: float = 1.0, leak: float = 0.0) -> None:
        columns = Columns.of(plant)
        self._columns, self._leak = columns, leak
        self._inflow = gain * torch.as_tensor(INFLOW)
        mv, cv = list(columns.mv), list(columns.cv)
        self._centre_u, self._spread_u = (torch.as_tensor(v[mv]) for v in (scaler.centre, scaler.spread))
        self._centre_y, self._spread_y = (torch.as_tensor(v[cv]) for v in (scaler.centre, scaler.spread))

    def encode(self, window: Window) -> Tensor:
        return newest_good(window, self._columns.cv)

    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        h = z_BD * self._spread_y + self._centre_y
        u = u_BU * self._spread_u + self._centre_u
        h = h + u @ self._inflow.T - OUTFLOW * h / (1 + (h / BEND) ** 2) ** 0.25 - self._leak
        return (h - self._centre_y) / self._spread_y

    def read_out(self, z_BD: Tensor) -> Tensor:
        return z_BD


def tanks_step(h: Any, u: Any) -> Any:
    """The same in CasADi; engineering units."""
    return h + ca.mtimes(ca.DM(INFLOW), u) - OUTFLOW * h / (1 + (h / BEND) ** 2) ** 0.25


def tanks_scaler() -> Scaler:
    """Centre and spread like those of a record."""
    return Scaler(centre=np.array([3.0, 3.0, 11.0, 8.0]), spread=np.array([0.7, 0.9, 2.0, 1.5]))


def tanks_next(h: np.ndarray, u: np.ndarray, inflow: np.ndarray | float = 0.0) -> np.ndarray:
    """The same in numpy, with an unmeasured inflow."""
    return np.asarray(h + INFLOW @ u + inflow - OUTFLOW * h / (1 + (h / BEND) ** 2) ** 0.25)


def tanks_at_rest(u: np.ndarray) -> np.ndarray:
    """Levels that two constant pump voltages lead to."""
    h = np.array([10.0, 8.0])
    for _ in range(4000):
        h = tanks_next(h, u)
    return h


class MlpModel(torch.nn.Module):
    """A small random network with as many layers as a learned model; stable, smooth, float64."""

    def __init__(self, plant: Plant, *, rows: int = 16, latent: int = 32, hidden: int = 64, seed: int = 0) -> None:
        super().__init__()
        columns = Columns.of(plant)
        torch.manual_seed(seed)
        self.rows, self.latent_size = rows, latent
        inputs = latent + len(columns.mv) + len(columns.dv)
        self._encoder = torch.nn.Linear(2 * rows * columns.count, latent)
        self._first, self._second = torch.nn.Linear(inputs, hidden), torch.nn.Linear(hidden, hidden)
        self._last, self._read = torch.nn.Linear(hidden, latent), torch.nn.Linear(latent, len(columns.cv))
        self.double()

    def encode(self, window: Window) -> Tensor:
        return self._encoder(torch.cat([window.values, window.mask], dim=2).flatten(1))

    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        h = torch.tanh(self._first(torch.cat([z_BD, u_BU, d_BV], dim=1)))
        return 0.9 * z_BD + 0.3 * self._last(torch.tanh(self._second(h)))

    def read_out(self, z_BD: Tensor) -> Tensor:
        return self._read(z_BD)


COLUMN: dict[str, Any] = {
    "Reflux": {"role": "MV", "unit": "kg/h", "limits": [-2, 2], "max_move": 0.6},
    "Steam": {"role": "MV", "unit": "kg/h", "limits": [-2, 2], "max_move": 0.4},
    "Feed": {"role": "DV", "unit": "kg/h"},
    "Purity": {"role": "CV", "unit": "%", "setpoint": 0.4, "limits": {"high": {"at": 0.6, "rank": 1}}},
    "Level": {"role": "CV", "unit": "%", "setpoint": -0.2, "limits": {"low": {"at": -0.5, "rank": 2}}},
    "Yield": {"role": "CV", "unit": "%", "limits": {"low": {"at": -0.3, "rank": 3}}},
}


def latent_model(
    plant: Plant,
    *,
    state: int = 4,
    latent: int = 3,
    hidden: int = 12,
    seed: int = 1,
    products: bool = False,
    filtered: bool = False,
) -> LatentModel:
    """A latent model with random weights in every part, stable and clearly bent."""
    torch.manual_seed(seed)
    config = ModelConfig(
        columns=Columns.of(plant),
        rows=3,
        lags=2,
        state=state,
        latent=latent,
        hidden=hidden,
        products=products,
        filtered=filtered,
    )
    model = LatentModel(config).double().requires_grad_(False)
    for name in ("A", "B", "C", "bias", "offset", "to_state", "state_bias", *(("K",) if filtered else ())):
        values = getattr(model, name)
        values.copy_(torch.randn_like(values) * 0.3)
    model.A.copy_(torch.linalg.qr(model.A)[0] * 0.9)
    for network in (model.predictor, model.head):
        for layer in network:
            if isinstance(layer, torch.nn.Linear):
                layer.weight.normal_(std=0.8 / layer.in_features**0.5)
                layer.bias.normal_(std=0.3)
    if products:
        for values in (model.centre, model.rate, model.quadratic, model.slope, model.rest):
            values.copy_(torch.randn_like(values) * 0.2)
        model.quadratic.copy_(0.5 * (model.quadratic + model.quadratic.mT))
    return model


def model_with_products(plant: Plant) -> LatentModel:
    return latent_model(plant, products=True)


def model_with_a_filter(plant: Plant) -> LatentModel:
    return latent_model(plant, products=True, filtered=True)


def gru_model(plant: Plant, *, latent: int = 7, seed: int = 1, spread: float = 0.7) -> GruModel:
    """A gated recurrent model with random weights."""
    torch.manual_seed(seed)
    model = GruModel(GruConfig(columns=Columns.of(plant), rows=3, latent=latent)).double().requires_grad_(False)
    for weight in model.cell.parameters():
        weight.normal_(std=spread)
    return model


def curved_head(latent: int, *, curved: int = 2, rank: int = 2) -> ConstraintHead:
    """A quadratic margin of a latent."""
    rng = np.random.default_rng(7)
    return ConstraintHead(
        name="foam",
        unit="cm",
        rank=rank,
        linear_D=rng.normal(size=latent),
        offset=3.0,
        directions_QD=rng.normal(size=(curved, latent)),
        centre_Q=rng.normal(size=curved),
        curvature_QQ=rng.normal(size=(curved, curved)) * 0.2,
        allowance_now=0.1,
        allowance_H=np.array([0.1, 0.2]),
        confidence=0.9,
        labels=20,
        error=0.1,
        skill=0.8,
        form="curved",
    )
