"""Several families of features as one head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from latent_world import FOAMING, World

from procmodel.constraints import fit_head
from procmodel.constraints.blend import Blend, shares_of
from procmodel.constraints.features import Features, Flat, candidates
from procmodel.constraints.fit import learn


def families(world: World, count: int = 40) -> tuple[list[Features], list[Flat]]:
    samples = world.samples(count)
    found = list(candidates(samples.background_MD, samples.guides_MG))
    rng = np.random.default_rng(0)
    sizes = [each.of(samples.encoded_ND).shape[1] for each in found]
    return found, [Flat(weights_F=rng.normal(size=size), offset=float(rng.normal())) for size in sizes]


def test_shares_fall_with_the_fourth_power_of_errors_and_add_up_to_one() -> None:
    assert shares_of([1.0, 2.0]) == pytest.approx((16 / 17, 1 / 17))
    assert sum(shares_of([0.3, 0.1, 0.2, 5.0])) == pytest.approx(1.0)


def test_a_family_without_an_error_takes_it_all() -> None:
    assert shares_of([0.0, 1.0]) == pytest.approx((1.0, 0.0))


def test_one_head_says_what_its_families_say_by_their_shares() -> None:
    """Straight and bent ones collapse into one linear part and one curvature."""
    found, flats = families(World())
    shares = shares_of([1.0, 1.1, 1.2, 1.3, 1.4, 1.5])
    blend = Blend(families=tuple(found), flats=tuple(flats), shares=shares)
    ahead_NHD = np.random.default_rng(1).normal(size=(7, 3, World().mix().shape[0]))
    linear_D, offset, directions_QD, centre_Q, curvature_QQ = blend.collapse()
    bent_NHQ = ahead_NHD @ directions_QD.T - centre_Q
    told = ahead_NHD @ linear_D + offset + np.einsum("nhq,qr,nhr->nh", bent_NHQ, curvature_QQ, bent_NHQ)
    each = [Blend.of_one(*one).told(ahead_NHD) for one in zip(found, flats, strict=True)]
    np.testing.assert_allclose(blend.told(ahead_NHD), np.tensordot(shares, each, 1), atol=1e-9)
    np.testing.assert_allclose(told, blend.told(ahead_NHD), atol=1e-9)


@pytest.mark.parametrize(("count", "several"), [(19, False), (20, True)])
def test_families_are_averaged_from_twenty_labels_on(count: int, several: bool) -> None:
    samples = World().samples(count)
    found = list(candidates(samples.background_MD, samples.guides_MG))
    blend, _ = learn("foaming", "regression", found, samples)
    assert (len(blend.families) > 1) is several


def test_what_is_said_of_a_label_does_not_know_it() -> None:
    """Shares and weights are made without the label: another value of it changes nothing that is said of it."""
    samples = World().samples(20)
    found = list(candidates(samples.background_MD, samples.guides_MG))
    _, told_NH = learn("foaming", "regression", found, samples)
    samples.margins_N[3] += 100.0
    _, other_NH = learn("foaming", "regression", found, samples)
    np.testing.assert_array_equal(told_NH[3], other_NH[3])
    assert np.abs(told_NH[4] - other_NH[4]).max() > 0


def test_the_head_that_is_stored_is_the_blend_that_was_learned() -> None:
    world = World(bend=1.0)
    samples = world.samples(24)
    blend, _ = learn("foaming", "regression", list(candidates(samples.background_MD, samples.guides_MG)), samples)
    head = fit_head("foaming", FOAMING, samples)
    np.testing.assert_allclose(
        head.margin(torch.as_tensor(samples.rolled_NHD)).numpy(), blend.told(samples.rolled_NHD), atol=1e-9
    )
    assert head.form == blend.form
