"""Reference plants: published equations with the people who run them.

Shapes: T rows, C tags (plant column order), U MVs, V DVs, W unmeasured disturbances, Y CVs, X states.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Protocol

import numpy as np
from scipy.optimize import root

from procmodel.errors import InputError, ProcmodelError
from procmodel.plant import Plant, load_plant

REFERENCE_PLANTS: tuple[str, ...] = (
    "evaporator",
    "quadruple-tank",
    "van-de-vusse",
    "distillation-column",
    "drum-boiler",
    "gas-turbine",
)


class Equations(Protocol):
    """Right-hand sides or outputs over lists of floats, arrays, tensors or CasADi symbols.

    They use + - * / and the `sqrt` that they are given, nothing else, so any number that knows these will do.
    """

    def __call__(self, x: Any, u: Any, d: Any, w: Any, *, sqrt: Callable[[Any], Any] = math.sqrt) -> list[Any]: ...


class Row(Protocol):
    """One row of a plant: state [X] at its end, and the true CVs [Y] averaged over it, under held inputs."""

    def __call__(
        self, x: Sequence[float], u: Sequence[float], d: Sequence[float], w: Sequence[float]
    ) -> tuple[Sequence[float], Sequence[float]]: ...


class Margin(Protocol):
    """True margin of a constraint that no sensor measures; positive is safe."""

    def __call__(self, x: Any, u: Any, d: Any, w: Any, *, sqrt: Callable[[Any], Any] = math.sqrt) -> Any: ...


class Operator(Protocol):
    """Who moves the MVs; starts without a bump from the MV values in the first row that it is shown."""

    def act(self, row_C: np.ndarray, setpoints_Y: np.ndarray) -> np.ndarray:
        """MVs [U] to hold during the next row.

        Args:
            row_C: What the instruments showed in the row that just ended [unit of each tag].
            setpoints_Y: What is asked of each CV now [unit]; NaN where nothing is.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Disturbances:
    """What the surroundings do to the plant, held constant within each row.

    Attributes:
        d: [T, V] measured ones, in the order of the plant's DVs.
        w: [T, W] unmeasured ones.
    """

    d: np.ndarray
    w: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferencePlant:
    """A plant whose equations are known.

    Attributes:
        plant: What its engineer wrote down; the packaged plant file.
        citation: Where equations and parameters are published.
        states, unmeasured: Names with units.
        x0, u0, d0, w0: Published steady state: [X], [U], [V], [W].
        equations: dx/dt [unit/s], [X].
        outputs: True CVs [unit], [Y].
        margins: True margin by constraint head.
        noise: Standard deviation of each sensor's noise in a row's average [unit], [C]; 0 for MVs.
        lab_error: Standard deviation of the laboratory's error by constraint head [unit of the head].
        substeps: Runge-Kutta steps per row.
        row: Makes what computes the rows of one run in place of Runge-Kutta steps in plain floats; None: these.
        element_rows: Rows per collocation element of the oracle, for a plant whose fast parts would ask for too many
            Runge-Kutta steps; 0: it takes these.
        operator: Makes the operator of a seed.
        attended: Whether the plant can be left to that operator; otherwise it is a hand that makes a record.
        disturbances, setpoints: By rows and seed; `setpoints` is [T, Y], NaN where a CV has none.
        task: Setpoints of a closed-loop trial, as `setpoints`; None: those the operator is asked for.
        hourly_cost: True economic cost [currency/h] of CVs [Y] and MVs [U]; None where setpoints are tracked.
        text: The plant file; None: the packaged one of that name.
    """

    name: str
    plant: Plant
    citation: str
    states: tuple[str, ...]
    unmeasured: tuple[str, ...]
    x0: np.ndarray
    u0: np.ndarray
    d0: np.ndarray
    w0: np.ndarray
    equations: Equations
    outputs: Equations
    margins: Mapping[str, Margin]
    noise: np.ndarray
    lab_error: Mapping[str, float]
    substeps: int
    operator: Callable[[int], Operator]
    disturbances: Callable[[int, int], Disturbances]
    setpoints: Callable[[int, int], np.ndarray]
    attended: bool = True
    row: Callable[[], Row] | None = None
    element_rows: int = 0
    hourly_cost: Callable[[Any, Any], Any] | None = None
    task: Callable[[int, int], np.ndarray] | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        for array in (self.x0, self.u0, self.d0, self.w0, self.noise):
            array.setflags(write=False)

    def stage_cost(self, y: Any, u: Any, u_previous: Any, setpoints: Any) -> float:
        """True cost of one row: the economic one [currency/h], or tracking in equal concern [-].

        Tracking is `sum weight ((y - setpoint) / span)^2 + move_weight sum ((u - u_previous) / span)^2`, with the span
        of `procmodel.simulation.reference.span`.
        """
        if self.hourly_cost is not None:
            return float(self.hourly_cost(y, u))
        tags = self.plant.tags
        cost = 0.0
        for name, value, target in zip(self.plant.cvs, y, setpoints, strict=True):
            if math.isfinite(target):
                cost += tags[name].weight * ((value - target) / span(self.plant, name)) ** 2
        for name, now, before in zip(self.plant.mvs, u, u_previous, strict=True):
            cost += self.plant.advice.move_weight * ((now - before) / span(self.plant, name)) ** 2
        return float(cost)


