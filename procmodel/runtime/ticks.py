"""What the loop is handed when advice is due. Shapes: R rows of history, C tags in plant order, V DVs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from procmodel.plant import Status
from procmodel.plant.changes import LimitChanges


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What operator and plant say at one tick beside setpoints.

    Attributes:
        limits: By tag and side, in place of the plant file's.
        statuses: By tag, in place of the plant file's.
        out_of_service: MVs that stay at their measured value, and CVs that are neither steered nor limited.
        rest: Ideal resting values by MV, such as a target layer's.
        future_dv_HV: Announced DVs from the next row on [unit]; a NaN holds the value before.
        futures: Other courses that the DVs may take, by name; the plan is to stand up to each.
    """

    limits: LimitChanges = field(default_factory=dict)
    statuses: Mapping[str, Status] = field(default_factory=dict)
    out_of_service: Collection[str] = ()
    rest: Mapping[str, float] = field(default_factory=dict)
    future_dv_HV: np.ndarray | None = None
    futures: Mapping[str, np.ndarray] = field(default_factory=dict)

    def asked(self) -> dict[str, Any]:
        """What a planner has to be told; nothing at an ordinary tick."""
        every = {
            "limits": self.limits,
            "statuses": self.statuses,
            "out_of_service": self.out_of_service,
            "rest": self.rest,
            "future_dv_HV": self.future_dv_HV,
            "futures": self.futures,
        }
        return {key: value for key, value in every.items() if value is not None and len(value)}


ORDINARY = Orders()


@dataclass(frozen=True, kw_only=True)
class Tick:
    """What is known when advice is due.

    Attributes:
        rows_RC: History on the grid [unit], NaN in gaps, newest last.
        newest: Stamp of the newest sample, aware; None where there is none.
        now: The clock, aware.
        setpoints: By CV, in place of the plant file's.
        measured: Present values by tag; None: those of the newest row.
        orders: What else is different at this tick.
        steady: Of a clock that nobody sets [s]; None where there is none. It tells when `now` was set.
    """

    rows_RC: np.ndarray
    newest: datetime | None
    now: datetime
    setpoints: Mapping[str, float] | None = None
    measured: Mapping[str, float] | None = None
    orders: Orders = ORDINARY
    steady: float | None = None
