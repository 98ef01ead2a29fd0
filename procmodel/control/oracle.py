"""The optimization of one tick, word for word, for CasADi's general solvers: an opinion that shares no code with ours.

Shapes: N rows of the horizon, M blocks, U MVs, P = M * U changes [spans], D latent, Y CVs, V DVs, R soft limits,
Q segments. Scaled where the model is meant.

The same unknowns, costs, penalties and hard limits as `sqp.py`, as one nonlinear program over the exported model
(`export.py`). Ranks are not told apart: where limits of several ranks cannot all hold, the answers differ by design.
Slow, and meant to be: for tests and for the table in docs/optimizer.md.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import casadi as ca
import numpy as np

from procmodel.constraints.head import ConstraintHead
from procmodel.control.export import margin_function, read_out_function, step_function, units_function
from procmodel.control.limits import SLACK_CURVATURE, WEIGHT
from procmodel.control.objective import END_WEIGHT, REST_WEIGHT
from procmodel.control.problem import Problem
from procmodel.control.soft_limit import Source
from procmodel.errors import ArtifactError

Shooting = Literal["single", "multiple"]
# IPOPT relaxes bounds by 1e-8 unless told not to; a slack below zero by that much pays for itself a thousandfold.
_IPOPT = {"print_level": 0, "sb": "yes", "tol": 1e-8, "bound_relax_factor": 0.0}
QUIET: dict[str, dict[str, Any]] = {
    "ipopt": {"print_time": False, "error_on_fail": False, "ipopt": _IPOPT},
    "fatrop": {"print_time": False, "error_on_fail": False, "fatrop": {"print_level": 0, "tol": 1e-8}},
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a general solver found.

    Attributes:
        changes_MU: Of the plan [spans].
        merit: Cost and weighted penalties, by the solver's own arithmetic.
        success: By its own word.
        iterations, seconds: Of the solver, without building the program.
    """

    changes_MU: np.ndarray
    merit: float
    success: bool
    iterations: int
    seconds: float


class Oracle:
    """One nonlinear program for all ticks of an optimizer, solved by IPOPT or fatrop.

    Args:
        like: Any problem of the optimizer; what changes from tick to tick is handed over with each `solve`.
        solver: "ipopt" or "fatrop".
        shooting: "single" has the changes and slacks for unknowns, "multiple" every latent too (IPOPT only).
        options: On top of `QUIET`.
        step: Of the model, where not `step_function` is to write it.
        watch: Called with the changes [M, U] of every iterate, where the solver shows them: IPOPT does, fatrop not.

    Raises:
        ArtifactError: The model or a head is of no architecture that can be written down.
    """

    def __init__(
        self,
        like: Problem,
        *,
        solver: Literal["ipopt", "fatrop"] = "ipopt",
        shooting: Shooting = "single",
        options: dict[str, Any] | None = None,
        step: Any | None = None,
        watch: Callable[[np.ndarray], None] | None = None,
    ) -> None:
        self._program = _Program(like, shooting, step or step_function(like.forecaster.model))
        given = {**QUIET[solver], **(options or {})}
        if watch:
            self._watch = _Watch(self._program, like.bounds.down_MU.shape, watch)  # CasADi does not keep it alive
            given["iteration_callback"] = self._watch
        self._solver = ca.nlpsol("oracle", solver, self._program.nlp, given)

    def solve(self, problem: Problem, start_MU: np.ndarray | None = None) -> Answer:
        """The tick's optimum, from given changes [spans] or from no move."""
        program = self._program
        begun = time.perf_counter()
        found = self._solver(**program.tick(problem, start_MU))
        seconds = time.perf_counter() - begun
        stats = self._solver.stats()
        x = np.array(found["x"])[:, 0]
        return Answer(
            changes_MU=x[: program.changes].reshape(problem.bounds.down_MU.shape),
            merit=float(found["f"]),
            success=bool(stats["success"]) and bool(np.isfinite(x).all()),
            iterations=int(stats["iter_count"]),
            seconds=seconds,
        )


