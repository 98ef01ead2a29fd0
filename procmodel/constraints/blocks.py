"""Which labels are left out together when a head is judged: whole campaigns, or neighbours in time.

A head is asked about campaigns to come. Labels of one campaign share its weather, its feed and its operator, so a head
that learned from some of them knows more of the others than it will know of a new campaign. Where labels come from
several campaigns, no campaign is ever on both sides; from one alone, neighbours in time stay together.

Shapes: N labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

FOLDS = 10


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Where each label lies.

    Attributes:
        campaign_N: Its campaign, any integer.
        near_N: Labels of one campaign that are close in time share a number; any integers.
    """

    campaign_N: np.ndarray
    near_N: np.ndarray

    @classmethod
    def in_time(cls, near_N: np.ndarray) -> Self:
        """Labels of one campaign."""
        return cls(campaign_N=np.zeros(len(near_N), dtype=np.int64), near_N=near_N)

    @property
    def campaigns(self) -> int:
        """How many campaigns the labels come from."""
        return len(np.unique(self.campaign_N))

    @cached_property
    def whole_N(self) -> np.ndarray:
        """What is never parted, numbered from 0 up: campaigns, or neighbours in time where there is one campaign.

        Of these, one with more than a fifth of the labels is cut: a head that loses half its labels says nothing about
        the one that keeps them all. A campaign is not cut: then the head that lost it errs more, on the safe side.
        """
        if self.campaigns > 1:
            return np.unique(self.campaign_N, return_inverse=True)[1]
        return _cut(np.unique(self.near_N, return_inverse=True)[1])

    def only(self, kept_N: np.ndarray) -> Blocks:
        """Of some of the labels."""
        return Blocks(campaign_N=self.campaign_N[kept_N], near_N=self.near_N[kept_N])

    def folds(self) -> Iterator[np.ndarray]:
        """Masks [N] of the labels to leave out, each label once, at most ten folds of neighbours."""
        whole_N = self.whole_N
        sizes = np.bincount(whole_N)
        middle = np.cumsum(sizes) - sizes / 2
        count = min(FOLDS, len(sizes))
        fold_N = np.minimum((middle / sizes.sum() * count).astype(int), count - 1)[whole_N]
        for fold in np.unique(fold_N):
            yield fold_N == fold

    @cached_property
    def parted(self) -> tuple[tuple[np.ndarray, Blocks], ...]:
        """Each fold with the blocks of the labels that stay: a head asks for them once for each family."""
        return tuple((out_N, self.only(~out_N)) for out_N in self.folds())


def _cut(block_N: np.ndarray) -> np.ndarray:
    """Blocks numbered anew, in order, none with more than a fifth of the labels."""
    most = max(1, math.ceil(len(block_N) / 5))
    place_N = np.concatenate([np.arange(size) for size in np.bincount(block_N)])  # within its block
    order = np.argsort(block_N, kind="stable")
    part_N = np.empty_like(block_N)
    part_N[order] = place_N // most
    return np.unique(np.stack([block_N, part_N], axis=1), axis=0, return_inverse=True)[1].reshape(-1)
