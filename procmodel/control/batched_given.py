"""What an optimizer knows of its plant, as the tensors of `batched_data.py`, and whether that is all there is to it.

Shapes: N rows of the horizon, M blocks, U MVs, P = M * U changes [spans], Y CVs, R soft limits, D latent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from procmodel.control.batched_data import OPEN, BatchPlant
from procmodel.control.batched_model import BatchModel
from procmodel.control.cells import cell_of
from procmodel.control.dense_cell import DenseCell
from procmodel.control.limits import SLACK_CURVATURE, WEIGHT, SoftLimits
from procmodel.control.objective import REST_WEIGHT
from procmodel.control.optimizer import Optimizer
from procmodel.control.readings import DenseReadOut, read_out_of
from procmodel.data.window import Columns, Scaler
from procmodel.plant import Plant
from procmodel.world_model.latent_model import LatentModel


def beyond(plant: Plant, optimizer: Optimizer, model: Any, *, heads: bool, members: bool) -> str | None:
    """What of an optimizer the batch does not solve, in words; None where it solves all."""
    if not isinstance(model, LatentModel) or not isinstance(cell_of(model), DenseCell):
        return f"the model is a {type(model).__name__}, and only latent models in float64 are taken apart for a batch"
    if heads:
        return "the optimizer has constraint heads, whose margins the batch does not forecast"
    if members or plant.advice.scenarios:
        return "the plan is to stand up to several scenarios or members, and the batch forecasts one"
    if optimizer.cost.economic is not None:
        return "the plant file has an economic objective or prices, and the batch knows setpoints alone"
    if plant.advice.constraints:
        return "advice.constraints limits what is calculated, and the batch knows limits of CVs alone"
    return None


def plant_of(optimizer: Optimizer, model: LatentModel, scaler: Scaler) -> BatchPlant:
    """What all problems of an optimizer share; on the processor."""
    horizon, cost, limits = optimizer.horizon, optimizer.cost, optimizer.limits
    has_rest = np.isfinite(cost.rest_U)
    rest_weight_U = np.where(has_rest, REST_WEIGHT / cost.span_U**2 / horizon.interval, 0.0)
    arrays = {
        "share_NMU": horizon.share_NMU,
        "end_M": np.array(horizon.ends) - 1,
        "begun_N": (horizon.block_of_row + 1) * len(cost.span_U),
        "segment_N": limits.segment_N,
        "price_Q": WEIGHT * limits.advices_Q,
        "span_U": cost.span_U,
        "span_Y": cost.span_Y,
        "track_Y": cost.weight_Y / cost.span_Y**2 / horizon.interval,
        "rest_weight_U": rest_weight_U,
        "rest_U": np.where(has_rest, cost.rest_U, 0.0),
        "move_P": (cost.move_hessian() * cost.span_U**2).ravel(),
        "slope_R": np.array([limit.sign / limit.scale for limit in limits.limits]),
        "column_R": np.array([limit.column for limit in limits.limits], dtype=np.int64),
        "rank_R": limits.rank_R.astype(np.int64),
        "curvature": np.array(SLACK_CURVATURE),
    }
    return BatchPlant(model=_model_of(model, scaler), **{name: _tensor(array) for name, array in arrays.items()})


def limit_offsets(all_limits: SoftLimits, in_force: SoftLimits) -> np.ndarray:
    """Excess of each limit at a CV of zero, [R, N] [spans]; `OPEN` where it is not in force."""
    found = np.full((len(all_limits.limits), len(all_limits.segment_N)), OPEN)
    at = {(limit.tag, limit.side): r for r, limit in enumerate(all_limits.limits)}
    for limit in in_force.limits:
        kept_N = limit.backoff_N - limit.funnel_N - limit.sign * limit.at
        found[at[limit.tag, limit.side]] = kept_N / limit.scale
    return found


def _model_of(model: LatentModel, scaler: Scaler) -> BatchModel:
    cell, read_out = cell_of(model), read_out_of(model)
    assert isinstance(cell, DenseCell)
    assert isinstance(read_out, DenseReadOut)
    columns: Columns = model.config.columns
    (read, read_bias), *inner, (read_last, read_last_bias) = read_out.stack
    cv, mv = list(columns.cv), list(columns.mv)
    arrays = cell.matrices | {
        "linear": read_out.linear,
        "offset": read_out.offset,
        "read": read,
        "read_bias": read_bias,
        "read_inner": np.array([weight for weight, _ in inner]),
        "read_inner_bias": np.array([bias for _, bias in inner]),
        "read_last": read_last,
        "read_last_bias": read_last_bias,
        "centre_U": scaler.centre[mv],
        "spread_U": scaler.spread[mv],
        "centre_Y": scaler.centre[cv],
        "spread_Y": scaler.spread[cv],
    }
    return BatchModel(**{name: _tensor(array) for name, array in arrays.items()})


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, order="C"))
