"""What a training run does: the plant file's wishes with every default filled in, as rows of the grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from procmodel.plant import Plant
from procmodel.world_model.objective import Weights


class MoveAudit(Protocol):
    """What the excitation audit says of one MV; `procmodel.data.excitation.Excitation` is one."""

    @property
    def mv(self) -> str: ...
    @property
    def moves_answer_cvs(self) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that decides a training run.

    Attributes:
        rows: L, history rows of the encoder. rollout: K, free-running steps. horizon: H, rows the optimizer plans.
        feedback: Whether recorded moves answer the CVs; with K = 1 the linear state then keeps the average gains.
        latent, hidden: Sizes of the learned part of the latent and of the hidden layers.
        epochs, batches, batch: Epochs of so many batches of so many windows.
        learning_rate: Half of the peak of a one-cycle schedule.
        weights: Of the objective's terms.
        signs: Declared signs of the answers, by MV and CV: 1, -1, or 0 where nothing is declared.
        seed: Of initial weights, order of windows and SIGReg's directions.
        encoder: "joint", or "masked": trained first, on masked windows, and then frozen.
        read_out: "joint", or "frozen": trained last, on the frozen latent.
        half: Whether the networks run in bfloat16 where they are trained on a GPU.
    """

    rows: int
    rollout: int
    horizon: int
    feedback: bool
    latent: int
    hidden: int
    epochs: int
    batches: int
    batch: int
    learning_rate: float
    weights: Weights
    seed: int
    signs: tuple[tuple[float, ...], ...] = ()
    encoder: Literal["joint", "masked"] = "joint"
    read_out: Literal["joint", "frozen"] = "joint"
    half: bool = False

    @property
    def length(self) -> int:
        """Rows of a batch in training: window, free run, and what a term wants beyond."""
        return self.rows + self.rollout + self.weights.beyond

    @property
    def guarded(self) -> bool:
        """Whether the network is held near what least squares found, and has to show that it is worth keeping."""
        return self.feedback and self.rollout == 1

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "signs": [list(row) for row in self.signs]}


WIDE = 1024
"""Layers from this width on run in bfloat16 on a GPU where the plant file leaves it open: smaller ones gain nothing."""
FREE_RUN = 30
"""Rows of a free run in training where recorded moves are no feedback."""


def window_rows(plant: Plant) -> int:
    """Rows of history that the encoder reads."""
    wish = plant.training.window
    return round(wish / plant.sample_time) if wish is not None else 31


def horizon_rows(plant: Plant) -> int:
    """Rows that the optimizer looks ahead."""
    wish = plant.advice.horizon
    return round(wish / plant.sample_time) if wish is not None else 60


def rollout_rows(plant: Plant, *, feedback: bool) -> int:
    """Rows of a free run in training; an explicit wish wins over what the audit says."""
    wish = plant.training.rollout
    if wish == "auto":
        return 1 if feedback else FREE_RUN
    return round(wish / plant.sample_time)


def declared_signs(plant: Plant) -> tuple[tuple[float, ...], ...]:
    """1, -1 or 0 by MV and CV, as the plant file declares."""

    def sign(mv: str, cv: str) -> float:
        gain = plant.gains.get((mv, cv))
        return {"+": 1.0, "-": -1.0}.get(gain.sign or "", 0.0) if gain else 0.0

    return tuple(tuple(sign(mv, cv) for cv in plant.cvs) for mv in plant.mvs)


def settings(plant: Plant, audit: Sequence[MoveAudit], seed: int = 0) -> Settings:
    """Settings of one member.

    With `rollout: auto`, free runs are long (30 rows) where no MV answers a CV, and one row where one does: a free run
    over moves that answer disturbances teaches the model that moves announce them (docs/closed-loop-data.md).
    """
    wish = plant.training
    feedback = any(m.moves_answer_cvs for m in audit)
    rollout = rollout_rows(plant, feedback=feedback)
    guarded = feedback and rollout == 1
    shrink = (10.0 if guarded else 0.0) if wish.shrink == "auto" else wish.shrink
    return Settings(
        rows=window_rows(plant),
        rollout=rollout,
        horizon=horizon_rows(plant),
        feedback=feedback,
        latent=wish.latent,
        hidden=wish.hidden,
        epochs=wish.epochs,
        batches=wish.batches,
        batch=wish.batch,
        learning_rate=wish.learning_rate,
        weights=Weights(
            sigreg=wish.sigreg * 0.1,
            shrink=shrink,
            anchor=3.0 if guarded else 0.0,
            inverse=wish.inverse,
            straight=wish.straight,
            term=wish.anti_collapse,
            target=wish.target,
            compare=wish.compare,
        ),
        signs=declared_signs(plant),
        seed=seed,
        encoder=wish.encoder,
        read_out=wish.read_out,
        half=wish.precision == "bfloat16" or (wish.precision == "auto" and wish.hidden >= WIDE),
    )
