"""One of a thing is not called many, and a time is told in its own unit."""

from __future__ import annotations

import pytest

from procmodel.plant.words import lasting, many


@pytest.mark.parametrize(
    ("count", "noun", "said"),
    [
        (1, "episode", "1 episode"),
        (0, "gap", "0 gaps"),
        (2, "stretch", "2 stretches"),
        (1, "stretch", "1 stretch"),
        (1500, "row", "1,500 rows"),
    ],
)
def test_a_count_and_its_noun_agree(count: int, noun: str, said: str) -> None:
    assert many(count, noun) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(5.0, "5 s"), (60.0, "1 min"), (150.0, "2.5 min"), (3600.0, "1 h"), (86400.0, "1 day"), (172800.0, "2 days")],
)
def test_a_length_of_time_is_told_in_the_largest_unit_that_it_fills(seconds: float, said: str) -> None:
    assert lasting(seconds) == said
