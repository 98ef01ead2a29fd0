"""Horizon: how far the optimizer looks, and the few changes that stand for all moves on the way.

Shapes: N rows of the horizon, M blocks, U MVs. Engineering units.

Each MV gets one change per block. A change is a step where one advice can make it; where `max_move` would not let one
advice cross the MV's travel, the change of a longer block is a staircase of equal moves, one per advice, so that no
planned move is larger than an advice may be and late blocks still reach as far as the plant allows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from procmodel.errors import PlantFileError
from procmodel.plant import Plant, Tag

DEFAULT_STEPS = 60
# An MV without a limit is kept within this many spreads of its recorded centre: beyond, the model has seen nothing.
UNLIMITED_SPREADS = 4.0


def span(tag: Tag, spread: float) -> float:
    """Size of a tag that makes a deviation comparable with those of other tags [unit].

    The instrument range where it is given, else the distance of the limits where both are, else the recorded spread.
    """
    if tag.range is not None:
        return tag.range[1] - tag.range[0]
    if tag.limits.low is not None and tag.limits.high is not None:
        return tag.limits.high.at - tag.limits.low.at
    return spread


def block_lengths(intervals: int, blocks: int) -> tuple[int, ...]:
    """Control intervals per block: they start at one, never shrink, and add up to `intervals`.

    Lengths follow a geometric series `q^i` rounded down, with the remainder in the last block, where the moves settle.
    """
    blocks = min(blocks, intervals)
    low, high = 1.0, float(intervals)
    for _ in range(60):  # bisection: the sum rises with q
        q = 0.5 * (low + high)
        low, high = (low, q) if sum(q**i for i in range(blocks)) > intervals else (q, high)
    lengths = [max(1, math.floor(low**i + 1e-9)) for i in range(blocks)]
    lengths[-1] += intervals - sum(lengths)
    return tuple(lengths)


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Hard bounds of the moves from where the MVs stand now.

    Attributes:
        start_U: Measured MV values.
        down_MU, up_MU: Smallest (not above zero) and largest change of each block.
        low_NU, high_NU: Smallest and largest value in each row.
    """

    start_U: np.ndarray
    down_MU: np.ndarray
    up_MU: np.ndarray
    low_NU: np.ndarray
    high_NU: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Horizon:
    """Rows, blocks and hard bounds of the moves.

    Attributes:
        steps: N, rows of the horizon.
        interval: Rows from one advice to the next.
        ends: Row after the last one of each block, [M].
        share_NMU: Part of a block's change that is made by row n [-].
        moves_MU: Advices over which a block spreads its change.
        low_U, high_U: Hard limits of the MVs.
        up_U, down_U: Largest change per advice; infinite where none is given.
    """

    steps: int
    interval: int
    ends: tuple[int, ...]
    share_NMU: np.ndarray
    moves_MU: np.ndarray
    low_U: np.ndarray
    high_U: np.ndarray
    up_U: np.ndarray
    down_U: np.ndarray

    @classmethod
    def of(cls, plant: Plant, centre_U: np.ndarray, spread_U: np.ndarray) -> Self:
        """The horizon of a plant file; centre and spread of the MVs bound those without limits."""
        interval = _rows(plant.advice.every or plant.sample_time, plant.sample_time, "every")
        steps = max(DEFAULT_STEPS, interval)
        if plant.advice.horizon is not None:
            steps = _rows(plant.advice.horizon, plant.sample_time, "horizon")
        if steps < interval:
            raise PlantFileError(
                f"advice: horizon is {steps} rows, shorter than the {interval} rows between two advices (every). "
                "Lengthen horizon in the plant file."
            )
        lengths = block_lengths(math.ceil(steps / interval), plant.advice.blocks)
        tags = [plant.tags[name] for name in plant.mvs]
        low_U, high_U = _limits(tags, centre_U, spread_U)
        up_U = np.array([tag.max_move.up if tag.max_move else math.inf for tag in tags])
        down_U = np.array([tag.max_move.down if tag.max_move else math.inf for tag in tags])
        crossing_U = np.ceil(np.maximum((high_U - low_U) / np.minimum(up_U, down_U), 1.0)).astype(int)
        moves_MU = np.minimum(np.array(lengths)[:, None], crossing_U[None, :])
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        tick_N = np.arange(steps) // interval
        made_NMU = tick_N[:, None, None] - starts[None, :, None] + 1.0
        return cls(
            steps=steps,
            interval=interval,
            ends=tuple(min(int(end) * interval, steps) for end in np.cumsum(lengths)),
            share_NMU=np.clip(made_NMU / moves_MU, 0.0, 1.0),
            moves_MU=moves_MU,
            low_U=low_U,
            high_U=high_U,
            up_U=up_U,
            down_U=down_U,
        )

    @property
    def blocks(self) -> int:
        """M."""
        return len(self.ends)

    @property
    def ticks(self) -> np.ndarray:
        """Rows at which an advice may change the MVs."""
        return np.arange(0, self.steps, self.interval)

    @property
    def block_of_row(self) -> np.ndarray:
        """Block in which each row lies, [N]."""
        return np.searchsorted(np.array(self.ends), np.arange(self.steps), side="right")

    def bounds(self, start_U: np.ndarray, frozen_U: np.ndarray) -> Bounds:
        """What the MVs may do from their measured values; a frozen MV stays where it is.

        An MV measured outside its limits may not get back at once: the limit then closes in as fast as `max_move` lets
        it, and never pushes further out.
        """
        outside_U = np.maximum(np.maximum(self.low_U - start_U, start_U - self.high_U), 0.0)
        reach_U = self.high_U - self.low_U + outside_U  # stands in for an infinite max_move
        up_MU = np.where(frozen_U, 0.0, np.minimum(self.moves_MU * self.up_U, reach_U))
        down_MU = np.where(frozen_U, 0.0, np.minimum(self.moves_MU * self.down_U, reach_U))
        return Bounds(
            start_U=start_U,
            down_MU=-down_MU,
            up_MU=up_MU,
            low_NU=np.minimum(self.low_U, start_U + np.einsum("nmu,mu->nu", self.share_NMU, up_MU)),
            high_NU=np.maximum(self.high_U, start_U - np.einsum("nmu,mu->nu", self.share_NMU, down_MU)),
        )

    def rows(self, bounds: Bounds, changes_MU: np.ndarray) -> np.ndarray:
        """MV values of every row, [N, U], from the blocks' changes."""
        moves_NU = bounds.start_U + np.einsum("nmu,mu->nu", self.share_NMU, changes_MU)
        return np.asarray(np.clip(moves_NU, bounds.low_NU, bounds.high_NU))  # takes off rounding, no more

    def changes(self, bounds: Bounds, moves_NU: np.ndarray) -> np.ndarray:
        """The blocks' changes, [M, U], that come closest to given rows within the bounds, block after block."""
        level_U = bounds.start_U
        changes = []
        for block, end in enumerate(self.ends):
            # `np.clip` without its overhead, which is most of what this takes.
            wanted_U = np.minimum(np.maximum(moves_NU[end - 1], bounds.low_NU[end - 1]), bounds.high_NU[end - 1])
            change_U = np.minimum(np.maximum(wanted_U - level_U, bounds.down_MU[block]), bounds.up_MU[block])
            changes.append(change_U)
            level_U = level_U + change_U
        return np.array(changes)

    def shifted(self, moves_NU: np.ndarray) -> np.ndarray:
        """A plan one advice later, [N, U]: the tail holds the last move."""
        rows = np.minimum(np.arange(self.steps) + self.interval, self.steps - 1)
        return np.asarray(moves_NU[rows])


def _rows(seconds: float, sample_time: float, what: str) -> int:
    """A time as a whole number of grid rows."""
    rows = round(seconds / sample_time)
    if rows < 1 or abs(rows * sample_time - seconds) > 1e-6 * sample_time:
        raise PlantFileError(
            f"advice: {what} is {seconds:g} s, which is not a whole number of sample times ({sample_time:g} s). "
            f"Set it to a multiple of {sample_time:g} s in the plant file."
        )
    return rows


def _limits(tags: list[Tag], centre_U: np.ndarray, spread_U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hard limits [U] each; the recorded range stands in where the plant file names none."""
    low_U = np.array([tag.limits.low.at if tag.limits.low else -math.inf for tag in tags])
    high_U = np.array([tag.limits.high.at if tag.limits.high else math.inf for tag in tags])
    reach_U = UNLIMITED_SPREADS * spread_U
    # A single given limit may lie outside the recorded range; the other side then starts from it.
    low_U = np.where(np.isfinite(low_U), low_U, np.minimum(centre_U, high_U) - reach_U)
    high_U = np.where(np.isfinite(high_U), high_U, np.maximum(centre_U, low_U) + reach_U)
    return low_U, high_U
