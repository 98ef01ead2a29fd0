"""What the plant file calculates from tags and keeps within limits, such as a heat duty: values and derivatives.

Shapes: K plans tried at once, N rows of the horizon, E calculated values, P blocked changes, Y CVs, U MVs, V DVs,
S = Y + U. Engineering units.

A calculated value is a CasADi expression of the CVs, MVs and DVs of its row. To limits it is one more column beside the
CVs and the margins of heads, with derivatives by the chain rule from those of the CVs.
"""

from __future__ import annotations

from typing import Self

import casadi as ca
import numpy as np

from procmodel.control.expression import RowFunction, TagSymbols, parse
from procmodel.control.sensitivities import Forecast, Sensitivity
from procmodel.data.window import Scaler
from procmodel.errors import PlantFileError
from procmodel.plant import Plant


class Calculated:
    """All that `advice.constraints` names.

    Attributes:
        names: In the order of the plant file.
        expression: `(y, u, d) -> values` of one row, [E].
        size_E: Typical sizes: standard deviations over the record to second order [unit].
        reads: Tags that each of them reads.
    """

    def __init__(self, names: tuple[str, ...], expression: ca.SX, tags: TagSymbols) -> None:
        s, rows = ca.vertcat(tags.y, tags.u), [tags.y, tags.u, tags.d]
        weight = ca.SX.sym("weight", len(names))
        hessian, _ = ca.hessian(ca.dot(weight, expression), s)
        slopes = ca.jacobian(expression, s)
        self.names = names
        self._values = RowFunction("calculated", rows, [expression])
        self.expression = self._values.one
        self._slopes = RowFunction("slopes", rows, [ca.vec(slopes.T)])
        self._bend = RowFunction("bend", [*rows, weight], [ca.vec(hessian)])
        self.size_E = np.array([tags.typical_size(expression[e]) for e in range(len(names))])
        cvs = tags.y.shape[0]
        self._outer = cvs + tags.u.shape[0]
        at = np.split(tags.at[None], [cvs, self._outer], axis=1)
        self._slope_EY = self._slopes(*at)[0].reshape(len(names), -1)[:, :cvs]
        self.reads = tuple(_read_by(expression[e], tags) for e in range(len(names)))

    @classmethod
    def of(cls, plant: Plant, scaler: Scaler) -> Self | None:
        """From the plant file; None where nothing is calculated.

        Raises:
            PlantFileError: An expression names an unknown tag, cannot be read, or has no value at the recorded centre.
        """
        asked = plant.advice.constraints
        if not asked:
            return None
        tags = TagSymbols.of(plant, scaler)
        values = [
            parse(each.expression, tags.by_name, f"advice.constraints.{name}.expression")
            for name, each in asked.items()
        ]
        found = cls(tuple(asked), ca.vertcat(*(ca.SX(value) for value in values)), tags)
        for name, size in zip(found.names, found.size_E, strict=True):
            if not np.isfinite(size):
                raise PlantFileError(
                    f"advice.constraints.{name}.expression: {asked[name].expression!r} has no finite value where the "
                    "plant usually runs. Correct the arguments of sqrt, log and / in the plant file."
                )
        return found

    def of_row(self, y_Y: np.ndarray, u_U: np.ndarray, d_V: np.ndarray) -> np.ndarray:
        """Values of one row, [E]."""
        return np.asarray(self._values(y_Y[None], u_U[None], d_V[None])[0][0])

    def along(self, forecast: Forecast) -> np.ndarray:
        """Values under each plan of a forecast, [K, N, E]."""
        plans, steps = forecast.y_KNY.shape[:2]
        y, u = (values.reshape(plans * steps, -1) for values in (forecast.y_KNY, forecast.moves_KNU))
        return self._values(y, u, np.tile(forecast.now.dv_NV, (plans, 1)))[0].reshape(plans, steps, -1)

    def slopes(self, forecast: Forecast) -> np.ndarray:
        """Derivatives by the CVs and MVs along the (only) plan of a forecast, [N, E, S]."""
        (slopes,) = self._slopes(*_rows_of(forecast))
        return slopes.reshape(len(slopes), len(self.names), self._outer)

    def gradient(self, forecast: Forecast, sensitivity: Sensitivity) -> np.ndarray:
        """d(value)/dx along the plan, [N, E, P]."""
        return np.asarray(self.slopes(forecast) @ np.concatenate([sensitivity.y_NYP, sensitivity.moves_NUP], axis=1))

    def bend(self, forecast: Forecast, weight_NE: np.ndarray) -> np.ndarray:
        """Second derivatives of the weighted sum of each row by the CVs and MVs, [N, S, S]."""
        (bend,) = self._bend(*_rows_of(forecast), weight_NE)
        return bend.reshape(len(bend), self._outer, self._outer)

    def doubt(self, backoff_NY: np.ndarray) -> np.ndarray:
        """Distance for doubt that follows from that of the CVs, [N, E]: first order, their errors independent."""
        return np.asarray(np.sqrt(backoff_NY**2 @ (self._slope_EY**2).T))


def _read_by(expression: ca.SX, tags: TagSymbols) -> frozenset[str]:
    depends = ca.which_depends(expression, ca.vertcat(*tags.by_name.values()))
    return frozenset(name for name, does in zip(tags.by_name, depends, strict=True) if does)


def _rows_of(forecast: Forecast) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return forecast.y_KNY[0], forecast.moves_KNU[0], forecast.now.dv_NV
