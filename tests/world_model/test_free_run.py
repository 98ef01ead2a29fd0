"""A free run as one operation is the same as row by row, and so is its gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from procmodel.data.window import Columns
from procmodel.world_model.free_run import FreeRun
from procmodel.world_model.latent_model import LatentModel, ModelConfig, in_half


@pytest.fixture(params=[False, True], ids=["linear", "with products"])
def model(request: pytest.FixtureRequest) -> LatentModel:
    torch.manual_seed(0)
    columns = Columns(mv=(0, 2), cv=(1, 4), dv=(3,), count=5)
    found = LatentModel(
        ModelConfig(columns=columns, rows=6, lags=5, state=3, latent=4, hidden=8, products=request.param)
    ).double()
    for name in ("A", "B", "bias"):
        nn.init.normal_(getattr(found, name), std=0.3)
    if request.param:
        for name in ("centre", "rate", "slope", "rest"):
            nn.init.normal_(getattr(found, name), std=0.3)
        half = 0.1 * torch.randn_like(found.quadratic)
        found.quadratic.copy_(half + half.mT)
    for weight in found.predictor.parameters():
        nn.init.normal_(weight, std=0.4)
    return found


def inputs(rows: int = 5, batch: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    shapes = ((batch, 7), (batch, rows, 2), (batch, rows, 1))
    return tuple(torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)  # type: ignore[return-value]


def by_rows(model: LatentModel, z: Tensor, u: Tensor, d: Tensor) -> Tensor:
    found = []
    for k in range(u.shape[1]):
        z = model.step(z, u[:, k], d[:, k])
        found.append(z)
    return torch.stack(found, dim=1)


@pytest.mark.parametrize("rows", [1, 5])
def test_the_run_is_the_one_row_by_row(model: LatentModel, rows: int) -> None:
    torch.testing.assert_close(model.free_run(*inputs(rows))[0], by_rows(model, *inputs(rows)), rtol=1e-12, atol=1e-12)


def test_what_the_network_adds_is_what_least_squares_lacks(model: LatentModel) -> None:
    z, u, d = inputs()
    latents, added = model.free_run(z, u, d)
    before = torch.cat([z[:, None], latents[:, :-1]], dim=1)[..., :3]
    torch.testing.assert_close(added, latents[..., :3] - model.state_step(before, torch.cat([u, d], dim=-1)))


def test_its_gradient_is_that_of_the_run_row_by_row(model: LatentModel) -> None:
    ours, theirs = inputs(), inputs()
    learn = [*model.predictor.parameters(), model.decay]
    weigh = torch.randn(3, 5, 7, dtype=torch.float64)
    found = torch.autograd.grad((model.free_run(*ours)[0] * weigh).sum(), [*ours, *learn])
    wanted = torch.autograd.grad((by_rows(model, *theirs) * weigh).sum(), [*theirs, *learn])
    for mine, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


def test_every_part_of_the_gradient_agrees_with_finite_differences() -> None:
    torch.manual_seed(2)
    rows, batch, latent, hidden = 3, 2, 3, 4
    shapes = (
        (batch, latent), (rows, batch, hidden), (hidden, latent), (hidden, hidden), (hidden,), (latent, hidden),
        (latent, latent), (rows, batch, latent),
    )  # fmt: skip
    given = [0.5 * torch.randn(shape, dtype=torch.float64) for shape in shapes]
    assert torch.autograd.gradcheck(FreeRun.apply, [each.requires_grad_() for each in given])


def test_in_bfloat16_only_the_networks_part_is_rounded(model: LatentModel) -> None:
    model.float()
    given = [each.detach().float() for each in inputs()]
    exact = model.free_run(*given)[0].detach()
    with in_half(model):
        coarse = model.free_run(*given)[0].detach()
    assert coarse.dtype == torch.float32
    assert 1e-6 < float((coarse - exact).abs().max()) < 0.05
    nn.init.zeros_(model.predictor[-1].weight)
    nn.init.zeros_(model.predictor[-1].bias)
    with in_half(model):
        coarse, _ = model.free_run(*given)
    assert torch.equal(coarse, model.free_run(*given)[0])
