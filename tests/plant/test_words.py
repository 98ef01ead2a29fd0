"""One of a thing is not called many."""

from __future__ import annotations

import pytest

from procmodel.plant.words import many


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
