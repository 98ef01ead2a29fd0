"""Two time scales: a slow optimizer says where the fast one's horizon should end, and the fast one gets there.

The slow layer is the same optimizer over a slow model, whose rows are means over many samples
(`procmodel.world_model.slow`). It plans once per slow row; from its forecast the fast layer takes, at every tick, where
the chosen CVs should be at the end of its own horizon and where the MVs should rest. The fast layer keeps the objective
and all limits. What is decided is remembered nowhere but in the plan that the caller hands back (`Plan.above`).

Shapes: R rows of history, C columns, k fast rows in a slow one, N and S rows of the fast and the slow horizon, V DVs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from procmodel.control.bias import filled
from procmodel.control.horizon import Horizon
from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Above, Plan
from procmodel.control.prepared import Prepared
from procmodel.control.requests import ORDINARY, Orders
from procmodel.data.window import Columns
from procmodel.plant import Plant
from procmodel.plant.slow import slow_of
from procmodel.world_model.slow import SlowRows, block_means

# Of the time that a tick may take, what the slow layer may use [-].
SHARE = 0.5


class Hierarchy:
    """A slow optimizer above a fast one, to the loop an optimizer like any other.

    Args:
        plant: The fast one, with `slow` in its file.
        fast, slow: Optimizers of the plant and of `slow_plant(plant)`.
        slow_rows: Makes the slow layer's history.
        clock: Seconds, rising.
    """

    def __init__(
        self,
        *,
        plant: Plant,
        fast: Optimizer,
        slow: Optimizer,
        slow_rows: SlowRows,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.fast, self.slow = fast, slow
        self._plant, self._rows, self._clock = plant, slow_rows, clock
        self._targets = plant.cvs if (asked := slow_of(plant).targets) is None else asked
        self._dv = list(Columns.of(plant).dv)

    @property
    def rows_wanted(self) -> int:
        """History rows with which both layers have all they can use."""
        return max(self.fast.rows_wanted, self.slow.rows_wanted * self._rows.rows + self._rows.model.rows - 1)

    @property
    def horizon(self) -> Horizon:
        """Of the fast layer, whose moves are advised."""
        return self.fast.horizon

    @property
    def future_rows(self) -> int:
        """Rows ahead for which announced DVs are of use."""
        return max(self.fast.horizon.steps, self.slow.horizon.steps * self._rows.rows)

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
        """What to do from here; arguments and errors as for `Optimizer.plan`.

        Where the slow layer holds, the fast one plans alone and the plan's reason says why.
        """
        begun, orders = self._clock(), orders.but(**asked)
        above, silent = self._above(rows_RC, orders, previous, deadline)
        spent = self._clock() - begun
        plan = self.fast.plan(
            rows_RC,
            _below(above, orders),
            previous=previous,
            deadline=None if deadline is None else max(0.0, deadline - spent),
            prepared=prepared,
        )
        seconds = plan.seconds | {"slow layer": spent, "total": plan.seconds["total"] + spent}
        reason = f"{plan.reason}; {silent}" if silent else plan.reason
        return replace(plan, above=above, seconds=seconds, reason=reason)

    def prepare(self, rows_RC: np.ndarray, previous: Plan, orders: Orders = ORDINARY, **asked: Any) -> Prepared | None:
        """Derivatives for the next plan of the fast layer, below the slow plan that it follows now."""
        return self.fast.prepare(rows_RC, previous, _below(previous.above, orders.but(**asked)))

    def _above(
        self, rows_RC: np.ndarray, orders: Orders, previous: Plan | None, deadline: float | None
    ) -> tuple[Above | None, str]:
        """The slow plan to follow: the last one until a slow row is over, then a new one. None, and why, for a hold."""
        last = previous.above if previous is not None else None
        age = last.age + self.fast.horizon.interval if last is not None else 0
        if last is not None and age < self._rows.rows:
            return self._handed_down(last.plan, age), ""
        slow_SC = self._rows.make(np.asarray(rows_RC, dtype=float)[-self.rows_wanted :])
        if len(slow_SC) < self._rows_read:
            return None, f"no slow layer: it reads {self._rows_read} slow rows, the history has {len(slow_SC)}"
        future_SV = self._future(rows_RC, orders.future_dv_HV)
        plan = self.slow.plan(
            slow_SC,
            replace(orders, future_dv_HV=future_SV, rest={}, ends={}, futures={}),  # these are of fast rows
            previous=last.plan if last is not None else None,
            deadline=None if deadline is None else SHARE * deadline,
        )
        if not plan.status.usable:
            return None, f"no slow layer: {plan.reason}"
        return self._handed_down(plan, 0), ""

    @property
    def _rows_read(self) -> int:
        return self.slow.forecaster.model.rows

    def _future(self, rows_RC: np.ndarray, future_dv_HV: np.ndarray | None) -> np.ndarray | None:
        """Announced DVs as means over slow rows, [S, V]; a gap, and what lies beyond the end, hold the value before."""
        if future_dv_HV is None:
            return None
        ahead_HV = np.concatenate([filled(rows_RC)[-1:, self._dv], np.asarray(future_dv_HV, dtype=float)])
        rows = self.slow.horizon.steps * self._rows.rows
        at = np.minimum(np.arange(1, rows + 1), len(ahead_HV) - 1)
        return block_means(filled(ahead_HV)[at], self._rows.rows)

    def _handed_down(self, plan: Plan, age: int) -> Above:
        """What a slow plan asks of the fast one, `age` fast rows after it was made.

        A mean over a slow row stands for its middle; between two middles the CVs go in a straight line.
        """
        rows, steps = self._rows.rows, self.fast.horizon.steps
        middle_S = (np.arange(len(plan.predicted)) + 0.5) * rows
        end = age + steps - 0.5
        last = min(int(end // rows), len(plan.moves) - 1)
        ends = {
            name: float(np.interp(end, middle_S, plan.predicted[:, plan.cvs.index(name)])) for name in self._targets
        }
        rest = dict(zip(plan.mvs, plan.moves[last].tolist(), strict=True))
        return Above(plan=plan, age=age, ends=ends, rest=rest)


def _below(above: Above | None, orders: Orders) -> Orders:
    """The orders of a tick for the fast layer; what was ordered goes before what the slow plan asks."""
    if above is None:
        return orders
    return replace(orders, rest={**above.rest, **orders.rest}, ends={**above.ends, **orders.ends})
