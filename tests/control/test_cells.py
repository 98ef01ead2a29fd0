"""Shipped architectures taken apart by hand: the same numbers as torch, as differences of forecasts and as CasADi."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import casadi as ca
import numpy as np
import pytest
import torch
from control_fakes import COLUMN, curved_head, gru_model, latent_model, make_plant, model_with_products

from procmodel.control.cells import cell_of
from procmodel.control.export import (
    margin_function,
    read_out_function,
    rollout_function,
    step_function,
    units_function,
    write_onnx,
)
from procmodel.control.horizon import Horizon
from procmodel.control.sensitivities import Forecaster, Now, Seeds
from procmodel.data.window import Columns, Scaler
from procmodel.errors import ArtifactError
from procmodel.plant import Plant
from procmodel.world_model.protocol import rollout

STEPS, START_U = 12, np.array([0.2, -0.3])
PLANT = make_plant(COLUMN, horizon="60 s", blocks=4)
SCALER = Scaler(centre=np.linspace(-0.2, 0.2, 6), spread=np.linspace(0.6, 1.4, 6))
BENT = replace(SCALER, bend=np.array([0.0, 0.0, 0.0, 0.4, -0.3, 0.0]))
MODELS: dict[str, Callable[[Plant], Any]] = {
    "latent": latent_model,
    "products": model_with_products,
    "gated": gru_model,
}
ALL = pytest.mark.parametrize("name", MODELS)


def forecaster(name: str, *, by_hand: bool = True, scaler: Scaler = SCALER) -> Forecaster:
    model, columns = MODELS[name](PLANT), Columns.of(PLANT)
    mv = list(columns.mv)
    horizon = Horizon.of(PLANT, SCALER.centre[mv], SCALER.spread[mv])
    return Forecaster(
        model=model,
        scaler=scaler,
        columns=columns,
        heads=[curved_head(model.latent_size)],
        horizon=horizon,
        by_hand=by_hand,
    )


def now() -> Now:
    rng = np.random.default_rng(4)
    return Now(
        latent_D=torch.as_tensor(rng.normal(size=7) * 0.5),
        start_U=START_U,
        dv_NV=rng.normal(size=(STEPS, 1)),
        bias_NY=rng.normal(size=(STEPS, 3)),
    )


def changes(fc: Forecaster, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.3, 0.3, size=(fc.horizon.blocks, 2))


def moves(fc: Forecaster, *plans: np.ndarray) -> np.ndarray:
    bounds = fc.horizon.bounds(START_U, np.zeros(2, dtype=bool))
    return np.array([fc.horizon.rows(bounds, plan) for plan in plans])


def seeds() -> Seeds:
    rng = np.random.default_rng(5)
    return Seeds(y_NY=rng.normal(size=(STEPS, 3)), margins_NG=rng.normal(size=(STEPS, 1)))


def values(fc: Forecaster, changes_MU: np.ndarray) -> np.ndarray:
    """CVs and margins of all rows."""
    forecast = fc.forecast(now(), moves(fc, changes_MU))
    return np.concatenate([forecast.y_KNY[0], forecast.margins_KNG[0]], axis=1)


def casadi_values(fc: Forecaster) -> tuple[Any, Any]:
    """The changes, and CVs with margins of all rows [N, Y + G], as the exported model has them."""
    at, x = now(), ca.MX.sym("x", 2 * fc.horizon.blocks)
    mv, dv = list(fc.columns.mv), list(fc.columns.dv)
    u = ca.horzcat(
        *(
            ca.vertcat(*(START_U[i] + ca.dot(ca.DM(share_MU[:, i]), x[i::2]) for i in range(2)))
            for share_MU in fc.horizon.share_NMU
        )
    )
    scaled = (u - SCALER.centre[mv]) / SCALER.spread[mv]
    d = ca.DM(((at.dv_NV - SCALER.centre[dv]) / SCALER.spread[dv]).T)
    z = rollout_function(fc.model, STEPS)(ca.DM(at.latent_D.numpy()), scaled, d)
    y = units_function(fc.scaler, fc.columns).map(STEPS)(read_out_function(fc.model).map(STEPS)(z)) + ca.DM(
        at.bias_NY.T
    )
    margins = margin_function(fc.heads, z.shape[0]).map(STEPS)(z) - ca.DM(fc.allowance_NG.T)
    return x, ca.vertcat(y, margins).T


@ALL
def test_exported_functions_are_the_model(name: str) -> None:
    model, rng = MODELS[name](PLANT), np.random.default_rng(0)
    z, u, d = rng.normal(size=(5, 7)), rng.normal(size=(5, STEPS, 2)), rng.normal(size=(5, STEPS, 1))
    rolled = rollout(model, *(torch.as_tensor(part) for part in (z, u, d)))
    for k in range(5):
        np.testing.assert_allclose(rollout_function(model, STEPS)(z[k], u[k].T, d[k].T).full().T, rolled[k], rtol=1e-11)
    np.testing.assert_allclose(step_function(model)(z[0], u[0, 0], d[0, 0]).full()[:, 0], rolled[0, 0], rtol=1e-12)
    y = read_out_function(model).map(STEPS)(rolled[0].numpy().T).full().T
    np.testing.assert_allclose(y, model.read_out(rolled[0]), rtol=1e-11)
    head = curved_head(7)
    margins = margin_function([head], 7).map(STEPS)(rolled[0].numpy().T).full()[0]
    np.testing.assert_allclose(margins, head.margin(rolled[0]), rtol=1e-11)


@pytest.mark.parametrize("scaler", [SCALER, BENT], ids=["straight", "roots"])
def test_exported_units_are_the_scalers(scaler: Scaler) -> None:
    columns = Columns.of(PLANT)
    scaled = np.random.default_rng(0).normal(size=(50, 3)) * 3  # some beyond where a root goes on straight
    units = units_function(scaler, columns).map(50)(scaled.T).full().T
    np.testing.assert_allclose(units, scaler.unscale(scaled, columns.cv), rtol=1e-12)


@ALL
def test_onnx_read_by_another_library_is_the_model(name: str, tmp_path: Path) -> None:
    reference = pytest.importorskip("onnx.reference")
    model, rng = MODELS[name](PLANT), np.random.default_rng(0)
    given = {"z": rng.normal(size=(1, 7)), "u": rng.normal(size=(1, 2)), "d": rng.normal(size=(1, 1))}
    write_onnx(model, tmp_path / "step.onnx")
    expected = model.step(*(torch.as_tensor(part) for part in given.values()))
    (found,) = reference.ReferenceEvaluator(str(tmp_path / "step.onnx")).run(None, given)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no folder"):
        write_onnx(latent_model(PLANT), tmp_path / "nowhere" / "step.onnx")
    assert not (tmp_path / "nowhere").exists()


def test_a_model_of_another_kind_cannot_be_exported() -> None:
    with pytest.raises(ArtifactError, match="LatentModel and GruModel"):
        step_function(torch.nn.Identity())  # type: ignore[arg-type]


@ALL
def test_forecasts_of_several_plans_are_those_of_torch(name: str) -> None:
    fused, graph = forecaster(name), forecaster(name, by_hand=False)
    assert fused.is_by_hand
    assert not graph.is_by_hand
    plans = moves(fused, *(changes(fused, seed) for seed in range(3)))
    found, expected = fused.forecast(now(), plans), graph.forecast(now(), plans)
    np.testing.assert_allclose(found.latents_KND, expected.latents_KND, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.y_KNY, expected.y_KNY, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.margins_KNG, expected.margins_KNG, rtol=1e-10, atol=1e-12)


@ALL
def test_derivatives_of_any_plan_of_a_batch_are_those_of_torch(name: str) -> None:
    fused, graph = forecaster(name), forecaster(name, by_hand=False)
    plans = moves(fused, *(changes(fused, seed) for seed in range(3)))
    for plan in (0, 2):
        forecasts = (fc.forecast(now(), plans).only(plan) for fc in (fused, graph))
        (one, two), bend = forecasts, seeds()
        found, expected = fused.sensitivity(one, bend), graph.sensitivity(two, bend)
        for part in ("y_NYP", "margins_NGP", "moves_NUP", "curvature_PP"):
            np.testing.assert_allclose(getattr(found, part), getattr(expected, part), rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(fused.gradient(one, bend), graph.gradient(two, bend), rtol=1e-9, atol=1e-11)


@ALL
def test_tangents_are_differences_of_forecasts(name: str) -> None:
    fc = forecaster(name)
    x = changes(fc)
    found = fc.sensitivity(fc.forecast(now(), moves(fc, x)))
    tangents = np.concatenate([found.y_NYP, found.margins_NGP], axis=1)
    for p in range(x.size):
        e = np.zeros(x.size)
        e[p] = 1e-3  # fourth-order differences: their own error stays near 1e-12
        e = e.reshape(x.shape)
        near, far = (values(fc, x + k * e) - values(fc, x - k * e) for k in (1, 2))
        np.testing.assert_allclose(tangents[:, :, p], (8 * near - far) / 12e-3, rtol=1e-7, atol=1e-9)


@ALL
@pytest.mark.parametrize("scaler", [SCALER, BENT], ids=["straight", "roots"])
def test_first_and_second_derivatives_are_those_of_casadi(name: str, scaler: Scaler) -> None:
    fc, bend = forecaster(name, scaler=scaler), seeds()
    x = changes(fc)
    symbol, rows = casadi_values(fc)
    weighted = ca.dot(rows, ca.DM(np.concatenate([bend.y_NY, bend.margins_NG], axis=1)))
    hessian, gradient = ca.hessian(weighted, symbol)
    function = ca.Function("f", [symbol], [rows, ca.jacobian(ca.vec(rows.T), symbol), gradient, hessian])
    expected, jacobian, slope, bent = (np.array(ca.densify(part)) for part in function(x.ravel()))
    forecast = fc.forecast(now(), moves(fc, x))
    found = fc.sensitivity(forecast, bend)
    np.testing.assert_allclose(values(fc, x), expected, rtol=1e-10, atol=1e-12)
    tangents = np.concatenate([found.y_NYP, found.margins_NGP], axis=1)
    np.testing.assert_allclose(tangents, jacobian.reshape(tangents.shape), rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(fc.gradient(forecast, bend), slope[:, 0], rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(found.curvature_PP, bent, rtol=1e-7, atol=1e-9 * np.abs(bent).max())


@ALL
def test_a_block_that_has_not_begun_moves_nothing(name: str) -> None:
    fc = forecaster(name)
    found = fc.sensitivity(fc.forecast(now(), moves(fc, changes(fc))))
    for block, start in enumerate([0, *fc.horizon.ends[:-1]]):
        at = slice(2 * block, 2 * block + 2)
        assert (found.y_NYP[:start, :, at] == 0.0).all()
        assert (found.y_NYP[start:, :, at] != 0.0).any()


def test_a_model_in_single_precision_or_of_another_kind_is_left_to_torch() -> None:
    assert cell_of(latent_model(PLANT).float()) is None
    assert cell_of(gru_model(PLANT).float()) is None
    assert cell_of(object()) is None


@ALL
def test_margins_and_read_outs_without_derivatives_are_those_of_torch(name: str) -> None:
    by_hand, by_torch = forecaster(name), forecaster(name, by_hand=False)
    plans = moves(by_hand, changes(by_hand), changes(by_hand, seed=8))
    one, other = by_hand.forecast(now(), plans), by_torch.forecast(now(), plans)
    np.testing.assert_allclose(one.y_KNY, other.y_KNY, atol=1e-12)
    margin_KN = by_hand.heads[0].margin(one.latents_KND).numpy() - by_hand.allowance_NG[:, 0]
    np.testing.assert_allclose(one.margins_KNG[..., 0], margin_KN, atol=1e-12)
    assert np.ptp(margin_KN) > 0.1
