"""What the compiled loops of the conditioning share, and how a segment fills the cells that it crosses.

Each tag has one record of what is asked of it (`RULE`) and one of where it stands (`STATE`). The loops release the
interpreter lock: the next batch is read meanwhile.

Times are microseconds since 1970; row r covers `[r * step, (r + 1) * step)`. N samples, C tags, T rows, A aged tags.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numba import njit

PER_OCTAVE = 32  # bins of the interval histogram in each doubling, of equal width
BINS = 64 * PER_OCTAVE
NONE, GOOD, BAD = 0, 1, 2  # where a tag stands
MEAN, START, LAST, LEAST, MOST, ROUND, SAMPLES = 0, 1, 2, 3, 4, 5, 6  # what its cells hold
ONE_SAMPLE = 1 << 44  # counts samples in the good time of a cell, which is below 2^44 us = 200 days
WHOLE = -1  # in place of the good time of a cell that is good as a whole or not at all

RULE = np.dtype(
    [
        ("cell", np.uint8),
        ("holds", np.bool_),
        ("by_intervals", np.bool_),
        ("bridges", np.bool_),
        ("aged", np.int16),  # its column among the ages; -1: none
        ("max_gap", np.int64),
        ("low", np.float64),
        ("high", np.float64),
        ("turn", np.float64),
        ("gain", np.float64),
        ("rollover", np.float64),
    ],
    align=True,
)
STATE = np.dtype(
    [
        ("now", np.uint8),
        ("time", np.int64),  # of the newest sample, or where bad ones are passed over, of the newest good one
        ("value", np.float64),
        ("time_before", np.int64),  # of the good sample before it, for a slope
        ("value_before", np.float64),
        ("rate", np.float64),  # totalizer: between the last two readings; NaN: not known
        ("newest", np.int64),  # stamp of the newest sample, good or bad
        ("seen", np.int64),
        ("good", np.int64),
        ("outside", np.int64),
    ],
    align=True,
)


class Grid(NamedTuple):
    """Cells while they fill.

    Attributes:
        held_TC: First mean of the cell (the mean is kept about it: a constant then comes out as itself, bit by bit),
            or what else it holds.
        area_TC: Area about it [unit us]; of a mean of samples, their sum.
        good_TC: Time that was good [us]; of a mean of samples, plus `ONE_SAMPLE` for each.
        age_TA: Age of the value at the row's end [s].
        lo, hi: Times that may enter.
        row0: Number of the first row, counted from 1970.
    """

    held_TC: np.ndarray
    area_TC: np.ndarray
    good_TC: np.ndarray
    age_TA: np.ndarray
    lo: int
    hi: int
    step: int
    row0: int


class Block(NamedTuple):
    """A batch of samples as plain arrays.

    Attributes:
        column_D: Column of each dictionary entry; below 0: not one of ours.
        codes_N: Dictionary entry of each sample's tag.
        valid, first_bit: Arrow's bitmap of the values that are there, and its first bit; empty: all are.
    """

    column_D: np.ndarray
    codes_N: np.ndarray
    times_N: np.ndarray
    values_N: np.ndarray
    valid: np.ndarray
    first_bit: int
    quality_N: np.ndarray


class Late(NamedTuple):
    """Segments longer than is certain to be bridged: tag, both times, both values."""

    codes_N: np.ndarray
    times_N2: np.ndarray
    values_N2: np.ndarray


_Function = TypeVar("_Function", bound=Callable[..., object])


def compiled(function: _Function, **options: Any) -> _Function:
    """Machine code without the interpreter lock, kept beside the source where that folder can be written."""
    try:
        return cast(_Function, njit(cache=True, nogil=True, error_model="numpy", **options)(function))
    except RuntimeError:  # no folder for the cache: compile in every process
        return cast(_Function, njit(nogil=True, error_model="numpy", **options)(function))


def contracted(function: _Function) -> _Function:
    """As `compiled`; a product and the sum that it goes into may be one operation, rounded once."""
    return compiled(function, fastmath={"contract"})


def inlined(function: _Function) -> _Function:
    """Part of the loop that calls it: handing arrays over to a function costs more than what is done with a sample."""
    return cast(_Function, njit(inline="always")(function))


@inlined
def _add_piece(rule: Any, r: int, c: int, at_start: bool, va: float, vb: float, time: int, grid: Grid) -> None:
    """Add a piece of `time` from value va to vb, within one cell."""
    if rule.cell == START:
        if at_start:
            grid.held_TC[r, c], grid.good_TC[r, c] = va, WHOLE
        return
    first = grid.good_TC[r, c] == 0
    if rule.cell == LAST:
        grid.held_TC[r, c] = vb
    elif rule.cell == SAMPLES:  # where no sample lies in the cell there is one piece, and this is its mean
        grid.held_TC[r, c] = 0.5 * (va + vb)
    elif rule.cell == LEAST:
        grid.held_TC[r, c] = min(va, vb) if first else min(grid.held_TC[r, c], va, vb)
    elif rule.cell == MOST:
        grid.held_TC[r, c] = max(va, vb) if first else max(grid.held_TC[r, c], va, vb)
    elif rule.cell == MEAN:
        mean = 0.5 * (va + vb)
        if first:
            grid.held_TC[r, c] = mean
        else:
            grid.area_TC[r, c] += (mean - grid.held_TC[r, c]) * time
    else:
        # The integral of the unit vector along the piece: that of its middle, shortened by the turn within it.
        half = math.pi * (vb - va) / rule.turn
        length = time * (math.sin(half) / half if abs(half) > 1e-6 else 1.0)
        middle = math.pi * (va + vb) / rule.turn
        grid.held_TC[r, c] += math.cos(middle) * length
        grid.area_TC[r, c] += math.sin(middle) * length
    grid.good_TC[r, c] += time


@compiled
def _fill_other(rule: Any, c: int, t0: int, v0: float, t1: int, v1: float, grid: Grid) -> None:
    """As `fill`, of a tag whose cells hold no plain mean, or whose age is told."""
    a, end = max(t0, grid.lo), min(t1, grid.hi)
    if a >= end:
        return
    slope = (v1 - v0) / (t1 - t0)
    row = a // grid.step
    stop = (row + 1) * grid.step
    r = row - grid.row0
    while a < end:
        edge = min(stop, end)
        va, vb = v0 + slope * (a - t0), v0 + slope * (edge - t0)
        _add_piece(rule, r, c, a == stop - grid.step, va, vb, edge - a, grid)
        if rule.aged >= 0 and edge == stop:
            grid.age_TA[r, rule.aged] = (stop - t0) * 1e-6
        a = edge
        stop += grid.step
        r += 1


@inlined
def fill_mean(
    c: int, t0: int, v0: float, t1: int, v1: float,
    held_TC: np.ndarray, area_TC: np.ndarray, good_TC: np.ndarray, lo: int, hi: int, step: int, row0: int,
) -> None:  # fmt: skip
    """As `fill`, of a tag whose cells hold their mean."""
    a, end = max(t0, lo), min(t1, hi)
    if a < end:
        slope = (v1 - v0) / (t1 - t0)
        row = a // step
        stop = (row + 1) * step
        r = row - row0
        while a < end:
            edge = min(stop, end)
            # A segment within one cell as it is added where the cell is open already, to the last bit.
            whole = edge - a == t1 - t0
            mean = v0 + (0.5 * (v1 - v0) if whole else slope * (0.5 * ((a - t0) + (edge - t0))))
            good = good_TC[r, c]
            if good == 0:
                held_TC[r, c] = mean
            else:
                area_TC[r, c] += (mean - held_TC[r, c]) * (edge - a)
            good_TC[r, c] = good + (edge - a)
            a = edge
            stop += step
            r += 1


@inlined
def fill(rule: Any, c: int, t0: int, v0: float, t1: int, v1: float, grid: Grid) -> None:
    """Add the line from (t0, v0) to (t1, v1) to the cells it crosses."""
    if rule.cell != MEAN or rule.aged >= 0:
        _fill_other(rule, c, t0, v0, t1, v1, grid)
    else:
        fill_mean(c, t0, v0, t1, v1, grid.held_TC, grid.area_TC, grid.good_TC, grid.lo, grid.hi, grid.step, grid.row0)


@compiled
def fill_late(rules_C: np.ndarray, gaps_C: np.ndarray, late: Late, grid: Grid) -> None:
    """Fill those of the postponed segments that are no longer than the tag's gap."""
    for i in range(late.codes_N.shape[0]):
        c, t0, t1 = late.codes_N[i], late.times_N2[i, 0], late.times_N2[i, 1]
        if t1 - t0 <= gaps_C[c]:
            fill(rules_C[c], c, t0, late.values_N2[i, 0], t1, late.values_N2[i, 1], grid)
