"""One batch of training: the weighted loss and its terms, on a GPU recorded once and replayed from then on.

A free run of thirty rows is a thousand small kernels, and a GPU does one sooner than the processor asks for the next.
A CUDA graph asks for all of them at once; what they compute stays the same.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import nullcontext
from typing import cast

import torch
from torch import Tensor, nn

from procmodel.training.stages import Stage
from procmodel.world_model.companions import Companions
from procmodel.world_model.latent_model import LatentModel, in_half
from procmodel.world_model.objective import RARE, masked_objective, objective

Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From values and mask [B, T, C] to the loss and all terms by themselves, without a gradient."""


class Loss(nn.Module):
    """The objective of one stage as a module: its weights are those of the model and of its companions.

    Args:
        anchor_steps: As for `objective`.
        rough: Whether the networks run in bfloat16.
        idle: Whether parts at rest get a gradient of zero, for processes that wait for every weight's.

    Attributes:
        names: Of the terms, once it was called.
    """

    def __init__(
        self,
        model: LatentModel,
        companions: Companions,
        stage: Stage,
        *,
        anchor_steps: int = 0,
        rough: bool = False,
        idle: bool = False,
    ) -> None:
        super().__init__()
        self.model, self.companions, self.stage = model, companions, stage
        self.anchor_steps, self.rough, self.idle = anchor_steps, rough, idle
        self.names: tuple[str, ...] = ()

    def forward(self, values_BTC: Tensor, mask_BTC: Tensor) -> tuple[Tensor, Tensor]:
        weights = self.stage.weights
        with in_half(self.model, self.companions) if self.rough else nullcontext():
            if self.stage.masked:
                losses = masked_objective(self.model, values_BTC, mask_BTC, weights, self.companions)
            else:
                losses = objective(
                    self.model,
                    values_BTC,
                    mask_BTC,
                    weights,
                    anchor_steps=self.anchor_steps,
                    companions=self.companions,
                )
        # A term that was left out is no zero.
        terms = {
            n: v for n, v in losses.terms().items() if n not in RARE or (self.anchor_steps and not self.stage.masked)
        }
        self.names, total = tuple(terms), losses.total
        if self.idle:
            learn = [weight for weight in self.parameters() if weight.requires_grad]
            total = total + 0.0 * sum((weight.sum() for weight in learn), total.new_zeros(()))
        return total, torch.stack([value.detach() for value in terms.values()])


def recorded(loss: Loss, values_BTC: Tensor, mask_BTC: Tensor, pool: object | None = None) -> Step:
    """The same as a graph for batches of this shape on their GPU.

    What it returns lies where the next call writes. Recording runs the loss some times, and leaves the generator of
    random numbers as it was.

    Args:
        pool: Of `torch.cuda.graph_pool_handle`: memory that graphs share which are never in the middle of a step at
            the same time.
    """
    # The weights' gradients arrive on the stream of the recording, once; that is what is meant.
    torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
    device = values_BTC.device
    before = torch.cuda.get_rng_state(device)
    sample = (values_BTC.clone(), mask_BTC.clone())
    gc.collect()
    gc.disable()  # an older graph that is thrown away in the middle of a recording breaks it off
    try:
        with torch.cuda.device(device):
            step = torch.cuda.make_graphed_callables(loss, sample, allow_unused_input=True, pool=pool)  # type: ignore[arg-type]
    finally:
        gc.enable()
    torch.cuda.set_rng_state(before, device)
    return cast(Step, step)
