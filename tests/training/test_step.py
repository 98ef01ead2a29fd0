"""One batch of training: its terms, networks in bfloat16 beside an exact linear state, and the graph on a GPU."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn
from training_plants import linear_model, tiny_plant, tiny_record

from procmodel.training.stages import Stage
from procmodel.training.step import Loss, recorded
from procmodel.world_model.latent_model import LatentModel, in_half
from procmodel.world_model.objective import Weights
from procmodel.world_model.protocol import rollout

STAGE = Stage(weights=Weights(anchor=1.0))
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")


@pytest.fixture
def model() -> LatentModel:
    """With networks that add something."""
    found = linear_model(tiny_record(600), tiny_plant())[0].float().requires_grad_(True)
    torch.manual_seed(0)
    for network in (found.predictor, found.head):
        nn.init.normal_(network[-1].weight, std=0.05)
    return found


def batch(model: LatentModel, ahead: int = 5, windows: int = 64) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    values = torch.randn(windows, model.rows + ahead, model.config.columns.count)
    return values, (torch.rand_like(values) > 0.05).float()


def loss_of(model: LatentModel, *, anchor_steps: int = 0, rough: bool = False) -> Loss:
    return Loss(model, STAGE.weights.companions(model), STAGE, anchor_steps=anchor_steps, rough=rough)


def gradient(loss: Loss, model: LatentModel, total: Tensor) -> Tensor:
    model.zero_grad()
    total.backward()
    return torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None])


def test_terms_of_long_free_runs_are_told_only_where_they_were_computed(model: LatentModel) -> None:
    plain, anchored = loss_of(model), loss_of(model, anchor_steps=6)
    for loss in (plain, anchored):
        total, terms = loss(*batch(model))
        assert len(terms) == len(loss.names)
        assert terms[loss.names.index("total")] == total
    assert set(anchored.names) - set(plain.names) == {"anchor"}


def test_in_bfloat16_the_linear_state_is_as_precise_as_ever() -> None:
    """Networks that add nothing yet leave the linear state alone, to the last bit."""
    model = linear_model(tiny_record(600), tiny_plant())[0].float()
    x, states = torch.randn(32, model.latent_size), model.config.state
    moves = torch.randn(32, 20, len(model.config.columns.mv)), torch.randn(32, 20, len(model.config.columns.dv))
    exact = rollout(model, x, *moves)[..., :states]
    with in_half(model):
        assert torch.equal(rollout(model, x, *moves)[..., :states], exact)


def test_bfloat16_changes_loss_and_gradient_by_its_rounding_alone(model: LatentModel) -> None:
    found = []
    for rough in (False, True):
        torch.manual_seed(3)
        loss = loss_of(model, rough=rough)
        total, _ = loss(*batch(model))
        found.append((float(total.detach()), gradient(loss, model, total)))
    (fine, fine_gradient), (coarse, coarse_gradient) = found
    assert coarse == pytest.approx(fine, rel=1e-2)
    assert coarse != fine
    assert torch.cosine_similarity(fine_gradient, coarse_gradient, dim=0) > 0.99


def test_networks_leave_bfloat16_behind_even_after_an_error(model: LatentModel) -> None:
    with pytest.raises(ZeroDivisionError), in_half(model):
        raise ZeroDivisionError
    assert all(network.halves is None for network in (model.encoder, model.predictor, model.head))


@gpu
@pytest.mark.parametrize("anchor_steps", [0, 6])
@pytest.mark.parametrize("rough", [False, True])
def test_a_recorded_step_gives_the_loss_and_gradient_of_a_plain_one(
    model: LatentModel, anchor_steps: int, rough: bool
) -> None:
    model.cuda()
    stage = dataclasses.replace(STAGE, weights=Weights(anchor=1.0))
    plain = Loss(model, stage.weights.companions(model), stage, anchor_steps=anchor_steps, rough=rough)
    values, mask = (each.cuda() for each in batch(model))
    step = recorded(plain, values, mask)
    for shift in (0.0, 0.5):  # other numbers than those it was recorded with
        torch.cuda.manual_seed(7)
        total, terms = step(values + shift, mask)
        ours, ours_terms = gradient(plain, model, total).clone(), terms.clone()
        torch.cuda.manual_seed(7)
        total, terms = Loss.forward(plain, values + shift, mask)
        theirs = gradient(plain, model, total)
        not_drawn = [plain.names.index(name) for name in plain.names if name not in ("total", "sigreg")]
        torch.testing.assert_close(ours_terms[not_drawn], terms[not_drawn], rtol=1e-4, atol=1e-6)
        assert torch.cosine_similarity(ours, theirs, dim=0) > 0.999


@gpu
def test_each_replay_draws_directions_of_its_own_and_recording_draws_none(model: LatentModel) -> None:
    model.cuda()
    loss, given = loss_of(model), tuple(each.cuda() for each in batch(model))
    before = torch.cuda.get_rng_state()
    step = recorded(loss, *given)
    assert torch.equal(torch.cuda.get_rng_state(), before)
    at = loss.names.index("sigreg")
    assert len({float(step(*given)[1][at]) for _ in range(4)}) == 4
