"""Functions that the equations need besides + - * / and the square root, made of nothing else.

So one set of equations serves floats, arrays, tensors and CasADi symbols alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

HALVINGS = 6


def exponential(z: Any) -> Any:
    """e^z to 3e-12 for |z| below 4: the Pade fraction of order 3 at z / 64, squared six times.

    The fraction errs by z^7 / 100,800 (Baker 1975, Essentials of Pade Approximants), so 4e-14 at 4 / 64, which
    the squarings make 64 times as much.
    """
    z = z / 2.0**HALVINGS
    square = z * z
    even, odd = 120.0 + 12.0 * square, z * (60.0 + square)
    value = (even + odd) / (even - odd)
    for _ in range(HALVINGS):
        value = value * value
    return value


def smaller(a: Any, b: Any, width: float, sqrt: Callable[[Any], Any]) -> Any:
    """The smaller of two values, rounded off where they come within `width` of each other."""
    return 0.5 * (a + b - sqrt((a - b) * (a - b) + width * width))


def larger(a: Any, b: Any, width: float, sqrt: Callable[[Any], Any]) -> Any:
    """The larger of two values, rounded off where they come within `width` of each other."""
    return 0.5 * (a + b + sqrt((a - b) * (a - b) + width * width))
