"""What happens beside training: the last whole epoch is kept, and whoever asked is told how it goes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning

Progress = Callable[[int, int, str], None]
"""Called with steps done, steps in all, and what is being done."""
Log = Callable[[dict[str, float], int], None]
"""Called with curves by name, and the epoch."""


class EachEpoch(lightning.Callback):  # type: ignore[misc]  # Lightning is untyped here
    """Keeps the last whole epoch: written beside and renamed, so that a kill at any moment leaves a whole one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        fresh = self.path.with_suffix(".new")
        trainer.save_checkpoint(fresh)
        if trainer.is_global_zero:
            with fresh.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(fresh, self.path)


class EndsWhenTold(lightning.Callback):  # type: ignore[misc]  # Lightning is untyped here
    """Ends one of several processes at SIGTERM as at Ctrl-C.

    Lightning would have them tell each other of it first, and so wait for one that is gone.
    """

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # Lightning puts the one before back


class Told(lightning.Callback):  # type: ignore[misc]  # Lightning is untyped here
    """Tells progress and curves to whoever asked.

    Args:
        before, total: Steps done by earlier members, and of all members together.
        seed: Names the member.

    Attributes:
        curves: By name, one value per epoch; those of epochs before a stop come back with the checkpoint.
    """

    def __init__(self, progress: Progress | None, log: Log | None, before: int, total: int, seed: int) -> None:
        self.progress, self.curve_log, self.before, self.total, self.seed = progress, log, before, total, seed
        self.curves: dict[str, list[float]] = {}

    def on_train_batch_end(self, trainer: lightning.Trainer, *args: Any) -> None:
        if self.progress:
            self.progress(self.before + trainer.global_step, self.total, f"training, seed {self.seed}")

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        for name, value in figures.items():
            self.curves.setdefault(name, []).append(value)
        if self.curve_log:
            named = {f"member-{self.seed}/{name}": value for name, value in figures.items()}
            self.curve_log(named, trainer.current_epoch)

    def state_dict(self) -> dict[str, Any]:
        return {"curves": self.curves}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.curves = state_dict["curves"]
