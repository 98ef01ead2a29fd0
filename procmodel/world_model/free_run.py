"""A free run of the latent model as one operation, with its gradient by hand.

Row by row, thirty rows are six hundred small operations and twice as many back, and each weight's gradient is summed
row by row as well. Here what the inputs add is there before the run, a row takes four products, and the weights'
gradients are one product each over all rows at the end.

Shapes: K rows, B batch, D latent, H hidden units.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_tanh_back = torch.ops.aten.tanh_backward


class FreeRun(torch.autograd.Function):
    """`z+ = z L' + h W3' + drive`, `h = tanh(tanh(z W1' + push) W2' + b2)`, K rows from z.

    Takes z [B, D], push [K, B, H], W1 [H, D], W2 [H, H], b2 [H], W3 [D, H], L [D, D] and drive [K, B, D]; gives the
    latents [K, B, D] and the last hidden layers [K, B, H] of all rows. push, W1, W2, b2 and W3 may be in bfloat16, what
    is summed from row to row is not.
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
    ) -> tuple[Tensor, Tensor]:
        z_KBD = drive_KBD.new_empty(len(push_KBH) + 1, *z_BD.shape)
        z_KBD[0] = z_BD
        first_KBH, last_KBH = torch.empty_like(push_KBH), torch.empty_like(push_KBH)
        for push, drive, z, first, last, after in zip(
            push_KBH, drive_KBD, z_KBD, first_KBH, last_KBH, z_KBD[1:], strict=False
        ):
            torch.addmm(push, z.to(push.dtype), w1.T, out=first).tanh_()
            torch.addmm(b2, first, w2.T, out=last).tanh_()
            torch.addmm(drive, z, l_DD.T, out=after)
            _add_product(after, last, w3.T)
        ctx.save_for_backward(z_KBD, first_KBH, last_KBH, w1, w2, w3, l_DD)
        return z_KBD[1:], last_KBH

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        z_KBD, first_KBH, last_KBH, w1, w2, w3, l_DD = ctx.saved_tensors
        on_z_KBD, on_last_KBH = grads
        in_first_KBH, in_last_KBH = torch.empty_like(first_KBH), torch.empty_like(last_KBH)
        out_KBD = torch.empty_like(on_z_KBD)
        back_BD = torch.zeros_like(z_KBD[0])
        for k in range(len(first_KBH) - 1, -1, -1):
            g = torch.add(back_BD, on_z_KBD[k], out=out_KBD[k])
            on_last = torch.addmm(on_last_KBH[k], g.to(w3.dtype), w3)
            _tanh_back.grad_input(on_last, last_KBH[k], grad_input=in_last_KBH[k])
            _tanh_back.grad_input(in_last_KBH[k] @ w2, first_KBH[k], grad_input=in_first_KBH[k])
            torch.mm(g, l_DD, out=back_BD)
            _add_product(back_BD, in_first_KBH[k], w1)
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
        )


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """`total += left @ right`, whatever precision the product is in."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right
