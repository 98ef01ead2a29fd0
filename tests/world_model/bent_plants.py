"""A plant whose gain grows with its level, read by a noisy sensor and moved under feedback."""

from __future__ import annotations

import numpy as np

NOISE = 0.2
BEND = 0.6


def next_level(x: float, lag: float, v: float) -> tuple[float, float]:
    """Level and lag one row later: what is moved reaches the level through a lag, by a gain that grows with it."""
    lag = 0.8 * lag + 0.2 * v
    return 0.95 * x + 0.05 * lag * (1.0 + BEND * np.tanh(x)), lag


def bent_record(rows: int, seed: int, noise: float = NOISE) -> tuple[np.ndarray, np.ndarray]:
    """Level [T, 1] as its sensor reads it, and its input [T, 1], which answers the reading before."""
    rng = np.random.default_rng(seed)
    steps = np.repeat(1.5 * rng.normal(size=rows // 60 + 1), 60)[:rows]
    y, v, x, lag = np.zeros((rows, 1)), np.zeros((rows, 1)), 0.0, 0.0
    for t in range(1, rows):
        v[t] = steps[t] + 0.3 * rng.normal() - 0.5 * y[t - 1]
        x, lag = next_level(x, lag, v[t, 0])
        x += 0.02 * rng.normal()
        y[t] = x + noise * rng.normal()
    return y, v


def at_rest(v: float) -> float:
    """Where the level settles under a held input."""
    x, lag = 0.0, 0.0
    for _ in range(2_000):
        x, lag = next_level(x, lag, v)
    return x