def span(plant: Plant, name: str) -> float:
    """What counts as a full deflection of a tag [unit]: its range, else the distance of its limits."""
    tag = plant.tags[name]
    if tag.range is not None:
        return tag.range[1] - tag.range[0]
    if tag.limits.low is not None and tag.limits.high is not None:
        return tag.limits.high.at - tag.limits.low.at
    raise InputError(
        f"Tag {name!r} has neither a range nor two limits, so it has no span. Add `range` in its plant file."
    )


@cache
def reference_plant(name: str) -> ReferencePlant:
    """The reference plant of that name.

    Raises:
        InputError: There is none of that name.
    """
    from procmodel.simulation import (
        distillation_column,
        drum_boiler,
        evaporator,
        gas_turbine,
        quadruple_tank,
        van_de_vusse,
    )

    makers = {
        "evaporator": evaporator.make,
        "quadruple-tank": quadruple_tank.make,
        "van-de-vusse": van_de_vusse.make,
        "distillation-column": distillation_column.make,
        "drum-boiler": drum_boiler.make,
        "gas-turbine": gas_turbine.make,
    }
    if name not in makers:
        raise InputError(f"There is no reference plant {name!r}. Known: {', '.join(REFERENCE_PLANTS)}.")
    return makers[name]()


def packaged_file(name: str) -> str:
    """Text of a plant file that stands beside this module."""
    return resources.files("procmodel.simulation").joinpath(name).read_text(encoding="utf-8")


def packaged_plant(name: str) -> Plant:
    """The plant of a plant file that stands beside this module."""
    with resources.as_file(resources.files("procmodel.simulation").joinpath(name)) as path:
        return load_plant(path)


def steady_state(reference: ReferencePlant, u: Any = None, d: Any = None, w: Any = None) -> np.ndarray:
    """State [X] at which nothing changes under held inputs; None takes the published ones.

    Raises:
        ProcmodelError: None is found near the published one.
    """
    inputs = [
        np.asarray(given if given is not None else published, dtype=float).tolist()
        for given, published in ((u, reference.u0), (d, reference.d0), (w, reference.w0))
    ]
    found = root(lambda x: np.array(reference.equations(x.tolist(), *inputs)), reference.x0, tol=1e-13)
    residual = float(np.max(np.abs(found.fun)))
    # Judged by the residual: at 1e-13 MINPACK often reports "no further progress" on a solution exact to rounding.
    if not residual < 1e-9:
        raise ProcmodelError(
            f"Reference plant {reference.name!r}: no steady state found at u={inputs[0]}, d={inputs[1]}, w={inputs[2]} "
            f"(residual {residual:.1e} [unit/s]). Choose inputs nearer to the published ones."
        )
    return np.asarray(found.x, dtype=float)


def steady_gains(reference: ReferencePlant, u: Any = None, d: Any = None, w: Any = None) -> np.ndarray:
    """True steady-state gains dCV/dMV, [Y, U], in engineering units, by central differences of steady states."""
    at = np.array(reference.u0 if u is None else u, dtype=float)
    inputs_d = np.asarray(reference.d0 if d is None else d, dtype=float)
    inputs_w = np.asarray(reference.w0 if w is None else w, dtype=float)

    def settled(moved: np.ndarray) -> np.ndarray:
        x = steady_state(reference, moved, inputs_d, inputs_w)
        return np.array(reference.outputs(x.tolist(), moved.tolist(), inputs_d.tolist(), inputs_w.tolist()))

    columns = []
    for i, value in enumerate(at):
        move = np.zeros_like(at)
        move[i] = 1e-5 * max(abs(value), 1.0)
        columns.append((settled(at + move) - settled(at - move)) / (2.0 * move[i]))
    return np.stack(columns, axis=1)
