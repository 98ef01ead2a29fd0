"""Training from a dataset to an artifact: audit, backbone, epochs, checks, doubt, heads; resumable after any stop."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import signal
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy

from procmodel import __version__
from procmodel.data.dataset import Dataset
from procmodel.data.normal import normals_of
from procmodel.data.window import Columns
from procmodel.plant import Plant
from procmodel.training.artifact import Artifact
from procmodel.training.calibrate import calibrate, known_ground, learn_head
from procmodel.training.callbacks import EachEpoch, EndsWhenTold, Log, Progress, Told
from procmodel.training.feed import Feed
from procmodel.training.module import Fit, require_alive
from procmodel.training.prepare import Prepared, parts_of, prepare
from procmodel.training.processes import Processes
from procmodel.training.settings import Settings, horizon_rows
from procmodel.training.share import settle, told_signs
from procmodel.world_model.diagnostics import action_use
from procmodel.world_model.latent_model import LatentModel, ModelConfig

__all__ = ["Log", "Prepared", "Progress", "Told", "fit_member", "parts_of", "prepare", "train", "train_member"]

_PARTS = ("train", "validation", "test")


def train(
    dataset: Dataset,
    plant: Plant,
    scratch: Path,
    *,
    progress: Progress | None = None,
    log: Log | None = None,
    processes: Processes | None = None,
) -> Artifact:
    """Train all members and return the artifact, which the caller stores.

    Args:
        scratch: Folder for what a later call resumes from: finished members and the last epoch of the running one.
        processes: Those that train together (`processes.together`), each of which returns the artifact; None: one.

    Raises:
        CollapsedError, DatasetError, LabelError, GateError.
        InputError: The plant file asks for other processes than there are.
        LostError: Another process has gone.
        KeyboardInterrupt: It was stopped; the next call goes on from the last whole epoch.
    """
    processes = processes or Processes()
    processes.refuse_others(plant.training)
    prepared = prepare(dataset, plant)
    members, facts = [], []
    each = plant.training.epochs * prepared.settings.batches
    for seed in range(plant.training.members):
        chosen = dataclasses.replace(prepared.settings, seed=seed)
        told = Told(progress, log, seed * each, plant.training.members * each, seed)
        member, found = train_member(dataset, plant, prepared, chosen, scratch / f"member-{seed}", told, processes)
        members.append(member.to(torch.float64).eval().requires_grad_(False))
        facts.append(found)
    model, horizon, remarks = members[0], horizon_rows(plant), list[str]()
    held, confidence = prepared.parts.validation, plant.advice.confidence
    doubt = calibrate(model, prepared.scaler, dataset.values, held, horizon, confidence)
    zone = plant.history.timezone if plant.history else None
    heads = tuple(
        learn_head(name, each, model, prepared.scaler, dataset, horizon, timezone=zone, remark=remarks.append)
        for name, each in plant.constraints.items()
    )
    return Artifact(
        plant=plant.name,
        fingerprint=plant.fingerprint,
        members=tuple(members),
        scaler=prepared.scaler,
        calibration=doubt,
        heads=heads,
        support=known_ground(model, prepared.scaler, dataset.values, dataset.stretches, horizon),
        normals=normals_of(
            plant.columns, [tag.is_step for tag in plant.tags.values()], dataset.values, dataset.stretches
        ),
        notes={**_notes(prepared, dataset), "members": facts, "remarks": remarks},
    )


def _notes(prepared: Prepared, dataset: Dataset) -> dict[str, Any]:
    """Where the model comes from, for people."""
    return {
        "settings": prepared.settings.to_dict(),
        "audit": prepared.audit,
        "products": _products(prepared),
        "parts": _rows(prepared),
        "data": dataset.manifest.get("sources", {}),
    }


def _products(prepared: Prepared) -> dict[str, float] | None:
    found = prepared.products
    return None if found is None else {"gain": found.gain, "leading": found.leading, "ridge": found.ridge}


def _rows(prepared: Prepared) -> dict[str, list[list[Any]]]:
    return {part: [[s.name, s.start, s.stop] for s in getattr(prepared.parts, part)] for part in _PARTS}


def train_member(
    dataset: Dataset,
    plant: Plant,
    prepared: Prepared,
    chosen: Settings,
    scratch: Path,
    told: Told,
    processes: Processes | None = None,
) -> tuple[LatentModel, dict[str, Any]]:
    """One model from one seed, and what training found out about it.

    Raises:
        CollapsedError: Its latent carries nothing.
    """
    model, z_BD = fit_member(dataset, plant, prepared, chosen, scratch, told, processes)
    alive = require_alive(model, z_BD)
    use = action_use(model, *_longer(prepared, chosen), torch.Generator().manual_seed(chosen.seed))
    return model, {"seed": chosen.seed, **alive, "action_use": use, "curves": told.curves}


def fit_member(
    dataset: Dataset,
    plant: Plant,
    prepared: Prepared,
    chosen: Settings,
    scratch: Path,
    told: Told,
    processes: Processes | None = None,
) -> tuple[LatentModel, torch.Tensor]:
    """The same, not judged, resumed from its last whole epoch where the same run was begun before; with its latents of
    windows evenly over the training rows, [B, D]."""
    # Not Lightning's seed_everything, after which several processes would draw other directions for SIGReg than one.
    torch.manual_seed(chosen.seed)
    model = _untrained(plant, prepared, chosen)
    feed = Feed(prepared.windows, prepared.parts.train, prepared.parts.validation, chosen)
    scratch.mkdir(parents=True, exist_ok=True)
    checkpoint = scratch / f"epoch-{_identity(dataset, plant, prepared, chosen)}.ckpt"
    processes = processes or Processes()
    fit, resumed = Fit(model, chosen), processes.agree(checkpoint.exists)
    _fit(_trainer(chosen, checkpoint, told, processes), fit, feed, checkpoint if resumed else None, processes)
    model = model.cpu()
    if chosen.guarded or told_signs(chosen) is not None:
        settle(model, *_longer(prepared, chosen), told_signs(chosen), guarded=chosen.guarded)
    return model, model.encode_rows(feed.seen[0][:, : model.rows], feed.seen[1][:, : model.rows]).detach()


def _untrained(plant: Plant, prepared: Prepared, chosen: Settings) -> LatentModel:
    """The linear state and its products, with networks that add nothing to them yet."""
    config = ModelConfig(
        columns=Columns.of(plant),
        rows=chosen.rows,
        lags=chosen.rows - 1,
        state=len(prepared.linear.A),
        latent=chosen.latent,
        hidden=chosen.hidden,
        products=prepared.products is not None,
        filtered=prepared.linear.begin is not None,
    )
    model = LatentModel(config)
    model.start_from(prepared.linear)
    if prepared.products is not None:
        model.curve_by(prepared.products)
    return model


def _trainer(chosen: Settings, checkpoint: Path, told: Told, processes: Processes) -> lightning.Trainer:
    launch = processes.launch
    return lightning.Trainer(
        max_epochs=chosen.epochs,
        accelerator="gpu" if torch.cuda.is_available() else "cpu",
        devices=launch.local_count if launch else 1,
        num_nodes=launch.count // launch.local_count if launch else 1,
        # Named, not found out: Lightning would take a batch script under SLURM for one of several processes.
        strategy=DDPStrategy() if launch else "auto",
        plugins=[TorchElasticEnvironment() if launch else LightningEnvironment()],
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        # Told first: the checkpoint holds the curves up to its epoch.
        callbacks=[told, EachEpoch(checkpoint), *([EndsWhenTold()] if launch else [])],
    )


def _fit(trainer: lightning.Trainer, fit: Fit, feed: Feed, checkpoint: Path | None, processes: Processes) -> None:
    """Run all epochs, or those that are left.

    Raises:
        KeyboardInterrupt: As pressed; Lightning makes it an exit of the process.
        LostError: Another process has gone.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        with warnings.catch_warnings():
            # Advice on loaders and workers that does not fit batches cut by index.
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            trainer.fit(fit, feed, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as stop:
        if trainer.interrupted:
            raise KeyboardInterrupt from stop
        raise
    except RuntimeError as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # pressed between two epochs: Lightning falls over it
            signal.signal(signal.SIGINT, handler)
            raise error.__context__ from None
        processes.raise_if_lost(error)
        raise


def _longer(prepared: Prepared, chosen: Settings) -> tuple[torch.Tensor, torch.Tensor]:
    """Held-back windows as long as the optimizer's horizon."""
    length = chosen.rows + chosen.horizon
    starts = prepared.windows.starts(prepared.parts.validation, length)
    window = prepared.windows.batch(starts[torch.linspace(0, len(starts) - 1, min(len(starts), 256)).long()], length)
    return window.values, window.mask


def _identity(dataset: Dataset, plant: Plant, prepared: Prepared, chosen: Settings) -> str:
    """A run may only be resumed with the same data, parts, plant and settings, by the same version."""
    data = hashlib.sha256(dataset.values.tobytes()).hexdigest()
    facts = [__version__, plant.fingerprint, chosen.to_dict(), _rows(prepared), data]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)  # its banners are not about the plant
