"""Which of the newest samples can be believed: missing, frozen, spiking, or in another unit.

What cannot be believed is treated as the gap that it is: the planner does not see it, and the guard holds where a tag
that matters has been without a believable sample for too long.

Shapes: R rows of history, C tags in plant order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from procmodel.data.normal import Normal
from procmodel.plant import Kind, Plant, Role, Tag

# An operator may move an MV, and weather a DV, faster than the record shows: after so many rows at the new level it is
# believed. A CV is not: what it does at once no plant does, and a level read in inches stays where it jumped to.
SETTLED = 3
_ANYTHING = Normal(low=-math.inf, high=math.inf, jump=math.inf, still=math.inf)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Why a tag's newest samples are not believed.

    Attributes:
        rows: How many of the newest; all of the history where none is believed.
        why: In words.
        moved: Of an MV that went further than an advice may: per such move, how many rows show it, and where the MV
            stood before [unit]. Empty for any other fault.
    """

    tag: str
    rows: int
    why: str
    moved: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Instruments:
    """Doubts the samples of one plant.

    Attributes:
        normals: By tag, from the record; a tag without any is only checked for gaps and its `valid` limits.
    """

    plant: Plant
    normals: Mapping[str, Normal]

    def judge(
        self, rows_RC: np.ndarray, *, ignored: frozenset[str] = frozenset()
    ) -> tuple[np.ndarray, dict[str, Fault]]:
        """The history [R, C] with NaN where a sample is not believed, and the fault of each tag that has one now."""
        believed_RC, faults = np.array(rows_RC, dtype=np.float64), dict[str, Fault]()
        for c, (name, tag) in enumerate(self.plant.tags.items()):
            if name in ignored or not len(believed_RC):
                continue
            believed_RC[:, c], fault = _column(believed_RC[:, c], tag, self.normals.get(name, _ANYTHING))
            if fault is not None:
                faults[name] = fault
        return believed_RC, faults


def _column(values_R: np.ndarray, tag: Tag, normal: Normal) -> tuple[np.ndarray, Fault | None]:
    """One tag: the samples with NaN where they are not believed, and what is wrong with the newest."""
    if tag.kind in (Kind.ANGLE, Kind.LABORATORY):  # one goes round, the other is rare and holds
        normal = replace(_ANYTHING, low=normal.low, high=normal.high)
    low, high = tag.valid if tag.valid is not None else (-math.inf, math.inf)
    believed_R = np.where((values_R >= low) & (values_R <= high), values_R, np.nan)
    # First of all: a signal that comes back to life is where the plant has gone since, and no jump.
    believed_R[_stuck(values_R, normal.still)] = np.nan
    low, high = max(low, normal.low), min(high, normal.high)
    if tag.role is Role.MV:
        believed_R = _without_excursions(np.where((believed_R >= low) & (believed_R <= high), believed_R, np.nan), tag)
    else:
        believed_R = _without_jumps(believed_R, normal, None if tag.role is Role.CV else SETTLED)
    if (moved := _moved_by_others(believed_R, tag)) is not None:
        return believed_R, moved
    good = np.flatnonzero(np.isfinite(believed_R))
    rows = len(values_R) - 1 - int(good[-1]) if len(good) else len(values_R)
    if rows == 0:
        return believed_R, None
    last = float(believed_R[good[-1]]) if len(good) else math.nan
    why = _why(float(values_R[-1]), last, (low, high), normal, _still_for(values_R), tag.unit)
    return believed_R, Fault(tag=tag.name, rows=rows, why=why)


def _moved_by_others(values_R: np.ndarray, tag: Tag) -> Fault | None:
    """An MV that went further in one of the newest rows than an advice may: advice waits until that has settled.

    It stays in the history, where the model has to see it; but whether it is a hand on the setpoint or a bad signal,
    the next value may be another, and a move must not start from it. Behind a gap it may have gone as far as one advice
    per row; further is a jump as well.
    """
    known = np.flatnonzero(np.isfinite(values_R))
    if tag.max_move is None or len(known) < 2:
        return None
    steps, rows = np.diff(values_R[known]), np.diff(known) * (1 + 1e-6)
    age = len(values_R) - known[1:]
    far = np.flatnonzero(((steps > tag.max_move.up * rows) | (-steps > tag.max_move.down * rows)) & (age < SETTLED))
    if not len(far):
        return None
    step = f"{steps[far[-1]]:+.4g} {tag.unit}"
    why = f"it moved by {step} in one row, which no advice did; wait until it has settled"
    moved = tuple((int(age[at]), float(values_R[known[at]])) for at in far)
    return Fault(tag=tag.name, rows=moved[-1][0], why=why, moved=moved)


