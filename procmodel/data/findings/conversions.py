"""Unit changes: one day the same tag is written in another unit. Shapes: N samples of one tag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from procmodel.errors import PlantFileError
from procmodel.plant.units import affine

NEIGHBOURS = 100
_LEVEL = 5
_UNITS = (
    ("degC", "degF", "K"),
    ("bar", "mbar", "kPa", "Pa", "MPa", "psi"),
    ("kg/h", "kg/min", "kg/s", "t/h", "lb/h"),
    ("m3/h", "l/min", "l/h", "l/s", "gallon/min"),
    ("m", "cm", "mm", "inch", "ft"),
    ("W", "kW", "MW", "hp"),
    ("%", "1"),
)
_FACTORS = (("10", 10.0), ("100", 100.0), ("1000", 1000.0), ("1/10", 0.1), ("1/100", 0.01), ("1/1000", 0.001))


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A change of units: `value afterwards = gain * value before + offset`."""

    name: str
    gain: float
    offset: float = 0.0


@dataclass(frozen=True, kw_only=True)
class UnitChange:
    """Between samples `at - 1` and `at` the values went over to another unit."""

    at: int
    conversion: Conversion


def conversions(unit: str) -> list[Conversion]:
    """What a tag in `unit` may have gone over to, and back: units of its kind, and powers of ten."""
    found: list[tuple[str, float, float]] = [("factor " + text, f, 0.0) for text, f in _FACTORS]
    for other in next((family for family in _UNITS if _converts(unit, family[0])), ()):
        gain, offset = affine(unit, other)
        if (gain, offset) != (1.0, 0.0):
            found += [(f"{unit} to {other}", gain, offset), (f"{other} to {unit}", 1.0 / gain, -offset / gain)]
    merged: dict[tuple[str, str], list[str]] = {}
    for name, gain, offset in found:
        merged.setdefault((f"{gain:.6g}", f"{offset + 0.0:.6g}"), []).append(name)
    return [
        Conversion(name=" or ".join([n for n in names if "factor" not in n] or names), gain=float(g), offset=float(o))
        for (g, o), names in merged.items()
    ]


def _converts(unit: str, other: str) -> bool:
    try:
        affine(unit, other)
    except PlantFileError:
        return False
    return True


def unit_changes(values_N: np.ndarray, known: Sequence[Conversion], neighbours: int = NEIGHBOURS) -> list[UnitChange]:
    """Jumps after which the values are the old ones, converted.

    At a jump the median of the last five values before and of the first five after it, `b` and `a`, are compared: a
    conversion `g * x + o` explains it where `|a - (g b + o)|` is within one spread (90th less 10th percentile) of the
    `neighbours` before, converted, and where the small movements (median `|dx|`) have grown by `g` too, within a factor
    of two. The jump must be at least three spreads large, or it is not told from the signal's own movement. Both
    conditions together are what a real step of the process does not meet by chance.

    Args:
        values_N: Finite samples in order of time; of a tag that runs linearly, as a setpoint may well go to ten times
            its value.
        neighbours: 100 samples on each side: enough for a spread, few enough that the signal has not gone far.
    """
    moves_N = np.abs(np.diff(values_N))
    moving = moves_N[moves_N > 0]
    if len(values_N) < 4 * _LEVEL or not len(moving):
        return []
    found: list[UnitChange] = []
    for before in np.flatnonzero(moves_N > 10.0 * np.median(moving)).tolist():
        at = before + 1
        old, new = values_N[max(0, at - neighbours) : at], values_N[at : at + neighbours]
        beside = moves_N[max(0, before - _LEVEL) : before + _LEVEL + 1]
        if min(len(old), len(new)) < _LEVEL or moves_N[before] < beside.max():
            continue  # the jump itself is the largest of the moves around it
        match = _explained(old, new, known)
        if match is not None:
            found.append(UnitChange(at=at, conversion=match))
    return found


def _explained(old: np.ndarray, new: np.ndarray, known: Sequence[Conversion]) -> Conversion | None:
    """The conversion that fits best, if one fits."""
    before, after = float(np.median(old[-_LEVEL:])), float(np.median(new[:_LEVEL]))
    spread = float(np.quantile(old, 0.9) - np.quantile(old, 0.1))
    small_old, small_new = (float(np.median(np.abs(np.diff(x)))) for x in (old, new))
    best, best_miss = None, np.inf
    for each in known:
        if abs(after - before) < 3.0 * max(spread, spread * abs(each.gain)):
            continue
        miss = abs(after - (each.gain * before + each.offset))
        allowed = max(abs(each.gain) * spread, 1e-3 * abs(after))
        alike = small_old * abs(each.gain) / 2 <= small_new <= small_old * abs(each.gain) * 2
        if alike and miss <= allowed and miss / allowed < best_miss:
            best, best_miss = each, miss / allowed
    return best
