"""Window: the last rows of every tag with their mask, scaled.

Shapes: B batch, L rows of history, C tags (plant column order), U MVs, V DVs, Y CVs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from procmodel.plant import Plant


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Where each role's tags stand among the columns."""

    mv: tuple[int, ...]
    cv: tuple[int, ...]
    dv: tuple[int, ...]
    count: int

    @classmethod
    def of(cls, plant: Plant) -> Self:
        at = {name: i for i, name in enumerate(plant.columns)}
        mv, cv, dv = (tuple(at[name] for name in names) for names in (plant.mvs, plant.cvs, plant.dvs))
        return cls(mv=mv, cv=cv, dv=dv, count=len(at))


@dataclass(frozen=True, kw_only=True)
class Window:
    """The last L grid rows of every tag.

    Attributes:
        values: [B, L, C], scaled; whatever stands where the mask is 0 carries no meaning.
        mask: [B, L, C], 1 where the sample is good, 0 in a gap.
    """

    values: Tensor
    mask: Tensor


@dataclass(frozen=True, kw_only=True)
class Scaler:
    """Centre and spread per tag, fitted on training rows only. `scaled = (value - centre) / spread`.

    Attributes:
        centre, spread: [C], engineering units; spread is above zero.
    """

    centre: np.ndarray
    spread: np.ndarray

    @classmethod
    def fit(cls, values_TC: np.ndarray) -> Self:
        """Mean and standard deviation of the good rows (NaN is a gap); a tag that never moves gets spread 1."""
        if np.isnan(values_TC).all(axis=0).any():
            centre = np.array([np.nanmean(c) if not np.isnan(c).all() else 0.0 for c in values_TC.T])
            spread = np.array([np.nanstd(c) if not np.isnan(c).all() else 1.0 for c in values_TC.T])
        else:
            centre, spread = np.nanmean(values_TC, axis=0), np.nanstd(values_TC, axis=0)
        floor = 1e-9 * np.maximum(np.abs(centre), 1.0)
        return cls(centre=centre, spread=np.where(spread > floor, spread, 1.0))

    def scale(self, values: np.ndarray, columns: tuple[int, ...] | slice = slice(None)) -> np.ndarray:
        """Engineering units to scaled, last axis over `columns`."""
        at = list(columns) if isinstance(columns, tuple) else columns
        return np.asarray((values - self.centre[at]) / self.spread[at])

    def unscale(self, values: np.ndarray, columns: tuple[int, ...] | slice = slice(None)) -> np.ndarray:
        """Scaled to engineering units, last axis over `columns`."""
        at = list(columns) if isinstance(columns, tuple) else columns
        return np.asarray(values * self.spread[at] + self.centre[at])

    def window(self, rows_BLC: np.ndarray, dtype: torch.dtype = torch.float64) -> Window:
        """Rows in engineering units, NaN in gaps, to a window; a single one gets a batch axis."""
        rows = rows_BLC[None] if rows_BLC.ndim == 2 else rows_BLC
        mask = np.isfinite(rows)
        values = np.where(mask, self.scale(rows), 0.0)  # the 0 is hidden by the mask
        return Window(values=torch.as_tensor(values, dtype=dtype), mask=torch.as_tensor(mask, dtype=dtype))
