"""Windows: a scaled dataset as one contiguous tensor, from which whole batches are cut by index.

No object stands for a single window, so a million of them cost nothing. Where it fits, the tensor lives on the GPU.
Shapes: T rows, C tags, N windows, B batch.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.window import Columns, Scaler, Window
from procmodel.errors import DatasetError
from procmodel.plant.words import many


class Windows:
    """All rows of a dataset, scaled, with their mask beside them.

    Args:
        rows_TC: Engineering units, NaN in gaps.
        scaler: Fitted on training rows.
        columns: Which of them are MVs and CVs; only these decide whether a window is good enough.
        device: Where the tensor lives.
        dtype: Of values and mask.
    """

    def __init__(
        self,
        rows_TC: np.ndarray,
        scaler: Scaler,
        columns: Columns,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        mask_TC = np.isfinite(rows_TC)
        scaled_TC = np.where(mask_TC, scaler.scale(rows_TC), 0.0)  # the 0 is hidden by the mask
        both_TC = np.concatenate([scaled_TC, mask_TC], axis=1)
        self._both = torch.as_tensor(both_TC, dtype=dtype).contiguous().to(device)
        self._count = rows_TC.shape[1]
        led = [*columns.mv, *columns.cv]
        # Good MV and CV cells before each row: a window's share is then one difference.
        self._good_before = np.concatenate([[0.0], mask_TC[:, led].mean(axis=1).cumsum()])

    @classmethod
    def of(cls, dataset: Dataset, scaler: Scaler, columns: Columns, *, device: torch.device | str = "cpu") -> Self:
        """The whole dataset; parts are told apart by the stretches asked for in `starts`."""
        return cls(dataset.values, scaler, columns, device=device)

    @property
    def values(self) -> Tensor:
        """[T, C], scaled; 0 where the mask is 0."""
        return self._both[:, : self._count]

    @property
    def mask(self) -> Tensor:
        """[T, C], 1 where good."""
        return self._both[:, self._count :]

    @property
    def device(self) -> torch.device:
        return self._both.device

    @property
    def nbytes(self) -> int:
        """What they take on a device [B]."""
        return self._both.nbytes

    def to(self, device: torch.device | str) -> Self:
        """The same rows on another device."""
        there = copy.copy(self)
        there._both = self._both.to(device)
        return there

    def starts(self, stretches: Sequence[Stretch], length: int, min_good: float = 0.8) -> Tensor:
        """First rows of all windows of `length` that lie within one stretch, [N] int64, rising.

        Args:
            min_good: Least share of good cells among the MVs and CVs of a window [-].

        Raises:
            DatasetError: There is none.
        """
        found = [np.arange(s.start, s.stop - length + 1) for s in stretches if s.rows >= length]
        starts_N = np.concatenate(found) if found else np.empty(0, dtype=np.int64)
        good_N = (self._good_before[starts_N + length] - self._good_before[starts_N]) / length
        # A sum of many shares is off by rounding; a whole window must not fail min_good = 1 by that.
        kept_N = starts_N[good_N >= min_good - 1e-9]
        if not len(kept_N):
            longest = max((s.rows for s in stretches), default=0)
            raise DatasetError(
                f"No window of {length} rows: the longest of {many(len(stretches), 'stretch')} has "
                f"{many(longest, 'row')}, and of {many(len(starts_N), 'window')} that fit none has "
                f"{min_good:.0%} good cells among the MVs and CVs. Shorten training.window, or see with "
                "'procmodel ingest --json' which tags have gaps."
            )
        return torch.as_tensor(kept_N, dtype=torch.int64, device=self.device)

    def batch(self, starts_B: Tensor, length: int) -> Window:
        """Windows [B, length, C] from these rows on, in one gather."""
        rows, width = self._both.shape
        # Row r of this view is rows r to r + length of the tensor, laid end to end: no copy is made until the gather.
        runs = self._both.as_strided((rows - length + 1, length * width), (width, 1))
        both = runs.index_select(0, starts_B.to(self.device)).view(len(starts_B), length, width)
        return Window(values=both[..., : self._count], mask=both[..., self._count :])

    def sampler(self, starts_N: Tensor, rng: np.random.Generator, batch: int) -> Iterator[Tensor]:
        """Endless batches of starts [B]: every start once in random order, then again in another order.

        The order depends on `rng` alone, on whichever device the starts live.
        """
        left = starts_N[:0]
        while True:
            while len(left) < batch:  # a whole order at a time: a transfer per batch would make the device wait
                order = torch.as_tensor(rng.permutation(len(starts_N)), device=starts_N.device)
                left = torch.cat([left, starts_N[order]])
            chosen, left = left[:batch], left[batch:]
            yield chosen


def scaled_runs(
    dataset: Dataset, scaler: Scaler, columns: Columns, stretches: Sequence[Stretch]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per stretch, CVs [T, Y] and inputs (MVs, then DVs) [T, V], scaled, NaN in gaps, as least squares takes them."""
    cvs, inputs = list(columns.cv), [*columns.mv, *columns.dv]
    rows = [scaler.scale(dataset.values[s.start : s.stop]) for s in stretches]
    return [(rows_TC[:, cvs], rows_TC[:, inputs]) for rows_TC in rows]
