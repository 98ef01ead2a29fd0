"""Many problems at once: units of a fleet, scenarios, or the ticks of a backtest, on all cores.

Shapes: T rows of a record, C columns in plant order. Engineering units.

Each worker process has an optimizer of its own and plans whole requests: the answers are those of one at a time, to the
last bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Plan
from procmodel.control.workers import Workers


@dataclass(frozen=True, kw_only=True)
class Request:
    """One problem; the attributes are the arguments of `Optimizer.plan`."""

    rows_RC: np.ndarray
    setpoints: Mapping[str, float] | None = None
    future_dv_HV: np.ndarray | None = None
    previous: Plan | None = None
    out_of_service: tuple[str, ...] = ()
    deadline: float | None = None


class Fleet(Workers[Optimizer]):
    """Optimizers in worker processes."""

    def plan(self, requests: Sequence[Request]) -> list[Plan]:
        """A plan for each request, in their order; errors are those of `Optimizer.plan`."""
        if not requests:
            return []
        # Several pieces per worker, since problems differ in what they take.
        length = math.ceil(len(requests) / (4 * self.workers))
        pieces = [requests[at : at + length] for at in range(0, len(requests), length)]
        return [plan for plans in self.each(_plan_each, pieces) for plan in plans]

    def backtest(
        self, record_TC: np.ndarray, ticks: Sequence[int], *, setpoints: Mapping[str, float] | None = None
    ) -> list[Plan]:
        """What would have been advised at the end of each of the given rows of a record, rising.

        Each worker goes through a stretch of ticks in order, and each plan starts from the one before; the first one of
        a stretch starts from none.
        """
        length = math.ceil(len(ticks) / self.workers)
        pieces = [
            _Stretch(record_TC=record_TC, ticks=tuple(ticks[at : at + length]), setpoints=setpoints)
            for at in range(0, len(ticks), length or 1)
        ]
        return [plan for plans in self.each(_through, pieces) for plan in plans]


@dataclass(frozen=True, kw_only=True)
class _Stretch:
    """Consecutive ticks of a record."""

    record_TC: np.ndarray
    ticks: tuple[int, ...]
    setpoints: Mapping[str, float] | None


def _plan_each(optimizer: Optimizer, requests: Sequence[Request]) -> list[Plan]:
    return [
        optimizer.plan(
            request.rows_RC,
            setpoints=request.setpoints,
            future_dv_HV=request.future_dv_HV,
            previous=request.previous,
            out_of_service=request.out_of_service,
            deadline=request.deadline,
        )
        for request in requests
    ]


def _through(optimizer: Optimizer, stretch: _Stretch) -> list[Plan]:
    wanted, plans, previous = optimizer.rows_wanted, [], None
    for tick in stretch.ticks:
        rows_RC = stretch.record_TC[max(0, tick + 1 - wanted) : tick + 1]
        previous = optimizer.plan(rows_RC, setpoints=stretch.setpoints, previous=previous)
        plans.append(previous)
    return plans
