"""The Lightning side of training: it calls the objective and does no arithmetic of its own."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as lightning
import torch
from torch import Tensor

from procmodel.errors import CollapsedError
from procmodel.training.feed import Batch
from procmodel.training.settings import Settings
from procmodel.world_model.diagnostics import effective_rank
from procmodel.world_model.latent_model import LatentModel
from procmodel.world_model.objective import RARE, Losses, objective

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
        self.register_buffer("declared_UY", torch.tensor(settings.signs, dtype=torch.float32), persistent=False)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        anchored = index % ANCHOR_EVERY == 0
        losses = self._losses(batch, anchored=anchored)
        self._log("train", losses, anchored=anchored)
        return losses.total

    def validation_step(self, batch: Batch, index: int) -> None:
        self._log("validation", self._losses(batch, anchored=False), anchored=False)
        z_BD = self.model.encode_rows(batch[0][:, : self.model.rows], batch[1][:, : self.model.rows])
        rank = effective_rank(z_BD[:, self.model.config.state :])
        self.log("validation/effective_rank", rank)

    def _losses(self, batch: Batch, *, anchored: bool) -> Losses:
        return objective(
            self.model,
            *batch,
            self.settings.weights,
            anchor_steps=self.settings.horizon if anchored else 0,
            declared_UY=self.declared_UY,
        )

    def _log(self, stage: str, losses: Losses, *, anchored: bool) -> None:
        many = stage == "validation"
        for term, value in losses.terms().items():
            if term not in RARE or anchored:  # a term that was left out is no zero
                self.log(f"{stage}/{term}", value, on_step=False, on_epoch=True, sync_dist=many)

    def configure_optimizers(self) -> Any:
        settings = self.settings
        optimizer = torch.optim.AdamW(self.parameters(), lr=settings.learning_rate, weight_decay=1e-4)
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
