"""Waits between attempts: drawn below a bound that doubles, for as many attempts as an outage of months takes."""

from __future__ import annotations

import pytest

from connectors.retry import Patience


@pytest.mark.parametrize(
    ("attempt", "bound"), [(0, 0.5), (1, 1.0), (4, 8.0), (6, 30.0), (1023, 30.0), (1_000_000, 30.0)]
)
def test_the_bound_doubles_up_to_the_longest(attempt: int, bound: float) -> None:
    assert Patience(first=0.5, longest=30.0, random=lambda: 1.0).wait(attempt) == bound
