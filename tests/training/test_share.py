"""What is kept of a network: all of it, none of it, or no less than declared signs need."""

from __future__ import annotations

import copy

import pytest
import torch
from latent_fakes import COLUMNS, ROWS, STATES, batch, trained
from torch import Tensor

from procmodel.training.share import settle
from procmodel.world_model.answers import Backbone, step_answers
from procmodel.world_model.latent_model import LatentModel
from procmodel.world_model.protocol import rollout

AHEAD = 6


def windows_of(model: LatentModel, share: float) -> tuple[Tensor, Tensor]:
    """Windows whose CVs go on as the model says with that share of its network."""
    values, mask = batch(ROWS + AHEAD, size=40, good=1.0)
    some = copy.deepcopy(model)
    some.keep(share)
    with torch.no_grad():
        z = some.encode_rows(values[:, :ROWS], mask[:, :ROWS])
        run = rollout(some, z, values[:, ROWS:, COLUMNS.mv], values[:, ROWS:, COLUMNS.dv])
        values[:, ROWS:, list(COLUMNS.cv)] = some.read_out(run)
    return values, mask


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_that_foretells_the_held_back_rows_is_kept(share: float) -> None:
    model = trained(products=True)
    values, mask = windows_of(model, share)
    assert settle(model, values, mask) == share
    z = model.encode_rows(values[:, :ROWS], mask[:, :ROWS])
    run = rollout(model, z, values[:, ROWS:, COLUMNS.mv], values[:, ROWS:, COLUMNS.dv])
    torch.testing.assert_close(model.read_out(run), values[:, ROWS:, list(COLUMNS.cv)])


@pytest.mark.parametrize(("left", "kept"), [(0.05, 1.0), (0.005, 0.0)])
def test_a_network_is_kept_only_if_it_takes_a_fiftieth_off_the_error(left: float, kept: float) -> None:
    """Rows that neither way foretells well: what the network is right about is that share of the squared error."""
    model = trained(products=True)
    ends = []
    for share in (0.0, 1.0):
        values, mask = windows_of(model, share)
        ends.append(values[:, ROWS:, list(COLUMNS.cv)])
    gap = (ends[1] - ends[0]).flatten(0, 1)
    # As far beyond the network's end, across from the other, as makes its part that share of each CV's error.
    across = torch.randn(gap.shape, generator=torch.Generator().manual_seed(0), dtype=gap.dtype)
    across -= gap * (across * gap).sum(dim=0) / (gap**2).sum(dim=0)
    across *= ((gap**2).sum(dim=0) * (1.0 - left) / left / (across**2).sum(dim=0)).sqrt()
    values[:, ROWS:, list(COLUMNS.cv)] = ends[1] + across.view_as(ends[1])
    assert settle(model, values, mask) == kept


def test_a_network_that_misses_more_of_the_next_row_goes_whatever_free_runs_say() -> None:
    model = trained(products=True)
    alone, mask = windows_of(model, 0.0)
    values, _ = windows_of(model, 1.0)
    assert settle(copy.deepcopy(model), values, mask) == 1.0
    values[:, ROWS] = alone[:, ROWS]
    assert settle(model, values, mask) == 0.0


def test_without_its_network_a_model_is_what_least_squares_found_and_its_learned_part_stays() -> None:
    model = trained(products=True)
    before = copy.deepcopy(model)
    model.keep(0.0)
    z, u, d = torch.randn(5, 7).double(), torch.randn(5, 2).double(), torch.randn(5, 1).double()
    after = model.step(z, u, d)
    torch.testing.assert_close(after[:, :STATES], Backbone(model).step(z[:, :STATES], u, d))
    torch.testing.assert_close(model.read_out(z), Backbone(model).read_out(z[:, :STATES]))
    assert torch.equal(after[:, STATES:], before.step(z, u, d)[:, STATES:])


def test_a_network_that_declared_signs_need_is_kept() -> None:
    model = trained()
    values, mask = windows_of(model, 0.0)
    z, u, d = (
        model.encode_rows(values[:, :ROWS], mask[:, :ROWS]),
        values[:, ROWS - 1, COLUMNS.mv],
        values[:, ROWS - 1, COLUMNS.dv],
    )
    own = step_answers(model, z, u, d, AHEAD, 0.5)[:, :, -1]
    alone = step_answers(Backbone(model), z[:, :STATES], u, d, AHEAD, 0.5)[:, :, -1]
    # The pair that the network moves most is declared as the network has it.
    gap = (own.mean(dim=0) - alone.mean(dim=0)).detach()
    mv, cv = divmod(int(gap.abs().argmax()), gap.shape[1])
    declared = torch.zeros(2, 2)
    declared[mv, cv] = torch.sign(gap[mv, cv])
    with torch.no_grad():  # what least squares found has that sign wrong
        model.offset.zero_()
        model.B[:, mv] -= 2.0 * gap[mv, cv] * torch.linalg.pinv(model.C)[:, cv]
    assert settle(copy.deepcopy(model), values, mask, declared, ends=AHEAD) == 1.0


@pytest.mark.parametrize("guarded", [True, False])
def test_a_network_that_contradicts_declared_signs_goes_whatever_rows_it_foretells(guarded: bool) -> None:
    model = trained()
    values, mask = windows_of(model, 1.0)
    z, held = model.encode_rows(values[:, :ROWS], mask[:, :ROWS]), values[:, ROWS - 1]
    alone = step_answers(Backbone(model), z[:, :STATES], held[:, COLUMNS.mv], held[:, COLUMNS.dv], AHEAD, 0.5)[:, :, -1]
    declared = torch.sign(alone.mean(dim=0)).detach()
    assert settle(copy.deepcopy(model), values, mask, guarded=guarded, ends=AHEAD) == 1.0
    assert settle(model, values, mask, declared, guarded=guarded, ends=AHEAD) < 1.0


def test_without_held_back_windows_nothing_is_taken_away() -> None:
    model = trained()
    before = copy.deepcopy(model)
    values, mask = windows_of(model, 0.0)
    assert settle(model, values[:0], mask[:0]) == 1.0
    assert torch.equal(model.head[-1].weight, before.head[-1].weight)
