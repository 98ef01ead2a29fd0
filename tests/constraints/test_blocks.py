"""What is left out together: whole campaigns where there are several, neighbours in time where there is one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from procmodel.constraints.blocks import Blocks


def near(sizes: list[int]) -> Blocks:
    return Blocks.in_time(np.repeat(np.arange(len(sizes)), sizes))


@given(campaign=st.lists(st.integers(0, 14), min_size=2, max_size=60).filter(lambda each: len(set(each)) > 1))
def test_no_campaign_is_ever_on_both_sides(campaign: list[int]) -> None:
    campaign_N = np.array(campaign)
    blocks = Blocks(campaign_N=campaign_N, near_N=np.arange(len(campaign)))
    masks = list(blocks.folds())
    assert (np.sum(masks, axis=0) == 1).all()
    assert 2 <= len(masks) <= 10
    for out_N in masks:
        assert not set(campaign_N[out_N]) & set(campaign_N[~out_N])


def test_a_campaign_with_most_of_the_labels_stays_whole() -> None:
    blocks = Blocks(campaign_N=np.repeat([7, 3], [18, 2]), near_N=np.arange(20))
    assert sorted(out_N.sum() for out_N in blocks.folds()) == [2, 18]


def test_what_is_left_of_two_campaigns_is_one_and_is_blocked_in_time() -> None:
    blocks = Blocks(campaign_N=np.repeat([0, 1], 6), near_N=np.repeat(np.arange(6), 2))
    left = blocks.only(blocks.campaign_N == 1)
    assert left.campaigns == 1
    assert left.whole_N.tolist() == [0, 0, 1, 1, 2, 2]


@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=25).filter(lambda sizes: sum(sizes) >= 5))
def test_every_label_is_left_out_once_and_enough_stay_in(sizes: list[int]) -> None:
    masks = np.array(list(near(sizes).folds()))
    assert (masks.sum(axis=0) == 1).all()
    assert len(masks) <= 10
    # A fold holds its share of the labels and at most one block more, and a block at most a fifth.
    assert masks.sum(axis=1).max() <= sum(sizes) / min(10, len(masks)) + np.ceil(sum(sizes) / 5)


def test_blocks_of_few_labels_stay_whole() -> None:
    blocks = near([3] * 12)
    for out_N in blocks.folds():
        assert not set(blocks.near_N[out_N]) & set(blocks.near_N[~out_N])


def test_single_labels_fewer_than_ten_are_left_out_one_by_one() -> None:
    assert np.array_equal(np.array(list(near([1] * 9).folds())), np.eye(9, dtype=bool))
