"""PI loops on the reference plants, always in automatic: what a site without model predictive control would run.

Shapes: C tags, U MVs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from procmodel.evaluation.controllers import Decision, Episode, Observation
from procmodel.plant import Plant


@dataclass(frozen=True, kw_only=True)
class Loop:
    """One PI loop.

    Attributes:
        gain: [unit of the MV per unit of the CV]; its sign is that of the loop.
        reset: Integral time [rows].
        at: Setpoint where nothing is asked of the CV [unit].
    """

    mv: str
    cv: str
    gain: float
    reset: float
    at: float = math.nan


class PidControl:
    """All loops at once, in velocity form, from the MVs as they are found, within the MVs' limits and move sizes.

    What `max_move` allows an advice is spread over the rows between two of them.
    """

    name = "pid"
    every_row = True

    def __init__(self, plant: Plant, loops: tuple[Loop, ...]) -> None:
        self._plant, self._loops = plant, loops
        self._mv = [plant.mvs.index(loop.mv) for loop in loops]
        self._cv = [plant.cvs.index(loop.cv) for loop in loops]
        self._column = [plant.columns.index(loop.cv) for loop in loops]
        every = max(1, round((plant.advice.every or plant.sample_time) / plant.sample_time))
        moves = [plant.tags[name].max_move for name in plant.mvs]
        self._down = [-move.down / every if move else -math.inf for move in moves]
        self._up = [move.up / every if move else math.inf for move in moves]

    def reset(self, episode: Episode) -> None:
        self._errors: list[float] | None = None

    def act(self, observation: Observation) -> Decision:
        asked = [float(observation.setpoints[i]) for i in self._cv]
        errors = [
            (target if math.isfinite(target) else loop.at) - float(observation.rows[-1, column])
            for target, loop, column in zip(asked, self._loops, self._column, strict=True)
        ]
        before = self._errors or errors
        self._errors = errors
        u = np.array(observation.u_previous, dtype=float)
        for i, loop, error, last in zip(self._mv, self._loops, errors, before, strict=True):
            move = loop.gain * (error - last + error / loop.reset)
            u[i] += min(max(move, self._down[i]), self._up[i])
        for i, name in enumerate(self._plant.mvs):
            limits = self._plant.tags[name].limits
            low, high = (end.at if end else math.inf * side for end, side in ((limits.low, -1), (limits.high, 1)))
            u[i] = min(max(u[i], low), high)
        return Decision(u=u)


LOOPS: Mapping[str, tuple[Loop, ...]] = {
    "evaporator": (
        Loop(mv="PIC100.SP", cv="AI2.PV", gain=8, reset=12, at=26.0),
        Loop(mv="FIC200.SP", cv="PI2.PV", gain=-2, reset=37.5, at=50.0),
    ),
    "quadruple-tank": (
        Loop(mv="P101.SP", cv="LI101.PV", gain=0.75, reset=15),
        Loop(mv="P102.SP", cv="LI102.PV", gain=0.675, reset=20),
    ),
    "van-de-vusse": (
        Loop(mv="FC1.SP", cv="AI1.PV", gain=40, reset=12),
        Loop(mv="QC1.SP", cv="TI1.PV", gain=-250, reset=4.8),
    ),
    "distillation-column": (
        Loop(mv="FC1.SP", cv="AI1.PV", gain=0.08, reset=20),
        Loop(mv="FC2.SP", cv="AI2.PV", gain=-0.12, reset=20),
    ),
    "drum-boiler": (
        Loop(mv="FV1.SP", cv="PI1.PV", gain=0.02, reset=8),
        Loop(mv="SV1.SP", cv="JI1.PV", gain=0.006, reset=0.8),
    ),
    "gas-turbine": (
        Loop(mv="SC1.SP", cv="SI1.PV", gain=1.2, reset=6, at=100.8),
        Loop(mv="EH1.SP", cv="TI1.PV", gain=0.2, reset=8, at=502.0),
    ),
}
"""By plant; gains and resets had the least cost of a grid on seeds 301 to 304, which no figure is taken from."""
