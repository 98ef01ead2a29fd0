"""How the oracle's program gets from one state to the next: the equations that tie an element of the horizon together.

Shapes: U MVs, V DVs, W unmeasured disturbances, Y CVs, G constraint margins, X states, I inner states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from procmodel.simulation import ReferencePlant

Array = np.ndarray


@dataclass(frozen=True, kw_only=True)
class Element:
    """A stretch of the horizon under held inputs.

    Attributes:
        rows: Grid rows that it covers.
        inner: I, states inside it that the program has to find too.
        tie: `(x, inner, end, u, d, w) -> (residual [X + I], true CV averages and margins [Y + G])`; a residual of zero
            makes `end` the state at its end.
    """

    rows: int
    inner: int
    tie: Any


def element_of(reference: ReferencePlant) -> Element:
    """Collocation where the plant asks for it, else one row by the simulator's own Runge-Kutta steps."""
    if reference.element_rows:
        return _collocation(reference)
    symbols = _symbols(reference)
    end, seen = row_function(reference)(symbols["x"], symbols["u"], symbols["d"], symbols["w"])
    nothing = ca.SX.sym("inner", 0)
    inputs = [symbols["x"], nothing, symbols["end"], symbols["u"], symbols["d"], symbols["w"]]
    return Element(rows=1, inner=0, tie=ca.Function("tie", inputs, [end - symbols["end"], seen]))


def row_function(reference: ReferencePlant) -> Any:
    """`(x, u, d, w) -> (x at the row's end, true CV averages and margins [Y + G])` as the simulator computes them."""
    symbols = _symbols(reference)
    x0, u, d, w = (symbols[letter] for letter in "xudw")
    step = reference.plant.sample_time / reference.substeps
    rates, outputs, margins = _functions(reference, u, d, w)
    x, seen = x0, [outputs(x0)]
    for _ in range(reference.substeps):
        k1 = rates(x)
        k2 = rates(x + 0.5 * step * k1)
        k3 = rates(x + 0.5 * step * k2)
        k4 = rates(x + step * k3)
        x = x + step / 6.0 * (k1 + 2.0 * (k2 + k3) + k4)
        seen.append(outputs(x))
    weights = _average_weights(reference.substeps)
    average = sum(float(weight) * y for weight, y in zip(weights, seen, strict=True))
    return ca.Function("row", [x0, u, d, w], [x, ca.vertcat(average, *margins(x))])


def _collocation(reference: ReferencePlant) -> Element:
    """Radau's implicit method of third order with two stages, at 1/3 and at the end (Hairer and Wanner 1996, IV.5).

    It damps what is faster than the element, so that one may be many times as long as the fastest part of the plant;
    the average over it is that of Radau's quadrature at the same two points.
    """
    symbols = _symbols(reference)
    x, end, u, d, w = (symbols[letter] for letter in ("x", "end", "u", "d", "w"))
    inner = ca.SX.sym("inner", len(reference.x0))
    step = reference.element_rows * reference.plant.sample_time
    rates, outputs, margins = _functions(reference, u, d, w)
    early, late = rates(inner), rates(end)
    residual = ca.vertcat(
        x + step * (5.0 / 12.0 * early - 1.0 / 12.0 * late) - inner,
        x + step * (3.0 / 4.0 * early + 1.0 / 4.0 * late) - end,
    )
    average = 0.75 * outputs(inner) + 0.25 * outputs(end)
    tie = ca.Function("tie", [x, inner, end, u, d, w], [residual, ca.vertcat(average, *margins(end))])
    return Element(rows=reference.element_rows, inner=len(reference.x0), tie=tie)


def _symbols(reference: ReferencePlant) -> dict[str, Any]:
    sizes = {
        "x": len(reference.x0),
        "end": len(reference.x0),
        "u": len(reference.u0),
        "d": len(reference.d0),
        "w": len(reference.w0),
    }
    return {letter: ca.SX.sym(letter, size) for letter, size in sizes.items()}


def _functions(reference: ReferencePlant, u: Any, d: Any, w: Any) -> tuple[Any, Any, Any]:
    """Rates, outputs and margins as functions of the state symbols."""
    parts = [ca.vertsplit(v) if v.numel() else [] for v in (u, d, w)]

    def rates(x: Any) -> Any:
        return ca.vertcat(*reference.equations(ca.vertsplit(x), *parts, sqrt=ca.sqrt))

    def outputs(x: Any) -> Any:
        return ca.vertcat(*reference.outputs(ca.vertsplit(x), *parts, sqrt=ca.sqrt))

    def margins(x: Any) -> list[Any]:
        return [margin(ca.vertsplit(x), *parts, sqrt=ca.sqrt) for margin in reference.margins.values()]

    return rates, outputs, margins


def _average_weights(substeps: int) -> Array:
    """Simpson's rule where the sub-steps' number is even, else the trapezoid: as the simulator averages a row."""
    inner = np.arange(1, substeps)
    if substeps % 2 == 0:
        weights = np.concatenate([[1.0], np.where(inner % 2 == 1, 4.0, 2.0), [1.0]])
    else:
        weights = np.concatenate([[1.0], np.full(len(inner), 2.0), [1.0]])
    return np.asarray(weights / weights.sum())
