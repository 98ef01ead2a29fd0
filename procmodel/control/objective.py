"""What a plan costs: the engineer's economic expression, setpoints, move suppression and ideal resting values.

Shapes: K plans tried at once, N rows of the horizon, Y CVs, U MVs, V DVs, S = Y + U. Engineering units.

One advice interval costs

    economic [currency/h] + size * ( sum_cv weight ((y - setpoint) / span)^2
                                   + move_weight sum_mv ((u_t - u_{t-1}) / span)^2
                                   + REST_WEIGHT sum_mv ((u - rest_at) / span)^2 )

and where a slower layer says where a CV should end, a plan costs `size * END_WEIGHT ((y - end) / span)^2` of its last
row on top.

`size` is the objective's typical size: its standard deviation over the record to second order, taking the tags as
independent, `size^2 = sum_i (g_i s_i)^2 + 1/2 sum_ij (s_i H_ij s_j)^2` with gradient g and Hessian H at the recorded
centre and spreads s. It makes `move_weight` mean the same for a plant that earns 10 CHF/h and one that earns 10,000.
Without an economic objective it is 1 and the cost has no unit. Inside the solver all costs are divided by `size`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import casadi as ca
import numpy as np

from procmodel.control.expression import RowFunction, TagSymbols, parse
from procmodel.control.horizon import Horizon, span
from procmodel.data.window import Columns, Scaler
from procmodel.errors import PlantFileError
from procmodel.plant import Plant
from procmodel.plant.units import parse_price

# Weak enough to yield to any setpoint: a full-span distance from rest costs as much as a CV 3 % of its span off target.
REST_WEIGHT = 1e-3
# Strong enough that what is stored is not sold at the end of the horizon: a store worth a hundred advices of the
# objective's typical size ends within 0.5 % of its span of where the slow layer wants it.
END_WEIGHT = 1e4
TURNED = 0.3
"""Share of a negative curvature that stands in its place [-]. Evaporator, 48 ticks of two seeds at 3 steps per
linearisation: programs per tick at 0, 0.3 and 1 in the mean 7.6, 8.0, 9.4 and at p95 13, 12, 15, at 5,743, 5,741 and
5,740 $/h; with the gains of `sqp.py` 6.5 and 12.7 at 0, 6.2 and 9.7 at 0.3."""


class Economic:
    """The economic part as CasADi functions of (y, u, d), with gradient and Hessian in (y, u).

    Attributes:
        expression: `(y, u, d) -> cost` of one row [currency/h].
        derivatives: `(y, u, d) -> gradient [S], Hessian [S * S]` in (y, u).
        size: Typical size [currency/h].
    """

    def __init__(self, expression: Any, tags: TagSymbols) -> None:
        s, rows = ca.vertcat(tags.y, tags.u), [tags.y, tags.u, tags.d]
        hessian, gradient = ca.hessian(expression, s)
        self._value = RowFunction("cost", rows, [expression])
        self._model = RowFunction("model", rows, [gradient, ca.vec(hessian)])
        self.expression, self.derivatives = self._value.one, self._model.one
        size = tags.typical_size(expression)
        if not np.isfinite(size):
            raise PlantFileError(
                "advice: the objective has no finite value where the plant usually runs. "
                "Correct the arguments of sqrt, log and / in the plant file."
            )
        self.size = size or 1.0

    @classmethod
    def of(cls, plant: Plant, scaler: Scaler) -> Self | None:
        """From `advice.objective` and the tags' prices; None where the plant file has neither.

        Raises:
            PlantFileError: the expression names an unknown tag, cannot be read, or has no value at the recorded centre.
        """
        tags = TagSymbols.of(plant, scaler)
        terms = [parse(plant.advice.objective, tags.by_name)] if plant.advice.objective is not None else []
        for name, tag in plant.tags.items():
            if tag.price is None:
                continue
            if name not in tags.by_name:
                raise PlantFileError(
                    f"Tag {name!r}: it has a price, but a {tag.role} is not predicted. Make it a CV or drop its price."
                )
            terms.append(parse_price(tag.price, tag.unit) * tags.by_name[name])
        return cls(ca.SX(sum(terms[1:], terms[0])), tags) if terms else None

    def value(self, y_KY: np.ndarray, u_KU: np.ndarray, d_KV: np.ndarray) -> np.ndarray:
        """Cost of each of K rows, [K] [currency/h]."""
        return self._value(y_KY, u_KU, d_KV)[0][:, 0]

    def quadratic(self, y_NY: np.ndarray, u_NU: np.ndarray, d_NV: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient [N, S] and Hessian [N, S, S] of each row's cost in (y, u)."""
        gradient, hessian = self._model(y_NY, u_NU, d_NV)
        return gradient, hessian.reshape(len(y_NY), gradient.shape[1], -1)


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """Cost of a plan and its quadratic model, divided by `size` and summed over the advices of the horizon.

    Attributes:
        economic: None where only setpoints count.
        size: Typical size of the economic objective [currency/h]; 1 without one.
        weight_Y, span_Y, span_U: Of the tags.
        rest_U: Ideal resting values, NaN where there is none.
        end_Y: Where the horizon should end, NaN where nothing is asked.
        move_weight: Relative to the CVs' weights [-].
    """

    horizon: Horizon
    economic: Economic | None
    size: float
    weight_Y: np.ndarray
    span_Y: np.ndarray
    span_U: np.ndarray
    rest_U: np.ndarray
    end_Y: np.ndarray
    move_weight: float

    @classmethod
    def of(cls, plant: Plant, scaler: Scaler, horizon: Horizon) -> Self:
        """The cost that the plant file describes."""
        columns = Columns.of(plant)
        economic = Economic.of(plant, scaler)
        cvs, mvs = ([plant.tags[name] for name in names] for names in (plant.cvs, plant.mvs))
        spread = [float(x) for x in scaler.spread]
        return cls(
            horizon=horizon,
            economic=economic,
            size=economic.size if economic else 1.0,
            weight_Y=np.array([tag.weight for tag in cvs]),
            span_Y=np.array([span(tag, spread[i]) for tag, i in zip(cvs, columns.cv, strict=True)]),
            span_U=np.array([span(tag, spread[i]) for tag, i in zip(mvs, columns.mv, strict=True)]),
            rest_U=np.array([np.nan if tag.rest_at is None else tag.rest_at for tag in mvs]),
            end_Y=np.full(len(cvs), np.nan),
            move_weight=plant.advice.move_weight,
        )

    def total(
        self,
        y_KNY: np.ndarray,
        u_KNU: np.ndarray,
        d_NV: np.ndarray,
        start_U: np.ndarray,
        setpoint_Y: np.ndarray,
    ) -> np.ndarray:
        """Cost of each of K plans, [K], divided by `size`; a setpoint of NaN does not count."""
        rows = _squares(y_KNY, setpoint_Y, self.span_Y, self.weight_Y)
        rows += REST_WEIGHT * _squares(u_KNU, self.rest_U, self.span_U, 1.0)
        if self.economic:
            plans, steps = y_KNY.shape[:2]
            y_KY, u_KU = (array.reshape(plans * steps, -1) for array in (y_KNY, u_KNU))
            paid = self.economic.value(y_KY, u_KU, np.tile(d_NV, (plans, 1)))
            rows += paid.reshape(plans, steps).sum(axis=1) / self.size
        at_ticks = u_KNU[:, self.horizon.ticks]
        steps_KAU = np.empty_like(at_ticks)
        np.subtract(at_ticks[:, :1], start_U, out=steps_KAU[:, :1])
        np.subtract(at_ticks[:, 1:], at_ticks[:, :-1], out=steps_KAU[:, 1:])
        moved = ((steps_KAU / self.span_U) ** 2).sum(axis=(1, 2))
        missed = _squares(y_KNY[:, -1:], self.end_Y, self.span_Y, 1.0)
        return np.asarray(rows / self.horizon.interval + self.move_weight * moved + END_WEIGHT * missed)

    def task(self, y_NY: np.ndarray, u_NU: np.ndarray, d_NV: np.ndarray, setpoint_Y: np.ndarray) -> np.ndarray:
        """What each row costs in the objective's own unit, [N]: economic part and setpoints, without what only calms
        the moves."""
        rows = self.size * np.nansum(self.weight_Y * ((y_NY - setpoint_Y) / self.span_Y) ** 2, axis=1)
        return np.asarray(rows + (self.economic.value(y_NY, u_NU, d_NV) if self.economic else 0.0))

    def quadratic(
        self, y_NY: np.ndarray, u_NU: np.ndarray, d_NV: np.ndarray, setpoint_Y: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Gradient [N, S] and exact Hessian [N, S, S] of the rows' cost in (y, u), without the move term."""
        rows, outputs = y_NY.shape
        size = outputs + u_NU.shape[1]
        if self.economic:
            gradient, hessian = (part / self.size for part in self.economic.quadratic(y_NY, u_NU, d_NV))
        else:
            gradient, hessian = np.zeros((rows, size)), np.zeros((rows, size, size))
        off = np.concatenate([y_NY - setpoint_Y, u_NU - self.rest_U], axis=1)
        weight = np.concatenate(
            [self.weight_Y / self.span_Y**2, REST_WEIGHT / self.span_U**2 * np.ones(len(self.rest_U))]
        )
        weight_NS = np.where(np.isfinite(off), weight, 0.0)
        gradient = gradient + 2.0 * weight_NS * np.where(np.isfinite(off), off, 0.0)
        hessian = hessian + 2.0 * weight_NS[:, :, None] * np.eye(size)
        gradient, hessian = gradient / self.horizon.interval, hessian / self.horizon.interval
        for y in np.flatnonzero(np.isfinite(self.end_Y)):
            weight = 2.0 * END_WEIGHT / self.span_Y[y] ** 2
            gradient[-1, y] += weight * (y_NY[-1, y] - self.end_Y[y])
            hessian[-1, y, y] += weight
        return gradient, hessian

    def move_hessian(self) -> np.ndarray:
        """Diagonal of the move term's Hessian in the blocks' changes, [M, U]: a staircase of r moves costs 1/r."""
        return np.asarray(2.0 * self.move_weight / (self.horizon.moves_MU * self.span_U**2))

    def per_advice(self, total: float) -> float:
        """A horizon's total as the mean cost of one advice interval, in the objective's own unit."""
        return total * self.size * self.horizon.interval / self.horizon.steps


def _squares(
    values_KNS: np.ndarray, wanted_S: np.ndarray, span_S: np.ndarray, weight_S: np.ndarray | float
) -> np.ndarray:
    """Weighted squares of distances over spans, [K]; where nothing is wanted there is none, nor where no number is."""
    asked = ~np.isnan(wanted_S)
    if not asked.any():
        return np.zeros(len(values_KNS))
    squares = np.where(asked, weight_S * ((values_KNS - wanted_S) / span_S) ** 2, 0.0)
    squares[np.isnan(squares)] = 0.0
    return np.asarray(squares.sum(axis=(1, 2)))


def setpoints_of(plant: Plant, changed: Mapping[str, float] | None) -> np.ndarray:
    """Setpoints of the CVs, [Y], NaN where there is none; `changed` ones take the place of the plant file's.

    Raises:
        PlantFileError: a name is no CV, or a value is not finite.
    """
    for name, value in (changed or {}).items():
        if name not in plant.cvs:
            raise PlantFileError(
                f"setpoints: unknown CV {name!r}; this plant's CVs are {', '.join(plant.cvs)}. Name one of them."
            )
        if not np.isfinite(value):
            raise PlantFileError(f"setpoints: {name!r} got {value}; a setpoint needs a finite number.")
    given = {name: plant.tags[name].setpoint for name in plant.cvs} | dict(changed or {})
    return np.array([np.nan if (at := given[name]) is None else float(at) for name in plant.cvs])


def convex(hessian_SS: np.ndarray) -> np.ndarray:
    """A symmetric matrix with its negative curvature turned round, at `TURNED` of its size.

    Without it a step that curves down would end at its bounds, far beyond where its program holds. On the evaporator
    half of all directions did.
    """
    values_S, vectors_SS = np.linalg.eigh(hessian_SS)
    if values_S[0] >= 0.0:
        return hessian_SS
    return np.asarray((vectors_SS * np.where(values_S < 0.0, -TURNED * values_S, values_S)) @ vectors_SS.T)
