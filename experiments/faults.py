"""Faults that a control room has to survive: what each does, and which holds are right under it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import torch
from torch import Tensor

from procmodel.control.cell import Tape
from procmodel.control.optimizer import Optimizer
from procmodel.control.qp import QuadraticSolver
from procmodel.plant import Plant, Status
from procmodel.runtime import Orders, Tick

_SURPRISE = r"^The model is surprised by the plant"
_CV = r"^LI101\.PV is not to be believed"
_STALE = r"^The newest sample is \d+ s old"
_CLOCK = r"^The clock of this machine was set"
_AHEAD = r"^The newest sample is stamped \d+ s ahead"
_RANK1 = r"beyond its rank-1"
_LEAVES = r"^The plan leaves what the plant has shown"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of fault.

    Attributes:
        ticks: How long it lasts.
        reasons: Patterns of the holds that are right while it lasts and while its traces are in the history.
        after: Ticks after it in which its traces in history and plant may still be a reason to hold.
        due: Tick of the fault from which on only a hold is right; None where moves may go on throughout.
    """

    name: str
    ticks: int
    reasons: tuple[str, ...]
    due: int | None = None
    after: int = 20


KINDS = (
    # Found after ten rows without any change; before that the model wonders. Then it counts as missing.
    Kind(name="frozen CV", ticks=22, reasons=(_CV + r".*not changed at all", _SURPRISE), due=11),
    Kind(name="frozen DV", ticks=16, reasons=()),
    Kind(name="frozen MV signal", ticks=8, reasons=(r"not seen so far", _SURPRISE)),
    Kind(name="spiking CV", ticks=16, reasons=(_CV + r".*(jumped|outside)",)),
    Kind(name="spiking MV", ticks=10, reasons=(r"^P101\.SP is not to be believed.*(moved by|outside)", _SURPRISE)),
    Kind(name="missing CV", ticks=14, reasons=(_CV + r".*no good sample",), due=6),
    Kind(name="missing MV", ticks=6, reasons=(r"^P102\.SP is not to be believed.*no good sample",), due=1),
    Kind(name="unit-swapped CV", ticks=14, reasons=(_CV + r".*(outside|jumped)",), due=6),
    Kind(name="unit-swapped DV", ticks=12, reasons=()),
    Kind(name="future-stamped tags", ticks=6, reasons=(_AHEAD,), due=0),
    Kind(name="infeasible limits", ticks=16, reasons=(_RANK1, _LEAVES, _SURPRISE), after=50),
    Kind(name="crossed limits", ticks=4, reasons=(r"input refused.*low .* must be below high",), due=0),
    Kind(name="solver stopped at random", ticks=14, reasons=(r"ended 'hold': no solver could solve",)),
    Kind(name="time is up at once", ticks=8, reasons=(r"ended 'hold': the deadline came",)),
    Kind(name="non-finite model output", ticks=12, reasons=(r"not finite", r"^Nobody can say how well the model")),
    Kind(name="one MV out of service", ticks=16, reasons=()),
    Kind(name="every MV out of service", ticks=5, reasons=(r"every MV is out of service",), due=0),
    Kind(name="clock jumps ahead", ticks=6, reasons=(_CLOCK, _STALE), due=0),
    Kind(name="clock jumps back", ticks=6, reasons=(_CLOCK, _AHEAD), due=0),
    Kind(name="both clocks jump", ticks=6, reasons=(_CLOCK,)),
    Kind(name="distribution shift", ticks=20, reasons=(_SURPRISE, _LEAVES, _CV + r".*far outside"), after=50),
    Kind(name="stale data", ticks=12, reasons=(_STALE,), due=6),
    Kind(name="historian down", ticks=4, reasons=(r"^There is no sample at all",), due=0),
    Kind(name="history too short", ticks=4, reasons=(r"history: the model reads",), due=0),
    Kind(name="moved by hand", ticks=10, reasons=(r"^P101\.SP is not to be believed.*no advice did",)),
)


