"""The people and loops that run the reference plants. Nothing here knows a plant's equations.

Shapes: C tags, U MVs, Y CVs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from procmodel.simulation.signals import stream


@dataclass
class _Loop:
    """One PI loop in velocity form: it winds up nowhere and takes over from manual without a bump."""

    gain: float  # [V/cm]
    reset_rows: float  # integral time [rows]
    error: float | None = None  # of the row before [cm]
    manual: int = 0  # rows left in manual
    value: float = 0.0  # output before rounding [V]

    def move(self, measured: float, setpoint: float, output: float) -> float:
        error = setpoint - measured
        before = error if self.error is None else self.error
        if self.error is None or abs(output - self.value) > 0.001:  # somebody else moved the pump
            self.value = output
        self.error = error
        self.value = min(max(self.value + self.gain * (error - before + error / self.reset_rows), 0.0), 6.0)
        return self.value


class LevelLoops:
    """Two level loops of the quadruple tank (h1 by pump 1, h2 by pump 2), now and then in manual.

    Tuning of Johansson (2000): 3.0 and 2.7 [V/V] with 30 s and 40 s, on sensors of 0.5 V/cm. About 3 % of the time the
    operator has one loop in manual for half an hour and steps its pump every few minutes.
    """

    MANUAL_ROWS = 360  # half an hour of 5 s rows
    MANUAL_EVERY = 24000  # rows between two starts per loop, on average: 2 loops * 360 / 24000 = 3 %

    def __init__(self, seed: int) -> None:
        self._rng = stream(seed, "operator", "tank")
        self._loops = (_Loop(gain=1.5, reset_rows=30.0 / 5.0), _Loop(gain=1.35, reset_rows=40.0 / 5.0))
        self._until = [self._next_manual(), self._next_manual()]

    def act(self, row_C: np.ndarray, setpoints_Y: np.ndarray) -> np.ndarray:
        """Pump voltages [V], to the millivolt that the output card resolves."""
        moves = []
        for i, loop in enumerate(self._loops):
            output, measured, setpoint = float(row_C[i]), float(row_C[2 + i]), float(setpoints_Y[i])
            self._until[i] -= 1
            if self._until[i] <= 0 and loop.manual == 0:
                loop.manual, self._until[i] = self.MANUAL_ROWS, self._next_manual()
            if loop.manual > 0:
                moves.append(self._by_hand(loop, output, measured, setpoint))
            else:
                moves.append(loop.move(measured, setpoint, output))
        return np.round(moves, 3)

    def _next_manual(self) -> int:
        return self.MANUAL_ROWS + int(self._rng.exponential(self.MANUAL_EVERY - self.MANUAL_ROWS))

    def _by_hand(self, loop: _Loop, output: float, measured: float, setpoint: float) -> float:
        """Now and then a step; towards the setpoint once the level is 2 cm off, anywhere before."""
        loop.manual -= 1
        loop.error = None  # back in automatic it starts from what it finds
        if self._rng.uniform() > 1.0 / 36.0:  # a step every 3 min on average
            return output
        size = self._rng.uniform(0.1, 0.4)
        off = setpoint - measured
        sign = np.sign(off) if abs(off) > 2.0 else self._rng.choice([-1.0, 1.0])
        return float(np.clip(output + sign * size, 1.2, 4.8))


class ShiftOperators:
    """Three shifts a day on the evaporator, each with its habits; they move in steps, look rarely and stay cautious.

    Each shift draws how far above 25 % it keeps the product, and a pressure and a cooling-water flow that it likes. It
    looks every 20 to 90 min at a ten-minute average, corrects about half of what is off by rough gains, and makes moves
    of its own besides (rate trials, a favoured flow, a round number). Low product or a pressure near its limits is
    answered within 5 to 15 min.
    """

    SHIFT = 480  # rows of one minute
    LARGEST = np.array([8.0, 15.0])  # moves [kPa], [kg/min]

    def __init__(self, seed: int) -> None:
        self._rng = stream(seed, "operator", "evaporator")
        self._seen: list[np.ndarray] = []
        self._left = int(self._rng.uniform(0.1, 1.0) * self.SHIFT)
        self._alarm = 0
        self._pending: list[tuple[int, np.ndarray]] = []
        self._take_over()

    def _take_over(self) -> None:
        rng = self._rng
        self._composition = rng.uniform(26.5, 28.0)  # kept in the product [%]
        self._pressure = rng.uniform(49.0, 58.0)  # liked [kPa]
        self._trust = rng.uniform(0.4, 0.8)  # share of an error that is corrected at once [-]
        self._restless = rng.uniform(0.4, 0.9)  # how often a look ends in a move of its own [-]
        self._next_look = int(rng.uniform(5, 40))

    def act(self, row_C: np.ndarray, setpoints_Y: np.ndarray) -> np.ndarray:
        """Steam pressure [kPa] and cooling water [kg/min], in the steps of the console."""
        self._seen = [*self._seen[-9:], np.asarray(row_C, dtype=float)]
        self._left -= 1
        if self._left <= 0:
            self._left = self.SHIFT
            self._take_over()
        average = np.mean(self._seen, axis=0)
        self._watch(average)
        self._next_look -= 1
        if self._next_look <= 0:
            self._look(average)
            self._next_look = int(self._rng.uniform(20, 90))
        moves = np.array([float(row_C[0]), float(row_C[1])])
        due = [move for rows, move in self._pending if rows <= 0]
        self._pending = [(rows - 1, move) for rows, move in self._pending if rows > 0]
        if due:
            moves += np.clip(np.sum(due, axis=0), -self.LARGEST, self.LARGEST)
            moves = np.clip(moves, [130.0, 100.0], [320.0, 380.0])
        return np.asarray(moves)

    def _plan(self, delay: int, steam: float, water: float) -> None:
        self._pending.append((delay, np.array([round(steam), round(water)], dtype=float)))

    def _look(self, average: np.ndarray) -> None:
        """Correct what is off, by rules of thumb: 8 kPa of steam per 1 % of product, 4 kg/min of water per 1 kPa."""
        rng = self._rng
        too_dilute, too_high = self._composition - average[2], average[3] - self._pressure
        steam = self._trust * 8.0 * too_dilute if abs(too_dilute) > 0.4 else 0.0
        water = self._trust * 4.0 * too_high if abs(too_high) > 1.5 else 0.0
        self._plan(int(rng.uniform(0, 3)), steam, water)
        if rng.uniform() < self._restless:  # for a reason of their own
            self._plan(
                int(rng.uniform(3, 15)), rng.choice([-1, 1]) * rng.uniform(3, 8) if rng.uniform() < 0.6 else 0.0, 0.0
            )
        if rng.uniform() < self._restless:
            self._plan(
                int(rng.uniform(3, 15)), 0.0, rng.choice([-1, 1]) * rng.uniform(6, 15) if rng.uniform() < 0.7 else 0.0
            )

    def _watch(self, average: np.ndarray) -> None:
        """Answer an alarm after the time it takes to notice and to walk over."""
        self._alarm = max(0, self._alarm - 1)
        if self._alarm:
            return
        delay = int(self._rng.uniform(5, 15))
        if average[2] < 25.6:
            self._plan(delay, self._rng.uniform(5, 8), 0.0)
        elif average[2] > 30.0:
            self._plan(delay, -self._rng.uniform(5, 8), 0.0)
        elif average[3] < 43.0:
            self._plan(delay, 0.0, -self._rng.uniform(8, 15))
        elif average[3] > 68.0:
            self._plan(delay, 0.0, self._rng.uniform(8, 15))
        else:
            return
        self._alarm = delay + 12  # wait for the answer before the next move
