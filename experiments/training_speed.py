"""How much of the time of a training is the training? Windows per second of the whole thing, against its parts.

Three ways to spend the same number of batches on the same model, one after the other in each repeat:

- `training`: what `procmodel train` does: Lightning, batches cut by index, curves, validation, a checkpoint per epoch.
- `one preloaded batch`: the bare arithmetic: objective, gradient, clipping, optimizer, on a batch that is there.
- `per-window loader`: the same training, but each window is an item of a dataset that a DataLoader collates.

And the two ways to make batches alone, without a model: there a loader's cost is seen whole.

Seconds are those of the processor, all threads together: on a machine that others use too, the clock on the wall says
more about them. With a GPU they are the clock's, and `training_gpu.py` says what share of its arithmetic is used.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np
import pytorch_lightning as lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from experiments.contract import Outcome, run_experiment
from procmodel.data.dataset import Stretch
from procmodel.data.window import Columns, Scaler
from procmodel.data.windows import Windows
from procmodel.training.callbacks import EachEpoch, Told
from procmodel.training.feed import Batch, Feed
from procmodel.training.module import Fit
from procmodel.training.settings import Settings
from procmodel.training.step import Loss, Step, recorded
from procmodel.world_model.latent_model import LatentModel, ModelConfig
from procmodel.world_model.objective import Weights

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
TAGS = Columns(mv=(0, 1), cv=(2, 3, 4, 5), dv=(6, 7), count=12)
ROWS = 50_000
SEED = 0
SETTINGS = Settings(
    rows=31, rollout=30, horizon=60, feedback=False, latent=16, hidden=64, epochs=1, batches=60, batch=128,
    learning_rate=2e-3, weights=Weights(), seed=SEED,
)  # fmt: skip
"""The defaults of the plant file, one short epoch of them; the free run of 30 rows that `rollout: auto` takes where
moves are no feedback. `ONE_ROW` is what it takes where they are: the cheapest model, so the dearest feed."""
ONE_ROW = replace(SETTINGS, rollout=1, batches=100, weights=Weights(shrink=10.0))


class PerWindow(Dataset[Batch]):
    """One item per window, as most code has it."""

    def __init__(self, windows: Windows, starts_N: Tensor, length: int) -> None:
        self.values, self.mask, self.starts_N, self.length = windows.values, windows.mask, starts_N, length

    def __len__(self) -> int:
        return len(self.starts_N)

    def __getitem__(self, index: int) -> Batch:
        start = int(self.starts_N[index])
        return self.values[start : start + self.length], self.mask[start : start + self.length]


class PerWindowFeed(Feed):
    """Training batches from a dataset of windows, as many as the feed gives."""

    def train_dataloader(self) -> DataLoader[Batch]:
        epoch = self.epochs
        items = PerWindow(epoch.windows, epoch.starts_N, epoch.settings.rows + epoch.settings.rollout)
        return DataLoader(items, batch_size=epoch.settings.batch, shuffle=True, drop_last=True)


def record() -> tuple[Windows, Stretch, Stretch]:
    """A record of noise with gaps: speed does not ask what it means."""
    rng = np.random.default_rng(SEED)
    rows = rng.normal(size=(ROWS, TAGS.count)).cumsum(axis=0) * 0.01
    rows[rng.random(rows.shape) < 0.01] = np.nan
    cut = int(0.85 * ROWS)
    windows = Windows(rows, Scaler.fit(rows[:cut]), TAGS)
    return windows, Stretch(name="train", start=0, stop=cut), Stretch(name="held", start=cut + 100, stop=ROWS)


def fresh(settings: Settings) -> LatentModel:
    torch.manual_seed(SEED)
    sizes = ModelConfig(
        columns=TAGS,
        rows=settings.rows,
        lags=settings.rows - 1,
        state=8,
        latent=settings.latent,
        hidden=settings.hidden,
    )
    return LatentModel(sizes)


def trained(feed: Feed, settings: Settings) -> float:
    """Windows per second of a whole training, from its first batch to its last checkpoint."""
    began: list[float] = []

    class FirstBatch(lightning.Callback):  # type: ignore[misc]  # Lightning is untyped here
        def on_train_batch_start(self, *args: Any) -> None:
            if not began:
                began.append(now())

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        told = Told(lambda done, total, what: None, lambda curves, epoch: None, 0, 1, SEED)
        trainer = lightning.Trainer(
            max_epochs=settings.epochs, limit_train_batches=settings.batches, accelerator="auto", devices=1,
            gradient_clip_val=1.0, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, num_sanity_val_steps=0, reload_dataloaders_every_n_epochs=1,
            use_distributed_sampler=False, callbacks=[FirstBatch(), told, EachEpoch(Path(folder) / "epoch.ckpt")],
        )  # fmt: skip
        trainer.fit(Fit(fresh(settings), settings), feed)
    return settings.epochs * settings.batches * settings.batch / (now() - began[0])


def bare(batch: Batch, settings: Settings, *, record: bool = True) -> float:
    """Windows per second of the arithmetic alone, on a GPU recorded as a graph, as the training is."""
    fit = Fit(fresh(settings).to(DEVICE), settings)
    optimizer = torch.optim.AdamW(fit.model.parameters(), lr=settings.learning_rate, weight_decay=1e-4, fused=ON_GPU)
    batch = batch[0].to(DEVICE), batch[1].to(DEVICE)
    loss: Step = Loss(fit.model, fit.companions, fit.stage, rough=settings.half and ON_GPU)
    if ON_GPU and record:
        loss = recorded(cast(Loss, loss), *batch)
    count = settings.epochs * settings.batches
    began = now()
    for _ in range(count):
        optimizer.zero_grad()
        loss(*batch)[0].backward()
        torch.nn.utils.clip_grad_norm_(fit.model.parameters(), 1.0)
        optimizer.step()
    return count * settings.batch / (now() - began)


def now() -> float:
    """Seconds of the processor; with a GPU of the clock, when it has done all that it was asked for."""
    if ON_GPU:
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def fed(batches: Iterator[Batch], count: int, size: int) -> float:
    """Windows per second of the batches alone."""
    next(batches)
    began = now()
    for _ in range(count):
        next(batches)
    return count * size / (now() - began)


def endless(feed: Feed) -> Iterator[Batch]:
    while True:
        yield from feed.train_dataloader()


def measured(settings: Settings, repeats: int) -> dict[str, Any]:
    """Windows per second of each way, repeat by repeat, and their medians; ratios are medians of ratios in a repeat."""
    windows, train, held = record()
    feed, items = (kind(windows, [train], [held], settings) for kind in (Feed, PerWindowFeed))
    feed.trainer = items.trainer = None
    preloaded = next(endless(feed))
    ways: dict[str, Callable[[], float]] = {
        "training": lambda: trained(feed, settings),
        "one preloaded batch": lambda: bare(preloaded, settings),
        "per-window loader": lambda: trained(items, settings),
        "batches of the feed alone": lambda: fed(endless(feed), 60, settings.batch),
        "batches of the per-window loader alone": lambda: fed(endless(items), 60, settings.batch),
    }
    runs: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            runs[name].append(way())

    def ratio(one: str, other: str) -> float:
        return median(a / b for a, b in zip(runs[one], runs[other], strict=True))

    return {
        "windows_per_second": {name: median(values) for name, values in runs.items()},
        "repeats": runs,
        "share_of_preloaded": ratio("training", "one preloaded batch"),
        "training_over_per_window_loader": ratio("training", "per-window loader"),
        "feed_over_per_window_loader": ratio("batches of the feed alone", "batches of the per-window loader alone"),
    }


def study(quick: bool) -> Outcome:
    """Windows per second of training, against one preloaded batch and against a per-window loader."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)  # its banners are not about speed
    repeats = 1 if quick else 7
    short = {"epochs": 1, "batches": 5} if quick else {}
    table = {
        "free run of 30 rows": measured(replace(SETTINGS, **short), repeats),
        "one row": measured(replace(ONE_ROW, **short), repeats),
    }
    main = table["free run of 30 rows"]
    return Outcome(
        values={
            "share_of_preloaded": main["share_of_preloaded"],
            "speed_over_dataloader": main["feed_over_per_window_loader"],
        },
        results={
            "tables": table,
            "settings": SETTINGS.to_dict(),
            "parameters": sum(p.numel() for p in fresh(SETTINGS).parameters()),
        },
        seeds=[SEED],
        lines=[
            f"{name:20} {way:40} {rate:12.0f} windows/s"
            for name, one in table.items()
            for way, rate in one["windows_per_second"].items()
        ],
    )


if __name__ == "__main__":
    sys.exit(run_experiment("training_speed", study))
