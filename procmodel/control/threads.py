"""A plan on one core. Its products are too small to share, and threads that wait for each other wait long on a machine
with other work: a tick of 90 ms of one core took 700 to 2,500 ms of two that were busy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

from threadpoolctl import ThreadpoolController

P = ParamSpec("P")
T = TypeVar("T")


@cache
def _pools() -> ThreadpoolController:
    """Those of the libraries that are loaded at the first call; looking for them takes longer than a plan may."""
    return ThreadpoolController()


def on_one_core(act: Callable[P, T]) -> Callable[P, T]:
    """The same with a single thread for BLAS and OpenMP; the numbers of threads are put back afterwards."""

    @wraps(act)
    def alone(*args: P.args, **kwargs: P.kwargs) -> T:
        with _pools().limit(limits=1):
            return act(*args, **kwargs)

    return alone
