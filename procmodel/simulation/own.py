"""Your own simulator as a plant: give it `step`, and everything that runs on the reference plants runs on it.

It is operated, recorded, learned from and controlled like them. Only what needs equations is closed to it: steady
states, true gains and the oracle.

Shapes: T rows, C tags, U MVs, V DVs, Y CVs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from procmodel.errors import InputError
from procmodel.plant import Plant, load_plant
from procmodel.simulation.crew import Crew, Drive
from procmodel.simulation.reference import Disturbances, Operator, ReferencePlant, span

SHIFT = 480
LARGEST_MOVE = 0.15
"""Of a hand that tries things out, as a share of the MV's limits."""
NOISE = 0.001
"""Of a sensor that nobody described, as a share of the tag's span."""


class Process(Protocol):
    """A simulator from where it stands; it keeps its own state."""

    def step(self, u: Sequence[float], d: Sequence[float]) -> Sequence[float]:
        """CVs [Y] averaged over the next row of the plant file's sample time, under held MVs [U] and DVs [V].

        All in the units and the order of the plant file.
        """
        ...


def own_plant(
    file: Path | str,
    make: Callable[[], Process],
    *,
    u0: Sequence[float],
    d0: Sequence[float] = (),
    noise: Sequence[float] | None = None,
    operator: Callable[[int], Operator] | None = None,
    disturbances: Callable[[int, int], np.ndarray] | None = None,
    setpoints: Callable[[int, int], np.ndarray] | None = None,
    hourly_cost: Callable[[Any, Any], Any] | None = None,
) -> ReferencePlant:
    """A plant out of a simulator.

    Args:
        file: Its plant file.
        make: Makes the simulator at rest under `u0` and `d0`, anew for every run.
        noise: Standard deviation of each sensor's noise [unit], [C] in the order of the plant file; None: 0.1 % of each
            CV's and DV's span.
        operator: By seed; None: a hand that moves each MV anywhere within its limits, every half hour of rows. Nothing
            is left to such a hand in a trial: where there is no advice MVs stay as they are.
        disturbances: DVs by rows and seed, [T, V]; None: they stay at `d0`.
        setpoints: By rows and seed, [T, Y], NaN where there is none; None: those of the plant file.
        hourly_cost: True cost [currency/h] of CVs and MVs; None: setpoints are tracked.

    Raises:
        InputError: The simulator and the plant file do not fit each other.
    """
    text = Path(file).read_text(encoding="utf-8")
    plant = load_plant(file)
    if len(u0) != len(plant.mvs) or len(d0) != len(plant.dvs):
        raise InputError(
            f"Plant {plant.name!r} has {len(plant.mvs)} MVs and {len(plant.dvs)} DVs, but u0 holds {len(u0)} values "
            f"and d0 {len(d0)}. Give one for each, in the order of the plant file."
        )
    targets = [math.nan if tag.setpoint is None else tag.setpoint for tag in (plant.tags[n] for n in plant.cvs)]

    def equations(x: Any, u: Any, d: Any, w: Any, *, sqrt: Callable[[Any], Any] = math.sqrt) -> list[Any]:
        raise InputError(
            f"Plant {plant.name!r} is a simulator without equations: it has no oracle, steady state or true gain."
        )

    def outputs(x: Any, u: Any, d: Any, w: Any, *, sqrt: Callable[[Any], Any] = math.sqrt) -> list[Any]:
        return list(x)

    def still(rows: int, seed: int) -> np.ndarray:
        return np.tile(np.asarray(d0, dtype=float), (rows, 1))

    measured = disturbances or still
    first = _Row(plant, make())(list(u0), list(u0), list(d0), [])[0]
    return ReferencePlant(
        name=plant.name,
        plant=plant,
        citation="a simulator of one's own",
        states=tuple(f"{name} [{plant.tags[name].unit}]" for name in plant.cvs),
        unmeasured=(),
        x0=np.array(first),
        u0=np.array(u0, dtype=float),
        d0=np.array(d0, dtype=float),
        w0=np.zeros(0),
        equations=equations,
        outputs=outputs,
        margins={},
        noise=_noise(plant) if noise is None else np.array(noise, dtype=float),
        lab_error={},
        substeps=1,
        row=lambda: _Row(plant, make()),
        operator=operator or (lambda seed: _hands(plant, seed)),
        attended=operator is not None,
        disturbances=lambda rows, seed: Disturbances(d=measured(rows, seed), w=np.zeros((rows, 0))),
        setpoints=setpoints or (lambda rows, seed: np.tile(targets, (rows, 1))),
        hourly_cost=hourly_cost,
        text=text,
    )


class _Row:
    """One run of the simulator; what the rest of the house takes for its state are the CVs of the last row."""

    def __init__(self, plant: Plant, process: Process) -> None:
        self._plant, self._process = plant, process

    def __call__(
        self, x: Sequence[float], u: Sequence[float], d: Sequence[float], w: Sequence[float]
    ) -> tuple[list[float], list[float]]:
        y = [float(value) for value in self._process.step(list(u), list(d))]
        if len(y) != len(self._plant.cvs) or not all(map(math.isfinite, y)):
            raise InputError(
                f"{type(self._process).__name__}.step gave {y} under u={list(u)}, d={list(d)}; it needs one finite "
                f"number for each of {', '.join(self._plant.cvs)}."
            )
        return y, y


def _noise(plant: Plant) -> np.ndarray:
    return np.array([0.0 if name in plant.mvs else NOISE * span(plant, name) for name in plant.columns])


def _hands(plant: Plant, seed: int) -> Crew:
    """A hand on each MV that goes anywhere: what a record needs to be learned from, and no regard for the CVs."""
    drives = []
    for i, name in enumerate(plant.mvs):
        limits = plant.tags[name].limits
        if limits.low is None or limits.high is None:
            raise InputError(
                f"MV {name!r} has no limits on both sides for a hand to stay within. Add them, or an operator."
            )
        size = LARGEST_MOVE * (limits.high.at - limits.low.at)
        drives.append(
            Drive(
                mv=plant.columns.index(name), cv=plant.columns.index(plant.cvs[0]), asked=0, liked=(0.0, 0.0), gain=1.0,
                reset_rows=1.0, low=limits.low.at, high=limits.high.at, by_hand=1.0, look=25.0 + 5.0 * i, size=size,
                band=math.inf, digits=max(0, 3 - math.floor(math.log10(size))),
            )
        )  # fmt: skip
    return Crew(seed, plant.name, drives, SHIFT)
