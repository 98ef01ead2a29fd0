"""What counts as equal compute in the study of two time scales."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.hierarchy import at_equal_compute, table


def results(**ms: float) -> dict[str, dict[str, Any]]:
    names = {"h": "hierarchy", "often": "flat, 24 h", "seldom": "flat, 24 h, every 15 min", "short": "flat, 2 h"}
    found = {}
    for key, spent in ms.items():
        cost = 10.0 if key == "h" else 12.5
        found[names[key]] = [
            {"cost": cost * day, "cost_at_mean_price": cost, "cpu_ms_per_row": spent} for day in (1.0, 1.1, 0.9)
        ]
    return table(found)


def test_the_next_flat_one_on_either_side_is_named_with_its_cost() -> None:
    equal = at_equal_compute(results(h=70.0, often=91.0, seldom=63.0, short=40.0))
    assert equal["cheaper"]["controller"] == "flat, 24 h, every 15 min"
    assert equal["dearer"]["controller"] == "flat, 24 h"
    assert np.isclose(equal["cheaper"]["cpu_over_the_hierarchys"], 0.9)
    assert np.isclose(equal["dearer"]["cpu_over_the_hierarchys"], 1.3)
    assert np.isclose(equal["cheaper"]["hierarchys_cost_over"]["ratio"], 0.8)


def test_where_nothing_lies_on_a_side_it_says_so() -> None:
    equal = at_equal_compute(results(h=50.0, often=91.0, seldom=63.0, short=40.0))
    assert equal["cheaper"] is None  # a horizon of 2 h is no answer to the same question
    assert equal["dearer"]["controller"] == "flat, 24 h, every 15 min"
