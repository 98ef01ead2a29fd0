"""Who solves a quadratic program: PIQP on dense matrices, and solvers of the CasADi wheel behind it.

    minimise  1/2 x' h x + g' x    with    lbx <= x <= ubx,  lba <= a x <= uba.

On 800 programs of closed loops (16 to 24 unknowns, 16 to 80 rows) PIQP took 0.14 to 0.35 ms called directly and 0.7 to
1.9 through CasADi, which hands it sparse matrices; qpOASES took 0.5 to 1.7 there. All three were right each time.
quadprog and DAQP took half of PIQP's time and were wrong 2 and 10 times, where the Hessian is nearly singular.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any, Protocol

import casadi as ca
import numpy as np
import piqp

# Shapes of CasADi's solvers are rounded up to these, so that few serve all ticks.
_ROW_STEP, _COLUMN_STEP = 16, 8
# Of primal and dual residuals; the default 1e-8 leaves the excess of a limit at the edge of what counts [-].
_TOLERANCE = 1e-9
_OPTIONS: dict[str, dict[str, Any]] = {
    # Not its settings for predictive control, without ramping and refinement: a third faster, and silently wrong where
    # ranks conflict.
    "qpoases": {"error_on_fail": False, "printLevel": "none"},
    "daqp": {"error_on_fail": False, "daqp": {"primal_tol": 1e-9}},
}


@dataclass(frozen=True, kw_only=True)
class Standard:
    """A program in the form above; infinite where there is no bound."""

    h: np.ndarray
    g: np.ndarray
    a: np.ndarray
    lbx: np.ndarray
    ubx: np.ndarray
    lba: np.ndarray
    uba: np.ndarray


class Engine(Protocol):
    """A solver."""

    def solve(self, program: Standard) -> tuple[np.ndarray, np.ndarray] | None:
        """The optimal x and the rows' multipliers, above zero at the upper bound; None where it finds none."""
        ...


class Piqp:
    """Proximal interior-point method on dense matrices (Schwan, Jiang, Kuhn and Jones 2023, arXiv 2304.00290)."""

    def solve(self, program: Standard) -> tuple[np.ndarray, np.ndarray] | None:
        solver = piqp.DenseSolver()
        solver.settings.eps_abs = solver.settings.eps_rel = _TOLERANCE
        rows = (program.a, program.lba, program.uba) if len(program.a) else (None, None, None)
        solver.setup(program.h, program.g, None, None, *rows, program.lbx, program.ubx)
        if solver.solve() != piqp.PIQP_SOLVED:
            return None
        found = solver.result
        return np.array(found.x), np.array(found.z_u) - np.array(found.z_l)


class Conic:
    """A solver of the CasADi wheel, by name; one is built per shape, kept, and thrown away when it fails."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._built: dict[tuple[int, int], Any] = {}

    def solve(self, program: Standard) -> tuple[np.ndarray, np.ndarray] | None:
        given = padded(program)
        key = given["a"].shape
        answer = None
        # qpOASES writes a banner to stdout whatever its print level; stdout belongs to --json.
        with contextlib.redirect_stdout(io.StringIO()):
            if key not in self._built:
                shape = {"h": ca.Sparsity.dense(key[1], key[1]), "a": ca.Sparsity.dense(*key)}
                self._built[key] = ca.conic("plan", self._name, shape, _OPTIONS[self._name])
            with contextlib.suppress(RuntimeError):  # CasADi's way of saying that a solver broke down
                answer = self._built[key](**given)
        if answer is None or not self._built[key].stats()["success"]:
            del self._built[key]
            return None
        x, price = (np.array(answer[name])[:, 0] for name in ("x", "lam_a"))
        return x[: len(program.g)], price[: len(program.a)]


def engine(name: str) -> Engine:
    """The solver of this name."""
    return Piqp() if name == "piqp" else Conic(name)


def is_there(name: str) -> bool:
    """Whether this machine has it."""
    return name == "piqp" or bool(ca.has_conic(name))


def padded(program: Standard) -> dict[str, np.ndarray]:
    """With free rows and idle columns at the end."""
    rows, columns = program.a.shape
    more_rows, more_columns = _up(rows, _ROW_STEP) - rows, _up(columns, _COLUMN_STEP) - columns

    def longer(vector: np.ndarray, count: int, value: float) -> np.ndarray:
        return np.concatenate([vector, np.full(count, value)])

    h = np.pad(program.h, (0, more_columns))
    at = np.arange(columns, columns + more_columns)
    h[at, at] = 1.0
    return {
        "h": h,
        "g": longer(program.g, more_columns, 1.0),
        "a": np.pad(program.a, ((0, more_rows), (0, more_columns))),
        "lbx": longer(program.lbx, more_columns, 0.0),
        "ubx": longer(program.ubx, more_columns, 0.0),
        "lba": longer(program.lba, more_rows, -1.0),
        "uba": longer(program.uba, more_rows, 1.0),
    }


def _up(count: int, step: int) -> int:
    return -(-max(count, 1) // step) * step
