"""Many problems at once: units of a fleet, scenarios, or the ticks of a backtest, on all cores.

Shapes: T rows of a record, C columns in plant order. Engineering units.

Each worker process has an optimizer of its own and plans whole requests: the answers are those of one at a time, to the
last bit. Or it has a `BatchedOptimizer`, which plans its share of the requests at once: several times faster where the
problems are small, with the same answers but for the tolerances at which both stop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from procmodel.control.batched import BatchedOptimizer
from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Plan
from procmodel.control.requests import ORDINARY, Orders
from procmodel.control.requests import Request as Request
from procmodel.control.workers import Workers


class Fleet(Workers[Optimizer | BatchedOptimizer]):
    """Optimizers in worker processes.

    Args:
        make: Builds an `Optimizer`, or a `BatchedOptimizer` of the same arguments; must be picklable.
        workers: None takes the cores there are; one works in this process.
        pieces: Into which a worker's share of the requests is cut: several, since problems differ in what they take;
            one for batched optimizers, which are the faster the more they get at once.
    """

    def __init__(
        self, make: Callable[[], Optimizer | BatchedOptimizer], *, workers: int | None = None, pieces: int = 4
    ) -> None:
        super().__init__(make, workers=workers)
        self._pieces = pieces

    def plan(self, requests: Sequence[Request]) -> list[Plan]:
        """A plan for each request, in their order; errors are those of `Optimizer.plan`."""
        if not requests:
            return []
        length = math.ceil(len(requests) / (self._pieces * self.workers))
        pieces = [requests[at : at + length] for at in range(0, len(requests), length)]
        return [plan for plans in self.each(_plan_each, pieces) for plan in plans]

    def backtest(
        self, record_TC: np.ndarray, ticks: Sequence[int], *, setpoints: Mapping[str, float] | None = None
    ) -> list[Plan]:
        """What would have been advised at the end of each of the given rows of a record, rising.

        Each worker goes through a stretch of ticks in order, and each plan starts from the one before; the first one of
        a stretch starts from none. Batched optimizers plan a stretch at once, so that each plan starts from none; where
        a limit is on a ramp, which goes on from the plan before, they too go in order.
        """
        length = math.ceil(len(ticks) / self.workers)
        pieces = [
            _Stretch(
                record_TC=record_TC, ticks=tuple(ticks[at : at + length]), orders=ORDINARY.but(setpoints=setpoints)
            )
            for at in range(0, len(ticks), length or 1)
        ]
        return [plan for plans in self.each(_through, pieces) for plan in plans]


@dataclass(frozen=True, kw_only=True)
class _Stretch:
    """Consecutive ticks of a record."""

    record_TC: np.ndarray
    ticks: tuple[int, ...]
    orders: Orders


def _plan_each(optimizer: Optimizer | BatchedOptimizer, requests: Sequence[Request]) -> list[Plan]:
    if isinstance(optimizer, BatchedOptimizer):
        return optimizer.plan(requests)
    return [request.planned_by(optimizer) for request in requests]


def _through(optimizer: Optimizer | BatchedOptimizer, stretch: _Stretch) -> list[Plan]:
    one = optimizer.alone if isinstance(optimizer, BatchedOptimizer) else optimizer
    histories = [stretch.record_TC[max(0, tick + 1 - one.rows_wanted) : tick + 1] for tick in stretch.ticks]
    if isinstance(optimizer, BatchedOptimizer) and not optimizer.has_ramps:
        return optimizer.plan([Request(rows_RC=rows_RC, orders=stretch.orders) for rows_RC in histories])
    plans: list[Plan] = []
    for rows_RC in histories:
        plans.append(one.plan(rows_RC, stretch.orders, previous=plans[-1] if plans else None))
    return plans
