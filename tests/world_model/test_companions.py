"""What stands beside a model in training: each term against numbers by hand."""

from __future__ import annotations

import math

import pytest
import torch
from latent_fakes import COLUMNS, LEARNED, ROWS, STATES, batch, number, trained
from torch import Tensor, nn

from procmodel.world_model.companions import (
    FIRST_MOMENTUM,
    Companions,
    bend_of,
    decoded_error,
    inverse_error,
    momentum,
    move_towards,
)
from procmodel.world_model.masking import SPAN, hide, masked_guess


class Difference(nn.Module):
    """The move is the first two numbers of what the latent changed by."""

    def forward(self, both: Tensor) -> Tensor:
        before, after = both.chunk(2, dim=-1)
        return (after - before)[..., :2]


def test_momentum_goes_from_its_start_along_a_cosine_to_one() -> None:
    assert momentum(0.0) == pytest.approx(FIRST_MOMENTUM)
    assert momentum(0.5) == pytest.approx((1 + FIRST_MOMENTUM) / 2)
    assert momentum(1.0) == 1.0


def test_a_target_that_follows_a_still_encoder_closes_its_distance_by_m_each_time() -> None:
    slow, fast = nn.Linear(3, 2), nn.Linear(3, 2)
    apart = (slow.weight - fast.weight).detach().clone()
    for _ in range(5):
        move_towards(slow, fast, 0.9)
    torch.testing.assert_close(slow.weight - fast.weight, 0.9**5 * apart)
    move_towards(slow, fast, 1.0)
    torch.testing.assert_close(slow.weight - fast.weight, 0.9**5 * apart)


def test_inverse_dynamics_is_the_mean_square_of_what_the_guessed_move_misses() -> None:
    before, move = torch.randn(9, LEARNED), torch.randn(9, 2)
    after = before + torch.cat([move, torch.randn(9, LEARNED - 2)], dim=-1)
    assert number(inverse_error(Difference(), before, after, move)) < 1e-12
    assert number(inverse_error(Difference(), before, after, move + torch.tensor([3.0, 1.0]))) == pytest.approx(5.0)


@pytest.mark.parametrize(("turn", "bend"), [(0.0, 0.0), (60.0, 0.5), (90.0, 1.0), (180.0, 2.0)])
def test_the_bend_of_a_path_is_one_less_the_cosine_of_its_turns(turn: float, bend: float) -> None:
    angles = torch.deg2rad(turn * torch.arange(5, dtype=torch.float64))
    steps = torch.stack([angles.cos(), angles.sin()], dim=-1) * torch.arange(1, 6)[:, None]  # of any length
    assert number(bend_of(steps.cumsum(dim=0)[None])) == pytest.approx(bend, abs=1e-9)


def test_decoded_tags_count_where_they_are_good() -> None:
    z, values = torch.zeros(2, 3, 4), torch.full((2, 3, 4), 2.0)
    mask = torch.zeros(2, 3, 4)
    mask[0, 1, :3] = 1
    values[0, 1] = torch.tensor([1.0, 2.0, 3.0, 50.0])
    assert number(decoded_error(nn.Identity(), z, values, mask)) == pytest.approx((1 + 4 + 9) / 3)
    spoilt = torch.where(mask > 0, values, torch.nan)
    assert number(decoded_error(nn.Identity(), z, spoilt, mask)) == pytest.approx((1 + 4 + 9) / 3)


def test_a_model_that_asks_for_nothing_has_no_companions_and_draws_no_random_numbers() -> None:
    model, before = trained(), torch.get_rng_state()
    assert not list(Companions(model).parameters())
    assert torch.equal(torch.get_rng_state(), before)


# ---- masked pretraining


def test_what_is_hidden_is_one_span_over_all_tags_and_whole_tags() -> None:
    torch.manual_seed(0)
    hidden = hide(400, 40, 6, like=torch.zeros(1))
    whole = hidden.all(dim=1)  # [B, C]
    assert float(whole.float().mean()) == pytest.approx(0.25, abs=0.03)
    span = hidden.all(dim=2)  # [B, L]; where all six tags are hidden whole there is no telling
    lengths = span[~whole.all(dim=1)].sum(dim=1)
    assert int(lengths.min()) >= math.floor(SPAN[0] * 40)
    assert int(lengths.max()) <= math.ceil(SPAN[1] * 40)
    starts = span.int().diff(dim=1, prepend=torch.zeros(400, 1, dtype=torch.int32)).clamp_min(0).sum(dim=1)
    assert (starts == 1).all()
    torch.testing.assert_close(hidden.bool(), span[:, :, None] | whole[:, None, :])


def test_the_guess_sees_nothing_of_what_is_hidden_and_the_target_has_no_gradient() -> None:
    model, (values, mask) = trained(), batch(ROWS)
    companions = Companions(model, masked=True).double()
    hidden = torch.zeros_like(mask)
    hidden[:, 1:3] = 1
    hidden[:, :, 4] = 1
    miss, s_BS = masked_guess(model, companions, values, mask, hidden)
    elsewhere = torch.where(hidden > 0, values + 1, values)
    again, same_BS = masked_guess(model, companions, elsewhere, mask, hidden)
    torch.testing.assert_close(s_BS, same_BS, rtol=0, atol=0)
    assert number(again) != number(miss)  # the target does
    miss.backward()
    assert companions.target is not None
    assert all(weight.grad is None for weight in companions.target.parameters())
    assert float(model.encoder[0].weight.grad.abs().max()) > 0


def test_the_masked_error_is_the_formula_by_hand() -> None:
    model, (values, mask) = trained(), batch(ROWS)
    companions = Companions(model, masked=True).double()
    assert companions.target is not None
    assert companions.hidden is not None
    with torch.no_grad():  # another encoder than the model's
        for weight in companions.target.parameters():
            weight.mul_(1.3)
    hidden = hide(len(values), ROWS, COLUMNS.count, like=values)
    found, _ = masked_guess(model, companions, values, mask, hidden)
    seen = model.encode_rows(values, mask * (1 - hidden))[:, STATES:]
    target = trained()
    target.encoder = companions.target
    of_hidden = target.encode_rows(values, mask * hidden)[:, STATES:]
    guess = companions.hidden(torch.cat([seen, hidden.mean(dim=2), hidden.mean(dim=1)], dim=-1))
    torch.testing.assert_close(found, ((guess - of_hidden) ** 2).mean())
