"""How much a batch's plans bend what comes of them: passes back through the rollout, and second derivatives by changes.

Shapes as in `batched_model.py`; S of the latent's entries get products of Q units.

An economic objective is often linear; its optimum between limits comes from the model's own curvature, which
Gauss-Newton cannot see. It is the sum over all tanh units of (what the second derivative of the unit is worth) * (its
tangents squared), and the like for products and heads, which are quadratic.

Imports torch alone, for machines that have little else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from procmodel.control.batched_model import BatchModel


@dataclass(frozen=True, kw_only=True)
class BatchTape:
    """What a rollout leaves for its derivatives.

    Attributes:
        latents_NBD: After each row.
        layers: Of each row, J + 1 of [B, H]; empty where no derivatives were to be asked for.
    """

    latents_NBD: Tensor
    layers: tuple[tuple[Tensor, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Bends:
    """What second derivatives are worth to a scalar, per row.

    Attributes:
        layers: Of the units of each layer of the stage map, [B, H]; `products` of theirs, [B, Q, Q].
        read, read_slopes: Of those of the read-out, and their first derivatives, [B, H].
        margins_NBG: Of the heads' quadratics.
        scales_NBO: Of the outputs' scales, per square of an output; None where all are straight.
    """

    layers: tuple[tuple[Tensor, ...], ...]
    products: tuple[Tensor, ...]
    read: tuple[tuple[Tensor, ...], ...]
    read_slopes: tuple[tuple[Tensor, ...], ...]
    margins_NBG: Tensor
    scales_NBO: Tensor | None


def bends_of(model: BatchModel, tape: BatchTape, slopes_NBOD: Tensor, units_NBO: Tensor, seed_BNO: Tensor) -> Bends:
    """Of a scalar with these derivatives by the outputs; `slopes_NBOD` are the outputs' by the latents, `units_NBO` by
    what is read out."""
    steps, _, size = tape.latents_NBD.shape
    seed_NBO = seed_BNO.transpose(0, 1)
    by_latent_NBD = (seed_NBO.unsqueeze(2) @ slopes_NBOD).squeeze(2)
    read, read_slopes = _in_read_out(model, tape.latents_NBD, seed_NBO * units_NBO)
    scales_NBO = None
    if len(model.bend_Y):
        is_bent = units_NBO > model.steepest * model.spread_Y
        scales_NBO = torch.where(is_bent, seed_NBO * model.spread_Y * model.bend_Y, 0.0) / units_NBO.square()
    adjoint_BD = torch.zeros_like(by_latent_NBD[0])
    layers: list[tuple[Tensor, ...]] = [()] * steps
    turns: list[Tensor] = [adjoint_BD] * steps
    states, units = model.slope.shape
    for n in range(steps - 1, -1, -1):
        adjoint_BD = adjoint_BD + by_latent_NBD[n]
        pull_BH = adjoint_BD @ model.out[: tape.layers[n][-1].shape[1]].T
        bends = []
        for i in range(len(tape.layers[n]) - 1, -1, -1):
            layer = tape.layers[n][i]
            if i == 0 and units:
                pulled_BSQ = adjoint_BD[:, :states].unsqueeze(1) @ model.quadratic.flatten(1)
                turns[n] = 2.0 * pulled_BSQ.view(-1, units, units)
                own_BQ = layer[:, -units:]
                worth_BQ = (turns[n] @ own_BQ.unsqueeze(2)).squeeze(2) + adjoint_BD[:, :states] @ model.slope
                pull_BH = torch.cat([pull_BH[:, :-units], pull_BH[:, -units:] + worth_BQ], dim=1)
            slope = 1.0 - layer.square()
            bends.append(-2.0 * layer * slope * pull_BH)  # tanh'' = -2 tanh tanh'
            pull_BH = pull_BH * slope
            if i:
                pull_BH = pull_BH @ model.hidden[i - 1].T
        layers[n] = tuple(bends[::-1])
        through_BI = adjoint_BD @ model.out[tape.layers[n][-1].shape[1] :].T + pull_BH @ model.first.T
        adjoint_BD = through_BI[:, :size]
    return Bends(
        layers=tuple(layers),
        products=tuple(turns),
        read=read,
        read_slopes=read_slopes,
        margins_NBG=seed_NBO[..., seed_NBO.shape[2] - len(model.about) :],
        scales_NBO=scales_NBO,
    )


def _in_read_out(
    model: BatchModel, latents_NBD: Tensor, seed_NBO: Tensor
) -> tuple[tuple[tuple[Tensor, ...], ...], tuple[tuple[Tensor, ...], ...]]:
    """Bends and slopes of the read-out's units, by row and layer."""
    steps, batch, _ = latents_NBD.shape
    layers = model.read_layers(latents_NBD.flatten(0, 1))
    pull, bends, slopes = seed_NBO.flatten(0, 1) @ model.read_last.T, list[Tensor](), list[Tensor]()
    for i in range(len(layers) - 1, -1, -1):
        slope = 1.0 - layers[i].square()
        bends.append((-2.0 * layers[i] * slope * pull).view(steps, batch, -1))
        slopes.append(slope.view(steps, batch, -1))
        pull = pull * slope
        if i:
            pull = pull @ model.read_inner[i - 1].T
    by_row = (tuple(tuple(each[n] for each in part[::-1]) for n in range(steps)) for part in (bends, slopes))
    return next(by_row), next(by_row)


def add_curvature(curvature_BPP: Tensor, tangents_PBH: Tensor, bend_BH: Tensor) -> None:
    """Adds what units with these tangents bend by; changes that have not begun have none."""
    count, own_BPH = len(tangents_PBH), tangents_PBH.transpose(0, 1)
    curvature_BPP[:, :count, :count] += (own_BPH * bend_BH.unsqueeze(1)) @ own_BPH.mT


def add_quadratic(curvature_BPP: Tensor, tangents_PBQ: Tensor, bend_BQQ: Tensor) -> None:
    """The same of a quadratic form."""
    count, own_BPQ = len(tangents_PBQ), tangents_PBQ.transpose(0, 1)
    curvature_BPP[:, :count, :count] += own_BPQ @ bend_BQQ @ own_BPQ.mT
