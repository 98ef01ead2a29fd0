"""One of many advice problems, as `fleet.py` and `batched.py` take them. Shapes as in `optimizer.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from procmodel.control.optimizer import Optimizer
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

    def planned_by(self, optimizer: Optimizer) -> Plan:
        """The optimizer's answer; errors are those of `Optimizer.plan`."""
        return optimizer.plan(
            self.rows_RC,
            setpoints=self.setpoints,
            future_dv_HV=self.future_dv_HV,
            previous=self.previous,
            out_of_service=self.out_of_service,
            deadline=self.deadline,
        )
