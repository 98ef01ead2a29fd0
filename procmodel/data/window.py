"""Window: the last rows of every tag with their mask, scaled.

Shapes: B batch, L rows of history, C tags (plant column order), U MVs, V DVs, Y CVs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from procmodel.plant import Plant

STEEPEST = 0.25
"""Slope of the unit by a bent scale, over that at the centre, at which the scale goes on straight [-]."""
NEAREST = STEEPEST**2
"""There, the distance from the end that the root is drawn from, over that of the centre [-]."""


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
    """Centre and spread per tag, fitted on training rows only, and for some CVs a scale that is a root.

    With `z = (value - centre) / spread` a straight tag's scaled value s is z. A bent one's is the root of its distance
    from one end of its instrument's range, so drawn that value and slope at the centre are those of z:

        z = s + bend s^2 / 2,    bend = spread / (2 * distance of the centre from that end), negative for the high end.

    Nearer to that end than `NEAREST` of the centre's distance it goes on straight: no scale has more than four times
    the centre's slope, and no forecast is without a number.

    Attributes:
        centre, spread: [C], engineering units; spread is above zero.
        bend: [C], 0 where a tag is straight [-]; None where all are.
    """

    centre: np.ndarray
    spread: np.ndarray
    bend: np.ndarray | None = None

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

    @property
    def straight(self) -> Scaler:
        """The same without roots, for models that are linear in engineering units by what they are."""
        return replace(self, bend=None)

    def roots(self) -> dict[int, float]:
        """Columns whose scale is a root, and the end of the range that it is drawn from [unit]."""
        if self.bend is None:
            return {}
        return {
            int(at): float(self.centre[at] - self.spread[at] / (2.0 * self.bend[at]))
            for at in np.flatnonzero(self.bend)
        }

    def scale(self, values: np.ndarray, columns: tuple[int, ...] | slice = slice(None)) -> np.ndarray:
        """Engineering units to scaled, last axis over `columns`."""
        at = list(columns) if isinstance(columns, tuple) else columns
        z = np.asarray((values - self.centre[at]) / self.spread[at])
        return z if self.bend is None else bent(z, self.bend[at])

    def unscale(self, values: np.ndarray, columns: tuple[int, ...] | slice = slice(None)) -> np.ndarray:
        """Scaled to engineering units, last axis over `columns`."""
        at = list(columns) if isinstance(columns, tuple) else columns
        z = values if self.bend is None else unbent(values, self.bend[at])
        return np.asarray(z * self.spread[at] + self.centre[at])

    def slope(self, values: np.ndarray, columns: tuple[int, ...]) -> np.ndarray:
        """Derivative of `unscale` at scaled values [unit], of their shape."""
        at = list(columns)
        if self.bend is None:
            return np.broadcast_to(self.spread[at], np.shape(values))
        return np.asarray(self.spread[at] * np.maximum(1.0 + self.bend[at] * values, STEEPEST))

    def curve(self, values: np.ndarray, columns: tuple[int, ...]) -> np.ndarray:
        """Second derivative of `unscale` at scaled values [unit], of their shape."""
        at = list(columns)
        if self.bend is None:
            return np.zeros(np.shape(values))
        bend = self.bend[at]
        return np.where(1.0 + bend * values > STEEPEST, self.spread[at] * bend, 0.0)

    def window(self, rows_BLC: np.ndarray, dtype: torch.dtype = torch.float64) -> Window:
        """Rows in engineering units, NaN in gaps, to a window; a single one gets a batch axis."""
        rows = rows_BLC[None] if rows_BLC.ndim == 2 else rows_BLC
        mask = np.isfinite(rows)
        values = np.where(mask, self.scale(rows), 0.0)  # the 0 is hidden by the mask
        return Window(values=torch.as_tensor(values, dtype=dtype), mask=torch.as_tensor(mask, dtype=dtype))


def bent(z: np.ndarray, bend: np.ndarray) -> np.ndarray:
    """A straight scale's value on a bent one (see `Scaler`)."""
    distance = 1.0 + 2.0 * bend * z
    root = np.sqrt(np.maximum(distance, NEAREST))
    beyond = (STEEPEST + (distance - NEAREST) / (2.0 * STEEPEST) - 1.0) / np.where(bend == 0.0, 1.0, bend)
    return np.asarray(np.where(distance >= NEAREST, 2.0 * z / (1.0 + root), beyond))


def unbent(values: np.ndarray, bend: np.ndarray) -> np.ndarray:
    """The way back."""
    beyond = np.minimum(1.0 + bend * values - STEEPEST, 0.0)
    return np.asarray(values * (1.0 + 0.5 * bend * values) - beyond**2 / np.where(bend == 0.0, 1.0, 2.0 * bend))