def _why(newest: float, last: float, bounds: tuple[float, float], normal: Normal, frozen: int, unit: str) -> str:
    if not math.isfinite(newest):
        return "it has no good sample"
    if not bounds[0] <= newest <= bounds[1]:
        return (
            f"it shows {newest:.4g} {unit}, far outside what the record held (believed are {bounds[0]:.4g} to "
            f"{bounds[1]:.4g}); check its instrument and its unit, or bring the plant back"
        )
    if frozen > normal.still:
        return f"it has not changed at all for {frozen} rows; {normal.still:.0f} are usual at most"
    return f"it jumped from {last:.4g} to {newest:.4g} {unit}; {normal.jump:.3g} from row to row is usual at most"


def _without_jumps(values_R: np.ndarray, normal: Normal, settled: int | None) -> np.ndarray:
    """NaN where a sample is further from the last believed one than one row and the gap between allow.

    A plant may drift out of what the record held, and is believed on its way, however fast, as long as it goes on from
    row to row; a signal that is found out there from the first row on, or gets there at once, is not.

    Args:
        settled: Rows at a new level after which it is believed; None: not as long as the old one is in sight.
    """
    known_R = (values_R >= normal.low) & (values_R <= normal.high)
    jump = normal.jump
    if not math.isfinite(jump):
        return np.where(known_R, values_R, np.nan)
    if known_R.all() and (np.abs(np.diff(values_R)) <= jump).all():
        return values_R  # as a rule, and a row at a time is slow
    believed_R = values_R.copy()
    last, last_row, pace, gap, run = math.nan, -1, 0.0, 0, 0
    first = _start(values_R, jump) if settled is None else 0  # whoever settles gets over a bad start
    believed_R[:first] = np.nan
    for row in range(first, len(values_R)):
        value = values_R[row]
        if not math.isfinite(value):
            gap += 1
            continue
        next_to = last_row == row - 1
        goes_on = next_to and abs(value - last - pace) <= jump
        if known_R[row] if not math.isfinite(last) else goes_on or abs(value - last) <= jump * math.sqrt(1 + gap):
            pace = value - last if next_to else 0.0
            last, last_row, gap, run = value, row, 0, 0
            continue
        near = run > 0 and abs(value - values_R[row - 1]) <= jump
        run = run + 1 if near else 1
        if settled is not None and run >= settled and known_R[row]:
            last, last_row, pace, gap, run = value, row, 0.0, 0, 0
        else:
            believed_R[row] = np.nan
            # Out there it tells no more than a gap: meanwhile the plant goes on. Within the known it may be a new unit.
            gap += not known_R[row]
    return believed_R


def _without_excursions(values_R: np.ndarray, tag: Tag) -> np.ndarray:
    """NaN where an MV leaves for one row by more than an advice may, and is back in the next."""
    if tag.max_move is None:
        return values_R
    most = max(tag.max_move.up, tag.max_move.down)
    before, at, after = values_R[:-2], values_R[1:-1], values_R[2:]
    away = (np.abs(at - before) > most) & (np.abs(at - after) > most) & (np.abs(after - before) <= most)
    believed_R = values_R.copy()
    believed_R[1:-1][away] = np.nan
    return believed_R


def _start(values_R: np.ndarray, jump: float) -> int:
    """First row that agrees with the middle of the first five: the rest must not be held against a spike."""
    known = np.flatnonzero(np.isfinite(values_R))[:5]
    if len(known) < 3:
        return 0
    off = np.abs(values_R[known] - np.median(values_R[known]))
    return int(known[np.argmax(off <= 2 * jump)])


def _stuck(values_R: np.ndarray, still: float) -> np.ndarray:
    """Where a signal shows what it has shown for more than `still` rows, now or earlier, but for the first of them."""
    if not math.isfinite(still):
        return np.zeros(len(values_R), dtype=bool)
    same = np.r_[False, values_R[1:] == values_R[:-1]]
    run = np.cumsum(~same)
    long = np.bincount(run) > still
    return np.asarray(same & long[run])


def _still_for(values_R: np.ndarray) -> int:
    """How many of the newest rows show the very same value; 0 where the newest is a gap."""
    if not math.isfinite(values_R[-1]):
        return 0
    other = np.flatnonzero(~(values_R == values_R[-1]))
    return len(values_R) - 1 - int(other[-1]) if len(other) else len(values_R)


def needed(plant: Plant, dropped: Sequence[str] = ()) -> list[str]:
    """Tags that advice cannot go without: MVs, and CVs with a setpoint, a limit or a critical status."""
    return [
        name
        for name, tag in plant.tags.items()
        if name not in dropped
        and (
            tag.role is Role.MV
            or tag.is_critical
            or (tag.role is Role.CV and (tag.setpoint is not None or tag.limits.low or tag.limits.high))
        )
    ]
