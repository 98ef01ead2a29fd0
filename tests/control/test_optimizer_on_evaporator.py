"""The optimizer with the evaporator's own equations as its model, against IPOPT on the same equations.

The product's composition is bent by every move and the optimum lies on it, so plain steps leave it: this is where the
second-order corrections earn their place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import casadi as ca
import numpy as np
import pytest
import torch
from torch import Tensor

from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Status
from procmodel.data.window import Scaler, Window
from procmodel.simulation import reference_plant

REFERENCE = reference_plant("evaporator")
PLANT = REFERENCE.plant
CVS = np.array(REFERENCE.outputs(REFERENCE.x0, REFERENCE.u0, REFERENCE.d0, REFERENCE.w0))
SCALER = Scaler(
    centre=np.concatenate([REFERENCE.u0, CVS, REFERENCE.d0]),
    spread=np.array([15.0, 20.0, 1.0, 4.0, 0.5, 0.1, 0.2, 1.5, 0.5]),
)
SUBSTEPS = 2
STEP = PLANT.sample_time / SUBSTEPS


def next_state(x: list[Any], u: list[Any], d: list[Any], sqrt: Callable[[Any], Any]) -> list[Any]:
    """One row by classical Runge-Kutta steps; torch and CasADi alike."""

    def rates(at: list[Any]) -> list[Any]:
        return REFERENCE.equations(at, u, d, list(REFERENCE.w0), sqrt=sqrt)

    def moved(by: float, k: list[Any]) -> list[Any]:
        return [a + by * b for a, b in zip(x, k, strict=True)]

    for _ in range(SUBSTEPS):
        k1 = rates(x)
        k2 = rates(moved(0.5 * STEP, k1))
        k3 = rates(moved(0.5 * STEP, k2))
        k4 = rates(moved(STEP, k3))
        slope = [(a + 2 * b + 2 * c + e) / 6 for a, b, c, e in zip(k1, k2, k3, k4, strict=True)]
        x = moved(STEP, slope)
    return x


class TrueModel:
    """Latent: four states, then the MVs and DVs held during the row, in engineering units."""

    rows, latent_size = 1, 9

    def __init__(self, x: np.ndarray) -> None:
        self._x = torch.as_tensor(x)

    def encode(self, window: Window) -> Tensor:
        newest = window.values[:, -1] * torch.as_tensor(SCALER.spread) + torch.as_tensor(SCALER.centre)
        return torch.cat([self._x.expand(len(newest), -1), newest[:, :2], newest[:, 6:]], dim=1)

    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        spread, centre = torch.as_tensor(SCALER.spread), torch.as_tensor(SCALER.centre)
        u, d = u_BU * spread[:2] + centre[:2], d_BV * spread[6:] + centre[6:]
        x = next_state(list(z_BD[:, :4].unbind(1)), list(u.unbind(1)), list(d.unbind(1)), torch.sqrt)
        return torch.cat([torch.stack(x, dim=1), u, d], dim=1)

    def read_out(self, z_BD: Tensor) -> Tensor:
        y = REFERENCE.outputs(*parts(z_BD), list(REFERENCE.w0), sqrt=torch.sqrt)
        return (torch.stack(y, dim=1) - torch.as_tensor(CVS)) / torch.as_tensor(SCALER.spread[2:6])


def parts(z_BD: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    columns = list(z_BD.unbind(1))
    return columns[:4], columns[4:6], columns[6:]


class Entrainment:
    """The margin as it truly is."""

    name, unit, rank = "entrainment_margin", "%", 2
    allowance_H = np.zeros(1)

    def margin(self, z_BD: Tensor) -> Tensor:
        found: Tensor = REFERENCE.margins[self.name](*parts(z_BD), list(REFERENCE.w0), sqrt=torch.sqrt)
        return found


def _row_function(d: np.ndarray) -> Any:
    """(state, MVs) to the next state, the CVs and the margin."""
    x, u = ca.SX.sym("x", 4), ca.SX.sym("u", 2)
    held, w = [u[0], u[1]], list(REFERENCE.w0)
    after = next_state([x[i] for i in range(4)], held, list(d), ca.sqrt)
    y = REFERENCE.outputs(after, held, list(d), w, sqrt=ca.sqrt)
    margin = REFERENCE.margins["entrainment_margin"](after, held, list(d), w, sqrt=ca.sqrt)
    return ca.Function("row", [x, u], [ca.vertcat(*after), ca.vertcat(*y), margin])


def by_ipopt(opt: Optimizer, x0: np.ndarray, u0: np.ndarray, d: np.ndarray) -> float:
    """Cost per advice of the same problem, its soft limits hard."""
    hz, changes = opt.horizon, ca.MX.sym("changes", 2 * opt.horizon.blocks)
    row = _row_function(d)
    x, before, cost, inside = ca.DM(x0), ca.DM(u0), 0, []
    for n, share_MU in enumerate(hz.share_NMU):
        u = ca.vertcat(*(u0[i] + ca.dot(ca.DM(share_MU[:, i]), changes[i::2]) for i in range(2)))
        x, y, margin = row(x, u)
        cost += (600 * y[2] + 0.6 * u[1] + 1.009 * (y[3] + 50)) / opt.cost.size / hz.interval
        if n % hz.interval == 0:
            cost += opt.cost.move_weight * ca.sumsqr((u - before) / opt.cost.span_U)
            before = u
        inside += [u, y[:2], margin]
    quiet = {"print_time": False, "ipopt": {"print_level": 0, "sb": "yes", "hessian_approximation": "limited-memory"}}
    solver = ca.nlpsol("oracle", "ipopt", {"x": changes, "f": cost, "g": ca.vertcat(*inside)}, quiet)
    answer = solver(
        x0=0,
        lbx=(-hz.moves_MU * hz.down_U).ravel(),
        ubx=(hz.moves_MU * hz.up_U).ravel(),
        lbg=np.tile([120, 80, 25, 40, 0], hz.steps),
        ubg=np.tile([400, 400, np.inf, 80, np.inf], hz.steps),
    )
    assert solver.stats()["success"]
    return opt.cost.per_advice(float(answer["f"]))


@pytest.mark.parametrize(
    ("off_x", "off_u"),
    [
        ((0.0, 0.3, 0.0, 0.0), (0.0, 0.0)),
        ((0.0, 1.5, 3.0, 0.0), (5.0, -10.0)),
        ((0.02, 0.5, 0.0, 0.0), (-2.0, 0.0)),
    ],
)
def test_the_plan_costs_what_ipopts_plan_costs(off_x: tuple[float, ...], off_u: tuple[float, ...]) -> None:
    x, u = REFERENCE.x0 + np.array(off_x), REFERENCE.u0 + np.array(off_u)
    y = np.array(REFERENCE.outputs(x, u, REFERENCE.d0, REFERENCE.w0))
    opt = Optimizer(plant=PLANT, model=TrueModel(x), scaler=SCALER, heads=[Entrainment()])
    plan = opt.plan(np.concatenate([u, y, REFERENCE.d0])[None])
    assert plan.status is Status.CONVERGED
    assert plan.give_ups == ()
    assert plan.cost == pytest.approx(by_ipopt(opt, x, u, REFERENCE.d0), rel=1e-4)
    assert "AI2.PV low 25 % (rank 1)" in plan.active
