"""Where a filter's next state may bend: products of CVs and inputs, in coordinates that level off.

The first states of the filter are the CVs, so that a product of two of them is one of two measured things: few numbers,
and the same whatever else the state holds.

Shapes: M windows side by side, N states, V inputs held during a row, Q = N + V coordinates, F products, Y CVs. Scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from procmodel.world_model.linear import LinearState
from procmodel.world_model.products import BOUND, Products

Array = np.ndarray


@dataclass(frozen=True, kw_only=True)
class Bends:
    """`h[first] * h[second]` of `h = tanh(rate (w - centre))`, `w = [x, v]`: what may be added to the next state.

    Attributes:
        centre, rate: [Q]; first, second: Coordinates of each product [F].
    """

    centre: Array
    rate: Array
    first: Array
    second: Array

    def bounded(self, x_MN: Array, v_MV: Array) -> Array:
        """[M, Q]."""
        return np.asarray(np.tanh(self.rate * (np.concatenate([x_MN, v_MV], axis=1) - self.centre)))

    def values(self, h_MQ: Array) -> Array:
        """[M, F]."""
        return np.asarray(h_MQ[:, self.first] * h_MQ[:, self.second])

    def slopes(self, h_MQ: Array, states: int) -> Array:
        """Derivative of each product by each state, [M, F, N]."""
        steep, at = self.rate * (1.0 - h_MQ**2), np.arange(len(self.first))
        found = np.zeros((len(h_MQ), len(at), len(self.rate)))
        found[:, at, self.first] += steep[:, self.first] * h_MQ[:, self.second]
        found[:, at, self.second] += steep[:, self.second] * h_MQ[:, self.first]
        return found[:, :, :states]

    def products(self, weights_NF: Array, gain: float, leading: int, ridge: float) -> Products:
        """What is added, as the latent model has it."""
        states, size = len(weights_NF), len(self.rate)
        quadratic = np.zeros((states, size, size))
        for f, (i, j) in enumerate(zip(self.first, self.second, strict=True)):
            quadratic[:, i, j] += weights_NF[:, f] / 2
            quadratic[:, j, i] += weights_NF[:, f] / 2
        return Products(
            centre=self.centre, rate=self.rate, quadratic=quadratic, slope=np.zeros((states, size)),
            rest=np.zeros(states), gain=gain, leading=leading, ridge=ridge,
        )  # fmt: skip


def all_pairs(linear: LinearState, runs: Sequence[tuple[Array, Array]]) -> Bends:
    """Products of all CVs and inputs, squares among them; `linear` has its CVs first."""
    y, v = (np.concatenate(each) for each in zip(*runs, strict=True))
    cvs, states = y.shape[1], len(linear.A)
    others = np.ones(states - cvs)  # enter no product
    chosen = [*range(cvs), *range(states, states + v.shape[1])]
    first, second = np.array([(i, j) for at, i in enumerate(chosen) for j in chosen[at:]]).T
    means = [np.nanmean(y, axis=0) - linear.offset, 0.0 * others, np.nanmean(v, axis=0)]
    spreads = [np.nanstd(y, axis=0), others, np.nanstd(v, axis=0)]
    rate = 1.0 / (BOUND * np.maximum(np.concatenate(spreads), 1e-6))
    return Bends(centre=np.concatenate(means), rate=rate, first=first, second=second)


def with_cvs_first(linear: LinearState) -> LinearState:
    """The same state in coordinates whose first are the CVs less their offset."""
    cvs = len(linear.C)
    to = np.concatenate([linear.C, np.linalg.svd(linear.C)[2][cvs:]])
    back = np.linalg.inv(to)
    return replace(
        linear, A=to @ linear.A @ back, B=to @ linear.B, bias=to @ linear.bias, K=to @ linear.K, C=linear.C @ back,
        encoder=linear.encoder @ to.T, encoder_bias=to @ linear.encoder_bias,
    )  # fmt: skip
