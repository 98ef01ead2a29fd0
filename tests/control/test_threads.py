"""Plans run on one core and leave the machine's threads as they were."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from procmodel.control.optimizer import Optimizer
from procmodel.control.threads import on_one_core


def threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_inside_there_is_one_thread_and_afterwards_as_many_as_before() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpool_limits(2):
        assert on_one_core(threads)() == {1}
        assert threads() == {2}


def test_an_error_puts_the_threads_back_as_well() -> None:
    @on_one_core
    def fails() -> None:
        raise ZeroDivisionError

    with threadpool_limits(2):
        with pytest.raises(ZeroDivisionError):
            fails()
        assert threads() == {2}


@pytest.mark.parametrize("name", ["plan", "prepare"])
def test_the_optimizer_plans_that_way(name: str) -> None:
    assert hasattr(getattr(Optimizer, name), "__wrapped__")
