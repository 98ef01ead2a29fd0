"""What is read out of latents, CVs and margins in one pass, with derivatives by hand where the form is known.

Shapes: B latents, N rows of the horizon, D latent, Y CVs, G heads, P tangents, H units of a layer. Scaled;
margins [unit].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from procmodel.constraints.head import ConstraintHead
from procmodel.control.cell import matrix, stack_of
from procmodel.control.curvature import bent
from procmodel.control.graph import row_jacobians
from procmodel.control.rows import bend
from procmodel.world_model.latent_model import LatentModel
from procmodel.world_model.protocol import WorldModel
from procmodel.world_model.recurrent import GruModel


class Head(Protocol):
    """A margin that no sensor measures, as the optimizer sees it; positive is safe.

    Attributes:
        name, unit: Of the margin.
        rank: 1 is given up last.
        allowance_H: Deducted from the predicted margin per horizon step [unit]; the last one holds beyond its end.
    """

    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def rank(self) -> int: ...
    @property
    def allowance_H(self) -> np.ndarray: ...

    def margin(self, z_BD: Tensor) -> Tensor:
        """Predicted margin, [B] [unit]; differentiable."""
        ...


class ReadOut(Protocol):
    """CVs of latents."""

    def values(self, z_BD: np.ndarray) -> np.ndarray:
        """[B, Y]."""
        ...

    def jacobians(self, z_BD: np.ndarray) -> np.ndarray:
        """Of each latent, [B, Y, D]."""
        ...

    def pulled(self, z_BD: np.ndarray, seed_BY: np.ndarray) -> np.ndarray:
        """Derivative of `seed . y` by each latent, [B, D]; cheaper than all of the Jacobians."""
        ...

    def curvature(
        self, z_ND: np.ndarray, seed_NY: np.ndarray, tangents_NPD: np.ndarray, begun_N: np.ndarray
    ) -> np.ndarray:
        """`sum_n T_n (seed_n . y_n'') T_n'`, [P, P]; tangents from `begun_n` on are zero."""
        ...


@dataclass(frozen=True, kw_only=True)
class DenseReadOut:
    """`y = linear z + offset`, and what a stack of tanh layers adds where there is one.

    Attributes:
        linear: [D, Y].
        stack: Weights [inputs, outputs] and biases of the layers, the last one without tanh; may be empty.
    """

    linear: np.ndarray
    offset: np.ndarray
    stack: tuple[tuple[np.ndarray, np.ndarray], ...] = ()

    def values(self, z_BD: np.ndarray) -> np.ndarray:
        y_BY = z_BD @ self.linear + self.offset
        if self.stack:
            last, bias = self.stack[-1]
            y_BY += self._layers(z_BD)[-1] @ last
            y_BY += bias
        return np.asarray(y_BY)

    def jacobians(self, z_BD: np.ndarray) -> np.ndarray:
        outputs = self.linear.shape[1]
        if not self.stack:
            return np.broadcast_to(self.linear.T, (len(z_BD), outputs, len(self.linear)))
        # From the CVs back: they are fewer than the latents. One product for all of them in all rows.
        layers = self._layers(z_BD)
        pull = self.stack[-1][0].T * (1.0 - np.square(layers[-1]))[:, None]
        for (weight, _), layer in zip(self.stack[-2:0:-1], layers[-2::-1], strict=True):
            pull = (pull.reshape(-1, pull.shape[-1]) @ weight.T).reshape(len(z_BD), outputs, -1)
            pull *= (1.0 - np.square(layer))[:, None]
        first = (pull.reshape(-1, pull.shape[-1]) @ self.stack[0][0].T).reshape(len(z_BD), outputs, -1)
        return np.asarray(first + self.linear.T)

    def pulled(self, z_BD: np.ndarray, seed_BY: np.ndarray) -> np.ndarray:
        found = seed_BY @ self.linear.T
        if self.stack:
            pull = seed_BY
            for (weight, _), layer in zip(self.stack[:0:-1], self._layers(z_BD)[::-1], strict=True):
                pull = (pull @ weight.T) * (1.0 - np.square(layer))
            found += pull @ self.stack[0][0].T
        return np.asarray(found)

    def curvature(
        self, z_ND: np.ndarray, seed_NY: np.ndarray, tangents_NPD: np.ndarray, begun_N: np.ndarray
    ) -> np.ndarray:
        count = tangents_NPD.shape[1]
        found_PP = np.zeros((count, count))
        if not self.stack or not seed_NY.any():
            return found_PP
        layers = self._layers(z_ND)
        slopes = [1.0 - np.square(layer) for layer in layers]
        pull, bends = seed_NY, []
        for i in range(len(layers) - 1, -1, -1):
            pull = pull @ self.stack[i + 1][0].T
            bends.append(-2.0 * layers[i] * slopes[i] * pull)  # tanh'' = -2 tanh tanh'
            pull = pull * slopes[i]
        for n, p in enumerate(begun_N):
            below = tangents_NPD[n, :p]
            for (weight, _), slope, bent_NH in zip(self.stack[:-1], slopes, bends[::-1], strict=True):
                below = below @ weight
                found_PP[:p, :p] += (below * bent_NH[n]) @ below.T
                below *= slope[n]
        return found_PP

    def _layers(self, z_BD: np.ndarray) -> list[np.ndarray]:
        layers, below = [], z_BD
        for weight, bias in self.stack[:-1]:
            below = below @ weight
            below += bias
            bend(below.reshape(-1))
            layers.append(below)
        return layers


@dataclass(frozen=True, kw_only=True)
class AnyReadOut:
    """The read-out of any model, by torch."""

    model: WorldModel

    def values(self, z_BD: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(self.model.read_out(torch.from_numpy(z_BD)).numpy())

    def jacobians(self, z_BD: np.ndarray) -> np.ndarray:
        return np.asarray(row_jacobians(self.model.read_out, torch.from_numpy(z_BD))[0].numpy())

    def pulled(self, z_BD: np.ndarray, seed_BY: np.ndarray) -> np.ndarray:
        return np.asarray(np.einsum("by,byd->bd", seed_BY, self.jacobians(z_BD)))

    def curvature(
        self, z_ND: np.ndarray, seed_NY: np.ndarray, tangents_NPD: np.ndarray, begun_N: np.ndarray
    ) -> np.ndarray:
        seed = torch.from_numpy(seed_NY)
        return bent(lambda z: (seed * self.model.read_out(z)).sum(), (z_ND,), (tangents_NPD,))


def read_out_of(model: WorldModel, *, by_hand: bool = True) -> ReadOut:
    """By hand for the shipped architectures, by torch for any other."""
    if not by_hand:
        return AnyReadOut(model=model)
    if isinstance(model, LatentModel):
        linear = np.zeros((model.latent_size, len(model.offset)))
        linear[: model.config.state] = matrix(model.C).T
        return DenseReadOut(linear=linear, offset=matrix(model.offset), stack=tuple(stack_of(model.head)))
    if isinstance(model, GruModel):
        return DenseReadOut(linear=matrix(model.readout.weight).T, offset=matrix(model.readout.bias))
    return AnyReadOut(model=model)


class Margins:
    """All heads of a model in one pass."""

    def __init__(self, heads: Sequence[Head]) -> None:
        self._heads = tuple(heads)

    def values(self, z_BD: np.ndarray) -> np.ndarray:
        """[B, G]."""
        margins = np.empty((len(z_BD), len(self._heads)))
        for g, head in enumerate(self._heads):
            margins[:, g] = _margin(head, z_BD)
        return margins

    def jacobians(self, z_BD: np.ndarray) -> np.ndarray:
        """Of each latent, [B, G, D]."""
        slopes = np.empty((len(z_BD), len(self._heads), z_BD.shape[1]))
        for g, head in enumerate(self._heads):
            slopes[:, g] = _slope(head, z_BD)
        return slopes

    def pulled(self, z_BD: np.ndarray, seed_BG: np.ndarray) -> np.ndarray:
        """Derivative of `seed . margins` by each latent, [B, D]."""
        found = np.zeros_like(z_BD)
        for g, head in enumerate(self._heads):
            if seed_BG[:, g].any():
                found += seed_BG[:, g, None] * _slope(head, z_BD)
        return found

    def curvature(self, z_ND: np.ndarray, seed_NG: np.ndarray, tangents_NPD: np.ndarray) -> np.ndarray:
        """`sum_n T_n (seed_n . margins_n'') T_n'`, [P, P]."""
        count = tangents_NPD.shape[1]
        found_PP = np.zeros((count, count))
        for g, head in enumerate(self._heads):
            if seed_NG[:, g].any():
                found_PP += _bend(head, z_ND, seed_NG[:, g], tangents_NPD)
        return found_PP


def _margin(head: Head, z_BD: np.ndarray) -> np.ndarray:
    """One margin, [B]."""
    if not isinstance(head, ConstraintHead):
        with torch.no_grad():
            return np.asarray(head.margin(torch.from_numpy(z_BD)).numpy())
    margin_B = z_BD @ head.linear_D + head.offset
    if head.centre_Q.size:
        p_BQ = z_BD @ head.directions_QD.T - head.centre_Q
        margin_B += ((p_BQ @ head.curvature_QQ) * p_BQ).sum(axis=1)
    return np.asarray(margin_B)


def _bend(head: Head, z_ND: np.ndarray, seed_N: np.ndarray, tangents_NPD: np.ndarray) -> np.ndarray:
    """What one margin bends by, [P, P]."""
    if not isinstance(head, ConstraintHead):
        seed = torch.from_numpy(seed_N)
        return bent(lambda z: (seed * head.margin(z)).sum(), (z_ND,), (tangents_NPD,))
    seen_NPQ = tangents_NPD @ head.directions_QD.T
    bend_QQ = head.curvature_QQ + head.curvature_QQ.T
    return np.asarray(np.tensordot((seed_N[:, None, None] * seen_NPQ) @ bend_QQ, seen_NPQ, axes=([0, 2], [0, 2])))


def _slope(head: Head, z_BD: np.ndarray) -> np.ndarray:
    """Derivative of one margin, [B, D]; a constraint head is a quadratic and has its own."""
    if not isinstance(head, ConstraintHead):
        (slope_B1D,) = row_jacobians(lambda z: head.margin(z)[:, None], torch.from_numpy(z_BD))
        return np.asarray(slope_B1D[:, 0].numpy())
    if not head.centre_Q.size:
        return np.broadcast_to(head.linear_D, z_BD.shape)
    p_BQ = z_BD @ head.directions_QD.T - head.centre_Q
    return np.asarray(head.linear_D + p_BQ @ (head.curvature_QQ + head.curvature_QQ.T) @ head.directions_QD)
