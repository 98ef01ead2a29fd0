"""Worker processes that each hold something which takes long to make, such as an optimizer, and act with it.

A tick of one problem is short sequences of small matrix products; what a core can do it does best on whole problems.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import torch

T = TypeVar("T")
P = TypeVar("P")
R = TypeVar("R")
# Set once in each worker.
_here: Any = None


class Workers(Generic[T]):
    """Processes with a thing of their own each; close them, or use them as a context.

    Args:
        make: Builds the thing; it is sent to the workers, so it must be picklable: a `functools.partial` is.
        workers: None takes the cores there are; one works in this process.
    """

    def __init__(self, make: Callable[[], T], *, workers: int | None = None) -> None:
        self.workers = workers or os.cpu_count() or 1
        self._own = make() if self.workers == 1 else None
        self._pool = None
        if self.workers > 1:
            # Fresh processes: a fork of one whose BLAS has threads may never wake up.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.workers, context, initializer=_begin, initargs=(make,))

    def each(self, act: Callable[[T, P], R], pieces: Sequence[P]) -> Iterator[R]:
        """`act(thing, piece)` for every piece, in their order; `act` is a function of a module."""
        if self._pool is not None:
            yield from self._pool.map(partial(_act, act), pieces)
            return
        assert self._own is not None
        for piece in pieces:
            yield act(self._own, piece)

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


def _begin(make: Callable[[], Any]) -> None:
    global _here
    torch.set_num_threads(1)
    _here = make()


def _act(act: Callable[[Any, Any], Any], piece: Any) -> Any:
    return act(_here, piece)
