"""Derivatives against finite differences and against CasADi's automatic differentiation of the same equations."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
import torch
from control_fakes import BEND, OUTFLOW, TANKS, MlpModel, TanksModel, make_plant, tanks_scaler, tanks_step, unit_scaler
from torch import Tensor

from procmodel.control.horizon import Horizon
from procmodel.control.sensitivities import Forecaster, Now, Seeds
from procmodel.data.window import Columns, Scaler
from procmodel.plant import Plant
from procmodel.world_model.protocol import WorldModel

START_U, LEVELS = np.array([3.0, 2.5]), np.array([10.0, 8.0])


class Product:
    """Margin `3 - z0 z1`, bent so that its second derivative matters."""

    name, unit, rank = "foam", "cm", 2
    allowance_H = np.array([0.1, 0.2])

    def margin(self, z_BD: Tensor) -> Tensor:
        return 3.0 - z_BD[:, 0] * z_BD[:, 1]


def forecaster(plant: Plant, model: WorldModel, scaler: Scaler) -> Forecaster:
    columns = Columns.of(plant)
    mv = list(columns.mv)
    horizon = Horizon.of(plant, scaler.centre[mv], scaler.spread[mv])
    return Forecaster(model=model, scaler=scaler, columns=columns, heads=[Product()], horizon=horizon)


def now_of(plant: Plant, scaler: Scaler, latent: np.ndarray | None = None) -> Now:
    cv = Columns.of(plant).cv
    z = scaler.scale(LEVELS, cv) if latent is None else latent
    horizon_rows = 60
    return Now(
        latent_D=torch.as_tensor(z),
        start_U=START_U,
        dv_NV=np.zeros((horizon_rows, len(plant.dvs))),
        bias_NY=np.full((horizon_rows, len(plant.cvs)), 0.3),
    )


def some_changes(blocks: int) -> np.ndarray:
    return np.random.default_rng(3).uniform(-0.3, 0.3, size=(blocks, 2))


def outputs(fc: Forecaster, now: Now, changes_P: np.ndarray) -> np.ndarray:
    """CVs and margins of all rows, flat."""
    bounds = fc.horizon.bounds(now.start_U, np.zeros(2, dtype=bool))
    forecast = fc.forecast(now, fc.horizon.rows(bounds, changes_P.reshape(-1, 2))[None])
    return np.concatenate([forecast.y_KNY[0], forecast.margins_KNG[0]], axis=1)


def tangents(fc: Forecaster, now: Now, changes_P: np.ndarray) -> np.ndarray:
    bounds = fc.horizon.bounds(now.start_U, np.zeros(2, dtype=bool))
    forecast = fc.forecast(now, fc.horizon.rows(bounds, changes_P.reshape(-1, 2))[None])
    found = fc.sensitivity(forecast)
    return np.concatenate([found.y_NYP, found.margins_NGP], axis=1)


@pytest.mark.parametrize("kind", ["tanks", "network"])
def test_tangents_agree_with_finite_differences(kind: str) -> None:
    plant = make_plant(TANKS)
    scaler = tanks_scaler() if kind == "tanks" else unit_scaler(plant)
    model: WorldModel = TanksModel(plant, scaler) if kind == "tanks" else MlpModel(plant)
    fc = forecaster(plant, model, scaler)
    now = now_of(plant, scaler, None if kind == "tanks" else np.random.default_rng(0).normal(size=32) * 0.3)
    x = some_changes(fc.horizon.blocks).ravel()
    found = tangents(fc, now, x)
    for p in range(len(x)):
        e = np.zeros_like(x)
        e[p] = 1e-3  # fourth-order differences: their own error stays near 1e-12
        near, far = (outputs(fc, now, x + k * e) - outputs(fc, now, x - k * e) for k in (1, 2))
        np.testing.assert_allclose(found[:, :, p], (8 * near - far) / 12e-3, rtol=1e-7, atol=1e-8 * np.abs(found).max())


def casadi_outputs(fc: Forecaster, scaler: Scaler) -> tuple[ca.SX, ca.SX]:
    """The changes, and CVs with margins of all rows, from the CasADi equations."""
    x = ca.SX.sym("x", 2 * fc.horizon.blocks)
    h, rows = ca.DM(LEVELS), []
    cv_centre, cv_spread = scaler.centre[2:], scaler.spread[2:]
    for share_MU in fc.horizon.share_NMU:
        u = ca.vertcat(*(START_U[i] + ca.dot(ca.DM(share_MU[:, i]), x[i::2]) for i in range(2)))
        h = tanks_step(h, u)
        z = (h - cv_centre) / cv_spread
        rows.append(ca.horzcat((h + 0.3).T, 3.0 - z[0] * z[1]))
    return x, ca.vertcat(*rows)


def test_tangents_agree_with_casadi() -> None:
    plant, scaler = make_plant(TANKS), tanks_scaler()
    fc = forecaster(plant, TanksModel(plant, scaler), scaler)
    x = some_changes(fc.horizon.blocks).ravel()
    symbol, rows = casadi_outputs(fc, scaler)
    values, jacobian = ca.Function("f", [symbol], [rows, ca.jacobian(ca.vec(rows.T), symbol)])(x)
    now = now_of(plant, scaler)
    expected = np.array(values)
    expected[:, 2] -= np.minimum(0.1 + 0.1 * np.arange(60), 0.2)  # the head's allowance; its last value holds
    np.testing.assert_allclose(outputs(fc, now, x), expected, rtol=1e-12)
    np.testing.assert_allclose(tangents(fc, now, x), np.array(jacobian).reshape(60, 3, -1), rtol=1e-7, atol=1e-10)


def test_curvature_agrees_with_casadi() -> None:
    plant, scaler = make_plant(TANKS), tanks_scaler()
    fc = forecaster(plant, TanksModel(plant, scaler), scaler)
    x = some_changes(fc.horizon.blocks).ravel()
    rng = np.random.default_rng(5)
    by_cv, by_margin = rng.normal(size=(60, 2)), rng.normal(size=(60, 1))
    symbol, rows = casadi_outputs(fc, scaler)
    weighted = ca.sum1(ca.sum2(rows * ca.DM(np.concatenate([by_cv, by_margin], axis=1))))
    expected = np.array(ca.DM(ca.Function("h", [symbol], [ca.hessian(weighted, symbol)[0]])(x)))
    now = now_of(plant, scaler)
    bounds = fc.horizon.bounds(START_U, np.zeros(2, dtype=bool))
    forecast = fc.forecast(now, fc.horizon.rows(bounds, x.reshape(-1, 2))[None])
    found = fc.sensitivity(forecast, Seeds(y_NY=by_cv, margins_NG=by_margin)).curvature_PP
    assert found is not None
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9 * np.abs(expected).max())


class HandWritten(TanksModel):
    """The tanks with their own stage Jacobians."""

    calls = 0

    def linearise(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        type(self).calls += 1
        h = z_BD * self._spread_y + self._centre_y
        q = (h / BEND) ** 2
        slope = 1.0 - OUTFLOW * (1.0 + 0.5 * q) * (1.0 + q) ** -1.25
        push = self._inflow * self._spread_u / self._spread_y[:, None]
        return self.step(z_BD, u_BU, d_BV), torch.diag_embed(slope), push.expand(len(z_BD), -1, -1)


def test_a_models_own_jacobians_are_used_and_give_the_same() -> None:
    plant, scaler = make_plant(TANKS), tanks_scaler()
    now, x = now_of(plant, scaler), some_changes(8).ravel()
    own = forecaster(plant, HandWritten(plant, scaler), scaler)
    other = forecaster(plant, TanksModel(plant, scaler), scaler)
    np.testing.assert_allclose(tangents(own, now, x), tangents(other, now, x), rtol=1e-12, atol=1e-14)
    assert HandWritten.calls == 1


def test_cost_and_limits_are_read_from_one_rollout() -> None:
    """CVs, margins and the latents that are linearised belong to the same 60 calls of `step`."""
    plant, scaler = make_plant(TANKS), tanks_scaler()

    class Counted(TanksModel):
        calls = 0

        def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
            type(self).calls += 1
            return super().step(z_BD, u_BU, d_BV)

    fc = forecaster(plant, Counted(plant, scaler), scaler)
    bounds = fc.horizon.bounds(START_U, np.zeros(2, dtype=bool))
    moves = np.array([fc.horizon.rows(bounds, some_changes(8) * k) for k in (0.0, 0.5, 1.0)])
    forecast = fc.forecast(now_of(plant, scaler), moves)
    assert Counted.calls == 60
    fc.sensitivity(forecast.only(1))
    assert Counted.calls == 61  # all stages at once
    z = forecast.latents_KND
    np.testing.assert_array_equal(
        forecast.y_KNY, scaler.unscale(z.numpy(), Columns.of(plant).cv) + forecast.now.bias_NY
    )
    margins = np.array([Product().margin(z_ND).numpy() for z_ND in z])
    np.testing.assert_array_equal(forecast.margins_KNG[:, :, 0], margins - fc.allowance_NG[:, 0])
    assert forecast.y_KNY.dtype == forecast.margins_KNG.dtype == np.float64
