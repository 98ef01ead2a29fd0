"""A reference plant that runs: one tick is one grid row.

Shapes: C tags (plant column order), U MVs, V DVs, W unmeasured disturbances, Y CVs, X states, G constraint heads.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from procmodel.errors import ProcmodelError
from procmodel.simulation.reference import ReferencePlant
from procmodel.simulation.signals import stream


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One row of the plant.

    Attributes:
        row: [C] what the instruments show: averages over the row, with noise.
        x: [X] true state at the end of the row.
        y: [Y] true CVs, averages over the row.
        margins: [G] true constraint margins at the end of the row, in the order of the reference plant.
        u: [U] MVs that were held, clipped to their limits.
    """

    row: np.ndarray
    x: np.ndarray
    y: np.ndarray
    margins: np.ndarray
    u: np.ndarray


class Simulator:
    """A reference plant from a given state on: by its own `row`, or by fixed Runge-Kutta steps of fourth order."""

    def __init__(
        self, reference: ReferencePlant, *, seed: int, noise: bool = True, x0: Any = None, u0: Any = None
    ) -> None:
        """Start at `x0` with `u0` held so far (None: the published ones); `seed` draws the sensors' noise."""
        plant = reference.plant
        self.reference = reference
        self._x: Sequence[float] = np.asarray(reference.x0 if x0 is None else x0, dtype=float).tolist()
        self._u: list[float] = np.asarray(reference.u0 if u0 is None else u0, dtype=float).tolist()
        self._row = partial(runge_kutta_row, reference) if reference.row is None else reference.row()
        self._noise = reference.noise if noise else None
        self._rng = stream(seed, "sensors", reference.name)
        limits = [plant.tags[name].limits for name in plant.mvs]
        self._low = [limit.low.at if limit.low else -np.inf for limit in limits]
        self._high = [limit.high.at if limit.high else np.inf for limit in limits]
        places = {name: i for i, name in enumerate([*plant.mvs, *plant.cvs, *plant.dvs])}
        self._order = [places[name] for name in plant.columns]

    @property
    def state(self) -> np.ndarray:
        """True state now, [X]."""
        return np.array(self._x)

    @property
    def held(self) -> np.ndarray:
        """MVs held last, [U]."""
        return np.array(self._u)

    def branch(self) -> Simulator:
        """The same plant with the same noise to come, to be moved otherwise from here on."""
        twin = copy.copy(self)
        twin._rng = copy.deepcopy(self._rng)
        if self.reference.row is not None:
            twin._row = self.reference.row()
        return twin

    def look(self, d: Any, w: Any) -> Reading:
        """What the instruments show now, under the MVs held so far; no time passes."""
        d, w = _floats(d), _floats(w)
        return self._reading(self.reference.outputs(self._x, self._u, d, w), d, w)

    def tick(self, u: Any, d: Any, w: Any) -> Reading:
        """Hold u, d and w for one row.

        Raises:
            ProcmodelError: The state is no longer finite.
        """
        d, w = _floats(d), _floats(w)
        self._u = [
            min(max(value, low), high) for value, low, high in zip(_floats(u), self._low, self._high, strict=True)
        ]
        self._x, y = self._row(self._x, self._u, d, w)
        if not all(abs(value) < 1e9 for value in self._x):
            raise ProcmodelError(
                f"Reference plant {self.reference.name!r} left its range: state {self._x} under u={self._u}, d={d}, "
                f"w={w}. Start from a state and inputs nearer to the published ones."
            )
        return self._reading(y, d, w)

    def _reading(self, y: Sequence[float], d: list[float], w: list[float]) -> Reading:
        values = [*self._u, *y, *d]
        row = np.array([values[i] for i in self._order])
        if self._noise is not None:
            row += self._noise * self._rng.standard_normal(len(row))
        margins = [margin(self._x, self._u, d, w) for margin in self.reference.margins.values()]
        return Reading(row=row, x=self.state, y=np.array(y), margins=np.array(margins), u=self.held)


def _floats(values: Any) -> list[float]:
    return [float(value) for value in values]


def runge_kutta_row(
    reference: ReferencePlant, x: Sequence[float], u: Sequence[float], d: Sequence[float], w: Sequence[float]
) -> tuple[list[float], list[float]]:
    """State at the end of a row and averages of the true CVs over it, by Runge-Kutta steps in plain floats."""
    # Simpson's rule over the sub-steps' ends where their number is even, else the trapezoid.
    substeps, simpson = reference.substeps, reference.substeps % 2 == 0
    step, state = reference.plant.sample_time / substeps, list(x)
    total = reference.outputs(state, u, d, w)
    for i in range(1, substeps + 1):
        state = runge_kutta(reference, state, u, d, w, step)
        weight = 1.0 if i == substeps else ((4.0 if i % 2 else 2.0) if simpson else 2.0)
        total = [a + weight * b for a, b in zip(total, reference.outputs(state, u, d, w), strict=True)]
    scale = 3.0 * substeps if simpson else 2.0 * substeps
    return state, [value / scale for value in total]


def runge_kutta(
    reference: ReferencePlant,
    x: Sequence[float],
    u: Sequence[float],
    d: Sequence[float],
    w: Sequence[float],
    step: float,
) -> list[float]:
    """State after one classical Runge-Kutta step of length `step` [s] under held inputs."""
    rates = reference.equations
    k1 = rates(x, u, d, w)
    k2 = rates([a + 0.5 * step * b for a, b in zip(x, k1, strict=True)], u, d, w)
    k3 = rates([a + 0.5 * step * b for a, b in zip(x, k2, strict=True)], u, d, w)
    k4 = rates([a + step * b for a, b in zip(x, k3, strict=True)], u, d, w)
    return [a + step / 6.0 * (b1 + 2.0 * (b2 + b3) + b4) for a, b1, b2, b3, b4 in zip(x, k1, k2, k3, k4, strict=True)]
