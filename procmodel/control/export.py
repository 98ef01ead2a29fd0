"""Any trained model as `casadi.Function`: what other solvers, and other people's formulations, need of it.

Shapes: D latent, U MVs, V DVs, Y CVs, G heads, N rows. Columns are rows of the horizon, as CasADi wants them. Scaled by
the model's scaler; margins [unit], allowance not deducted. Float64.

Expressions are MX: a wide network in SX would be a graph of millions of scalar operations. Written from the torch
modules themselves, not from the matrices that the optimizer works with, so that one may be held against the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import casadi as ca
import numpy as np
from torch import Tensor, nn

from procmodel.constraints.head import ConstraintHead
from procmodel.data.window import STEEPEST, Columns, Scaler
from procmodel.errors import ArtifactError
from procmodel.world_model.latent_model import LatentModel
from procmodel.world_model.protocol import WorldModel
from procmodel.world_model.recurrent import GruModel


def step_function(model: WorldModel) -> Any:
    """`(z [D], u [U], d [V]) -> z one row later [D]`.

    Raises:
        ArtifactError: The model is of no architecture that can be written down.
    """
    columns = _known(model).config.columns
    z = ca.MX.sym("z", model.latent_size)
    u, d = ca.MX.sym("u", len(columns.mv)), ca.MX.sym("d", len(columns.dv))
    after = _gru_step(model, z, u, d) if isinstance(model, GruModel) else _latent_step(model, z, u, d)
    return ca.Function("step", [z, u, d], [after], ["z", "u", "d"], ["z_next"])


def read_out_function(model: WorldModel) -> Any:
    """`z [D] -> CVs [Y]`; raises as `step_function` does."""
    known = _known(model)
    z = ca.MX.sym("z", known.latent_size)
    if isinstance(known, GruModel):
        y = _affine(known.readout, z)
    else:
        y = _constant(known.C) @ z[: known.config.state] + _constant(known.offset) + _stack(known.head, z)
    return ca.Function("read_out", [z], [y], ["z"], ["y"])


def units_function(scaler: Scaler, columns: Columns) -> Any:
    """`CVs [Y] scaled -> CVs [Y] [unit]`."""
    at = list(columns.cv)
    y, centre, spread = ca.MX.sym("y", len(at)), ca.DM(scaler.centre[at]), ca.DM(scaler.spread[at])
    if scaler.bend is None:
        return ca.Function("units", [y], [y * spread + centre], ["y"], ["cvs"])
    bend = scaler.bend[at]
    beyond = ca.fmin(1.0 + ca.DM(bend) * y - STEEPEST, 0.0)
    z = y * (1.0 + ca.DM(0.5 * bend) * y) - beyond**2 / ca.DM(np.where(bend == 0.0, 1.0, 2.0 * bend))
    return ca.Function("units", [y], [z * spread + centre], ["y"], ["cvs"])


def margin_function(heads: Sequence[ConstraintHead], latent: int) -> Any:
    """`z [D] -> margins [G]`."""
    z = ca.MX.sym("z", latent)
    margins = [ca.MX(0, 1)]
    for head in heads:
        margin = ca.dot(ca.DM(head.linear_D), z) + head.offset
        if head.centre_Q.size:
            p = ca.DM(head.directions_QD) @ z - ca.DM(head.centre_Q)
            margin += ca.bilin(ca.DM(head.curvature_QQ), p, p)
        margins.append(margin)
    return ca.Function("margins", [z], [ca.vertcat(*margins)], ["z"], ["margins"])


def rollout_function(model: WorldModel, steps: int) -> Any:
    """`(z0 [D], u [U, N], d [V, N]) -> latents after each row [D, N]`; raises as `step_function` does."""
    return step_function(model).mapaccum("rollout", steps)


def write_onnx(model: WorldModel, path: Path) -> None:
    """One row of the model as an ONNX graph in float64: inputs z [1, D], u [1, U], d [1, V], output [1, D].

    Raises:
        ArtifactError: The model is of no architecture that can be written down, or `path` cannot be written.
    """
    function = step_function(model)
    if not path.parent.is_dir():
        raise ArtifactError(f"export: there is no folder {path.parent}. Make it, or name another path.")
    ca.GraphBuilder(function).export_onnx(str(path))


def _known(model: WorldModel) -> LatentModel | GruModel:
    if isinstance(model, (LatentModel, GruModel)):
        return model
    raise ArtifactError(
        f"export: a {type(model).__name__} cannot be written as an expression; LatentModel and GruModel can. "
        "Export a model that `procmodel train` made."
    )


def _latent_step(model: Any, z: Any, u: Any, d: Any) -> Any:
    states, v = model.config.state, ca.vertcat(u, d)
    x, s = z[:states], z[states:]
    added = _stack(model.predictor, ca.vertcat(z, v))
    x_next = _constant(model.A) @ x + _constant(model.B) @ v + _constant(model.bias) + added[:states]
    if model.config.products:
        h = ca.tanh(_constant(model.rate) * (ca.vertcat(x, v) - _constant(model.centre)))
        squares = ca.vertcat(*(ca.dot(h, _constant(form) @ h) for form in model.quadratic))
        x_next += squares + _constant(model.slope) @ h + _constant(model.rest)
    decay = ca.DM(1.0 / (1.0 + np.exp(-_values(model.decay))))
    return ca.vertcat(x_next, decay * s + added[states:])


def _gru_step(model: GruModel, z: Any, u: Any, d: Any) -> Any:
    """As torch has it: the reset gate acts on what the state adds, its bias included."""
    cell, size = model.cell, model.latent_size
    given = _constant(cell.weight_ih) @ ca.vertcat(u, d) + _constant(cell.bias_ih)
    seen = _constant(cell.weight_hh) @ z + _constant(cell.bias_hh)
    reset, keep = (_logistic(given[at] + seen[at]) for at in (slice(0, size), slice(size, 2 * size)))
    fresh = ca.tanh(given[2 * size :] + reset * seen[2 * size :])
    return (1 - keep) * fresh + keep * z


def _stack(network: nn.Sequential, x: Any) -> Any:
    for layer in network:
        x = _affine(layer, x) if isinstance(layer, nn.Linear) else ca.tanh(x)
    return x


def _affine(layer: nn.Linear, x: Any) -> Any:
    return _constant(layer.weight) @ x + _constant(layer.bias)


def _logistic(x: Any) -> Any:
    return 1 / (1 + ca.exp(-x))


def _constant(values: Tensor) -> Any:
    return ca.DM(_values(values))


def _values(values: Tensor) -> np.ndarray:
    return np.asarray(values.detach().cpu().numpy(), dtype=float)
