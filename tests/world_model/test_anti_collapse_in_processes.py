"""Two processes with half a batch each learn what one process learns from the whole batch."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from procmodel.data.window import Columns
from procmodel.world_model.anti_collapse import samples_of_all, sigreg
from procmodel.world_model.latent_model import LatentModel, ModelConfig
from procmodel.world_model.objective import Weights, objective

EACH, INPUTS, LATENT = 24, 3, 4
STEPS, ROWS, AHEAD = 25, 4, 3
TAGS = Columns(mv=(0,), cv=(1,), dv=(), count=2)


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


def windows(step: int) -> torch.Tensor:
    """A batch for two processes, [2 * EACH, ROWS + AHEAD, 2]: the CV follows the MV."""
    moves = torch.randn(2 * EACH, ROWS + AHEAD, generator=torch.Generator().manual_seed(step)).double()
    return torch.stack([moves, 0.6 * moves.cumsum(dim=1)], dim=-1)


class Loss(torch.nn.Module):
    """The objective of a small model, as a module whose forward data-parallel training can wrap."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        sizes = ModelConfig(columns=TAGS, rows=ROWS, lags=ROWS - 1, state=2, latent=LATENT, hidden=8)
        self.model = LatentModel(sizes).double()
        self.model.C += 1.0

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        # The anti-collapse term counts as much as the others here, so that a wrong one would bend the curve.
        return objective(self.model, values, torch.ones_like(values), Weights(sigreg=1.0)).total


def curve(loss: torch.nn.Module, mine: slice) -> list[float]:
    """Training curve over so much of each batch."""
    optimizer = torch.optim.AdamW(loss.parameters(), lr=1e-2)
    torch.manual_seed(11)  # directions of SIGReg
    out = []
    for step in range(STEPS):
        value = loss(windows(step)[mine])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        out.append(value.item())
    return out


def half_of_training(rank: int, folder: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    wrapped = torch.nn.parallel.DistributedDataParallel(Loss())
    np.save(f"{folder}/{rank}.npy", curve(wrapped, slice(rank * EACH, (rank + 1) * EACH)))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_have_the_training_curve_of_one(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(half_of_training, args=(str(tmp_path),), nprocs=2)
    alone = curve(Loss(), slice(None))
    together = (np.load(tmp_path / "0.npy") + np.load(tmp_path / "1.npy")) / 2
    assert alone[-1] < 0.8 * alone[0]
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    # Each process alone would have learned something else: the halves differ.
    assert abs(curve(Loss(), slice(EACH))[-1] / alone[-1] - 1) > 1e-3
