"""The latent model of `fused.py` for many problems at once: rollouts, and derivatives of the CVs by all changes.

Shapes: B problems, N rows of the horizon, M blocks, U MVs, P = M * U changes, D latent, V DVs, Y CVs, G heads,
O = Y + G outputs, H units of a layer. Scaled unless units are named, float64.

Tangents stand first in every array, problems second: those that have not begun yet are then left off by a slice, and
each layer is one matrix product over the rows of all tangents of all problems.

Imports torch alone, for machines that have little else.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from procmodel.control.batched_bends import BatchTape, Bends, add_curvature, add_quadratic, bends_of


@dataclass(frozen=True, kw_only=True)
class BatchModel:
    """A stage map with tanh layers and a read-out, as bare matrices.

    Attributes:
        first, out, drive_first, drive_out: As of `DenseCell`.
        hidden, hidden_bias: Of its further layers, [J, H, H] and [J, H].
        linear, offset: Of the read-out, [D, O] and [O]; the last G outputs are margins of heads.
        read, read_bias, read_inner, read_inner_bias, read_last, read_last_bias: Of what a network adds to it: first
            layer, further ones stacked as `hidden`, last one.
        directions, about, curved: Of what makes a margin a quadratic, `p' curved p` with `p = directions z - about`:
            [G, Q, D], [G, Q] and [G, Q, Q], symmetric.
        centre_U, spread_U, centre_Y, spread_Y: Of the scaler [unit]; 0 and 1 for a margin.
        bend_Y, steepest: How the scales of the outputs bend, and where they go on straight [-]; of no entries where all
            are straight.
        quadratic, slope: Of the products, [S, Q, Q] and [S, Q]: the last Q units g of the first layer add
            `g' quadratic g + slope g` to the first S of the latent; Q is 0 where there are none.
    """

    first: Tensor
    hidden: Tensor
    hidden_bias: Tensor
    out: Tensor
    drive_first: Tensor
    drive_out: Tensor
    linear: Tensor
    offset: Tensor
    read: Tensor
    read_bias: Tensor
    read_inner: Tensor
    read_inner_bias: Tensor
    read_last: Tensor
    read_last_bias: Tensor
    directions: Tensor
    about: Tensor
    curved: Tensor
    centre_U: Tensor
    spread_U: Tensor
    centre_Y: Tensor
    spread_Y: Tensor
    bend_Y: Tensor
    steepest: Tensor
    quadratic: Tensor
    slope: Tensor

    def roll(self, latent_BD: Tensor, moves_BNU: Tensor, dv_BNV: Tensor, *, keep: bool = False) -> BatchTape:
        """Latents of one plan for each of B problems.

        Args:
            moves_BNU: [unit].
            dv_BNV: Scaled.
            keep: Whether derivatives will be asked for.
        """
        steps = moves_BNU.shape[1]
        u_NBU = ((moves_BNU - self.centre_U) / self.spread_U).transpose(0, 1)
        driven_NBV = dv_BNV.transpose(0, 1)
        pre = torch.nn.functional.pad(driven_NBV, (0, 1), value=1.0) @ self.drive_first
        post = torch.nn.functional.pad(driven_NBV, (0, 1), value=1.0) @ self.drive_out
        z_BD, latents, layers = latent_BD, [], []
        products = self.slope.shape[1]
        for n in range(steps):
            seen = torch.cat([z_BD, u_NBU[n]], dim=1)
            below = torch.tanh(torch.addmm(pre[n], seen, self.first))
            stack = [below]
            for weight, bias in zip(self.hidden, self.hidden_bias, strict=True):
                below = torch.tanh(torch.addmm(bias, below, weight))
                stack.append(below)
            z_BD = torch.addmm(post[n], torch.cat([below, seen], dim=1), self.out)
            if products:
                g_BQ = stack[0][:, -products:]
                z_BD[:, : len(self.slope)] += ((self._pull(g_BQ) + self.slope) @ g_BQ.unsqueeze(2)).squeeze(2)
            latents.append(z_BD)
            if keep:
                layers.append(tuple(stack))
        return BatchTape(latents_NBD=torch.stack(latents), layers=tuple(layers))

    def _pull(self, g_BQ: Tensor) -> Tensor:
        """`quadratic g` of each state, [B, S, Q]."""
        return (g_BQ @ self.quadratic.flatten(0, 1).T).view(len(g_BQ), *self.slope.shape)

    def outputs(self, latents_NBD: Tensor) -> Tensor:
        """CVs and margins without bias, [B, N, O] [unit]."""
        y_NBY = self.scaled(latents_NBD)
        if len(self.bend_Y):
            beyond = (1.0 + self.bend_Y * y_NBY - self.steepest).clamp_max(0.0)
            straight = y_NBY * (1.0 + 0.5 * self.bend_Y * y_NBY)
            y_NBY = straight - beyond.square() / torch.where(self.bend_Y == 0.0, 1.0, 2.0 * self.bend_Y)
        return (y_NBY * self.spread_Y + self.centre_Y).transpose(0, 1)

    def scaled(self, latents_NBD: Tensor) -> Tensor:
        """CVs and margins as they are read out, [N, B, O]."""
        z_LD = latents_NBD.flatten(0, 1)
        y_LY = z_LD @ self.linear + self.offset + self.read_layers(z_LD)[-1] @ self.read_last + self.read_last_bias
        if heads := len(self.about):
            seen_GLQ, bent_GLQ = self._in_heads(z_LD)
            y_LY[:, -heads:] += (seen_GLQ * bent_GLQ).sum(dim=2).T
        return y_LY.reshape(*latents_NBD.shape[:2], -1)

    def units(self, latents_NBD: Tensor) -> Tensor:
        """Derivative of the outputs by what is read out, [N, B, O] [unit]; of straight scales the same everywhere."""
        if not len(self.bend_Y):
            return self.spread_Y.expand(*latents_NBD.shape[:2], -1)
        return self.spread_Y * torch.maximum(1.0 + self.bend_Y * self.scaled(latents_NBD), self.steepest)

    def sensitivity(
        self, tape: BatchTape, push_NPU: Tensor, begun: tuple[int, ...], seed_BNO: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """d output / d change, [B, O, N, P] [unit per change], and the model's curvature [B, P, P] where asked.

        Args:
            push_NPU: Derivative of the scaled MVs of each row by each change.
            begun: The first so many changes have moved something by this row; never falls.
            seed_BNO: Derivative of a scalar by the outputs; with it comes that scalar's second derivative by the
                changes, as far as the model bends.
        """
        steps, batch, size = tape.latents_NBD.shape
        products = self.slope.shape[1]
        changes, mvs = push_NPU.shape[1:]
        units_NBO = self.units(tape.latents_NBD)
        slopes = self._read_out_slopes(tape.latents_NBD, units_NBO)
        z = torch.zeros((changes, batch, size), dtype=slopes.dtype, device=slopes.device)
        found = torch.zeros((batch, slopes.shape[2], steps, changes), dtype=slopes.dtype, device=slopes.device)
        bends = None if seed_BNO is None else bends_of(self, tape, slopes, units_NBO, seed_BNO)
        curvature = None if bends is None else torch.zeros_like(found[:, 0, :1]).repeat(1, changes, 1)
        for n in range(steps):
            p = begun[n]
            seen = torch.cat([z[:p], push_NPU[n, :p, None].expand(p, batch, mvs)], dim=2)
            below = seen.view(p * batch, -1) @ self.first
            for i, layer in enumerate(tape.layers[n]):
                if i:
                    below = below @ self.hidden[i - 1]
                if bends is not None and curvature is not None:
                    add_curvature(curvature, below.view(p, batch, -1), bends.layers[n][i])
                below.view(p, batch, -1).mul_(1.0 - layer.square())
                if i == 0 and products:
                    turn_BSQ = 2.0 * self._pull(layer[:, -products:]) + self.slope
                    own_PBQ = below.view(p, batch, -1)[..., -products:]
                    turned = torch.einsum("pbq,bsq->pbs", own_PBQ, turn_BSQ)
                    if bends is not None and curvature is not None:
                        add_quadratic(curvature, own_PBQ, bends.products[n])
            top = self.first.shape[1] if not len(self.hidden) else self.hidden.shape[2]
            after = torch.addmm(below @ self.out[:top], seen.view(p * batch, -1), self.out[top:])
            z[:p] = after.view(p, batch, size)
            if products:
                z[:p, :, : len(self.slope)] += turned
            found[:, :, n, :p] = slopes[n] @ z[:p].permute(1, 2, 0)
            if bends is not None and curvature is not None:
                self._bend_read_out(curvature, z[:p], bends, n)
                if bends.scales_NBO is not None:
                    add_curvature(curvature, found[:, :, n, :p].permute(2, 0, 1), bends.scales_NBO[n])
        return found, curvature

    def _bend_read_out(self, curvature_BPP: Tensor, z_PBD: Tensor, bends: Bends, n: int) -> None:
        """What one row's read-out adds to the curvature."""
        p, batch, _ = z_PBD.shape
        below = z_PBD.reshape(p * batch, -1) @ self.read
        for i, (bend, slope) in enumerate(zip(bends.read[n], bends.read_slopes[n], strict=True)):
            if i:
                below = below @ self.read_inner[i - 1]
            add_curvature(curvature_BPP, below.view(p, batch, -1), bend)
            below.view(p, batch, -1).mul_(slope)
        for g, directions in enumerate(self.directions):
            curved_BQQ = 2.0 * bends.margins_NBG[n, :, g, None, None] * self.curved[g]
            add_quadratic(curvature_BPP, z_PBD @ directions.T, curved_BQQ)

    def _in_heads(self, z_LD: Tensor) -> tuple[Tensor, Tensor]:
        """What the heads see of latents, [G, L, Q], and that times how they bend."""
        seen_GLQ = torch.einsum("ld,gqd->glq", z_LD, self.directions) - self.about.unsqueeze(1)
        return seen_GLQ, seen_GLQ @ self.curved

    def _read_out_slopes(self, latents_NBD: Tensor, units_NBO: Tensor) -> Tensor:
        """d output / d latent, [N, B, O, D] [unit]; from the outputs back, since they are fewer than the latents."""
        z_LD = latents_NBD.flatten(0, 1)
        layers = self.read_layers(z_LD)
        outputs = self.linear.shape[1]
        pull = self.read_last.T * (1.0 - layers[-1].square()).unsqueeze(1)
        for weight, layer in zip(self.read_inner.flip(0), layers[-2::-1], strict=True):
            pull = (pull.flatten(0, 1) @ weight.T).reshape(len(z_LD), outputs, -1)
            pull = pull * (1.0 - layer.square()).unsqueeze(1)
        slopes = (pull.flatten(0, 1) @ self.read.T).reshape(len(z_LD), outputs, -1) + self.linear.T
        if heads := len(self.about):
            slopes[:, -heads:] += 2.0 * torch.einsum("glq,gqd->lgd", self._in_heads(z_LD)[1], self.directions)
        return slopes.reshape(*latents_NBD.shape[:2], outputs, -1) * units_NBO.unsqueeze(3)

    def read_layers(self, z_LD: Tensor) -> list[Tensor]:
        """Units of the read-out's layers."""
        layers = [torch.tanh(torch.addmm(self.read_bias, z_LD, self.read))]
        for weight, bias in zip(self.read_inner, self.read_inner_bias, strict=True):
            layers.append(torch.tanh(torch.addmm(bias, layers[-1], weight)))
        return layers
