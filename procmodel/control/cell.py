"""Stage maps of the shipped architectures as bare matrices: rollout, tangents and adjoint without a graph.

Shapes: K plans, N rows of the horizon, D latent, U MVs, V DVs, H units of a layer, P tangents. Scaled, float64.

A tangent is a row, so that those which have not begun yet are left off by a slice (block causality), and every product
is one matrix multiplication of BLAS into memory that is there already. On one core numpy's OpenBLAS ran the products of
a network with two layers of 256 at 40 to 52 GFLOP/s, torch's at 27; between two calls numpy loses 1 us, torch 4. Single
plans have no such products: their rows are compiled (`rows.py`), as are the tangents of networks so narrow that the
calls took longer than the products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Tape:
    """What a rollout leaves for its derivatives.

    Attributes:
        latents_KND: After each row.
        layers: Of each plan and row, what the cell computed on the way; the cell knows their order.
    """

    latents_KND: np.ndarray
    layers: tuple[np.ndarray, ...]


@dataclass(frozen=True, kw_only=True)
class Adjoint:
    """Derivatives of a scalar through a rollout.

    Attributes:
        moves_NU: By the scaled MVs of each row.
        latents_ND: By the latent after each row, through it and all later ones.
        bends: Per hidden layer, what the second derivative of its units is worth, [N, H], then that of products
            [N, Q, Q]; empty where a cell has none.
    """

    moves_NU: np.ndarray
    latents_ND: np.ndarray
    bends: tuple[np.ndarray, ...]


class Cell(Protocol):
    """One row of a world model, differentiated by hand."""

    def roll(self, latent_D: np.ndarray, u_KNU: np.ndarray, d_NV: np.ndarray) -> Tape:
        """All plans from one latent [D], or each from its own [K, D]."""
        ...

    def tangents(
        self, tape: Tape, plan: int, push_NPU: np.ndarray, begun_N: np.ndarray, bends: tuple[np.ndarray, ...] = ()
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Derivative of the latents of one plan, [N, P, D], and curvature [P, P] where `bends` are given.

        Args:
            push_NPU: Derivative of the scaled MVs of each row by each unknown.
            begun_N: The first so many unknowns have moved something by this row; never falls.
            bends: Of the adjoint; only for a cell whose adjoints have them.
        """
        ...

    def adjoint(self, tape: Tape, plan: int, seed_ND: np.ndarray) -> Adjoint:
        """Derivatives of `sum_n seed_n . z_n` along one plan."""
        ...


def stack_of(network: nn.Sequential) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights [inputs, outputs] and biases of the linear layers, tanh between them."""
    return [(matrix(layer.weight).T, matrix(layer.bias)) for layer in network if isinstance(layer, nn.Linear)]


def matrix(values: Tensor) -> np.ndarray:
    """A copy in numpy, detached."""
    return np.array(values.detach().cpu().numpy(), order="C")