class StoppableSolver(QuadraticSolver):
    """The solver, which now and then gives no answer, and a clock of its own, on which time may be up at once."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped, self.hurry, self._rng, self._seconds = 0.0, 0.0, np.random.default_rng(1), 0.0

    def take_over(self, optimizer: Optimizer) -> None:
        optimizer._solver, optimizer._clock = self, self.clock

    def clock(self) -> float:
        """Seconds; a run must not depend on how busy its machine is."""
        self._seconds += 0.001 + self.hurry
        return self._seconds

    def solve(self, program: Any, *given: Any, **asked: Any) -> Any:
        return None if self._rng.random() < self.stopped else super().solve(program, *given, **asked)


class UnreliableModel:
    """The model, whose answers are now and then no numbers."""

    def __init__(self, model: Any) -> None:
        self._model, self.broken, self._rng = model, 0.0, np.random.default_rng(2)

    def take_over(self, optimizer: Optimizer) -> None:
        optimizer._model = self  # type: ignore[assignment]
        optimizer.forecaster.model = self  # type: ignore[assignment]
        self._cell = optimizer.forecaster._cell
        optimizer.forecaster._cell = self  # type: ignore[assignment]  # rollouts go through bare matrices

    def roll(self, latent_D: np.ndarray, u_KNU: np.ndarray, d_NV: np.ndarray) -> Tape:
        tape = self._cell.roll(latent_D, u_KNU, d_NV)
        if self._rng.random() >= 25 * self.broken:
            return tape
        return replace(tape, latents_KND=np.full_like(tape.latents_KND, np.nan))

    def tangents(self, *given: Any) -> Any:
        return self._cell.tangents(*given)

    def adjoint(self, *given: Any) -> Any:
        return self._cell.adjoint(*given)

    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        ahead: Tensor = self._model.step(z_BD, u_BU, d_BV)
        return torch.full_like(ahead, torch.nan) if self._rng.random() < self.broken else ahead

    def encode(self, window: Any) -> Tensor:
        latent: Tensor = self._model.encode(window)
        return latent * torch.inf if self._rng.random() < 5 * self.broken else latent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


@dataclass
class Situation:
    """What is wrong at this tick."""

    plant: Plant
    rng: np.random.Generator
    solver: StoppableSolver
    model: UnreliableModel
    kind: Kind | None = None
    since: int = 0
    kept: np.ndarray | None = None
    offset: float = 0.0
    due: bool = False
    _stamps: list[datetime] = field(default_factory=list)

    def begin(self, kind: Kind | None, since: int) -> None:
        """A tick under a fault, or under none."""
        if kind is not self.kind:
            self.kept = None
        self.kind, self.since = kind, since
        self.due = kind is not None and kind.due is not None and since >= kind.due
        self.solver.stopped = 0.8 if self._is("solver stopped at random") else 0.0
        self.solver.hurry = 10.0 if self._is("time is up at once") else 0.0
        self.model.broken = 0.004 if self._is("non-finite model output") else 0.0

    def _is(self, *names: str) -> bool:
        return self.kind is not None and self.kind.name in names

    def _column(self, name: str) -> int:
        return self.plant.columns.index(name)

    def tick(self, rows: np.ndarray, now: datetime, setpoints: dict[str, float]) -> Tick:
        """What the loop is handed."""
        steady = now.timestamp()
        newest: datetime | None = now
        if self._is("both clocks jump"):
            self.offset = 900.0
        elif self._is("future-stamped tags"):
            newest = now + timedelta(hours=1)
        elif self._is("stale data"):
            late = self.since + 1
            rows, newest = rows[:-late], now - timedelta(seconds=late * self.plant.sample_time)
        elif self._is("historian down"):
            rows, newest = np.empty((0, rows.shape[1])), None
        elif self._is("history too short"):
            rows = rows[-20:]
        shift = timedelta(seconds=self.offset)
        now, newest = now + shift, None if newest is None else newest + shift
        if self._is("clock jumps ahead", "clock jumps back"):
            now += timedelta(seconds=600.0 if self._is("clock jumps ahead") else -600.0)
        return Tick(rows_RC=rows, newest=newest, now=now, setpoints=setpoints, orders=self._orders(), steady=steady)

    def _orders(self) -> Orders:
        if self._is("infeasible limits"):  # tank 3 cannot stand so low while tank 1 is to keep its level
            return Orders(limits={"LI103.PV": {"high": 0.8}})
        if self._is("crossed limits"):
            return Orders(limits={"P101.SP": {"low": 4.0, "high": 3.0}})
        if self._is("one MV out of service"):
            return Orders(out_of_service=("P101.SP",))
        if self._is("every MV out of service"):
            return Orders(out_of_service=("P101.SP",), statuses={"P102.SP": Status.FEED_FORWARD})
        return Orders()

    def by_hand(self, u: np.ndarray) -> np.ndarray:
        """What is truly set, where somebody else has a hand on the pumps."""
        if self._is("moved by hand") and self.since == 0:
            return u + np.array([1.2 if u[0] < 4.0 else -1.2, 0.0])
        return u

    def push(self, count: int) -> np.ndarray:
        """Unmeasured inflow that the record never saw [cm3/s]."""
        return np.full(count, 2.0 if self._is("distribution shift") else 0.0)

    def shown(self, row: np.ndarray) -> np.ndarray:
        """What the historian gets of the row that just ended."""
        row = row.copy()
        level, room, pump, other = (self._column(n) for n in ("LI101.PV", "TI900.PV", "P101.SP", "P102.SP"))
        if self._is("frozen CV", "frozen DV", "frozen MV signal"):
            at = {"frozen CV": level, "frozen DV": room, "frozen MV signal": pump}[self.kind.name if self.kind else ""]
            if self.kept is None:
                self.kept = row.copy()
            row[at] = self.kept[at]
        elif self._is("spiking CV") and self.rng.random() < 0.35:
            row[level] += self.rng.choice([-7.0, 6.0])
        elif self._is("spiking MV") and self.rng.random() < 0.35:
            row[pump] += self.rng.choice([-2.0, 2.5])
        elif self._is("missing CV"):
            row[level] = np.nan
        elif self._is("missing MV"):
            row[other] = np.nan
        elif self._is("unit-swapped CV"):
            row[level] *= 10.0  # mm for cm
        elif self._is("unit-swapped DV"):
            row[room] = 1.8 * row[room] + 32.0
        return row
