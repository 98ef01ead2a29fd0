"""The tangents the optimizer plans with, against finite differences and against the same equations in CasADi."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
import torch
from latent_fakes import LEARNED, STATES, trained
from torch import Tensor

from procmodel.world_model.latent_model import LatentModel

Z, U, V = STATES + LEARNED, 2, 1


def points() -> list[tuple[Tensor, Tensor, Tensor]]:
    rng = np.random.default_rng(3)
    return [tuple(torch.from_numpy(rng.normal(size=n)) for n in (Z, U, V)) for _ in range(5)]


@pytest.fixture(scope="module")
def model() -> LatentModel:
    return trained(hidden=16).eval().requires_grad_(False)


def tangents_of_step(model: LatentModel, z: Tensor, u: Tensor, d: Tensor) -> tuple[Tensor, ...]:
    return torch.func.jacrev(lambda *at: model.step(*(part[None] for part in at))[0], argnums=(0, 1, 2))(z, u, d)


def tangent_of_read_out(model: LatentModel, z: Tensor) -> Tensor:
    return torch.func.jacrev(lambda at: model.read_out(at[None])[0])(z)


def by_differences(function: object, *at: Tensor) -> list[np.ndarray]:
    """Central differences with Richardson's correction: the error falls with the fourth power of the step."""
    out = []
    for which in range(len(at)):
        columns = []
        for i in range(len(at[which])):

            def moved(by: float, which: int = which, i: int = i) -> Tensor:
                point = [part.clone() for part in at]
                point[which][i] += by
                return function(*point)  # type: ignore[operator]

            wide, narrow = ((moved(h) - moved(-h)) / (2 * h) for h in (2e-3, 1e-3))
            columns.append(((4 * narrow - wide) / 3).numpy())
        out.append(np.stack(columns, axis=1))
    return out


def test_tangents_are_those_of_finite_differences(model: LatentModel) -> None:
    for z, u, d in points():
        numeric = by_differences(lambda *at: model.step(*(part[None] for part in at))[0], z, u, d)
        for exact, approximate in zip(tangents_of_step(model, z, u, d), numeric, strict=True):
            np.testing.assert_allclose(exact, approximate, rtol=0, atol=1e-7)
        [numeric_y] = by_differences(lambda at: model.read_out(at[None])[0], z)
        np.testing.assert_allclose(tangent_of_read_out(model, z), numeric_y, rtol=0, atol=1e-7)


def in_casadi(model: LatentModel) -> tuple[ca.Function, ca.Function]:
    """Step and read-out, each with its jacobians, written anew from the stored weights."""
    w = {name: ca.DM(value.numpy()) for name, value in model.state_dict().items() if value.ndim < 3}
    z, u, d = ca.SX.sym("z", Z), ca.SX.sym("u", U), ca.SX.sym("d", V)

    def mlp(name: str, x: ca.SX) -> ca.SX:
        for layer in (0, 2, 4):
            x = w[f"{name}.{layer}.weight"] @ x + w[f"{name}.{layer}.bias"]
            x = ca.tanh(x) if layer < 4 else x
        return x

    v = ca.vertcat(u, d)
    added = mlp("predictor", ca.vertcat(z, v))
    x_next = w["A"] @ z[:STATES] + w["B"] @ v + w["bias"] + added[:STATES]
    s_next = z[STATES:] / (1 + ca.exp(-w["decay"])) + added[STATES:]
    step = ca.vertcat(x_next, s_next)
    y = w["C"] @ z[:STATES] + w["offset"] + mlp("head", z)
    of_step = ca.Function("step", [z, u, d], [step, *(ca.jacobian(step, by) for by in (z, u, d))])
    return of_step, ca.Function("read_out", [z], [y, ca.jacobian(y, z)])


def test_values_and_tangents_are_those_of_casadi(model: LatentModel) -> None:
    of_step, of_read_out = in_casadi(model)
    for z, u, d in points():
        theirs = [np.array(part) for part in of_step(*(ca.DM(part.numpy()) for part in (z, u, d)))]
        np.testing.assert_allclose(model.step(z[None], u[None], d[None])[0], theirs[0][:, 0], rtol=0, atol=1e-7)
        for mine, other in zip(tangents_of_step(model, z, u, d), theirs[1:], strict=True):
            np.testing.assert_allclose(mine, other, rtol=0, atol=1e-7)
        y, dy = (np.array(part) for part in of_read_out(ca.DM(z.numpy())))
        np.testing.assert_allclose(model.read_out(z[None])[0], y[:, 0], rtol=0, atol=1e-7)
        np.testing.assert_allclose(tangent_of_read_out(model, z), dy, rtol=0, atol=1e-7)
