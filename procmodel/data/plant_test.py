"""A plant test proposed where the record says too little of what an MV does: small, within limits, as short as will do.

Steps up and down about where the MV usually stands, each held for as long as the optimizer looks ahead. What is chosen
is the smallest step, and then the fewest, that tell the smallest gain worth knowing from zero by two standard errors:

    steps = (2 * wander / (size * gain))^2,    gain = spread of the CV / travel of the MV

where wander is the standard deviation of the difference between a CV's means over two holding periods, one after the
other, as recorded: what the plant does by itself, disturbances and noise together. A gain below that would move the CV
by less than one standard deviation over the whole travel of the MV.

Shapes: T rows, H rows of a holding period.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.excitation import Excitation, response_audit
from procmodel.data.split import Parts
from procmodel.plant import Plant
from procmodel.plant.words import many

SIZES = (0.01, 0.02, 0.05, 0.1)
"""Steps that are tried, as shares of the MV's travel [-]."""
MOST_STEPS = 16
SHOWN = 5.0
"""Granger's F of an MV on a CV from which the record is said to show an answer."""
LEAST_OWN = 0.02
"""Below this share of moves of its own an MV was never moved but by what it answers [-]."""


@dataclass(frozen=True, kw_only=True)
class PlantTest:
    """Steps of one MV.

    Attributes:
        mv, unit: What is moved.
        cvs: What it is to tell about: CVs whose answer the record does not show.
        low, high: The two levels [unit].
        hold: Time at each level [s]; steps: number of them, up and down in turn.
        enough: Whether so many steps tell the smallest gain worth knowing from zero, for all of these CVs.
    """

    mv: str
    unit: str
    cvs: tuple[str, ...]
    low: float
    high: float
    hold: float
    steps: int
    enough: bool

    @property
    def duration(self) -> float:
        """Of the whole test [s]."""
        return self.hold * (self.steps + 1)

    def __str__(self) -> str:
        doubt = "" if self.enough else "; even so, a small gain may stay hidden"
        return (
            f"{self.mv}: {many(self.steps, 'step')} between {self.low:.4g} and {self.high:.4g} {self.unit}, each held "
            f"{_time(self.hold)}, {_time(self.duration)} in all, to see what it does to {', '.join(self.cvs)}{doubt}"
        )


def propose_tests(
    dataset: Dataset,
    plant: Plant,
    parts: Parts,
    audit: dict[str, Excitation],
    hold_rows: int,
    *,
    asked: bool = False,
) -> dict[str, PlantTest]:
    """By MV, a test where the record does not show what it does to some CV, or it never moved for reasons of its own.

    Args:
        audit: Of the same rows.
        hold_rows: H, long enough for most of an answer.
        asked: Whether every MV gets a test on all CVs, whatever the record shows.

    Raises:
        DatasetError: Too few training rows without a gap.
    """
    shown = response_audit(dataset, plant, parts)
    found = {}
    for mv in plant.mvs:
        driven = audit[mv].own < LEAST_OWN
        cvs = tuple(cv for cv in plant.cvs if asked or driven or not shown[mv, cv].f > SHOWN)
        if cvs:
            found[mv] = _test(dataset, plant, parts, mv, cvs, hold_rows)
    return found


def _test(dataset: Dataset, plant: Plant, parts: Parts, mv: str, cvs: tuple[str, ...], hold_rows: int) -> PlantTest:
    values_T = _training(dataset, parts, mv)
    low, high = _room(plant, mv, values_T)
    needed = {size: max(_steps(dataset, parts, cv, size, hold_rows) for cv in cvs) for size in SIZES}
    size = next((s for s in SIZES if needed[s] <= MOST_STEPS), SIZES[-1])
    half = 0.5 * size * (high - low)
    usual = float(np.nanmedian(values_T)) if np.isfinite(values_T).any() else 0.5 * (low + high)
    centre = min(max(usual, low + half), high - half)
    return PlantTest(
        mv=mv,
        unit=plant.tags[mv].unit,
        cvs=cvs,
        low=centre - half,
        high=centre + half,
        hold=hold_rows * dataset.step,
        steps=int(min(max(needed[size], 2), MOST_STEPS)),
        enough=needed[size] <= MOST_STEPS,
    )


def _training(dataset: Dataset, parts: Parts, name: str) -> np.ndarray:
    column = dataset.columns.index(name)
    return np.concatenate([dataset.values[s.start : s.stop, column] for s in parts.train])


def _room(plant: Plant, mv: str, values_T: np.ndarray) -> tuple[float, float]:
    """Hard limits, else the range, else what was recorded."""
    tag = plant.tags[mv]
    low, high = tag.range or (float(np.nanmin(values_T)), float(np.nanmax(values_T)))
    return (tag.limits.low.at if tag.limits.low else low), (tag.limits.high.at if tag.limits.high else high)


def _steps(dataset: Dataset, parts: Parts, cv: str, size: float, hold_rows: int) -> float:
    """Steps of that share of the travel that tell the smallest gain worth knowing; infinite where nothing is known."""
    spread = float(np.nanstd(_training(dataset, parts, cv)))
    if not spread > 0.0:
        return math.inf
    return math.ceil((2.0 * wander(dataset, parts.train, cv, hold_rows) / (size * spread)) ** 2)


def wander(dataset: Dataset, stretches: Sequence[Stretch], cv: str, hold_rows: int) -> float:
    """Standard deviation of the difference between a CV's means over two holding periods, one after the other [unit];
    infinite where no two lie in one stretch."""
    column, differences = dataset.columns.index(cv), [np.empty(0)]
    for s in stretches:
        values_T = dataset.values[s.start : s.stop, column]
        known = np.isfinite(values_T)
        sums, counts = (np.concatenate([[0.0], np.cumsum(x)]) for x in (np.where(known, values_T, 0.0), known))
        at = np.arange(0, len(values_T) - 2 * hold_rows + 1, max(1, hold_rows // 4))
        first, then = (
            (sums[begin + hold_rows] - sums[begin]) / np.maximum(counts[begin + hold_rows] - counts[begin], 1)
            for begin in (at, at + hold_rows)
        )
        seen = (counts[at + hold_rows] > counts[at]) & (counts[at + 2 * hold_rows] > counts[at + hold_rows])
        differences.append((then - first)[seen])
    all_N = np.concatenate(differences)
    return float(np.sqrt(np.mean(all_N**2))) if len(all_N) else math.inf


def _time(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
