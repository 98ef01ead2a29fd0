"""What all tests share: a small plant, and the settings of Hypothesis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from procmodel.plant import Plant

# Fixed examples and no deadline: a test must not pass or fail by the load of the machine it runs on.
settings.register_profile(
    "procmodel", derandomize=True, deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("procmodel")

SMALL_PLANT: dict[str, Any] = {
    "name": "small-plant",
    "description": "Two valves, a level and a temperature, and the feed that disturbs both.",
    "sample_time": "10 s",
    "tags": {
        "FC1.SP": {"role": "MV", "unit": "kg/h", "limits": [0, 100], "max_move": 5, "rest_at": 40},
        "FC2.SP": {"role": "MV", "unit": "kg/h", "limits": [0, 80], "max_move": {"up": 4, "down": 8}},
        "LI1.PV": {
            "role": "CV",
            "unit": "cm",
            "setpoint": 50,
            "limits": {"low": {"at": 20, "rank": 2}, "high": {"at": 80, "rank": 1}},
            "range": [0, 100],
        },
        "TI1.PV": {"role": "CV", "unit": "degC", "limits": {"high": {"at": 90, "rank": 2}}, "range": [0, 150]},
        "FI9.PV": {"role": "DV", "unit": "kg/h"},
    },
    "gains": {
        "FC1.SP -> LI1.PV": {"sign": "+"},
        "FC2.SP -> TI1.PV": {"sign": "-", "dead_time": "20 s"},
    },
}


@pytest.fixture
def small_plant() -> Plant:
    """Two MVs, two CVs, one DV, on a grid of 10 s."""
    from procmodel.plant import Plant

    return Plant.model_validate(SMALL_PLANT)
