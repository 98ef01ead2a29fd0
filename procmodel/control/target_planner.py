"""An optimizer below a target layer, to the loop an optimizer like any other.

At every advice the layer says where the plant should come to rest, and that becomes where the MVs rest by preference.
What was decided last is in the previous plan (`Plan.targets`) and nowhere else: after a hold the layer begins anew.

Shapes: R rows of history, C columns, H rows ahead, V DVs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from procmodel.control.hierarchy import Hierarchy
from procmodel.control.horizon import Horizon
from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Plan, Targets
from procmodel.control.prepared import Prepared
from procmodel.control.requests import ORDINARY, Orders
from procmodel.control.targets import TargetLayer
from procmodel.control.threads import on_one_core
from procmodel.errors import DatasetError


class TargetPlanner:
    """A planner that steers to where the target layer would let the plant rest.

    Args:
        planner: Plans the moves, alone or below a slow layer.
        layer: Targets by the same optimizer's model.
        clock: Seconds, rising.
    """

    def __init__(
        self,
        *,
        planner: Optimizer | Hierarchy,
        layer: TargetLayer,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.fast = planner.fast if isinstance(planner, Hierarchy) else planner
        self._planner, self._layer, self._clock = planner, layer, clock

    @property
    def rows_wanted(self) -> int:
        """History rows that are of use."""
        return self._planner.rows_wanted

    @property
    def horizon(self) -> Horizon:
        """Of the moves that are advised."""
        return self._planner.horizon

    @property
    def future_rows(self) -> int:
        """Rows ahead for which announced DVs are of use."""
        return self._planner.future_rows

    @on_one_core
    def plan(
        self,
        rows_RC: np.ndarray,
        orders: Orders = ORDINARY,
        *,
        previous: Plan | None = None,
        deadline: float | None = None,
        prepared: Prepared | None = None,
        **asked: Any,
    ) -> Plan:
        """What to do from here; arguments and errors as for `Optimizer.plan`. A `rest` asked for comes first."""
        begun, orders = self._clock(), orders.but(**asked)
        targets = self.targets(rows_RC, orders, previous.targets if previous is not None else None)
        spent = self._clock() - begun
        plan = self._planner.plan(
            rows_RC,
            _resting(orders, targets),
            previous=previous,
            deadline=None if deadline is None else max(0.0, deadline - spent),
            prepared=prepared,
        )
        seconds = plan.seconds | {"target layer": spent, "total": plan.seconds["total"] + spent}
        return replace(plan, targets=targets, seconds=seconds)

    def prepare(self, rows_RC: np.ndarray, previous: Plan, orders: Orders = ORDINARY, **asked: Any) -> Prepared | None:
        """Derivatives for the next plan, with the targets that it begins with."""
        return self._planner.prepare(rows_RC, previous, _resting(orders.but(**asked), previous.targets))

    def targets(self, rows_RC: np.ndarray, orders: Orders = ORDINARY, before: Targets | None = None) -> Targets | None:
        """Where the plant should rest under the orders of a tick; None where that cannot be said."""
        try:
            problem = self.fast.problem(rows_RC, replace(orders, rest={}, ends={}, futures={}))
        except DatasetError:  # the plan that is made of the same rows says what is wrong with them
            return None
        return self._layer.targets(problem, before)


def _resting(orders: Orders, targets: Targets | None) -> Orders:
    return replace(orders, rest={**(targets.u if targets is not None else {}), **orders.rest})
