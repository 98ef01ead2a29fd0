"""Slow rows out of fast ones: means over many samples, and what the fast model's latent knows at the end of each.

A slow model is an ordinary world model on such rows, trained by the same path; the fast latent's leading components
are AUX tags to it. One function makes the rows for training and for planning, so that a planner's history cannot differ
from what was trained on. Slow rows are counted back from the newest fast one: at every tick they end now.

Shapes: T fast rows, S slow ones, C tags, k fast rows in a slow one, n leading components.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import torch

from procmodel.data.dataset import Dataset, Stretch, moment
from procmodel.data.window import Scaler
from procmodel.errors import DatasetError, PlantFileError
from procmodel.plant import Plant
from procmodel.plant.slow import fast_rows, latent_tags, slow_of
from procmodel.world_model.protocol import WorldModel

_AT_ONCE = 2048


def block_means(rows_TC: np.ndarray, rows: int) -> np.ndarray:
    """Means over `rows` rows, [S, C], the last of which ends with the newest row; rows before the first are left out.

    NaN is a gap; a mean of which less than half is good is one too.
    """
    blocks_SkC = rows_TC[len(rows_TC) % rows :].reshape(-1, rows, rows_TC.shape[1])
    good = np.isfinite(blocks_SkC)
    count_SC = good.sum(axis=1)
    sums_SC = np.where(good, blocks_SkC, 0.0).sum(axis=1)
    return np.where(2 * count_SC >= rows, sums_SC / np.maximum(count_SC, 1), np.nan)


@dataclass(frozen=True, kw_only=True)
class SlowRows:
    """Makes the slow rows of one plant.

    Attributes:
        model, scaler: Of the fast layer.
        rows: k.
        latents: n; the strongest states stand first in a `LatentModel`'s latent.
    """

    model: WorldModel
    scaler: Scaler
    rows: int
    latents: int

    @classmethod
    def of(cls, plant: Plant, model: WorldModel, scaler: Scaler) -> SlowRows:
        """As the plant file's `slow` says.

        Raises:
            PlantFileError: The plant file has no slow layer, or asks for more components than the latent has.
        """
        latents = slow_of(plant).latents
        if latents > model.latent_size:
            raise PlantFileError(
                f"slow: latents is {latents}, but the fast model's latent has {model.latent_size} components. Ask for "
                "fewer in the plant file."
            )
        return cls(model=model, scaler=scaler, rows=fast_rows(plant), latents=latents)

    def make(self, rows_TC: np.ndarray) -> np.ndarray:
        """Slow rows [S, C + n] of one run of fast rows [T, C], engineering units, NaN in gaps.

        A slow row that ends before the fast model's window is full has a gap for its latent.
        """
        means_SC = block_means(rows_TC, self.rows)
        latents_Sn = np.full((len(means_SC), self.latents), np.nan)
        ends_S = np.arange(len(rows_TC) % self.rows + self.rows, len(rows_TC) + 1, self.rows)
        known_S = np.flatnonzero(ends_S >= self.model.rows)
        for at in range(0, len(known_S) if self.latents else 0, _AT_ONCE):
            some = known_S[at : at + _AT_ONCE]
            window = self.scaler.window(np.stack([rows_TC[end - self.model.rows : end] for end in ends_S[some]]))
            with torch.no_grad():
                latents_Sn[some] = self.model.encode(window)[:, : self.latents].numpy()
        return np.concatenate([means_SC, latents_Sn], axis=1)

    def dataset(self, dataset: Dataset, plant: Plant) -> Dataset:
        """The record on the slow grid.

        Raises:
            DatasetError: No stretch is as long as a slow row.
        """
        values, good, stretches, begins, at = [], [], list[Stretch](), list[datetime](), 0
        times_T = dataset.times().astype(np.int64)
        for stretch in dataset.stretches:
            if stretch.rows < self.rows:
                continue
            rows = slice(stretch.start, stretch.stop)
            slow_SC = self.make(dataset.values[rows])
            left_out = stretch.rows % self.rows
            share_SC = block_means(dataset.good_fraction[rows], self.rows)
            values.append(slow_SC)
            good.append(np.concatenate([share_SC, np.isfinite(slow_SC[:, share_SC.shape[1] :])], axis=1))
            began = moment(times_T[stretch.start + left_out])
            begins.append(began)
            stretches.append(Stretch(name=stretch.name, start=at, stop=at + len(slow_SC), began=began))
            at += len(slow_SC)
        if not values:
            raise DatasetError(
                f"No stretch of the record is as long as a slow row ({self.rows} samples). Record more, or shorten "
                "slow.row in the plant file."
            )
        return Dataset(
            columns=(*dataset.columns, *latent_tags(plant)),
            values=np.concatenate(values),
            good_fraction=np.concatenate(good).astype(np.float32),
            start=begins[0],
            step=self.rows * dataset.step,
            stretches=tuple(stretches),
            manifest=dataset.manifest,
        )
