"""Step responses and their state against plants whose answers are known, and in the optimizer that they share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from procmodel.data.window import Columns, Scaler
from procmodel.errors import DatasetError
from procmodel.evaluation.linear_peers import LinearWorld, fit_step_response
from procmodel.world_model.doubt import doubt_about
from procmodel.world_model.latent_model import LatentModel, ModelConfig
from procmodel.world_model.protocol import rollout

COLUMNS = Columns(mv=(0, 1), cv=(3, 4), dv=(2,), count=5)
SCALER = Scaler(centre=np.zeros(5), spread=np.ones(5))
SETTLE = 12
RESPONSE = np.random.default_rng(5).normal(size=(SETTLE, 2, 3)) * np.exp(-np.arange(SETTLE) / 3.0)[:, None, None]


def record(rows: int, seed: int, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """CVs [T, Y] of a plant with exactly these answers, and its inputs [T, V], which move now and then."""
    rng = np.random.default_rng(seed)
    moves = rng.normal(size=(rows, 3)) * (rng.random((rows, 3)) < 0.2)
    changes = sum(
        np.concatenate([np.zeros((i, 2)), (moves @ RESPONSE[i].T)[: rows - i]]) for i in range(SETTLE)
    ) + noise * rng.normal(size=(rows, 2))
    return np.cumsum(changes, axis=0), np.cumsum(moves, axis=0)


def rows_of(y: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.concatenate([v[:, :2], v[:, 2:], y], axis=1)


def test_a_plant_of_step_responses_is_found_as_it_is() -> None:
    state = fit_step_response([record(3000, 0)], [record(300, 1)], SETTLE)
    found = (state.C @ state.B)[:, :, None]
    assert found[..., 0] == pytest.approx(RESPONSE[0], abs=0.02)


def test_its_forecast_continues_the_record_from_any_row() -> None:
    y, v = record(3000, 0)
    world = LinearWorld(fit_step_response([(y, v)], [record(300, 1)], SETTLE), COLUMNS)
    ahead_y, ahead_v = record(200, 2)
    z = world.encode(SCALER.window(rows_of(ahead_y, ahead_v)[None, 60 - world.rows : 60]))
    inputs = torch.as_tensor(ahead_v[None, 60:90])
    forecast = world.read_out(rollout(world, z, inputs[..., :2], inputs[..., 2:])[0]).numpy()
    assert np.abs(forecast - ahead_y[60:90]).max() < 0.05 * np.abs(ahead_y[60:90] - ahead_y[59]).max()


def test_its_derivatives_are_those_of_its_step() -> None:
    world = LinearWorld(fit_step_response([record(3000, 0)], [record(300, 1)], SETTLE), COLUMNS)
    generator = torch.Generator().manual_seed(0)
    z, u, d = (torch.rand(3, size, generator=generator, dtype=torch.float64) for size in (world.latent_size, 2, 1))
    ahead, by_z, by_u = world.linearise(z, u, d)
    assert torch.equal(ahead, world.step(z, u, d))
    nudged = world.step(z + 0.5 * torch.eye(world.latent_size, dtype=torch.float64)[4], u + 0.25, d)
    assert torch.allclose(nudged - ahead, 0.5 * by_z[:, :, 4] + 0.25 * by_u.sum(dim=2))


def test_doubt_of_a_right_model_is_its_noise_alone_and_never_falls() -> None:
    """Steps of a random walk that nothing foretells: the forecast k rows ahead misses by k of them."""
    runs = [record(4000, 0, 0.05)]
    world = LinearWorld(fit_step_response(runs, [record(600, 1, 0.05)], SETTLE), COLUMNS)
    held = rows_of(*record(6000, 3, 0.05))
    held[100:103, 3] = np.nan
    found = doubt_about(world, SCALER, COLUMNS, [held], 20, 0.9)
    assert found.backoff_HY.shape == (20, 2)
    assert (np.diff(found.backoff_HY, axis=0) >= 0).all()
    assert found.trust.gain_HY.max() < 0.25  # the encoder stands at the newest CV: what came before is in it
    assert found.backoff_HY[0] == pytest.approx(1.2816 * 0.05 * np.ones(2), rel=0.2)
    assert found.backoff_HY[15] == pytest.approx(1.2816 * 0.05 * 4 * np.ones(2), rel=0.2)


def test_the_same_linear_state_is_doubted_and_corrected_alike_as_a_linear_world_and_as_a_world_model() -> None:
    """So what a linear peer gets is what the world model gets; gaps and a wrong gain included."""
    state = fit_step_response([record(3000, 0)], [record(300, 1)], SETTLE)
    wrong = replace(state, B=1.15 * state.B)
    config = ModelConfig(columns=COLUMNS, rows=SETTLE, lags=SETTLE - 1, state=len(state.A), latent=1, hidden=2)
    learned = LatentModel(config).double().requires_grad_(False)
    learned.start_from(wrong)
    held = rows_of(*record(900, 3, 0.05))
    held[np.random.default_rng(4).random(held.shape) < 0.05] = np.nan
    peer, own = (
        doubt_about(model, SCALER, COLUMNS, [held[:500], held[500:]], 20, 0.9)
        for model in (LinearWorld(wrong, COLUMNS), learned)
    )
    assert (own.backoff_HY > 0).all()
    np.testing.assert_allclose(peer.backoff_HY, own.backoff_HY, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(peer.trust.gain_HY, own.trust.gain_HY, atol=1e-9)
    np.testing.assert_allclose(peer.trust.usual_HY, own.trust.usual_HY, rtol=1e-6)
    assert peer.trust.lasting is not None
    assert own.trust.lasting is not None
    np.testing.assert_allclose(peer.trust.lasting.gain_HY, own.trust.lasting.gain_HY, atol=1e-9)
    np.testing.assert_allclose(peer.trust.lasting.ratio_HY, own.trust.lasting.ratio_HY, rtol=1e-6)
    assert peer.bias.trust is peer.trust


def test_too_short_a_record_is_refused() -> None:
    with pytest.raises(DatasetError, match="a longer record"):
        fit_step_response([record(40, 0)], [record(40, 1)], SETTLE)
    world = LinearWorld(fit_step_response([record(3000, 0)], [record(300, 1)], SETTLE), COLUMNS)
    with pytest.raises(DatasetError, match="held-back rows"):
        doubt_about(world, SCALER, COLUMNS, [rows_of(*record(30, 1))], 20, 0.9)
