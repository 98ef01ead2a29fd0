"""Which models have a cell: bare matrices in place of the graph of their networks."""

from __future__ import annotations

from typing import Any

from procmodel.control.cell import Cell
from procmodel.control.dense_cell import dense_cell_of
from procmodel.control.gated_cell import gated_cell_of
from procmodel.world_model.latent_model import LatentModel
from procmodel.world_model.recurrent import GruModel


def cell_of(model: Any) -> Cell | None:
    """The matrices of a model of a shipped architecture in float64; None for any other."""
    if isinstance(model, LatentModel) and model.A.dtype.itemsize == 8:
        return dense_cell_of(model)
    if isinstance(model, GruModel) and model.cell.weight_hh.dtype.itemsize == 8:
        return gated_cell_of(model)
    return None
