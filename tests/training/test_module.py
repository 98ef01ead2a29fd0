"""A latent that carries nothing, or is no number any more, ends the run with an error that says so."""

from __future__ import annotations

import pytest
import torch
from training_plants import linear_model, tiny_plant, tiny_record

from procmodel.errors import CollapsedError
from procmodel.training.module import require_alive
from procmodel.world_model.latent_model import LatentModel


@pytest.fixture(scope="module")
def model() -> LatentModel:
    return linear_model(tiny_record(600), tiny_plant())[0]


def latents(model: LatentModel, learned: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.randn(len(learned), model.config.state), learned], dim=1)


def test_a_healthy_latent_is_described(model: LatentModel) -> None:
    torch.manual_seed(0)
    found = require_alive(model, latents(model, torch.randn(500, 4)))
    assert found["spread"] == pytest.approx(1.0, abs=0.05)
    assert found["effective_rank"] == pytest.approx(4.0, abs=0.05)


NORMAL = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "learned",
    [torch.full((50, 4), 0.7), 0.01 * NORMAL, NORMAL[:, :1].expand(-1, 4)],
    ids=["constant", "shrunk", "on a line"],
)
def test_a_collapsed_latent_is_refused_whatever_the_linear_part_does(model: LatentModel, learned: torch.Tensor) -> None:
    with pytest.raises(CollapsedError, match=r"has collapsed: mean spread .* of 4\. Raise training.sigreg"):
        require_alive(model, latents(model, learned))


def test_a_single_learned_dimension_may_have_rank_one() -> None:
    narrow = linear_model(tiny_record(600), tiny_plant(latent=1))[0]
    torch.manual_seed(0)
    assert require_alive(narrow, latents(narrow, torch.randn(50, 1)))["effective_rank"] == pytest.approx(1.0)


@pytest.mark.parametrize("where", [0, -1])
def test_a_latent_that_is_no_number_is_refused(model: LatentModel, where: int) -> None:
    z = latents(model, torch.randn(50, 4))
    z[3, where] = torch.nan
    with pytest.raises(CollapsedError, match=r"diverged.*learning_rate.*nothing was stored"):
        require_alive(model, z)
