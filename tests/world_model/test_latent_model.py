"""The latent model starts as the linear state, fills gaps as it says, and lets nothing through from within them."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from latent_fakes import (
    COLUMNS,
    LAGS,
    LEARNED,
    ROWS,
    STATES,
    batch,
    filled_by_hand,
    linear_state,
    trained,
    untrained,
    with_a_filter,
)

from procmodel.data.window import Columns, Window
from procmodel.world_model.latent_model import LatentModel, ModelConfig, filled_windows, forward_fill
from procmodel.world_model.products import next_state, window_state
from procmodel.world_model.protocol import rollout

cells = st.tuples(st.integers(1, 9), st.integers(1, 3))


@given(data=st.data(), shape=cells)
def test_gaps_are_filled_as_by_hand(data: st.DataObject, shape: tuple[int, int]) -> None:
    values = data.draw(npst.arrays(float, shape, elements=st.floats(-9, 9)))
    mask = data.draw(npst.arrays(float, shape, elements=st.sampled_from([0.0, 1.0])))
    found = forward_fill(torch.from_numpy(values)[None], torch.from_numpy(mask)[None])[0]
    np.testing.assert_array_equal(found, filled_by_hand(values, mask))


@given(data=st.data(), seed=st.integers(0, 99), length=st.integers(1, 6))
def test_windows_cut_from_one_batch_are_filled_each_from_its_own_rows(
    data: st.DataObject, seed: int, length: int
) -> None:
    values, mask = batch(9, size=2, good=0.4, seed=seed)
    offsets = data.draw(st.lists(st.integers(0, 9 - length), min_size=1, max_size=4))
    found = filled_windows(values, mask, torch.tensor(offsets), length)
    for j, o in enumerate(offsets):
        for b in range(2):
            by_hand = filled_by_hand(values[b, o : o + length].numpy(), mask[b, o : o + length].numpy())
            np.testing.assert_array_equal(found[b, j], by_hand)


@pytest.mark.parametrize("nonsense", [1e6, float("nan"), float("inf")])
def test_what_stands_in_a_gap_changes_nothing(nonsense: float) -> None:
    model = trained()
    values, mask = batch(ROWS, good=0.6)
    plain = model.encode(Window(values=values, mask=mask))
    spoilt = model.encode(Window(values=torch.where(mask > 0, values, nonsense), mask=mask))
    assert torch.equal(plain, spoilt)


def test_the_network_is_told_where_the_gaps_are() -> None:
    model = trained()
    values, mask = batch(ROWS, good=1.0)
    holed = mask.clone()
    holed[:, 2, 5] = 0
    values[:, 2, 5] = values[:, 1, 5]  # the very value that the gap is filled with
    gap = model.encode_rows(values, holed) - model.encode_rows(values, mask)
    assert gap[:, :STATES].abs().max() == 0
    assert gap[:, STATES:].abs().min() > 1e-6


def test_a_filter_follows_the_state_along_the_window_and_learns_nothing_from_missing_cvs() -> None:
    model, linear = with_a_filter()
    values, mask = batch(ROWS, good=1.0)
    tags = [*COLUMNS.mv, *COLUMNS.dv, *COLUMNS.cv]
    expected = window_state(linear, None, values.numpy()[:, :, tags])
    np.testing.assert_allclose(model.encode_rows(values, mask)[:, :STATES].detach(), expected, atol=1e-12)
    mask[:, 2, COLUMNS.cv[0]] = 0
    x = values.numpy()[:, 0, tags] @ linear.begin + linear.begin_bias
    for row in range(1, ROWS):
        seen = values.numpy()[:, row, tags]
        x = next_state(linear, None, x, seen[:, :3])
        e = seen[:, 3:] - x @ linear.C.T - linear.offset
        e[:, 0] *= row != 2
        x = x + e @ linear.K.T
    np.testing.assert_allclose(model.encode_rows(values, mask)[:, :STATES].detach(), x, atol=1e-12)


def test_an_untrained_model_is_the_linear_state() -> None:
    model, state = untrained(), linear_state()
    values, mask = batch(ROWS, good=1.0)
    z = model.encode(Window(values=values, mask=mask))
    seen = values.numpy()[:, -LAGS - 1 :, [*COLUMNS.mv, *COLUMNS.dv, *COLUMNS.cv]]
    x = np.array([sum(row @ m for row, m in zip(rows, state.encoder, strict=True)) for rows in seen])
    x = x + state.encoder_bias
    np.testing.assert_allclose(z[:, :STATES].detach(), x, atol=1e-12)
    u, d = np.random.default_rng(0).normal(size=(6, 2)), np.random.default_rng(1).normal(size=(6, 1))
    for _ in range(4):
        z = model.step(z, torch.from_numpy(u), torch.from_numpy(d))
        x = x @ state.A.T + np.concatenate([u, d], axis=1) @ state.B.T + state.bias
        np.testing.assert_allclose(z[:, :STATES].detach(), x, atol=1e-12)
        np.testing.assert_allclose(model.read_out(z).detach(), x @ state.C.T + state.offset, atol=1e-12)
        # The learned part is there from the start, and fades by 5 % a row until its network learns.
    assert z[:, STATES:].abs().mean() > 1e-3
    start = model.encode(Window(values=values, mask=mask))[:, STATES:]
    torch.testing.assert_close(z[:, STATES:], start * torch.sigmoid(torch.tensor(3.0, dtype=torch.float64)) ** 4)


def test_a_step_is_its_equations() -> None:
    model = trained()
    z, u, d = torch.randn(6, 7).double(), torch.randn(6, 2).double(), torch.randn(6, 1).double()
    x, s, v = z[:, :STATES], z[:, STATES:], torch.cat([u, d], dim=1)
    h = torch.cat([z, v], dim=1)
    w = model.predictor
    added = (
        torch.tanh(torch.tanh(h @ w[0].weight.T + w[0].bias) @ w[2].weight.T + w[2].bias) @ w[4].weight.T + w[4].bias
    )
    expected_x = x @ model.A.T + v @ model.B.T + model.bias + added[:, :STATES]
    expected_s = s / (1 + torch.exp(-model.decay)) + added[:, STATES:]
    torch.testing.assert_close(model.step(z, u, d), torch.cat([expected_x, expected_s], dim=1))


def test_products_add_a_quadratic_form_of_bounded_states_and_inputs_to_the_state() -> None:
    curved, plain = trained(products=True), trained()
    curved.load_state_dict({**curved.state_dict(), **plain.state_dict()})
    z, u, d = torch.randn(6, 7).double(), torch.randn(6, 2).double(), torch.randn(6, 1).double()
    found = (curved.step(z, u, d) - plain.step(z, u, d)).detach().numpy()
    part = {name: value.numpy() for name, value in curved.state_dict().items()}
    for b in range(6):
        w = np.concatenate([z[b, :STATES], u[b], d[b]])
        h = np.tanh(part["rate"] * (w - part["centre"]))
        by_hand = [h @ part["quadratic"][k] @ h + part["slope"][k] @ h + part["rest"][k] for k in range(STATES)]
        np.testing.assert_allclose(found[b, :STATES], by_hand, rtol=0, atol=1e-12)
    assert (found[:, STATES:] == 0).all()
    assert np.abs(found[:, :STATES]).min() > 1e-6


def test_a_rollout_is_step_after_step() -> None:
    model = trained()
    z = torch.randn(4, STATES + LEARNED).double()
    u, d = torch.randn(4, 9, 2).double(), torch.randn(4, 9, 1).double()
    together = rollout(model, z, u, d)
    assert together.shape == (4, 9, STATES + LEARNED)
    for row in range(9):
        z = model.step(z, u[:, row], d[:, row])
        torch.testing.assert_close(together[:, row], z, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(model.read_out(together)[:, -1], model.read_out(z))


def test_a_plant_without_measured_disturbances_works() -> None:
    columns = Columns(mv=(0,), cv=(1,), dv=(), count=2)
    model = trained(columns=columns)
    values, mask = batch(ROWS, columns=columns)
    z = model.step(model.encode(Window(values=values, mask=mask)), values[:, -1, columns.mv], values[:, -1, columns.dv])
    assert torch.isfinite(model.read_out(z)).all()
    assert model.read_out(z).shape == (6, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_works_in_the_precision_it_is_put_in(dtype: torch.dtype) -> None:
    model = trained().to(dtype)
    values, mask = (part.to(dtype) for part in batch(ROWS))
    z = model.encode(Window(values=values, mask=mask))
    z = model.step(z, values[:, -1, COLUMNS.mv], values[:, -1, COLUMNS.dv])
    assert z.dtype == model.read_out(z).dtype == dtype
    exact = trained()
    np.testing.assert_allclose(
        model.encode(Window(values=values, mask=mask)).detach(),
        exact.encode(Window(values=values.double(), mask=mask.double())).detach(),
        atol=1e-5,
    )


def test_the_backbone_is_not_trained_and_travels_with_the_weights() -> None:
    model = trained()
    names = {"A", "B", "C", "bias", "offset", "to_state", "state_bias"}
    assert names <= set(model.state_dict())
    assert not names & {name for name, _ in model.named_parameters()}


def test_the_config_survives_json() -> None:
    config = trained().config
    again = ModelConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert asdict(again) == asdict(config)
    assert LatentModel(again).latent_size == STATES + LEARNED
