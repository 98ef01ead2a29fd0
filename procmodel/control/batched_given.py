"""What an optimizer knows of its plant, as the tensors of `batched_data.py`, and whether that is all there is to it.

Shapes: N rows of the horizon, M blocks, U MVs, P = M * U changes [spans], V DVs, Y CVs, G heads,
O = Y + G outputs, S = Y + U, R soft limits, D latent, Q curved directions of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import casadi as ca
import numpy as np
import torch
from torch import Tensor

from procmodel.constraints.head import ConstraintHead
from procmodel.control.batched_cost import CODES
from procmodel.control.batched_data import OPEN, BatchPlant
from procmodel.control.batched_model import BatchModel
from procmodel.control.cells import cell_of
from procmodel.control.dense_cell import DenseCell
from procmodel.control.limits import SLACK_CURVATURE, WEIGHT, SoftLimits
from procmodel.control.objective import REST_WEIGHT
from procmodel.control.optimizer import Optimizer
from procmodel.control.readings import DenseReadOut, read_out_of
from procmodel.data.window import STEEPEST, Columns, Scaler
from procmodel.plant import Plant
from procmodel.world_model.latent_model import LatentModel

_OPERATIONS = {getattr(ca, name): name[3:].lower() for name in dir(ca) if name.startswith("OP_")}


def beyond(plant: Plant, model: Any, heads: Sequence[Any], *, members: bool) -> str | None:
    """What of an optimizer the batch does not solve, in words; None where it solves all."""
    if not isinstance(model, LatentModel) or not isinstance(cell_of(model), DenseCell):
        return f"the model is a {type(model).__name__}, and only latent models in float64 are taken apart for a batch"
    if others := [head.name for head in heads if not isinstance(head, ConstraintHead)]:
        return (
            f"the margins of {', '.join(others)} are of a form of their own, and the batch knows constraint heads alone"
        )
    if members or plant.advice.scenarios:
        return "the plan is to stand up to several scenarios or members, and the batch forecasts one"
    if plant.advice.constraints:
        return "advice.constraints limits what is calculated, and the batch knows limits of CVs alone"
    return None


def plant_of(optimizer: Optimizer, model: LatentModel, scaler: Scaler) -> BatchPlant:
    """What all problems of an optimizer share; on the processor."""
    horizon, cost, limits = optimizer.horizon, optimizer.cost, optimizer.limits
    has_rest = np.isfinite(cost.rest_U)
    dv, outputs, heads = list(optimizer.forecaster.columns.dv), len(cost.span_Y), optimizer.forecaster.heads
    rest_weight_U = np.where(has_rest, REST_WEIGHT / cost.span_U**2 / horizon.interval, 0.0)
    arrays = {
        "share_NMU": horizon.share_NMU,
        "end_M": np.array(horizon.ends) - 1,
        "begun_N": (horizon.block_of_row + 1) * len(cost.span_U),
        "segment_N": limits.segment_N,
        "price_Q": WEIGHT * limits.advices_Q,
        "span_U": cost.span_U,
        "span_Y": np.concatenate([cost.span_Y, np.ones(len(heads))]),
        "track_Y": np.concatenate([cost.weight_Y / cost.span_Y**2 / horizon.interval, np.zeros(len(heads))]),
        "rest_weight_U": rest_weight_U,
        "centre_V": scaler.centre[dv],
        "spread_V": scaler.spread[dv],
        **_economic(optimizer),
        "rest_U": np.where(has_rest, cost.rest_U, 0.0),
        "move_P": (cost.move_hessian() * cost.span_U**2).ravel(),
        "slope_R": np.array([limit.sign / limit.scale for limit in limits.limits]),
        "column_R": np.array([limit.column + outputs * limit.is_head for limit in limits.limits], dtype=np.int64),
        "rank_R": limits.rank_R.astype(np.int64),
        "curvature": np.array(SLACK_CURVATURE),
    }
    return BatchPlant(model=_model_of(model, scaler, heads), **{name: _tensor(array) for name, array in arrays.items()})


def limit_offsets(all_limits: SoftLimits, in_force: SoftLimits) -> np.ndarray:
    """Excess of each limit at a CV of zero, [R, N] [spans]; `OPEN` where it is not in force."""
    found = np.full((len(all_limits.limits), len(all_limits.segment_N)), OPEN)
    at = {(limit.tag, limit.side): r for r, limit in enumerate(all_limits.limits)}
    for limit in in_force.limits:
        kept_N = limit.backoff_N - limit.funnel_N - limit.sign * limit.at
        found[at[limit.tag, limit.side]] = kept_N / limit.scale
    return found


def _economic(optimizer: Optimizer) -> dict[str, np.ndarray]:
    """The economic objective of a row as a tape, and its derivatives as another."""
    economic, horizon = optimizer.cost.economic, optimizer.horizon
    none = {"code": np.zeros((0, 4), dtype=np.int64), "constant": np.zeros(0)}
    paid, bent = (none, none) if economic is None else (_tape_of(economic.expression), _tape_of(economic.derivatives))
    found = {f"paid_{key}": array for key, array in paid.items()} | {f"bent_{key}": each for key, each in bent.items()}
    return found | {"paid_scale": np.array(1.0 / optimizer.cost.size / horizon.interval)}


def _tape_of(function: Any) -> dict[str, np.ndarray]:
    """A CasADi function of (y, u, d), as the rows of `batched_cost.Tape`; of each output all entries are there."""
    sizes_in = [function.size1_in(i) for i in range(function.n_in())]
    sizes_out = [function.numel_out(i) for i in range(function.n_out())]
    code, constant = [], []
    for k in range(function.n_instructions()):
        name = _OPERATIONS[function.instruction_id(k)]
        given, to = list(function.instruction_input(k)), list(function.instruction_output(k))
        if name == "const":
            row = ["constant", to[0], -1, -1]
        elif name == "input":
            row = ["input", to[0], sum(sizes_in[: given[0]]) + given[1], -1]
        elif name == "output":
            row = ["output", sum(sizes_out[: to[0]]) + to[1], given[0], -1]
        else:
            row = [name, to[0], given[0], given[1] if len(given) > 1 else -1]
        code.append([CODES.index(row[0]), *row[1:]])
        constant.append(function.instruction_constant(k) if name == "const" else 0.0)
    return {"code": np.array(code, dtype=np.int64), "constant": np.array(constant, dtype=float)}


def _margins_of(heads: Sequence[Any], latent: int) -> dict[str, np.ndarray]:
    """What makes their margins quadratics; of as many directions as the one with the most."""
    most = max((head.centre_Q.size for head in heads), default=0)
    directions, about = np.zeros((len(heads), most, latent)), np.zeros((len(heads), most))
    curved = np.zeros((len(heads), most, most))
    for g, head in enumerate(heads):
        q = head.centre_Q.size
        directions[g, :q], about[g, :q] = head.directions_QD, head.centre_Q
        curved[g, :q, :q] = 0.5 * (head.curvature_QQ + head.curvature_QQ.T)
    return {"directions": directions, "about": about, "curved": curved}


def _model_of(model: LatentModel, scaler: Scaler, heads: Sequence[Any]) -> BatchModel:
    cell, read_out = cell_of(model), read_out_of(model)
    assert isinstance(cell, DenseCell)
    assert isinstance(read_out, DenseReadOut)
    columns: Columns = model.config.columns
    (read, read_bias), *inner, (read_last, read_last_bias) = read_out.stack
    cv, mv = list(columns.cv), list(columns.mv)
    straight_GD = np.array([head.linear_D for head in heads]).reshape(len(heads), model.latent_size)
    more = np.zeros((len(read_last), len(heads)))
    arrays = (
        cell.matrices
        | _margins_of(heads, model.latent_size)
        | {
            "linear": np.hstack([read_out.linear, straight_GD.T]),
            "offset": np.concatenate([read_out.offset, [head.offset for head in heads]]),
            "read": read,
            "read_bias": read_bias,
            "read_inner": np.array([weight for weight, _ in inner]),
            "read_inner_bias": np.array([bias for _, bias in inner]),
            "read_last": np.hstack([read_last, more]),
            "read_last_bias": np.concatenate([read_last_bias, more[0]]),
            "centre_U": scaler.centre[mv],
            "spread_U": scaler.spread[mv],
            "centre_Y": np.concatenate([scaler.centre[cv], np.zeros(len(heads))]),
            "spread_Y": np.concatenate([scaler.spread[cv], np.ones(len(heads))]),
            "bend_Y": np.empty(0) if scaler.bend is None else np.concatenate([scaler.bend[cv], np.zeros(len(heads))]),
            "steepest": np.array(STEEPEST),
        }
    )
    return BatchModel(**{name: _tensor(array) for name, array in arrays.items()})


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, order="C"))
