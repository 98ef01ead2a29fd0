"""Where a plant comes to rest under held inputs: by the model's own equilibrium, or by given gains.

Shapes: D latent, U MVs, V DVs, Y CVs. Engineering units; latents scaled.

    equilibrium   z = f(z, u, d),   y = y0 + h(z) - h(z0),   z0 the rest under the present inputs u0, h in units
    gains         y = y0 + G (u - u0)

y0 is where the CVs are forecast to end if nothing is moved, past errors included: both agree with the plan there. A
model that integrates has no equilibrium for most inputs, one that is unstable leaves it, and one whose answer takes
many horizons knows nothing of its end; all three are told by what is left of its answer after `HORIZONS` of them:
`C A^T (I - A)^-1 B` beside the gain `C (I - A)^-1 B`. Modes that no MV moves, or that no CV shows, count for nothing.
"""

from __future__ import annotations

from typing import Any, Self

import casadi as ca
import numpy as np

from procmodel.control.export import read_out_function, step_function, units_function
from procmodel.control.rest_program import Ground
from procmodel.control.sensitivities import Forecaster
from procmodel.data.window import Columns, Scaler

# By then so much of the model's answer to a move may be left [horizons], [-]; or of a CV's span, for a full-span move.
# Learned latents have modes of a thousand rows that add a few hundredths to an answer: half tells these from a level.
HORIZONS = 10
LEFT, LEFT_OF_SPAN = 0.5, 0.01
# Newton steps and halvings of each, to a gap of so much [scaled]; and rows that the model runs on between two tries.
_STEPS, _HALVINGS, _CLOSE = 30, 6, 1e-10
_TRIES, _ROWS_BETWEEN = 5, 60


