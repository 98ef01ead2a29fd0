"""What the look at each tag tells, on a record made so that it is known."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.health import tag_health
from procmodel.plant import Plant


def test_health_tells_gaps_stuck_stretches_and_range(small_plant: Plant) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(50, 1, size=(500, 5))
    values[:, 0] = 40.0  # a setpoint may rest
    values[100:110, 2], values[300, 2] = np.nan, np.nan
    values[180:290, 3] = 51.5
    values[400, 4] = 99.0
    values[249:309, 4] = 48.0  # 60 rows alike, but only 59 on one side of the border
    dataset = Dataset(
        columns=tuple(small_plant.columns),
        values=values,
        good_fraction=np.isfinite(values).astype(np.float32),
        start=datetime(2026, 3, 1, tzinfo=UTC),
        step=10.0,
        stretches=(Stretch(name="0", start=0, stop=250), Stretch(name="1", start=250, stop=500)),
        manifest={"sampling": {"LI1.PV": {"median_interval_s": 5.0}}},
    )
    found = {h.name: h for h in tag_health(dataset, small_plant)}
    level = found["LI1.PV"]
    assert (level.gaps, level.longest_gap, level.interval) == (2, 100.0, 5.0)
    assert level.good == pytest.approx(489 / 500)
    assert found["TI1.PV"].stuck == ((180, 250),)  # the border of the stretch ends it; 40 rows more are too few
    assert found["FC1.SP"].stuck == found["FI9.PV"].stuck == ()
    assert (found["FI9.PV"].high, found["FI9.PV"].interval) == (99.0, None)
    assert found["FC1.SP"].low == found["FC1.SP"].high == 40.0
