"""What is asked of an optimizer: the orders of one tick, and one of many problems as `fleet.py` and `batched.py` take
them. Shapes as in `optimizer.py`; engineering units."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from procmodel.control.plan import Plan
from procmodel.control.prepared import Prepared
from procmodel.plant import Status
from procmodel.plant.changes import LimitChanges


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What operator, plant and the layers above say at one tick.

    Attributes:
        setpoints: By CV, in place of the plant file's.
        limits: By tag and side, in place of the plant file's; a CV's are followed at its `ramp` from the plan before.
        statuses: By tag, in place of the plant file's.
        out_of_service: MVs that stay at their measured value, and CVs that are neither steered nor limited.
        rest: Ideal resting values by MV, in place of the plant file's; those of a target layer.
        ends: By CV, where the horizon should end; those of a slower layer, which knows what is worth storing.
        future_dv_HV: Announced DVs from the next row on; a NaN, and all beyond the end, hold the value before.
        futures: Other courses that the DVs may take, by name; each is a further scenario (`scenarios.py`).
    """

    setpoints: Mapping[str, float] = field(default_factory=dict)
    limits: LimitChanges = field(default_factory=dict)
    statuses: Mapping[str, Status] = field(default_factory=dict)
    out_of_service: Collection[str] = ()
    rest: Mapping[str, float] = field(default_factory=dict)
    ends: Mapping[str, float] = field(default_factory=dict)
    future_dv_HV: np.ndarray | None = None
    futures: Mapping[str, np.ndarray] = field(default_factory=dict)

    def but(self, **asked: Any) -> Orders:
        """The same with some of them otherwise; those that are None stay."""
        changed = {name: value for name, value in asked.items() if value is not None}
        return replace(self, **changed) if changed else self


ORDINARY = Orders()


class Planner(Protocol):
    """What the loop asks of an optimizer, or of what stands in its place."""

    @property
    def rows_wanted(self) -> int:
        """History rows that are of use."""
        ...

    def plan(
        self,
        rows_RC: np.ndarray,
        orders: Orders = ORDINARY,
        *,
        previous: Plan | None = None,
        deadline: float | None = None,
        prepared: Prepared | None = None,
    ) -> Plan:
        """What to do from here, or a hold."""
        ...

    def prepare(self, rows_RC: np.ndarray, previous: Plan, orders: Orders = ORDINARY) -> Prepared | None:
        """What can be known of the next plan before its tick; None for nothing."""
        ...


@dataclass(frozen=True, kw_only=True)
class Request:
    """One problem; the attributes are the arguments of `Optimizer.plan`."""

    rows_RC: np.ndarray
    orders: Orders = ORDINARY
    previous: Plan | None = None
    deadline: float | None = None

    def planned_by(self, optimizer: Planner) -> Plan:
        """The optimizer's answer; errors are those of `Optimizer.plan`."""
        return optimizer.plan(self.rows_RC, self.orders, previous=self.previous, deadline=self.deadline)