class _Watch(ca.Callback):
    """Hands the changes of each iterate on, and lets the solver go on."""

    def __init__(self, program: _Program, shape: tuple[int, ...], watch: Callable[[np.ndarray], None]) -> None:
        super().__init__()
        self._shape, self._count, self._watch = shape, program.changes, watch
        unknowns, rows, given = (program.nlp[key].shape[0] for key in "xgp")
        sizes = {"x": unknowns, "f": 1, "g": rows, "lam_x": unknowns, "lam_g": rows, "lam_p": given}
        self._sizes = [sizes[ca.nlpsol_out(k)] for k in range(ca.nlpsol_n_out())]
        self.construct("watch", {})

    def get_n_in(self) -> int:
        return len(self._sizes)

    def get_n_out(self) -> int:
        return 1

    def get_sparsity_in(self, at: int) -> Any:
        return ca.Sparsity.dense(self._sizes[at], 1)

    def eval(self, args: Any) -> list[int]:
        """Called by the solver; 0 is to go on."""
        self._watch(np.array(args[0])[: self._count, 0].reshape(self._shape))
        return [0]


class _Program:
    """Unknowns [changes, slacks, latents], cost and rows in MX, with the tick's numbers as parameters."""

    def __init__(self, like: Problem, shooting: Shooting, step: Any) -> None:
        fc, hz = like.forecaster, like.forecaster.horizon
        columns, model = fc.columns, fc.model
        self.steps, self.mvs, self.cvs, self.dvs = hz.steps, len(columns.mv), len(columns.cv), len(columns.dv)
        self.latent, self.changes = model.latent_size, hz.blocks * len(columns.mv)
        self.segments, limits = len(like.limits.advices_Q), len(like.limits.limits)
        self.is_multiple = shooting == "multiple"
        x, s = ca.MX.sym("x", self.changes), ca.MX.sym("s", self.segments * limits)
        z0, start = ca.MX.sym("z0", self.latent), ca.MX.sym("start", self.mvs)
        d, bias = ca.MX.sym("d", self.dvs, self.steps), ca.MX.sym("bias", self.cvs, self.steps)
        setpoint = ca.MX.sym("setpoint", self.cvs)
        change_MU = ca.reshape(x, self.mvs, hz.blocks).T * ca.repmat(ca.DM(like.cost.span_U).T, hz.blocks, 1)
        parts = [ca.DM(hz.share_NMU[:, :, i]) @ change_MU[:, i] + start[i] for i in range(self.mvs)]
        u = ca.horzcat(*parts).T
        latents, gaps, between = self._latents(
            step, z0, self._scaled(fc, u, columns.mv), self._scaled(fc, d, columns.dv)
        )
        y = units_function(fc.scaler, columns).map(self.steps)(read_out_function(model).map(self.steps)(latents)) + bias
        heads = [head for head in fc.heads if isinstance(head, ConstraintHead)]
        if len(heads) < len(fc.heads):
            raise ArtifactError("oracle: a head that is no ConstraintHead cannot be written down. Leave it out.")
        margins = margin_function(heads, self.latent).map(self.steps)(latents) - ca.DM(fc.allowance_NG.T)
        self.targets_Y = np.isfinite(like.setpoint_Y)
        cost = self._cost(like, y, u, d, start, setpoint, change_MU)
        slack = ca.reshape(s, self.segments, limits)
        advices = ca.repmat(ca.DM(like.limits.advices_Q), 1, limits)
        cost += WEIGHT * ca.sum1(ca.sum2(advices * (slack + 0.5 * SLACK_CURVATURE * slack**2)))
        calculated = like.limits.calculated
        values = {Source.CV: y, Source.HEAD: margins}
        if calculated is not None:
            values[Source.CALCULATED] = calculated.expression.map(self.steps)(y, u, d)
        rows = [ca.MX(0, 1)]
        for r, limit in enumerate(like.limits.limits):
            value = values[limit.source][limit.column, :].T
            excess = (limit.sign * (value - limit.at) + ca.DM(limit.backoff_N - limit.funnel_N)) / limit.scale
            rows.append(excess - slack[like.limits.segment_N.tolist(), r])
        soft = ca.vertcat(*rows)
        level = u[:, (np.array(hz.ends) - 1).tolist()]
        self.slacks, self.soft_rows, self.gap_rows = s.shape[0], soft.shape[0], gaps.shape[0]
        self.nlp = {
            "x": ca.vertcat(x, s, between),
            "p": ca.vertcat(z0, start, ca.vec(d), ca.vec(bias), setpoint),
            "f": cost,
            "g": ca.vertcat(gaps, ca.vec(level), soft),
        }
        self._roll = step.mapaccum("roll", self.steps)

    def _latents(self, step: Any, z0: Any, u: Any, d: Any) -> tuple[Any, Any, Any]:
        if not self.is_multiple:
            return step.mapaccum("roll", self.steps)(z0, u, d), ca.MX(0, 1), ca.MX(0, 1)
        between = ca.MX.sym("z", self.latent, self.steps)
        ahead = step.map(self.steps)(ca.horzcat(z0, between[:, :-1]), u, d)
        return between, ca.vec(ahead - between), ca.vec(between)

    def _cost(self, like: Problem, y: Any, u: Any, d: Any, start: Any, setpoint: Any, change_MU: Any) -> Any:
        cost, hz = like.cost, like.forecaster.horizon
        total = ca.MX(0)
        for i in np.flatnonzero(self.targets_Y).tolist():
            total += cost.weight_Y[i] / cost.span_Y[i] ** 2 * ca.sumsqr(y[i, :] - setpoint[i])
        for i in np.flatnonzero(np.isfinite(cost.rest_U)).tolist():
            total += REST_WEIGHT / cost.span_U[i] ** 2 * ca.sumsqr(u[i, :] - cost.rest_U[i])
        if cost.economic:
            total += ca.sum2(cost.economic.expression.map(self.steps)(y, u, d)) / cost.size
        ticks = u[:, hz.ticks.tolist()]
        moved = (ticks - ca.horzcat(start, ticks[:, :-1])) / ca.DM(cost.span_U)
        total = total / hz.interval + cost.move_weight * ca.sumsqr(moved)
        for i in np.flatnonzero(np.isfinite(cost.end_Y)).tolist():
            total += END_WEIGHT / cost.span_Y[i] ** 2 * (y[i, -1] - cost.end_Y[i]) ** 2
        return total

    @staticmethod
    def _scaled(fc: Any, values: Any, columns: tuple[int, ...]) -> Any:
        at = list(columns)
        return (values - fc.scaler.centre[at]) / fc.scaler.spread[at]

    def tick(self, problem: Problem, start_MU: np.ndarray | None) -> dict[str, np.ndarray]:
        """Start, bounds and parameters of one tick."""
        bounds, now, span_U = problem.bounds, problem.now, problem.cost.span_U
        ends = np.array(problem.forecaster.horizon.ends) - 1
        least, most = ((part / span_U).ravel() for part in (bounds.down_MU, bounds.up_MU))
        changes = np.zeros(self.changes) if start_MU is None else start_MU.ravel()
        free, none = np.full(self.slacks, math.inf), np.zeros(self.slacks)
        between = self._between(problem, changes) if self.is_multiple else np.zeros(0)
        open_ends = np.full(len(between), math.inf)
        gaps, soft = np.zeros(self.gap_rows), np.zeros(self.soft_rows)
        parameters = (
            now.latent_D.numpy(),
            now.start_U,
            now.dv_NV.ravel(),
            now.bias_NY.ravel(),
            np.where(self.targets_Y, problem.setpoint_Y, 0.0),
        )
        return {
            "x0": np.concatenate([changes, none, between]),
            "p": np.concatenate(parameters),
            "lbx": np.concatenate([least, none, -open_ends]),
            "ubx": np.concatenate([most, free, open_ends]),
            "lbg": np.concatenate([gaps, bounds.low_NU[ends].ravel(), np.full(self.soft_rows, -math.inf)]),
            "ubg": np.concatenate([gaps, bounds.high_NU[ends].ravel(), soft]),
        }

    def _between(self, problem: Problem, changes_P: np.ndarray) -> np.ndarray:
        """Latents of a plan, row after row: what multiple shooting starts from."""
        fc, now = problem.forecaster, problem.now
        changes_MU = changes_P.reshape(problem.bounds.down_MU.shape) * problem.cost.span_U
        u_NU = fc.scaler.scale(fc.horizon.rows(problem.bounds, changes_MU), fc.columns.mv)
        d_NV = fc.scaler.scale(now.dv_NV, fc.columns.dv)
        return np.asarray(self._roll(now.latent_D.numpy(), u_NU.T, d_NV.T).full().T.ravel())
