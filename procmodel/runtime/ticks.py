"""What the loop is handed when advice is due. Shapes: R rows of history, C tags in plant order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from procmodel.control.requests import ORDINARY as ORDINARY
from procmodel.control.requests import Orders as Orders


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
