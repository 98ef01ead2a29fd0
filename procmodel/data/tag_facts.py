"""What a record tells of each of its tags: how often it was sampled, where it ran, whether it holds or runs freely."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from procmodel.data.samples import Historian, Quality, Query, TagInfo

_MOST_STATES = 12
_FAR = 5.0  # spans of the usual values beyond which a value is none of the process, such as 9999
_HORIZONS = (1, 3, 10, 30)  # rows after a move in which an answer is looked for
_FEWEST_MOVES = 12


@dataclass(frozen=True, kw_only=True)
class TagFacts:
    """One tag as its record shows it.

    Attributes:
        samples, bad: How many, and how many of them are no good or uncertain number.
        low, high: Of the numbers, without those that are far outside all others [unit of the record].
        far: How many numbers those are.
        usual_low, usual_high: Between which 99 % of the numbers lie.
        interval: Median time between samples [s]; None for less than three.
        held: Whether it keeps its value from sample to sample, as a setpoint or a state does.
        states: The few whole numbers that it takes, where it takes no others.
        move: Size of a usual change, where it is held [unit of the record].
    """

    info: TagInfo
    samples: int
    bad: int
    low: float | None = None
    high: float | None = None
    far: int = 0
    usual_low: float | None = None
    usual_high: float | None = None
    interval: float | None = None
    held: bool = False
    states: tuple[int, ...] = ()
    move: float | None = None
    time_N: np.ndarray
    value_N: np.ndarray

    @property
    def name(self) -> str:
        return self.info.name


def tag_facts(
    historian: Historian, infos: Mapping[str, TagInfo], only: tuple[str, ...] | None = None
) -> list[TagFacts]:
    """Facts of the tags, in their order.

    Args:
        only: Tags to be read; None: all of `infos`.

    Raises:
        HistorianError: the record cannot be read.
    """
    held: dict[str, list[pa.RecordBatch]] = {}
    for batch in historian.read(Query(tags=only or tuple(infos))):
        name = batch.column("tag").dictionary[batch.column("tag").indices[0].as_py()].as_py()
        held.setdefault(name, []).append(batch)
    return [_facts(info, held.get(name, [])) for name, info in infos.items() if only is None or name in only]


def _facts(info: TagInfo, batches: list[pa.RecordBatch]) -> TagFacts:
    time = np.concatenate([np.zeros(0, np.int64), *(b.column("time").cast(pa.int64()).to_numpy() for b in batches)])
    value = np.concatenate([np.zeros(0), *(b.column("value").to_numpy(zero_copy_only=False) for b in batches)])
    quality = np.concatenate([np.zeros(0, np.int8), *(b.column("quality").to_numpy() for b in batches)])
    good = np.isfinite(value) & (quality != int(Quality.BAD))
    counts: dict[str, Any] = {"samples": len(time), "bad": int((~good).sum())}
    time, value = time[good], value[good]
    if not len(value):
        return TagFacts(info=info, **counts, time_N=time, value_N=value)
    near = _near(value)
    time, far, value = time[near], int((~near).sum()), value[near]
    usual_low, usual_high = np.quantile(value, [0.005, 0.995])
    different = np.unique(value)
    changes = np.diff(value)
    moves = np.abs(changes[changes != 0])
    whole = bool(len(different) <= _MOST_STATES and (different == np.round(different)).all())
    # A held value comes again and again, where a free one comes once: half of the changes are none, or few levels.
    is_held = len(value) > 3 and (len(moves) < 0.3 * len(changes) or len(different) < 0.05 * len(value))
    return TagFacts(
        info=info,
        **counts,
        low=float(value.min()),
        high=float(value.max()),
        far=far,
        usual_low=float(usual_low),
        usual_high=float(usual_high),
        interval=float(np.median(np.diff(time))) / 1e6 if len(time) > 2 else None,
        held=bool(is_held),
        states=tuple(int(state) for state in different) if whole and is_held else (),
        move=float(np.quantile(moves, 0.9)) if len(moves) else None,
        time_N=time,
        value_N=value,
    )


def _near(value: np.ndarray) -> np.ndarray:
    """Which values lie where the others do; a few of 9999 or -1e30 are no process values."""
    low, high = np.quantile(value, [0.02, 0.98])
    span = max(high - low, 1e-9 * max(abs(low), abs(high)), 1e-12)
    near = (value >= low - _FAR * span) & (value <= high + _FAR * span)
    # Only what repeats to the digit is a mark of the instrument; a single excursion may be the process.
    marks = np.unique(value[~near])
    return near if 0 < len(marks) <= 3 and high > low else np.ones(len(value), dtype=bool)


def answers(moved: TagFacts, tag: TagFacts, step: float) -> float:
    """How strongly `tag` changes after `moved` was moved: the largest correlation over some horizons.

    0 where none is sure. Feedback answers too, so this is a hint for a person and no finding.

    Args:
        step: Of the grid [s].
    """
    if not len(moved.time_N) or len(tag.time_N) < 2:
        return 0.0
    start = max(moved.time_N[0], tag.time_N[0])
    stop = min(moved.time_N[-1], tag.time_N[-1])
    grid = np.arange(start, stop, max(int(step * 1e6), 1))
    if len(grid) < 4 * max(_HORIZONS):
        return 0.0
    u = moved.value_N[np.searchsorted(moved.time_N, grid, side="right") - 1]
    y = tag.value_N[np.searchsorted(tag.time_N, grid, side="right") - 1]
    du = np.diff(u)
    at = np.flatnonzero(du != 0)
    found = 0.0
    for ahead in _HORIZONS:
        rows = at[(at + 1 + ahead < len(grid)) & (at >= ahead)]
        if len(rows) < _FEWEST_MOVES:
            continue
        # Less what it was doing before the move, so that a drift is no answer.
        after = (y[rows + 1 + ahead] - y[rows + 1]) - (y[rows + 1] - y[rows + 1 - ahead])
        if after.std() == 0 or du[rows].std() == 0:
            continue
        r = float(abs(np.corrcoef(du[rows], after)[0, 1]))
        if r * np.sqrt(len(rows)) > 4.0:  # four standard deviations of the correlation of unrelated numbers
            found = max(found, r)
    return found
