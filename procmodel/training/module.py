"""The Lightning side of training: it calls the objective and does no arithmetic of its own."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as lightning
import torch
from torch import Tensor

from procmodel.errors import CollapsedError
from procmodel.training.feed import Batch
from procmodel.training.settings import Settings
from procmodel.training.stages import Stage, stage_of, stages
from procmodel.world_model.diagnostics import effective_rank
from procmodel.world_model.latent_model import LatentModel
from procmodel.world_model.objective import RARE, Losses, masked_objective, objective

ANCHOR_EVERY = 4
"""Batches from one anchor term to the next: its long free runs cost ten times the rest."""
LEAST_SPREAD = 0.05
LEAST_RANK = 2.0


class Fit(lightning.LightningModule):  # type: ignore[misc]  # Lightning is untyped here
    """Trains a `LatentModel` with the settings' objective."""

    declared_UY: Tensor

    def __init__(self, model: LatentModel, settings: Settings) -> None:
        super().__init__()
        self.model, self.settings = model, settings
        masked = any(stage.masked for stage in stages(settings))
        self.companions = settings.weights.companions(model, masked=masked)
        self.register_buffer("declared_UY", torch.tensor(settings.signs, dtype=torch.float32), persistent=False)
        self._seen: dict[str, list[Tensor]] = {}

    @property
    def stage(self) -> Stage:
        return stage_of(self.settings, self.current_epoch)

    def on_train_epoch_start(self) -> None:
        self._seen = {}

    def training_step(self, batch: Batch, index: int) -> Tensor:
        anchored, stage = index % ANCHOR_EVERY == 0, self.stage
        if stage.masked:
            losses = masked_objective(self.model, *batch, stage.weights, self.companions)
        else:
            losses = self._losses(batch, anchored=anchored)
        for term, value in losses.terms().items():
            if term not in RARE or anchored:  # a term that was left out is no zero
                self._seen.setdefault(term, []).append(value.detach())
        if index + 1 == self.settings.batches:
            # Once an epoch: Lightning's book-keeping of six terms a batch took as long as a small model's gradient.
            for term, values in self._seen.items():
                self.log(f"train/{term}", torch.stack(values).mean(), on_step=False, on_epoch=True)
        if len(stages(self.settings)) == 1:
            return losses.total
        # Several processes wait for every weight's gradient, those of parts at rest as well.
        idle = sum((weight.sum() for weight in self.parameters() if weight.requires_grad), losses.total.new_zeros(()))
        return losses.total + 0.0 * idle

    def on_after_backward(self) -> None:
        parts = self.stage.parts
        for name, weight in self.model.named_parameters():
            if name.split(".")[0] not in parts:
                weight.grad = None  # not zero: weight decay and momentum would move it

    def on_train_batch_end(self, *args: Any) -> None:
        self.companions.follow(self.model, self.global_step / (self.settings.epochs * self.settings.batches))

    def validation_step(self, batch: Batch, index: int) -> None:
        for term, value in self._losses(batch, anchored=False).terms().items():
            if term not in RARE:
                self.log(f"validation/{term}", value, on_step=False, on_epoch=True, sync_dist=True)
        z_BD = self.model.encode_rows(batch[0][:, : self.model.rows], batch[1][:, : self.model.rows])
        rank = effective_rank(z_BD[:, self.model.config.state :])
        self.log("validation/effective_rank", rank)

    def _losses(self, batch: Batch, *, anchored: bool) -> Losses:
        return objective(
            self.model,
            *batch,
            self.stage.weights,
            anchor_steps=self.settings.horizon if anchored else 0,
            declared_UY=self.declared_UY,
            companions=self.companions,
        )

    def configure_optimizers(self) -> Any:
        settings = self.settings
        learn = [weight for weight in self.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(learn, lr=settings.learning_rate, weight_decay=1e-4)
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
