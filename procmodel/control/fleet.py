"""Many problems at once: units of a fleet, scenarios, or the ticks of a backtest, on all cores.

Shapes: T rows of a record, C columns in plant order. Engineering units.

A tick of one problem is short sequences of small matrix products; what a core can do it does best on whole problems.
So each worker process has an optimizer of its own and plans whole requests: the answers are those of one at a time, to
the last bit.
"""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Plan

Make = Callable[[], Optimizer]
# Set once in each worker.
_here: Optimizer | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """One problem; the attributes are the arguments of `Optimizer.plan`."""

    rows_RC: np.ndarray
    setpoints: Mapping[str, float] | None = None
    future_dv_HV: np.ndarray | None = None
    previous: Plan | None = None
    out_of_service: tuple[str, ...] = ()
    deadline: float | None = None


class Fleet:
    """Optimizers in worker processes; close it, or use it as a context.

    Args:
        make: Builds an optimizer; it is sent to the workers, so it must be picklable: a `functools.partial` of
            `Optimizer` is.
        workers: None takes the cores there are; one works in this process.
    """

    def __init__(self, make: Make, *, workers: int | None = None) -> None:
        self.workers = workers or os.cpu_count() or 1
        self._own = make() if self.workers == 1 else None
        self._pool = None
        if self.workers > 1:
            # Fresh processes: a fork of one whose BLAS has threads may never wake up.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.workers, context, initializer=_begin, initargs=(make,))

    def plan(self, requests: Sequence[Request]) -> list[Plan]:
        """A plan for each request, in their order; errors are those of `Optimizer.plan`."""
        if not requests:
            return []
        # Several pieces per worker, since problems differ in what they take.
        length = math.ceil(len(requests) / (4 * self.workers))
        pieces = [requests[at : at + length] for at in range(0, len(requests), length)]
        return [plan for plans in self._map(_plan_each, pieces) for plan in plans]

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
        return [plan for plans in self._map(_through, pieces) for plan in plans]

    def close(self) -> None:
        """Ends the workers."""
        if self._pool is not None:
            self._pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _map(self, act: Callable[[Any], list[Plan]], pieces: Sequence[Any]) -> Iterator[list[Plan]]:
        if self._pool is not None:
            yield from self._pool.map(act, pieces)
            return
        with _as_worker(self._own):
            yield from (act(piece) for piece in pieces)


@dataclass(frozen=True, kw_only=True)
class _Stretch:
    """Consecutive ticks of a record."""

    record_TC: np.ndarray
    ticks: tuple[int, ...]
    setpoints: Mapping[str, float] | None


def _begin(make: Make) -> None:
    global _here
    torch.set_num_threads(1)
    _here = make()


@contextmanager
def _as_worker(optimizer: Optimizer | None) -> Iterator[None]:
    global _here
    before, _here = _here, optimizer
    try:
        yield
    finally:
        _here = before


def _plan_each(requests: Sequence[Request]) -> list[Plan]:
    assert _here is not None
    return [
        _here.plan(
            request.rows_RC,
            setpoints=request.setpoints,
            future_dv_HV=request.future_dv_HV,
            previous=request.previous,
            out_of_service=request.out_of_service,
            deadline=request.deadline,
        )
        for request in requests
    ]


def _through(stretch: _Stretch) -> list[Plan]:
    assert _here is not None
    wanted, plans, previous = _here.rows_wanted, [], None
    for tick in stretch.ticks:
        rows_RC = stretch.record_TC[max(0, tick + 1 - wanted) : tick + 1]
        previous = _here.plan(rows_RC, setpoints=stretch.setpoints, previous=previous)
        plans.append(previous)
    return plans
