"""Labelled states of the quadruple tank's fourth tank, from campaigns that the model never saw, with the true margin.

Shapes: N states, H rows ahead, D latent, M unlabelled rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from experiments.learned import Learned
from procmodel.constraints.blocks import Blocks
from procmodel.constraints.fit import HeadSamples
from procmodel.data.window import Columns
from procmodel.data.windows import Windows
from procmodel.simulation.operation import operate
from procmodel.training.calibrate import _roll_to

HEAD = "tank4_margin"
ROWS, HORIZON = 260, 60


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """States: latents [N, 1 + H, D] (column 0 encoded), true margin [N], dipped margin [N], campaign [N]."""

    ahead_NHD: np.ndarray
    true_N: np.ndarray
    dipped_N: np.ndarray
    campaign_N: np.ndarray


def pool(known: Learned, campaigns: int, each: int, seed: int) -> Pool:
    """`each` states from so many campaigns (runs of an operator in weather of their own)."""
    model, scaler, plant = known.artifact.model, known.artifact.scaler, known.plant
    columns, rng = Columns.of(plant), np.random.default_rng(seed)
    ahead, true, campaign = [], [], []
    for c in range(campaigns):
        run = operate(known.reference, rows=ROWS, seed=seed + c)
        windows = Windows(run.rows, scaler, columns, dtype=torch.float64)
        for row in rng.choice(np.arange(model.rows + HORIZON, ROWS), each, replace=False):
            with torch.no_grad():
                now = model.encode(windows.batch(torch.tensor([int(row) - model.rows + 1]), model.rows)).numpy()
            ahead.append(np.concatenate([now, _roll_to(model, windows, int(row), 0, HORIZON)]))
            true.append(run.margins[row, 0])
            campaign.append(c)
    true_N = np.array(true)
    return Pool(
        ahead_NHD=np.array(ahead),
        true_N=true_N,
        dipped_N=true_N + known.reference.lab_error[HEAD] * rng.standard_normal(len(true_N)),
        campaign_N=np.array(campaign),
    )


def half_unsafe(labels: Pool, count: int, rng: np.random.Generator) -> np.ndarray:
    """So many states, each of another campaign; both safe and unsafe ones, since that is what people label."""
    order = rng.permutation(len(labels.true_N))
    unsafe = labels.dipped_N[order] < 0
    few = order[unsafe][np.unique(labels.campaign_N[order[unsafe]], return_index=True)[1]]
    few = rng.permutation(few)[: max(1, count // 2)]
    rest = order[~unsafe & ~np.isin(labels.campaign_N[order], labels.campaign_N[few])]
    many = rest[np.unique(labels.campaign_N[rest], return_index=True)[1]]
    return np.concatenate([few, rng.permutation(many)[: count - len(few)]])


def at_random(labels: Pool, count: int, rng: np.random.Generator) -> np.ndarray:
    """So many states as they come, each of another campaign: exchangeable with what is to come."""
    order = rng.permutation(len(labels.true_N))
    _, first = np.unique(labels.campaign_N[order], return_index=True)
    return np.asarray(rng.permutation(order[first])[:count])


def in_few_campaigns(labels: Pool, count: int, each: int, rng: np.random.Generator) -> np.ndarray:
    """So many states, `each` of the same campaign."""
    some = rng.permutation(np.unique(labels.campaign_N))[: count // each]
    return np.concatenate([rng.permutation(np.flatnonzero(labels.campaign_N == c))[:each] for c in some])


def samples(labels: Pool, at: np.ndarray, background: HeadSamples, *, by_campaign: bool = True) -> HeadSamples:
    """What a head learns from; where labels are not left out by campaign, each is on its own."""
    single = np.arange(len(at))
    return replace(
        background,
        margins_N=labels.dipped_N[at],
        encoded_ND=labels.ahead_NHD[at, 0],
        rolled_NHD=labels.ahead_NHD[at, 1:],
        blocks=Blocks(campaign_N=labels.campaign_N[at], near_N=single) if by_campaign else Blocks.in_time(single),
    )


def background_of(known: Learned) -> HeadSamples:
    """The many unlabelled latents of the record."""
    model, dataset, columns = known.artifact.model, known.dataset, Columns.of(known.plant)
    windows = Windows(dataset.values, known.artifact.scaler, columns, dtype=torch.float64)
    starts = windows.starts(dataset.stretches, model.rows)
    some = starts[torch.linspace(0, len(starts) - 1, 1500).long()]
    with torch.no_grad():
        latents = model.encode(windows.batch(some, model.rows)).numpy()
    guides = dataset.values[some.numpy() + model.rows - 1][:, [*columns.cv, *columns.mv, *columns.dv]]
    nothing = np.empty((0, model.latent_size))
    return HeadSamples(
        margins_N=np.empty(0), encoded_ND=nothing, rolled_NHD=nothing[:, None], background_MD=latents, guides_MG=guides
    )
