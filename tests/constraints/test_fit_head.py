"""Heads from few labels, on latents whose margin is known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from latent_world import FOAMING, SIZE, STEPS, World

from procmodel.constraints import ConstraintHead, HeadSamples, fit_head
from procmodel.constraints.blocks import Blocks
from procmodel.errors import ArtifactError, GateError, LabelError


def rms(head: ConstraintHead, world: World) -> float:
    """Error of the head on fresh latents, without measurement noise."""
    rng = np.random.default_rng(99)
    hidden = rng.normal(size=(2000, SIZE))
    found = head.margin(torch.as_tensor(hidden @ world.mix())).numpy()
    return float(np.sqrt(np.mean((found - world.true_margin(hidden)) ** 2)))


def said(head: ConstraintHead) -> dict[str, float]:
    """Shares by family, of those that are named."""
    words = head.form.removeprefix("average of ").split(", ")
    return {family: float(share.removesuffix("%")) / 100 for family, share in (each.rsplit(" ", 1) for each in words)}


@pytest.mark.parametrize("bend", [0.0, 1.0])
def test_a_margin_is_found_from_forty_labels_in_a_latent_of_twenty_four(bend: float) -> None:
    world = World(bend=bend)
    head = fit_head("foaming", FOAMING, world.samples(40))
    assert rms(head, world) < 0.25  # the margin's own spread is 1.8 to 2.1
    assert head.skill > 0.9
    bent = sum(share for family, share in said(head).items() if "products" in family)
    assert bent > 0.9 if bend else bent < 0.5


def test_guides_are_worth_more_than_labels() -> None:
    world = World()
    with_guides = rms(fit_head("foaming", FOAMING, world.samples(30)), world)
    without = rms(fit_head("foaming", FOAMING, world.samples(30, guides=False)), world)
    assert with_guides < 0.6 * without


def test_coverage_on_fresh_rollouts_holds_at_every_step_over_repeated_draws() -> None:
    world = World(bend=0.5, noise=0.3)
    draws, covered = 30, np.zeros(STEPS + 1)
    for seed in range(draws):
        head = fit_head("foaming", FOAMING, world.samples(30, seed=seed))
        encoded, rolled, margin, _ = world.draw(np.random.default_rng([1, seed]), 400)
        ahead = torch.as_tensor(np.concatenate([encoded[:, None], rolled], axis=1))
        bound = head.margin(ahead).numpy() - np.array([head.allowance_now, *head.allowance_H])
        covered += np.mean(margin[:, None] >= bound, axis=0) / draws
    # Nominal 0.90; over 30 draws of 30 labels the mean has a standard error of 0.010.
    assert covered.min() >= 0.88
    assert covered.max() <= 0.97  # not by being useless


def test_the_allowance_grows_where_rollouts_get_worse() -> None:
    head = fit_head("foaming", FOAMING, World(drift=0.4).samples(40))
    assert (np.diff(head.allowance_H) >= 0).all()
    assert head.allowance_H[-1] > 1.5 * head.allowance_now


@pytest.mark.parametrize(("confidence", "least"), [(0.9, 9), (0.95, 19), (0.99, 99)])
def test_too_few_labels_for_the_confidence_are_refused(confidence: float, least: int) -> None:
    constraint = FOAMING.model_copy(update={"confidence": confidence})
    fit_head("foaming", constraint, World().samples(least))
    with pytest.raises(LabelError, match=f"at least {least} labelled samples"):
        fit_head("foaming", constraint, World().samples(least - 1))


def test_labels_with_too_short_a_past_count_only_for_the_steps_they_reach() -> None:
    samples = World().samples(12)
    rolled_NHD = samples.rolled_NHD.copy()
    rolled_NHD[:3, 3:] = np.nan
    fit_head("foaming", FOAMING, replace(samples, rolled_NHD=rolled_NHD))
    rolled_NHD[:4, 3:] = np.nan
    with pytest.raises(LabelError, match="with 4 rows of history before them, got 8"):
        fit_head("foaming", FOAMING, replace(samples, rolled_NHD=rolled_NHD))


def test_a_label_without_a_latent_is_an_error() -> None:
    samples = World().samples(20)
    encoded_ND = samples.encoded_ND.copy()
    encoded_ND[4] = np.nan
    with pytest.raises(LabelError, match="no usable history"):
        fit_head("foaming", FOAMING, replace(samples, encoded_ND=encoded_ND))


def test_labels_that_the_latent_knows_nothing_of_are_refused() -> None:
    samples = World().samples(40)
    unrelated = np.random.default_rng(12).normal(size=40)
    with pytest.raises(GateError, match="no better than by their mean"):
        fit_head("foaming", FOAMING, replace(samples, margins_N=unrelated))


def test_labels_next_to_each_other_are_left_out_together() -> None:
    world, rng = World(noise=0.0), np.random.default_rng(4)
    samples = world.samples(8)
    # Five near copies of each of eight: counted one by one, their neighbours would give the answer away.
    copied = HeadSamples(
        margins_N=np.repeat(samples.margins_N, 5),
        encoded_ND=np.repeat(samples.encoded_ND, 5, axis=0) + 0.01 * rng.normal(size=(40, SIZE)),
        rolled_NHD=np.repeat(samples.rolled_NHD, 5, axis=0),
        background_MD=samples.background_MD,
        blocks=Blocks.in_time(np.repeat(np.arange(8), 5)),
    )
    single = fit_head("foaming", FOAMING, replace(copied, blocks=None))
    assert single.skill > 0.95
    assert rms(single, world) > 1.0
    with pytest.raises(GateError, match="no better than by their mean"):
        fit_head("foaming", FOAMING, copied)


def by_campaign(samples: HeadSamples, campaign_N: np.ndarray) -> HeadSamples:
    return replace(samples, blocks=Blocks(campaign_N=campaign_N, near_N=np.arange(len(campaign_N))))


def test_what_a_campaign_has_in_common_is_not_taken_for_knowledge_of_another() -> None:
    """The margin is a number that each campaign draws for itself, and the latent knows the campaign, not the margin."""
    rng, campaign_N = np.random.default_rng(1), np.repeat(np.arange(8), 5)
    latent_ND = rng.normal(size=(8, SIZE))[campaign_N] + 0.05 * rng.normal(size=(40, SIZE))
    samples = replace(
        World().samples(40, guides=False),
        margins_N=rng.normal(size=8)[campaign_N],
        encoded_ND=latent_ND,
        rolled_NHD=np.repeat(latent_ND[:, None], STEPS, axis=1),
    )
    assert fit_head("foaming", FOAMING, samples).skill > 0.9  # each label by its neighbours of the same campaign
    with pytest.raises(GateError, match="no better than by their mean"):
        fit_head("foaming", FOAMING, by_campaign(samples, campaign_N))


def test_a_head_says_how_many_campaigns_it_was_judged_on() -> None:
    samples = World().samples(40)
    assert fit_head("foaming", FOAMING, samples).campaigns == 1
    head = fit_head("foaming", FOAMING, by_campaign(samples, np.arange(40) % 4))
    assert head.campaigns == 4
    assert ConstraintHead.from_dict(head.to_dict()).campaigns == 4
    older = {key: value for key, value in head.to_dict().items() if key != "campaigns"}
    assert ConstraintHead.from_dict(older).campaigns == 1


def test_a_campaign_without_which_too_little_is_left_is_refused() -> None:
    samples = World().samples(20)
    fit_head("foaming", FOAMING, by_campaign(samples, np.repeat([0, 1], [16, 4])))
    with pytest.raises(LabelError, match=r"17 of its 20 labels are of one campaign: without those, 3 are left"):
        fit_head("foaming", FOAMING, by_campaign(samples, np.repeat([0, 1], [17, 3])))


def test_a_margin_that_the_plants_own_variables_do_not_carry_is_found_all_the_same() -> None:
    samples = World().samples(60)
    unmeasured = samples.encoded_ND @ np.linalg.inv(World().mix())[:, 5]
    head = fit_head("foaming", FOAMING, replace(samples, margins_N=unmeasured))
    shares = said(head)
    assert "guides" not in shares
    assert "guides and their products" not in shares
    assert head.skill > 0.5


def test_five_labels_are_told_by_the_plants_own_variables() -> None:
    """Five cannot choose among families; what they could find by chance in all of the latent is not to be taken."""
    worst = [
        fit_head("foaming", FOAMING.model_copy(update={"confidence": 0.8}), World().samples(5, seed=seed))
        for seed in range(4)
    ]
    assert [head.form for head in worst] == ["guides"] * 4


def test_directions_that_never_move_do_no_harm() -> None:
    samples = World().samples(30)
    still = {
        key: np.concatenate([getattr(samples, key), np.zeros((*getattr(samples, key).shape[:-1], 3))], axis=-1)
        for key in ("encoded_ND", "rolled_NHD", "background_MD")
    }
    head = fit_head("foaming", FOAMING, replace(samples, **still))
    plain = fit_head("foaming", FOAMING, samples)
    np.testing.assert_allclose(head.linear_D, [*plain.linear_D, 0, 0, 0], atol=1e-6)


@pytest.mark.parametrize("bend", [0.0, 1.0])
def test_a_head_comes_back_from_json_bit_by_bit(bend: float) -> None:
    head = fit_head("foaming", FOAMING, World(bend=bend).samples(40))
    back = ConstraintHead.from_dict(json.loads(json.dumps(head.to_dict())))
    z_BD = torch.as_tensor(np.random.default_rng(0).normal(size=(5, SIZE)))
    assert torch.equal(back.margin(z_BD), head.margin(z_BD))
    assert np.array_equal(back.allowance_H, head.allowance_H)
    assert (back.name, back.unit, back.rank, back.labels) == ("foaming", "mm", 1, 40)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("linear_D", [1.0]),
        ("offset", float("nan")),
        ("allowance_H", [2.0, 1.0]),
        ("allowance_H", None),
        ("curvature_QQ", [[1.0]]),
        ("centre_Q", 3.0),
        ("rank", "first"),
    ],
)
def test_a_damaged_head_is_refused(key: str, value: object) -> None:
    data = fit_head("foaming", FOAMING, World(bend=1.0).samples(40)).to_dict()
    with pytest.raises(ArtifactError, match="'foaming'"):
        ConstraintHead.from_dict({**data, key: value})
    with pytest.raises(ArtifactError, match="'foaming'"):
        ConstraintHead.from_dict({k: v for k, v in data.items() if k != key})


def test_the_margin_is_differentiable_in_double_precision_and_works_in_single() -> None:
    head = fit_head("foaming", FOAMING, World(bend=1.0).samples(40))
    z_BD = torch.as_tensor(np.random.default_rng(0).normal(size=(3, SIZE))).requires_grad_()
    assert torch.autograd.gradcheck(head.margin, (z_BD,))
    single = head.margin(z_BD.detach().float())
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, head.margin(z_BD.detach()), rtol=1e-4)


def test_shapes_that_do_not_fit_are_our_own_slip() -> None:
    with pytest.raises(ValueError, match="rolled_NHD has shape"):
        replace(World().samples(20), rolled_NHD=np.zeros((19, STEPS, SIZE)))
