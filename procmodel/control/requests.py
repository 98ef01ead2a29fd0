"""One of many advice problems, as `fleet.py` and `batched.py` take them. Shapes as in `optimizer.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from procmodel.control.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Request:
    """One problem; the attributes are the arguments of `Optimizer.plan`."""

    rows_RC: np.ndarray
    setpoints: Mapping[str, float] | None = None
    future_dv_HV: np.ndarray | None = None
    previous: Plan | None = None
    out_of_service: tuple[str, ...] = ()
    deadline: float | None = None
