"""Forecasters that any model is held against, all called the same way.

Shapes: B starts, L rows of history, C tags (plant column order), H rows ahead, U MVs, V DVs, Y CVs. Engineering units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from procmodel.data.window import Columns, Scaler
from procmodel.world_model.linear import Arx, LinearState
from procmodel.world_model.protocol import WorldModel, rollout

Array = np.ndarray

Forecaster = Callable[[Array, Array, Array], Array]
"""`(rows_BLC, u_BHU, d_BHV) -> y_BHY`: the CVs ahead from the rows so far (NaN in gaps) and the inputs held ahead."""


def last_good(rows_BLC: Array) -> Array:
    """Newest good value of each tag, [B, C]; NaN where a tag has none in the whole history."""
    good = np.isfinite(rows_BLC)
    newest = good.shape[1] - 1 - np.argmax(good[:, ::-1], axis=1)
    values = np.take_along_axis(rows_BLC, newest[:, None, :], axis=1)[:, 0]
    return np.asarray(np.where(good.any(axis=1), values, np.nan))


def carried(rows_BLC: Array) -> Array:
    """The history with each gap filled by the value before it; what leads the history takes the first good value."""
    at = np.arange(rows_BLC.shape[1])[None, :, None]
    good = np.isfinite(rows_BLC)
    first = np.argmax(good, axis=1)[:, None, :]
    before = np.maximum(np.maximum.accumulate(np.where(good, at, -1), axis=1), first)
    return np.take_along_axis(rows_BLC, before, axis=1)


def model_dtype(model: object) -> torch.dtype:
    """Number type of a model's weights; double precision for one without weights."""
    if isinstance(model, torch.nn.Module):
        for weight in model.parameters():
            return weight.dtype
        for constant in model.buffers():
            if constant.dtype.is_floating_point:
                return constant.dtype
    return torch.float64


@dataclass(frozen=True, kw_only=True)
class ModelForecast:
    """A world model as a forecaster: encode once, then run free over the given inputs."""

    model: WorldModel
    scaler: Scaler
    columns: Columns

    def __call__(self, rows_BLC: Array, u_BHU: Array, d_BHV: Array) -> Array:
        dtype, at = model_dtype(self.model), self.columns
        rows = rows_BLC[:, -self.model.rows :]
        if rows.shape[1] < self.model.rows:  # what was before the record is a gap
            missing = np.full((len(rows), self.model.rows - rows.shape[1], at.count), np.nan)
            rows = np.concatenate([missing, rows], axis=1)
        with torch.no_grad():
            z_BD = self.model.encode(self.scaler.window(rows, dtype))
            u = torch.as_tensor(self.scaler.scale(u_BHU, at.mv), dtype=dtype)
            d = torch.as_tensor(self.scaler.scale(d_BHV, at.dv), dtype=dtype)
            y = self.model.read_out(rollout(self.model, z_BD, u, d).flatten(0, 1))
        return self.scaler.unscale(y.double().numpy().reshape(*u_BHU.shape[:2], -1), at.cv)


@dataclass(frozen=True, kw_only=True)
class Persistence:
    """Every CV stays where it was seen last."""

    columns: Columns

    def __call__(self, rows_BLC: Array, u_BHU: Array, d_BHV: Array) -> Array:
        now = last_good(rows_BLC)[:, list(self.columns.cv)]
        return np.repeat(now[:, None], u_BHU.shape[1], axis=1)


@dataclass(frozen=True, kw_only=True)
class ArxForecast:
    """A least-squares ARX as a forecaster; it knows no gaps, so its history carries the last good value on."""

    arx: Arx
    scaler: Scaler
    columns: Columns

    def __call__(self, rows_BLC: Array, u_BHU: Array, d_BHV: Array) -> Array:
        at, scale = self.columns, self.scaler.scale
        rows = carried(rows_BLC)
        past = np.concatenate([scale(rows[..., list(at.mv)], at.mv), scale(rows[..., list(at.dv)], at.dv)], axis=-1)
        ahead = np.concatenate([scale(u_BHU, at.mv), scale(d_BHV, at.dv)], axis=-1)
        y = self.arx.forecast(scale(rows[..., list(at.cv)], at.cv), past, ahead)
        return self.scaler.unscale(y, at.cv)


@dataclass(frozen=True, kw_only=True)
class LinearForecast:
    """A linear state as a forecaster: encoded from its window, then free; gaps as for `ArxForecast`."""

    state: LinearState
    scaler: Scaler
    columns: Columns

    def __call__(self, rows_BLC: Array, u_BHU: Array, d_BHV: Array) -> Array:
        at, scale, state = self.columns, self.scaler.scale, self.state
        seen = [*at.mv, *at.dv, *at.cv]
        rows = scale(carried(rows_BLC))[:, -len(state.encoder) :, seen]
        x_BN = np.einsum("blc,lcn->bn", rows, state.encoder) + state.encoder_bias
        v_BHV = np.concatenate([scale(u_BHU, at.mv), scale(d_BHV, at.dv)], axis=-1)
        out = np.empty((*u_BHU.shape[:2], len(at.cv)))
        for h in range(u_BHU.shape[1]):
            x_BN = x_BN @ state.A.T + v_BHV[:, h] @ state.B.T + state.bias
            out[:, h] = x_BN @ state.C.T + state.offset
        return self.scaler.unscale(out, at.cv)
