"""Small latent models on made-up tags: as they start, and with networks that say something."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from procmodel.data.window import Columns
from procmodel.world_model.latent_model import LatentModel, ModelConfig
from procmodel.world_model.linear import LinearState

COLUMNS = Columns(mv=(0, 3), cv=(1, 4), dv=(2,), count=6)  # the last one is AUX
ROWS, LAGS, STATES, LEARNED = 5, 3, 3, 4


def linear_state(seed: int = 0, columns: Columns = COLUMNS) -> LinearState:
    """Random and stable."""
    rng = np.random.default_rng(seed)
    inputs, cvs = len(columns.mv) + len(columns.dv), len(columns.cv)
    a = rng.normal(size=(STATES, STATES))
    return LinearState(
        A=0.8 * a / np.abs(np.linalg.eigvals(a)).max(),
        B=rng.normal(size=(STATES, inputs)),
        C=rng.normal(size=(cvs, STATES)),
        K=rng.normal(size=(STATES, cvs)),
        bias=rng.normal(size=STATES),
        offset=rng.normal(size=cvs),
        encoder=rng.normal(size=(LAGS + 1, inputs + cvs, STATES)),
        encoder_bias=rng.normal(size=STATES),
        values=np.ones(STATES),
    )


def untrained(seed: int = 0, columns: Columns = COLUMNS, hidden: int = 7) -> LatentModel:
    """As training starts: the linear state, and networks that add nothing; float64."""
    torch.manual_seed(seed)
    config = ModelConfig(columns=columns, rows=ROWS, lags=LAGS, state=STATES, latent=LEARNED, hidden=hidden)
    model = LatentModel(config).double()
    model.start_from(linear_state(seed, columns))
    return model


def trained(seed: int = 0, columns: Columns = COLUMNS, hidden: int = 7, products: bool = False) -> LatentModel:
    """Every weight random, so that every part of it counts; float64."""
    model = untrained(seed, columns, hidden)
    if products:
        model = LatentModel(replace(model.config, products=True)).double()
        model.start_from(linear_state(seed, columns))
        for part in (model.centre, model.rate, model.quadratic, model.slope, model.rest):
            part.copy_(0.3 * torch.randn_like(part))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return model


def with_a_filter(seed: int = 0) -> tuple[LatentModel, LinearState]:
    """A filter that follows the state from a window's first row, without network and products; float64."""
    rng, linear = np.random.default_rng(seed), linear_state(seed)
    cvs = linear.C.shape[0]
    linear = replace(
        linear, K=0.1 * linear.K, begin=rng.normal(size=(len(linear.B[0]) + cvs, STATES)),
        begin_bias=rng.normal(size=STATES),
    )  # fmt: skip
    model = LatentModel(replace(untrained(seed).config, filtered=True)).double()
    model.start_from(linear)
    return model, linear


def batch(
    rows: int, *, size: int = 6, columns: Columns = COLUMNS, good: float = 0.85, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Values and mask [B, T, C], float64; 0 stands in the gaps, as `Windows` writes it."""
    g = torch.Generator().manual_seed(seed)
    values = torch.randn(size, rows, columns.count, generator=g, dtype=torch.float64)
    mask = (torch.rand(values.shape, generator=g) < good).double()
    return values * mask, mask


def filled_by_hand(values_TC: np.ndarray, mask_TC: np.ndarray) -> np.ndarray:
    """Forward fill of one window, cell by cell."""
    out = np.zeros_like(values_TC)
    for c in range(values_TC.shape[1]):
        good = [t for t in range(len(values_TC)) if mask_TC[t, c] > 0]
        for t in range(len(values_TC)):
            before = [g for g in good if g <= t]
            out[t, c] = values_TC[before[-1] if before else good[0], c] if good else 0.0
    return out


def number(value: Tensor) -> float:
    """A scalar that may carry a gradient."""
    return float(value.detach())
