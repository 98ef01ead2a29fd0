"""Stepping a recurrent model is running its cell."""

from __future__ import annotations

import pytest
import torch
from latent_fakes import COLUMNS, ROWS, batch
from torch import nn

from procmodel.data.window import Window
from procmodel.world_model.latent_model import forward_fill
from procmodel.world_model.protocol import rollout
from procmodel.world_model.recurrent import GruConfig, GruModel, LstmModel


@pytest.mark.parametrize(("kind", "whole"), [(GruModel, nn.GRU), (LstmModel, nn.LSTM)])
def test_a_rollout_is_one_pass_of_torchs_own_layer(
    kind: type[GruModel] | type[LstmModel], whole: type[nn.GRU] | type[nn.LSTM]
) -> None:
    torch.manual_seed(0)
    model = kind(GruConfig(columns=COLUMNS, rows=ROWS, latent=5)).double()
    layer = whole(3, 5, batch_first=True).double()
    layer.load_state_dict({f"{name}_l0": weight for name, weight in model.cell.state_dict().items()})
    values, mask = batch(ROWS)
    moves = torch.randn(len(values), 7, 3, dtype=torch.float64)
    z_BD = model.encode(Window(values=values, mask=mask))
    _, start = model.encoder(torch.cat([forward_fill(values, mask), mask], dim=-1))
    hidden_BHD, _ = layer(moves, start)
    found = model.read_out(rollout(model, z_BD, moves[..., :2], moves[..., 2:]))
    torch.testing.assert_close(found, model.readout(hidden_BHD))
    assert z_BD.shape == (len(values), model.latent_size)