class Equilibrium:
    """Rest of one model.

    Args:
        step, read_out: CasADi functions as of `export.py`.
    """

    def __init__(self, step: Any, read_out: Any, scaler: Scaler, columns: Columns) -> None:
        self._scaler, self._columns = scaler, columns
        self._mv, self._dv, self._cv = (list(part) for part in (columns.mv, columns.dv, columns.cv))
        self._step, units = step, units_function(scaler, columns)
        z, u, d = ca.MX.sym("z", step.size1_in(0)), ca.MX.sym("u", len(self._mv)), ca.MX.sym("d", len(self._dv))
        ahead, y = step(z, u, d), units(read_out(z))
        slopes = [ca.densify(ca.jacobian(ahead, z)), ca.densify(ca.jacobian(ahead, u))]
        self._stage = ca.Function("stage", [z, u, d], [ahead, *slopes])
        self._read_out = ca.Function("read_out", [z], [y])
        self._reading = ca.Function("reading", [z], [y, ca.densify(ca.jacobian(y, z))])

    @classmethod
    def of(cls, forecaster: Forecaster) -> Self:
        """Of a forecaster's model.

        Raises:
            ArtifactError: The model is of no architecture that can be written as an expression.
        """
        step, read_out = step_function(forecaster.model), read_out_function(forecaster.model)
        return cls(step, read_out, forecaster.scaler, forecaster.columns)

    def ground(self) -> Ground:
        """With the read-out that `y0` stands for beside y0 as parameters [2 Y]."""
        z, u, d = (ca.MX.sym(name, self._step.size1_in(i)) for i, name in enumerate("zud"))
        p = ca.MX.sym("p", 2 * len(self._cv))
        centre, spread = self._scaler.centre, self._scaler.spread
        u_scaled = (u - ca.DM(centre[self._mv])) / ca.DM(spread[self._mv])
        d_scaled = (d - ca.DM(centre[self._dv])) / ca.DM(spread[self._dv])
        y0, h0 = p[: len(self._cv)], p[len(self._cv) :]
        y = y0 + self._read_out(z) - h0
        return Ground(z=z, u=u, d=d, p=p, gap=self._step(z, u_scaled, d_scaled) - z, y=y)

    def rest(self, near_D: np.ndarray, u_U: np.ndarray, d_V: np.ndarray) -> np.ndarray | None:
        """Latent at which nothing changes; None where none is found.

        Newton's method from near it; where that leads nowhere, again from where the model has come by itself.
        """
        z_D, inputs = np.asarray(near_D, dtype=float), self._inputs(u_U, d_V)
        for _ in range(_TRIES):
            if (found := self._newton(z_D, inputs)) is not None:
                return found
            for _ in range(_ROWS_BETWEEN):
                z_D = np.array(self._step(z_D, *inputs))[:, 0]
            if not np.isfinite(z_D).all():
                return None
        return None

    def _newton(self, z_D: np.ndarray, inputs: tuple[np.ndarray, np.ndarray]) -> np.ndarray | None:
        gap_D, slope_DD, _ = self._gap(z_D, inputs)
        for _ in range(_STEPS):
            size = np.abs(gap_D).max(initial=0.0)
            if not np.isfinite(size):
                return None
            if size <= _CLOSE * (1.0 + np.abs(z_D).max(initial=0.0)):
                return z_D
            try:
                way_D = np.linalg.solve(np.eye(len(z_D)) - slope_DD, gap_D)
            except np.linalg.LinAlgError:
                return None
            for halving in range(_HALVINGS):
                tried_D = z_D + 0.5**halving * way_D
                found = self._gap(tried_D, inputs)
                if np.abs(found[0]).max() < size:
                    break
            else:
                return None
            z_D, (gap_D, slope_DD, _) = tried_D, found
        return None

    def read(self, z_D: np.ndarray) -> np.ndarray:
        """CVs [Y] [unit]."""
        return np.array(self._read_out(z_D))[:, 0]

    def unsettled(
        self, z_D: np.ndarray, u_U: np.ndarray, d_V: np.ndarray, rows: int, span_Y: np.ndarray, span_U: np.ndarray
    ) -> tuple[int, int] | None:
        """CV and MV of the answer that is furthest from its end after so many rows; None where all have settled."""
        _, slope_DD, push_DU = self._gap(z_D, self._inputs(u_U, d_V))
        read_YD = np.array(self._reading(z_D)[1])
        scale_YU = 1.0 / self._scaler.spread[self._mv] * span_U / span_Y[:, None]
        with np.errstate(all="ignore"):  # an unstable model overflows, and is then unsettled
            try:
                end_DU = np.linalg.solve(np.eye(len(z_D)) - slope_DD, push_DU)
            except np.linalg.LinAlgError:
                end_DU = np.full_like(push_DU, np.inf)
            left_YU = np.abs(scale_YU * (read_YD @ np.linalg.matrix_power(slope_DD, rows) @ end_DU))
            gain_YU = np.abs(scale_YU * (read_YD @ end_DU))
            excess_YU = left_YU / np.maximum(LEFT * gain_YU, LEFT_OF_SPAN)
        excess_YU = np.where(np.isfinite(excess_YU), excess_YU, np.inf)
        worst = np.unravel_index(int(excess_YU.argmax()), excess_YU.shape)
        return None if excess_YU[worst] <= 1.0 else (int(worst[0]), int(worst[1]))

    def _inputs(self, u_U: np.ndarray, d_V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._scaler.scale(u_U, self._columns.mv), self._scaler.scale(d_V, self._columns.dv)

    def _gap(self, z_D: np.ndarray, inputs: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, ...]:
        """f(z) - z, df/dz and df/du."""
        ahead, slope, push = (np.array(part) for part in self._stage(z_D, *inputs))
        return ahead[:, 0] - z_D, slope, push


def ground_of_gains(cvs: int, mvs: int, dvs: int) -> Ground:
    """Given gains; parameters are y0 [Y], u0 [U] and G row after row [Y * U]."""
    u, d, p = ca.MX.sym("u", mvs), ca.MX.sym("d", dvs), ca.MX.sym("p", cvs + mvs + cvs * mvs)
    gain = ca.reshape(p[cvs + mvs :], mvs, cvs).T
    y = p[:cvs] + gain @ (u - p[cvs : cvs + mvs])
    return Ground(z=ca.MX.sym("z", 0), u=u, d=d, p=p, gap=ca.MX(0, 1), y=y)
