"""Figures about a latent, against spectra with known answers and against runs by hand."""

from __future__ import annotations

import math

import pytest
import torch
from latent_fakes import COLUMNS, ROWS, batch, trained, untrained

from procmodel.data.window import Window
from procmodel.world_model.diagnostics import action_use, effective_rank
from procmodel.world_model.protocol import rollout


def with_singular_values(*values: float) -> torch.Tensor:
    """[N, D] of zero mean with these singular values."""
    torch.manual_seed(0)
    left = torch.randn(40, len(values), dtype=torch.float64)
    left = torch.linalg.qr(left - left.mean(dim=0)).Q
    right = torch.linalg.qr(torch.randn(len(values), len(values), dtype=torch.float64)).Q
    return left @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ right + 5.0


@pytest.mark.parametrize(
    ("values", "rank"),
    [
        ((2.0, 2.0, 2.0, 2.0), 4.0),
        ((3.0, 0.0, 0.0), 1.0),
        ((3.0, 1.0), math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))),
    ],
)
def test_the_effective_rank_is_the_entropy_of_the_spectrum(values: tuple[float, ...], rank: float) -> None:
    assert float(effective_rank(with_singular_values(*values))) == pytest.approx(rank, abs=1e-6)


def test_a_constant_latent_has_rank_zero_and_a_broken_one_none() -> None:
    assert float(effective_rank(torch.full((9, 3), 4.2))) == 0
    assert math.isnan(float(effective_rank(torch.tensor([[1.0, 2.0], [math.nan, 0.0]]))))


def test_action_use_is_the_error_of_runs_over_right_and_wrong_moves() -> None:
    model, (values, mask) = trained(), batch(ROWS + 6, good=1.0)
    found = action_use(model, values, mask, torch.Generator().manual_seed(0))
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    u, d, y = (values[:, ROWS:, at] for at in (COLUMNS.mv, COLUMNS.dv, COLUMNS.cv))
    z = model.encode(Window(values=values[:, :ROWS], mask=mask[:, :ROWS]))
    held = values[:, ROWS - 1 : ROWS, COLUMNS.mv].expand(-1, 6, -1)
    turned = torch.cat([u[:, 3:], u[:, :3]], dim=1)
    for name, moves in {"real": u, "shuffled": u[order], "shifted": turned, "held": held}.items():
        miss = model.read_out(rollout(model, z, moves, d)) - y
        assert found[name] == pytest.approx(float((miss**2).mean().sqrt().detach()), rel=1e-12), name


def test_action_use_counts_good_samples_only() -> None:
    model, (values, mask) = trained(), batch(ROWS + 6, good=0.6)
    spoilt = torch.where(mask > 0, values, torch.nan)
    one, other = (action_use(model, shown, mask, torch.Generator().manual_seed(0)) for shown in (values, spoilt))
    assert one == other


def test_a_model_that_is_deaf_to_moves_errs_the_same_over_any() -> None:
    model, (values, mask) = untrained(), batch(ROWS + 6, good=1.0)
    model.B[:, :2] = 0
    assert len(set(action_use(model, values, mask, torch.Generator().manual_seed(0)).values())) == 1


def test_a_model_that_knows_the_plant_errs_more_over_wrong_moves() -> None:
    model, (values, mask) = untrained(), batch(ROWS + 6, good=1.0)
    z = model.encode(Window(values=values[:, :ROWS], mask=mask[:, :ROWS]))
    after = rollout(model, z, values[:, ROWS:, COLUMNS.mv], values[:, ROWS:, COLUMNS.dv])
    values[:, ROWS:, COLUMNS.cv] = model.read_out(after).detach()  # the plant is the model
    found = action_use(model, values, mask, torch.Generator().manual_seed(0))
    assert found["real"] < 1e-12
    assert min(found["shuffled"], found["shifted"], found["held"]) > 0.1
