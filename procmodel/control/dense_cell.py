"""The cell of `LatentModel`: a linear state, its products, and a network of tanh layers. Shapes as in `cell.py`."""

from __future__ import annotations

import numpy as np

from procmodel.control import rows
from procmodel.control.cell import Adjoint, Tape, matrix, stack_of
from procmodel.control.product_units import ProductUnits
from procmodel.world_model.latent_model import LatentModel

# Units of a layer up to which compiled loops carry tangents on as fast as BLAS [-]: of 60 rows with 16 tangents, 1.6 to
# 0.9 ms at 64 units, 4.9 to 2.8 at 128, 10.7 to 8.5 at 256; with 40 tangents 4.4 to 3.0, 7.1 to 7.8 and 18.6 to 21.0.
NARROW = 128


class DenseCell:
    """`z+ = [h | z | u] out + drive(d)`, `h` the last of a stack of tanh layers on `[z | u]`: linear state and network.

    Args:
        first: Weights of the first layer on [z | u], [D + U, H].
        hidden: Weights and biases of the further layers.
        out: [H + D + U, D], the linear part of the model included.
        drive_first, drive_out: What the DVs and the biases add, [V + 1, H] and [V + 1, D].
        products: None, or `(quadratic [N, Q, Q], slope [N, Q])`: the last Q units of the first layer, g, which the
            second layer does not read, also add `g' quadratic g + slope g` to the first N of the latent.
    """

    def __init__(
        self,
        *,
        first: np.ndarray,
        hidden: list[tuple[np.ndarray, np.ndarray]],
        out: np.ndarray,
        drive_first: np.ndarray,
        drive_out: np.ndarray,
        products: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        self._first, self._hidden, self._out = first, hidden, out
        self._drive_first, self._drive_out = drive_first, drive_out
        self._latent, self._top = out.shape[1], out.shape[0] - first.shape[0]
        self._weights = (first, *(weight for weight, _ in hidden))
        self._biases = (np.zeros(first.shape[1]), *(bias for _, bias in hidden))
        self._last, self._linear = out[: self._top], out[self._top :]
        self._weights_T = tuple(np.ascontiguousarray(weight.T) for weight in self._weights)
        self._last_T, self._linear_T = (np.ascontiguousarray(part.T) for part in (self._last, self._linear))
        self._room: dict[str, np.ndarray] = {}
        self._products = None if products is None else ProductUnits(*products, units=first.shape[1])
        self._curved = (np.empty((0, 0)), np.empty((0, 0))) if self._products is None else self._products.by_unit
        self._is_narrow = max(weight.shape[1] for weight in self._weights) <= NARROW
        # Compiled or read from the cache now, not in the first tick, which has a deadline.
        inputs, dvs = len(first) - self._latent, len(drive_out) - 1
        tape = self.roll(np.zeros(self._latent), np.zeros((1, 1, inputs)), np.zeros((1, dvs)))
        bends = self.adjoint(tape, 0, np.zeros((1, self._latent))).bends
        self.tangents(tape, 0, np.zeros((1, 1, inputs)), np.ones(1, dtype=np.int64), bends)

    @property
    def matrices(self) -> dict[str, np.ndarray]:
        """All of them by name, the further layers stacked: [J, H, H] and [J, H]."""
        hidden, bias = (np.array([layer[i] for layer in self._hidden]) for i in range(2))
        drives = {"drive_first": self._drive_first, "drive_out": self._drive_out}
        none = (np.zeros((0, 0, 0)), np.zeros((0, 0)))
        quadratic, slope = none if self._products is None else self._products.matrices
        products = {"quadratic": quadratic, "slope": slope}
        return {"first": self._first, "hidden": hidden, "hidden_bias": bias, "out": self._out, **drives, **products}

    def roll(self, latent_D: np.ndarray, u_KNU: np.ndarray, d_NV: np.ndarray) -> Tape:
        plans, steps = u_KNU.shape[:2]
        driven = np.hstack([d_NV, np.ones((steps, 1))])
        x_NKI = np.empty((steps, plans, len(self._first)))
        x_NKI[:, :, self._latent :] = u_KNU.transpose(1, 0, 2)
        x_NKI[0, :, : self._latent] = latent_D
        z_NKD = np.empty((steps, plans, self._latent))
        layers = tuple(np.empty((steps, plans, weight.shape[1])) for weight in self._weights)
        rows.roll(
            z_NKD,
            x_NKI,
            layers,
            self._weights,
            self._biases,
            driven @ self._drive_first,
            driven @ self._drive_out,
            self._last,
            self._linear,
            *self._curved,
        )
        return Tape(latents_KND=np.ascontiguousarray(z_NKD.transpose(1, 0, 2)), layers=layers)

    def step(self, z_BD: np.ndarray, u_BU: np.ndarray, d_BV: np.ndarray) -> np.ndarray:
        """One row of many latents, each with inputs of its own, [B, D]."""
        x = np.concatenate([z_BD, u_BU], axis=1)
        unit_BH = x @ self._first + (d_BV @ self._drive_first[:-1] + self._drive_first[-1])
        rows.bend(unit_BH.reshape(-1))
        found = x @ self._linear + (d_BV @ self._drive_out[:-1] + self._drive_out[-1])
        if self._products is not None:
            found[:, : self._products.states] += self._products.added(unit_BH)
        for weight, bias in self._hidden:
            unit_BH = unit_BH @ weight + bias
            rows.bend(unit_BH.reshape(-1))
        return np.asarray(found + unit_BH @ self._last)

    def tangents(
        self, tape: Tape, plan: int, push_NPU: np.ndarray, begun_N: np.ndarray, bends: tuple[np.ndarray, ...] = ()
    ) -> tuple[np.ndarray, np.ndarray | None]:
        slopes = tuple(1.0 - np.square(layer[:, plan]) for layer in tape.layers)
        if self._is_narrow:
            return self._tangents_compiled(tape, plan, push_NPU, begun_N, slopes, bends)
        steps, count, _ = push_NPU.shape
        top, end = self._top, self._top + self._latent
        x = self._space("x", (count, len(self._out)))
        x[:] = 0.0
        rooms = [self._space(f"layer {i}", (count, slope.shape[1])) for i, slope in enumerate(slopes[:-1])]
        found_NPD = np.zeros((steps, count, self._latent))
        curvature_PP = np.zeros((count, count)) if bends else None
        products = self._products
        turn_NQN = None if products is None else products.slopes(tape.layers[0][:, plan])
        for n in range(steps):
            p = begun_N[n]
            x[:p, end:] = push_NPU[n, :p]
            below = x[:p, top:]
            for i, slope in enumerate(slopes):
                weight = self._hidden[i - 1][0] if i else self._first
                into = x[:p, :top] if i == len(slopes) - 1 else rooms[i][:p]
                below = np.matmul(below, weight, out=into)
                if curvature_PP is not None:
                    curvature_PP[:p, :p] += (below * bends[i][n]) @ below.T
                below *= slope[n]
                if i == 0 and products is not None:
                    own = below[:, products.at]
                    if curvature_PP is not None:
                        curvature_PP[:p, :p] += own @ bends[-1][n] @ own.T
            after = np.matmul(x[:p], self._out, out=found_NPD[n, :p])
            if products is not None and turn_NQN is not None:
                after[:, : products.states] += rooms[0][:p, products.at] @ turn_NQN[n]
            x[:p, top:end] = after
        return found_NPD, curvature_PP

    def _tangents_compiled(
        self,
        tape: Tape,
        plan: int,
        push_NPU: np.ndarray,
        begun_N: np.ndarray,
        slopes: tuple[np.ndarray, ...],
        bends: tuple[np.ndarray, ...],
    ) -> tuple[np.ndarray, np.ndarray | None]:
        steps, count, _ = push_NPU.shape
        found_NPD, curvature_PP = np.zeros((steps, count, self._latent)), np.zeros((count, count))
        products, depth = self._products, len(slopes)
        turn_NQN = np.empty((steps, 0, 0)) if products is None else products.slopes(tape.layers[0][:, plan])
        rows.push_on(
            found_NPD,
            curvature_PP,
            push_NPU,
            begun_N,
            tuple(np.zeros((count, slope.shape[1])) for slope in slopes),
            self._weights,
            slopes,
            bends[:depth] if bends else (np.empty((0, 0)),) * depth,
            self._last,
            self._linear,
            turn_NQN,
            bends[-1] if len(bends) > depth else np.empty((steps, 0, 0)),
        )
        return found_NPD, curvature_PP if bends else None

    def adjoint(self, tape: Tape, plan: int, seed_ND: np.ndarray) -> Adjoint:
        steps = len(seed_ND)
        values = tuple(np.ascontiguousarray(layer[:, plan]) for layer in tape.layers)
        slopes = tuple(1.0 - np.square(value) for value in values)
        pulls = tuple(np.empty_like(value) for value in values)
        moves_NU, latents_ND = np.empty((steps, len(self._first) - self._latent)), np.array(seed_ND)
        products = self._products
        turn_NQN = np.empty((steps, 0, 0)) if products is None else products.slopes(values[0])
        rows.pull_back(latents_ND, moves_NU, pulls, slopes, self._weights_T, self._last_T, self._linear_T, turn_NQN)
        # tanh'' = -2 tanh tanh'
        bends = tuple(-2.0 * value * slope * pull for value, slope, pull in zip(values, slopes, pulls, strict=True))
        if products is not None:
            bends += (products.curvatures(latents_ND),)
        return Adjoint(moves_NU=moves_NU, latents_ND=latents_ND, bends=bends)

    def _space(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name not in self._room or self._room[name].shape != shape:
            self._room[name] = np.empty(shape)
        return self._room[name]


def dense_cell_of(model: LatentModel) -> DenseCell:
    columns, states, size = model.config.columns, model.config.state, model.latent_size
    mvs, dvs = len(columns.mv), len(columns.dv)
    (first, first_bias), *hidden, (last, last_bias) = stack_of(model.predictor)
    linear = np.zeros((size + mvs + dvs, size))
    linear[:states, :states] = matrix(model.A).T
    learned = np.arange(states, size)
    linear[learned, learned] = 1.0 / (1.0 + np.exp(-matrix(model.decay)))
    linear[size:, :states] = matrix(model.B).T
    bias = last_bias + np.concatenate([matrix(model.bias), np.zeros(size - states)])
    moved = size + mvs  # rows of z, then of the MVs, then of the DVs
    drive, products = first_bias, None
    if model.config.products:
        # Their bounded coordinates are more units of the first layer, which the second one does not read.
        rate, centre, count = matrix(model.rate), matrix(model.centre), len(model.rate)
        coordinates = np.zeros((len(first), count))
        coordinates[[*range(states), *range(size, len(first))], np.arange(count)] = rate
        first, drive = np.hstack([first, coordinates]), np.concatenate([first_bias, -rate * centre])
        (weight, at), *further = hidden
        hidden = [(np.vstack([weight, np.zeros((count, weight.shape[1]))]), at), *further]
        products = (matrix(model.quadratic), matrix(model.slope))
        bias[:states] += matrix(model.rest)
    return DenseCell(
        first=np.ascontiguousarray(first[:moved]),
        hidden=[(np.ascontiguousarray(weight), at) for weight, at in hidden],
        out=np.concatenate([last, linear[:moved]]),
        drive_first=np.concatenate([first[moved:], drive[None]]),
        drive_out=np.concatenate([linear[moved:], bias[None]]),
        products=products,
    )
