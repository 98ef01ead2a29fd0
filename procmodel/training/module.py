"""The Lightning side of training: it calls the objective and does no arithmetic of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytorch_lightning as lightning
import torch
from torch import Tensor

from procmodel.errors import CollapsedError
from procmodel.training.feed import Batch, share
from procmodel.training.settings import Settings
from procmodel.training.stages import Stage, stage_of, stages
from procmodel.training.step import Loss, Step, recorded
from procmodel.world_model.diagnostics import effective_rank
from procmodel.world_model.latent_model import LatentModel

ANCHOR_EVERY = 4
"""Batches from one anchor term to the next: its long free runs cost ten times the rest."""
LEAST_SPREAD = 0.05
LEAST_RANK = 2.0


class Fit(lightning.LightningModule):  # type: ignore[misc]  # Lightning is untyped here
    """Trains a `LatentModel` with the settings' objective."""

    def __init__(self, model: LatentModel, settings: Settings) -> None:
        super().__init__()
        self.model, self.settings = model, settings
        masked = any(stage.masked for stage in stages(settings))
        self.companions = settings.weights.companions(model, masked=masked)
        self._seen: dict[str, list[Tensor]] = {}
        self._steps: dict[tuple[Stage, bool], tuple[Loss, Step]] = {}
        self._pool: object | None = None

    @property
    def stage(self) -> Stage:
        return stage_of(self.settings, self.current_epoch)

    def on_train_epoch_start(self) -> None:
        self._seen = {}

    def training_step(self, batch: Batch, index: int) -> Tensor:
        weights = self.settings.weights
        is_held = bool(weights.anchor or weights.level)
        loss, step = self._step(batch, anchored=is_held and index % ANCHOR_EVERY == 0)
        total, terms = step(*batch)
        for term, value in zip(loss.names, terms.clone(), strict=True):
            self._seen.setdefault(term, []).append(value)
        if index + 1 == self.settings.batches:
            # Once an epoch: Lightning's book-keeping of six terms a batch took as long as a small model's gradient.
            for term, values in self._seen.items():
                self.log(f"train/{term}", torch.stack(values).mean(), on_step=False, on_epoch=True, sync_dist=True)
        return total

    def _step(self, batch: Batch, *, anchored: bool) -> tuple[Loss, Step]:
        """What a batch goes through; on a single GPU a graph of it, recorded at its first one."""
        stage = self.stage
        if (stage, anchored) not in self._steps:
            loss = self._loss(stage, anchored=anchored)
            # Several processes exchange within a step; and masked windows are drawn anew, by numbers from the host.
            if batch[0].is_cuda and self.trainer.world_size == 1 and not stage.masked:
                self._pool = self._pool or torch.cuda.graph_pool_handle()
                self._steps[stage, anchored] = loss, recorded(loss, *batch, pool=self._pool)
            else:
                self._steps[stage, anchored] = loss, loss
        return self._steps[stage, anchored]

    def on_fit_end(self) -> None:
        self._steps.clear()  # recorded steps keep the memory of a whole batch

    def on_after_backward(self) -> None:
        parts = self.stage.parts
        for name, weight in self.model.named_parameters():
            if name.split(".")[0] not in parts:
                weight.grad = None  # not zero: weight decay and momentum would move it

    def on_train_batch_end(self, *args: Any) -> None:
        self.companions.follow(self.model, self.global_step / (self.settings.epochs * self.settings.batches))

    def validation_step(self, batch: Batch, index: int) -> None:
        loss = self._loss(replace(self.stage, masked=False), anchored=False)
        _, terms = loss(share(batch[0]), share(batch[1]))
        for term, value in zip(loss.names, terms, strict=True):
            self.log(f"validation/{term}", value, on_step=False, on_epoch=True, sync_dist=True)
        z_BD = self.model.encode_rows(batch[0][:, : self.model.rows], batch[1][:, : self.model.rows])
        rank = effective_rank(z_BD[:, self.model.config.state :])
        self.log("validation/effective_rank", rank)

    def _loss(self, stage: Stage, *, anchored: bool) -> Loss:
        return Loss(
            self.model,
            self.companions,
            stage,
            anchor_steps=self.settings.horizon if anchored else 0,
            rough=self.settings.half and self.device.type == "cuda",
            idle=len(stages(self.settings)) > 1,
        )

    def configure_optimizers(self) -> Any:
        settings = self.settings
        learn = [weight for weight in self.parameters() if weight.requires_grad]
        fused = self.device.type == "cuda"  # all weights in one kernel
        optimizer = torch.optim.AdamW(learn, lr=settings.learning_rate, weight_decay=1e-4, fused=fused)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 2 * settings.learning_rate, total_steps=settings.epochs * settings.batches + 1
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        checkpoint["random"] = {"cpu": torch.get_rng_state(), "gpus": gpus}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A resumed run draws the directions of SIGReg that it would have drawn."""
        torch.set_rng_state(checkpoint["random"]["cpu"].cpu())
        if torch.cuda.is_available():
            gpus = checkpoint["random"]["gpus"][: torch.cuda.device_count()]
            torch.cuda.set_rng_state_all([state.cpu() for state in gpus])


def require_alive(model: LatentModel, z_ND: Tensor) -> dict[str, float]:
    """Spread and effective rank of the learned part of the latent.

    Raises:
        CollapsedError: Its dimensions carry (next to) nothing, or are no numbers.
    """
    s_NS = z_ND[:, model.config.state :]
    spread, rank = float(s_NS.std(dim=0).mean()), float(effective_rank(s_NS))
    if not (torch.isfinite(z_ND).all() and all(torch.isfinite(p).all() for p in model.parameters())):
        raise CollapsedError(
            "Training diverged: the latent is not a finite number any more. Lower training.learning_rate in the plant "
            "file; nothing was stored."
        )
    if spread < LEAST_SPREAD or rank < min(LEAST_RANK, 0.9 * model.config.latent):
        raise CollapsedError(
            f"The learned latent has collapsed: mean spread {spread:.3g} (healthy: about 1), effective rank {rank:.2g} "
            f"of {model.config.latent}. Raise training.sigreg in the plant file; nothing was stored."
        )
    return {"spread": spread, "effective_rank": rank}
