"""Expressions over tag names as CasADi functions of the CVs, MVs and DVs of one row.

Shapes: B rows, Y CVs, U MVs, V DVs. Engineering units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import casadi as ca
import numpy as np

from procmodel.data.window import Columns, Scaler
from procmodel.plant import Plant
from procmodel.plant.expression import read

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": ca.fabs,
    "sqrt": ca.sqrt,
    "exp": ca.exp,
    "log": ca.log,
    "min": ca.fmin,
    "max": ca.fmax,
}


def parse(text: str, symbols: Mapping[str, Any], where: str = "advice: objective") -> Any:
    """The value of `text` as a CasADi expression.

    Args:
        text: For example "600 * FI100.PV - 20 * FI2.PV".
        symbols: CasADi symbol of each tag that may be named.
        where: Place in the plant file, for messages.

    Raises:
        PlantFileError: it cannot be read, or names something unknown; the message says which and what is known.
    """
    return read(text, symbols, _FUNCTIONS, where)


@dataclass(frozen=True, kw_only=True)
class TagSymbols:
    """What stands for the tags of one row.

    Attributes:
        y, u, d: Columns of CVs, MVs and DVs.
        by_name: The tags that an expression may name, in plant order.
        at, spread: Recorded centre and spread of (y, u, d).
    """

    y: Any
    u: Any
    d: Any
    by_name: dict[str, Any]
    at: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, plant: Plant, scaler: Scaler) -> Self:
        """Of a plant."""
        columns, names = Columns.of(plant), (plant.cvs, plant.mvs, plant.dvs)
        y, u, d = (ca.SX.sym(letter, len(part)) for letter, part in zip("yud", names, strict=True))
        symbols = {
            name: vector[i] for vector, part in zip((y, u, d), names, strict=True) for i, name in enumerate(part)
        }
        order = list(columns.cv + columns.mv + columns.dv)
        return cls(
            y=y,
            u=u,
            d=d,
            by_name={name: symbols[name] for name in plant.columns if name in symbols},
            at=scaler.centre[order],
            spread=scaler.spread[order],
        )

    @property
    def all(self) -> Any:
        """(y, u, d) in one column."""
        return ca.vertcat(self.y, self.u, self.d)

    def typical_size(self, expression: Any) -> float:
        """Standard deviation of an expression over the record to second order, the tags taken as independent.

        Not finite where the expression has no finite value at the recorded centre.
        """
        hessian, gradient = ca.hessian(expression, self.all)
        found = ca.Function("size", [self.all], [gradient, hessian, expression])(self.at)
        slope, bend, value = (np.array(ca.densify(v)) for v in found)
        variance = np.sum((slope[:, 0] * self.spread) ** 2) + 0.5 * np.sum(
            (self.spread[:, None] * bend * self.spread) ** 2
        )
        return float(np.sqrt(variance)) if np.isfinite(value).all() else np.nan


class RowFunction:
    """A CasADi function of `one` row, for many rows at once."""

    def __init__(self, name: str, inputs: list[Any], outputs: list[Any]) -> None:
        self.one, self._mapped = ca.Function(name, inputs, [ca.densify(each) for each in outputs]), dict[int, Any]()

    def __call__(self, *rows: np.ndarray) -> list[np.ndarray]:
        """One array [B, entries] per output; a matrix stands column after column."""
        count = len(rows[0])
        if count not in self._mapped:
            self._mapped[count] = self.one.map(count)
        found = self._mapped[count].call([each.T for each in rows])
        return [np.array(each).reshape(-1, count).T for each in found]
