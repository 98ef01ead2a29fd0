"""Random signals of a plant's surroundings; a longer signal of the same seed begins with the shorter one.

Shapes: T rows.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
from scipy.signal import lfilter


def stream(seed: int, *purpose: str) -> np.random.Generator:
    """A random stream of its own for each purpose, so that one more draw here changes nothing there."""
    return np.random.default_rng([seed, *(zlib.crc32(word.encode()) for word in purpose)])


def wander(rows: int, *, step: float, time_constant: float, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Stationary Ornstein-Uhlenbeck signal, [T], sampled exactly.

    Args:
        step, time_constant: Grid step and correlation time [s].
        spread: Its standard deviation [unit of the signal].
    """
    keep = np.exp(-step / time_constant)
    first = rng.standard_normal()
    shocks = np.sqrt(1.0 - keep**2) * rng.standard_normal(rows)
    return spread * np.asarray(lfilter([1.0], [1.0, -keep], shocks, zi=[keep * first])[0])


def levels(
    rows: int,
    *,
    hold: Callable[[np.random.Generator], int],
    draw: Callable[[np.random.Generator], float],
    rng: np.random.Generator,
) -> np.ndarray:
    """Piecewise constant signal, [T]: each level holds for a drawn number of rows; the first has begun before row 0."""
    values = np.empty(rows)
    at = -int(rng.uniform() * hold(rng))
    while at < rows:
        until = at + max(1, hold(rng))
        values[max(at, 0) : max(until, 0)] = draw(rng)
        at = until
    return values


def lagged(values: np.ndarray, *, step: float, time_constant: float) -> np.ndarray:
    """First-order lag of a signal, [T], at rest on its first value."""
    keep = np.exp(-step / time_constant)
    return np.asarray(lfilter([1.0 - keep], [1.0, -keep], values, zi=[keep * values[0]])[0])
