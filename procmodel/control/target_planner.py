"""An optimizer below a target layer, to the loop an optimizer like any other.

At every advice the layer says where the plant should come to rest, and that becomes where the MVs rest by preference.
What was decided last is in the previous plan (`Plan.targets`) and nowhere else: after a hold the layer begins anew.

Shapes: R rows of history, C columns, H rows ahead, V DVs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from procmodel.control.hierarchy import Hierarchy
from procmodel.control.horizon import Horizon
from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Plan, Targets
from procmodel.control.targets import TargetLayer
from procmodel.control.threads import on_one_core
from procmodel.errors import DatasetError
from procmodel.plant import Status
from procmodel.plant.changes import LimitChanges


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
        *,
        setpoints: Mapping[str, float] | None = None,
        future_dv_HV: np.ndarray | None = None,
        futures: Mapping[str, np.ndarray] | None = None,
        previous: Plan | None = None,
        out_of_service: Collection[str] = (),
        limits: LimitChanges | None = None,
        statuses: Mapping[str, Status] | None = None,
        rest: Mapping[str, float] | None = None,
        deadline: float | None = None,
    ) -> Plan:
        """What to do from here; arguments and errors as for `Optimizer.plan`. A `rest` asked for comes first."""
        begun = self._clock()
        asked: dict[str, Any] = {
            "setpoints": setpoints, "future_dv_HV": future_dv_HV, "out_of_service": out_of_service, "limits": limits,
            "statuses": statuses,
        }  # fmt: skip
        targets = self.targets(rows_RC, previous.targets if previous is not None else None, **asked)
        spent = self._clock() - begun
        plan = self._planner.plan(
            rows_RC,
            **asked,
            futures=futures,
            previous=previous,
            rest={**(targets.u if targets else {}), **(rest or {})},
            deadline=None if deadline is None else max(0.0, deadline - spent),
        )
        seconds = plan.seconds | {"target layer": spent, "total": plan.seconds["total"] + spent}
        return replace(plan, targets=targets, seconds=seconds)

    def targets(self, rows_RC: np.ndarray, before: Targets | None = None, **asked: Any) -> Targets | None:
        """Where the plant should rest, with what is asked as of `Optimizer.problem`; None where that cannot be said."""
        try:
            problem = self.fast.problem(rows_RC, **asked)
        except DatasetError:  # the plan that is made of the same rows says what is wrong with them
            return None
        return self._layer.targets(problem, before)
