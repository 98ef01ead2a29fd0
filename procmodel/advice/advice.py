"""Advice: what leaves the system. A move with all that an operator needs to judge it, or a hold with its reason."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

import numpy as np


class Action(StrEnum):
    """What the operator is told."""

    MOVE = "move"
    HOLD = "hold"


class Mode(StrEnum):
    """How far the software may go; the operator moves the plant in every one of them."""

    OFF = "off"
    SIMULATE = "simulate"  # plans for a simulated plant, or beside one that runs without it
    ADVISE = "advise"


@dataclass(frozen=True, kw_only=True)
class Move:
    """One MV.

    Attributes:
        current: Measured now [unit]; NaN where unknown.
        recommended, delta: Value to set, and its change from `current` [unit]; NaN in a hold.
        low, high: Hard limits [unit]; infinite where there are none.
        up, down: Largest change per advice [unit]; infinite where there is none.
        clamp: What the recommended value rests against, in words; "" where nothing.
        planned: Value in each row of the horizon [unit].
    """

    tag: str
    unit: str
    current: float
    recommended: float
    delta: float
    low: float
    high: float
    up: float
    down: float
    clamp: str = ""
    planned: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """One CV or calculated value.

    Attributes:
        measured: Now [unit]; NaN where unknown.
        end, least, most: Of the prediction over the horizon [unit].
        unmoved_end: At the end of the horizon if nothing is moved [unit].
        low, high: Soft limits [unit]; infinite where there are none.
        setpoint: [unit]; NaN where there is none.
        status: Where it stands and goes in relation to its limits, in words.
        predicted, unmoved: Per row of the horizon, with and without the moves [unit].
    """

    tag: str
    unit: str
    measured: float
    end: float
    least: float
    most: float
    unmoved_end: float
    low: float
    high: float
    setpoint: float
    status: str
    predicted: tuple[float, ...] = ()
    unmoved: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Margin:
    """One constraint head: the least lower bound of its margin over the horizon, allowance deducted [unit]."""

    name: str
    unit: str
    rank: int
    least: float


@dataclass(frozen=True, kw_only=True)
class GivenUp:
    """A soft limit that the plan cannot keep, with the largest excess [unit] and what stands in the way, in words.

    Of a plan over several scenarios, the one in which most of it is given up.
    """

    tag: str
    side: str
    limit: float
    amount: float
    rank: int
    because: str = ""
    scenario: str = ""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where one MV or CV should come to rest [unit], and where the last advice had it; NaN where none did."""

    tag: str
    unit: str
    value: float
    before: float = math.nan


@dataclass(frozen=True, kw_only=True)
class Rest:
    """Where the plant should come to rest, by the target layer.

    Attributes:
        how: What it follows from, in words.
        targets: MVs, then CVs.
        give_ups: CV limits that no rest can keep, rank 1 first.
        stayed: Whether the last targets were kept because leaving them would earn too little.
        cost: Of resting there, in the objective's own unit.
    """

    how: str
    targets: tuple[Target, ...]
    give_ups: tuple[GivenUp, ...] = ()
    stayed: bool = False
    cost: float = math.nan

    @property
    def lines(self) -> tuple[str, ...]:
        """In words, one line for all targets and one per limit."""
        told = [f"{t.tag} {t.value:.4g} {t.unit}{_moved(t)}" for t in self.targets]
        still = ", where it was to rest before" if self.stayed else ""
        lost = [
            f"No rest keeps {g.tag} {g.side} {g.limit:.4g} (rank {g.rank}); least beyond it is {g.amount:.3g}"
            for g in self.give_ups
        ]
        return (f"Should come to rest{still} at {', '.join(told)} ({self.how})", *lost)


@dataclass(frozen=True, kw_only=True)
class Advice:
    """A move or a hold, complete in itself.

    Attributes:
        action, reason: What, and why in one sentence.
        at, expires: From when and until when it may be followed, aware.
        plant, model: Names of both.
        mode: In which it was made, never above what health allows. requested: What was asked for. why_mode: Why it got
            less; "" where it did not.
        moves, outlooks, calculated, margins: Per MV, per CV, per calculated value, per constraint head.
        give_ups, active: Soft limits given up, rank 1 first; limits that decide the plan, in words.
        solve: How the optimizer ended.
        data_age: Of the newest sample [s]; NaN where there is none.
        surprise, surprise_limit: Of the model by the newest measurements [-]; NaN where not known.
        support, support_limit: How far the plan leaves what the model has seen [-]; NaN where not known.
        cost, cost_unmoved: Of the plan and of no move; NaN where not known.
        rest: Where the plant should come to rest; None where no target layer is asked.
        notes: What tempers the confidence.
        explanation: What the cost is made of, what limits cost, what moves do, what is to come; only where it was
            asked for.
    """

    action: Action
    reason: str
    at: datetime
    expires: datetime
    plant: str
    model: str = ""
    mode: Mode = Mode.ADVISE
    requested: Mode = Mode.ADVISE
    why_mode: str = ""
    moves: tuple[Move, ...] = ()
    outlooks: tuple[Outlook, ...] = ()
    calculated: tuple[Outlook, ...] = ()
    margins: tuple[Margin, ...] = ()
    give_ups: tuple[GivenUp, ...] = ()
    active: tuple[str, ...] = ()
    solve: str = ""
    data_age: float = math.nan
    surprise: float = math.nan
    surprise_limit: float = math.nan
    support: float = math.nan
    support_limit: float = math.nan
    cost: float = math.nan
    cost_unmoved: float = math.nan
    rest: Rest | None = None
    notes: tuple[str, ...] = ()
    explanation: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.at.tzinfo is None or self.expires.tzinfo is None:
            raise ValueError(f"advice needs aware times, got at={self.at!r}, expires={self.expires!r}")
        if not self.reason:
            raise ValueError("advice needs a reason")

    @classmethod
    def hold(cls, *, reason: str, at: datetime, expires: datetime, plant: str, **known: Any) -> Self:
        """Setpoints stay as they are."""
        return cls(action=Action.HOLD, reason=reason, at=at, expires=expires, plant=plant, **known)

    @property
    def is_move(self) -> bool:
        return self.action is Action.MOVE

    @property
    def setpoints(self) -> dict[str, float]:
        """What to set, by MV; empty in a hold."""
        return {move.tag: move.recommended for move in self.moves} if self.is_move else {}

    @property
    def digest(self) -> str:
        """SHA-256 of all it says."""
        return hashlib.sha256(json.dumps(_plain(self), sort_keys=True, allow_nan=False).encode()).hexdigest()

    @property
    def id(self) -> str:
        """Short name of this advice."""
        return self.digest[:12]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: times as ISO stamps, and null for what is not known or not there."""
        return {"id": self.id, "hash": self.digest, **_plain(self)}


def _moved(target: Target) -> str:
    """Where a target was before, unless it reads the same."""
    was = f"{target.before:.4g}"
    return f" (was {was})" if math.isfinite(target.before) and was != f"{target.value:.4g}" else ""


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
