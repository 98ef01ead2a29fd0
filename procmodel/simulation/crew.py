"""Loops and hands on any plant: each MV is run by a PI loop, by hand, or by turns. Nothing here knows equations.

Shapes: C tags, U MVs, Y CVs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from procmodel.simulation.signals import stream


@dataclass(frozen=True, kw_only=True)
class Drive:
    """How one MV is run.

    Attributes:
        mv, cv: Places in a row of the plant of the MV and of what it is moved for.
        asked: Place of that CV among the setpoints.
        liked: Where the CV is kept while nothing is asked of it: a new value within these bounds in each shift.
        gain: Of the PI loop [unit of the MV per unit of the CV]; its sign is that of the loop.
        reset_rows: Integral time of the loop [rows].
        low, high: Where loop and hand stop [unit of the MV].
        by_hand: Share of time in manual; 1: there is no loop.
        spell: Length of a stretch in manual, on average [rows].
        look: Rows between two moves by hand, on average.
        size: Largest move by hand [unit of the MV].
        band: Error of the CV from which on a move by hand corrects it; below, it goes anywhere [unit of the CV].
        digits: That the console shows.
    """

    mv: int
    cv: int
    asked: int
    liked: tuple[float, float]
    gain: float
    reset_rows: float
    low: float
    high: float
    by_hand: float = 0.1
    spell: float = 90.0
    look: float = 15.0
    size: float
    band: float
    digits: int


SEEN = 5
"""Rows that a hand's look averages over."""


class Crew:
    """Runs all MVs by their drives; the same seed moves the same way."""

    def __init__(self, seed: int, plant: str, drives: Sequence[Drive], shift: int) -> None:
        """`shift` rows are a shift; `plant` names the random stream."""
        self._rng = stream(seed, "operator", plant)
        self._shift, self._left = shift, int(self._rng.uniform(0.1, 1.0) * shift)
        self._seats = [_Seat(drive, self._rng) for drive in drives]
        self._seen: list[np.ndarray] = []

    def act(self, row_C: np.ndarray, setpoints_Y: np.ndarray) -> np.ndarray:
        """MVs in the steps of the console."""
        self._seen = [*self._seen[1 - SEEN :], np.asarray(row_C, dtype=float)]
        self._left -= 1
        if self._left <= 0:
            self._left = self._shift
            for seat in self._seats:
                seat.take_over()
        average = np.mean(self._seen, axis=0)
        return np.array([seat.move(row_C, average, setpoints_Y) for seat in self._seats])


class _Seat:
    """One drive at work; its loop is in velocity form, which winds up nowhere and takes over without a bump."""

    def __init__(self, drive: Drive, rng: np.random.Generator) -> None:
        self._drive, self._rng = drive, rng
        self._manual = drive.by_hand >= 1.0
        self._until = self._next()
        self._error: float | None = None
        self._value = 0.0
        self.take_over()

    def take_over(self) -> None:
        """A new shift has its own liking."""
        self._liked = float(self._rng.uniform(*self._drive.liked))

    def move(self, row_C: np.ndarray, average_C: np.ndarray, setpoints_Y: np.ndarray) -> float:
        """Value of the MV for the next row."""
        drive = self._drive
        asked = float(setpoints_Y[drive.asked])
        target = asked if np.isfinite(asked) else self._liked
        self._until -= 1
        if self._until <= 0:
            self._manual = not self._manual or drive.by_hand >= 1.0
            self._until = self._next()
        output = float(row_C[drive.mv])
        if self._manual:
            self._error = None  # back in automatic it starts from what it finds
            return self._by_hand(output, target - float(average_C[drive.cv]))
        return round(self._by_loop(output, target - float(row_C[drive.cv])), drive.digits)

    def _next(self) -> int:
        drive = self._drive
        length = drive.spell if self._manual else drive.spell * (1.0 - drive.by_hand) / drive.by_hand
        return 1 + int(self._rng.exponential(length))

    def _by_loop(self, output: float, error: float) -> float:
        drive = self._drive
        before = error if self._error is None else self._error
        if self._error is None or abs(output - self._value) > 0.51 * 10.0**-drive.digits:  # somebody else moved it
            self._value = output
        self._error = error
        wanted = self._value + drive.gain * (error - before + error / drive.reset_rows)
        self._value = min(max(wanted, drive.low), drive.high)
        return self._value

    def _by_hand(self, output: float, error: float) -> float:
        drive, rng = self._drive, self._rng
        if rng.uniform() > 1.0 / drive.look:
            return output
        size = rng.uniform(0.3, 1.0) * drive.size
        sign = np.sign(drive.gain * error) if abs(error) > drive.band else rng.choice([-1.0, 1.0])
        return round(float(np.clip(output + sign * size, drive.low, drive.high)), drive.digits)
