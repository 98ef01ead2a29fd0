"""A free run of the latent model as one operation, with its gradient by hand.

Row by row, thirty rows are six hundred small operations and twice as many back, and each weight's gradient is summed
row by row as well. Here what the inputs add is there before the run, a row takes four products, and the weights'
gradients are one product each over all rows at the end.

Shapes: K rows, B batch, D latent, N states, V inputs, Q = N + V, H hidden units.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_tanh_back = torch.ops.aten.tanh_backward


class FreeRun(torch.autograd.Function):
    """`z+ = z L' + h W3' + drive + [c, 0]`, `h = tanh(tanh(z W1' + push) W2' + b2)`, K rows from z.

    Takes z [B, D], push [K, B, H], W1 [H, D], W2 [H, H], b2 [H], W3 [D, H], L [D, D] and drive [K, B, D]; gives the
    latents [K, B, D] and the last hidden layers [K, B, H] of all rows. push, W1, W2, b2 and W3 may be in bfloat16, what
    is summed from row to row is not.

    Where there are products, five more: bounded inputs [K, B, V], rate [N], centre [N], quadratic [N, Q, Q], symmetric,
    and slope [N, Q]: `c = g' quadratic g + slope g`, `g = [tanh(rate (x - centre)), bounded inputs]`. They are fixed.
    """

    @staticmethod
    def forward(
        ctx: Any,
        z_BD: Tensor,
        push_KBH: Tensor,
        w1: Tensor,
        w2: Tensor,
        b2: Tensor,
        w3: Tensor,
        l_DD: Tensor,
        drive_KBD: Tensor,
        *curves: Tensor,
    ) -> tuple[Tensor, Tensor]:
        z_KBD = drive_KBD.new_empty(len(push_KBH) + 1, *z_BD.shape)
        z_KBD[0] = z_BD
        first_KBH, last_KBH = torch.empty_like(push_KBH), torch.empty_like(push_KBH)
        bounded: list[Tensor] = []
        for k in range(len(push_KBH)):
            z, first, last, after = z_KBD[k], first_KBH[k], last_KBH[k], z_KBD[k + 1]
            torch.addmm(push_KBH[k], z.to(push_KBH.dtype), w1.T, out=first).tanh_()
            torch.addmm(b2, first, w2.T, out=last).tanh_()
            torch.addmm(drive_KBD[k], z, l_DD.T, out=after)
            _add_product(after, last, w3.T)
            if curves:
                inputs_KBV, rate, centre, quadratic, slope = curves
                states = len(rate)
                g_BQ = torch.cat([torch.tanh(rate * (z[:, :states] - centre)), inputs_KBV[k]], dim=1)
                after[:, :states] += torch.einsum("bnq,bq->bn", _pull(g_BQ, quadratic) + slope, g_BQ)
                bounded.append(g_BQ)
        ctx.save_for_backward(z_KBD, first_KBH, last_KBH, w1, w2, w3, l_DD, *curves[1:], *bounded)
        ctx.curves = len(curves)
        return z_KBD[1:], last_KBH

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        z_KBD, first_KBH, last_KBH, w1, w2, w3, l_DD, *more = ctx.saved_tensors
        on_z_KBD, on_last_KBH = grads
        in_first_KBH, in_last_KBH = torch.empty_like(first_KBH), torch.empty_like(last_KBH)
        out_KBD, on_inputs = torch.empty_like(on_z_KBD), list[Tensor]()
        back_BD = torch.zeros_like(z_KBD[0])
        for k in range(len(first_KBH) - 1, -1, -1):
            g = torch.add(back_BD, on_z_KBD[k], out=out_KBD[k])
            on_last = torch.addmm(on_last_KBH[k], g.to(w3.dtype), w3)
            _tanh_back.grad_input(on_last, last_KBH[k], grad_input=in_last_KBH[k])
            _tanh_back.grad_input(in_last_KBH[k] @ w2, first_KBH[k], grad_input=in_first_KBH[k])
            torch.mm(g, l_DD, out=back_BD)
            _add_product(back_BD, in_first_KBH[k], w1)
            if ctx.curves:
                (rate, _, quadratic, slope), g_BQ = more[:4], more[4 + k]
                states = len(rate)
                on_g_BQ = torch.einsum("bn,bnq->bq", g[:, :states], 2.0 * _pull(g_BQ, quadratic) + slope)
                back_BD[:, :states] += rate * (1.0 - g_BQ[:, :states] ** 2) * on_g_BQ[:, :states]
                on_inputs.append(on_g_BQ[:, states:])
        first_in, last_in, out = (each.flatten(0, 1) for each in (in_first_KBH, in_last_KBH, out_KBD))
        z, first, last = (each.flatten(0, 1) for each in (z_KBD[:-1], first_KBH, last_KBH))
        return (
            back_BD,
            in_first_KBH,
            first_in.T @ z.to(first_in.dtype),
            last_in.T @ first,
            last_in.sum(dim=0),
            out.to(last.dtype).T @ last,
            out.T @ z,
            out_KBD,
            *((torch.stack(on_inputs[::-1]), None, None, None, None) if ctx.curves else ()),
        )


def _pull(g_BQ: Tensor, quadratic_NQQ: Tensor) -> Tensor:
    """`quadratic g` of each state, [B, N, Q]."""
    return (g_BQ @ quadratic_NQQ.flatten(0, 1).T).view(len(g_BQ), *quadratic_NQQ.shape[:2])


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """`total += left @ right`, whatever precision the product is in."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right
