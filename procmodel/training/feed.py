"""Batches for training: cut by index out of one contiguous tensor, and shared out among the processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytorch_lightning as lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from procmodel.data.dataset import Stretch
from procmodel.data.windows import Windows
from procmodel.training.settings import Settings

Batch = tuple[Tensor, Tensor]
"""Values and mask, [B, L + K, C], scaled."""


class _Epoch(IterableDataset[Batch]):
    """So many batches; the order depends on seed and epoch alone, so a resumed run sees what it would have.

    Every process draws the same batch and takes its share of it: several processes see what one would.
    """

    def __init__(self, windows: Windows, starts_N: Tensor, settings: Settings) -> None:
        self.windows, self.starts_N, self.settings = windows, starts_N, settings
        self.epoch = 0

    def __iter__(self) -> Iterator[Batch]:
        assert get_worker_info() is None, "batches are cut in the training process; workers would repeat them"
        rng = np.random.default_rng([self.settings.seed, self.epoch, 0])
        length = self.settings.length
        chosen = self.windows.sampler(self.starts_N, rng, self.settings.batch)
        for _ in range(self.settings.batches):
            window = self.windows.batch(share(next(chosen)), length)
            yield window.values, window.mask

    def __len__(self) -> int:
        return self.settings.batches


def share(rows_B: Tensor) -> Tensor:
    """Of what all processes hold alike, this one's part: as many for each, so a mean of their means is that of all."""
    if not torch.distributed.is_initialized() or len(rows_B) < torch.distributed.get_world_size():
        return rows_B
    count = torch.distributed.get_world_size()
    return rows_B[torch.distributed.get_rank() :: count][: len(rows_B) // count]


class Feed(lightning.LightningDataModule):  # type: ignore[misc]  # Lightning is untyped here
    """Training batches and one fixed validation batch.

    Attributes:
        held: Validation windows, evenly over the held-back rows.
        seen: As many training windows, evenly over the training rows: a calm end of the record says nothing of the
            spread of a latent.
    """

    def __init__(
        self, windows: Windows, train: Sequence[Stretch], validation: Sequence[Stretch], settings: Settings
    ) -> None:
        super().__init__()
        length = settings.length
        starts = windows.starts(train, length)
        self.epochs = _Epoch(windows, starts, settings)
        self.held = _evenly(windows, windows.starts(validation, length), length)
        self.seen = _evenly(windows, starts, length)

    def setup(self, stage: str) -> None:
        """The rows move to the GPU, where they leave it half of its memory and more."""
        device = self.trainer.strategy.root_device
        if device.type == "cuda" and 2 * self.epochs.windows.nbytes < torch.cuda.mem_get_info(device)[0]:
            self.epochs.windows = self.epochs.windows.to(device)
            self.epochs.starts_N = self.epochs.starts_N.to(device)

    def train_dataloader(self) -> DataLoader[Batch]:
        if self.trainer is not None:
            self.epochs.epoch = self.trainer.current_epoch
        return DataLoader(self.epochs, batch_size=None)

    def val_dataloader(self) -> DataLoader[Batch]:
        return DataLoader([self.held], batch_size=None)  # type: ignore[arg-type]  # a list is a dataset


def _evenly(windows: Windows, starts_N: Tensor, length: int, most: int = 512) -> Batch:
    some = starts_N[torch.linspace(0, len(starts_N) - 1, min(len(starts_N), most)).long()]
    window = windows.batch(some, length)
    return window.values, window.mask
