"""Two processes with half a batch each learn what one process learns from the whole batch."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from procmodel.world_model.anti_collapse import samples_of_all, sigreg

EACH, INPUTS, LATENT = 24, 3, 4


def batch(rank: int) -> torch.Tensor:
    return torch.randn(EACH, INPUTS, generator=torch.Generator().manual_seed(rank)).double() * (1 + rank)


def encoder() -> torch.nn.Linear:
    torch.manual_seed(7)
    return torch.nn.Linear(INPUTS, LATENT).double()


def half(rank: int, folder: str) -> None:
    """One of the two processes: value, gradient of its own latents, and gradient as data-parallel training sees it."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    layer = encoder()
    z_ND = layer(batch(rank))
    z_ND.retain_grad()
    value = sigreg(z_ND, 32, torch.Generator().manual_seed(100 + rank))  # process 0 says which directions
    value.backward()
    grad = layer.weight.grad.clone()
    torch.distributed.all_reduce(grad)
    np.savez(
        f"{folder}/{rank}.npz",
        value=value.detach(),
        latents=z_ND.grad,
        grad=grad / 2,
        samples=samples_of_all(EACH),
        undifferentiated=sigreg(z_ND.detach(), 32, torch.Generator().manual_seed(100)),
    )
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_have_value_and_gradient_of_the_joint_batch(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(half, args=(str(tmp_path),), nprocs=2)
    layer = encoder()
    z_ND = layer(torch.cat([batch(0), batch(1)]))
    z_ND.retain_grad()
    value = sigreg(z_ND, 32, torch.Generator().manual_seed(100))
    value.backward()
    for rank in (0, 1):
        found = np.load(tmp_path / f"{rank}.npz")
        assert found["samples"] == samples_of_all(2 * EACH) == 2 * EACH
        np.testing.assert_allclose(found["value"], value.item(), rtol=1e-5)
        np.testing.assert_allclose(found["undifferentiated"], value.item(), rtol=1e-5)
        np.testing.assert_allclose(found["grad"], layer.weight.grad, rtol=1e-5, atol=1e-8)
        # Both processes hold the same loss, so each latent has the gradient twice; the mean over processes halves it.
        own = z_ND.grad[rank * EACH : (rank + 1) * EACH]
        np.testing.assert_allclose(found["latents"] / 2, own, rtol=1e-5, atol=1e-8)
