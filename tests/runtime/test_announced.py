"""What is known to come of a disturbance, row by row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from procmodel.errors import PlantFileError
from procmodel.plant import Plant
from procmodel.runtime.announced import future_dvs, other_courses, read_announced

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def told(plant: Plant, path: Path) -> Plant:
    feed = plant.tags["FI9.PV"].model_copy(update={"announced": str(path)})
    return plant.model_copy(update={"tags": {**plant.tags, "FI9.PV": feed}})


def test_a_value_holds_from_its_stamp_until_the_next_one(small_plant: Plant) -> None:
    announced = {"FI9.PV": [(NOW + timedelta(seconds=s), v) for s, v in ((45, 18.0), (20, 15.0), (500, 99.0))]}
    future = future_dvs(small_plant, announced, NOW, 8)  # rows of 10 s: the third begins in 20 s
    assert future is not None
    np.testing.assert_array_equal(future[:, 0], [np.nan, np.nan, 15, 15, 15, 18, 18, 18])


def test_what_is_past_or_beyond_the_horizon_says_nothing(small_plant: Plant) -> None:
    assert future_dvs(small_plant, {}, NOW, 8) is None
    past = {"FI9.PV": [(NOW - timedelta(seconds=60), 18.0)]}
    assert future_dvs(small_plant, past, NOW, 8) is None  # what the plant shows now counts more
    assert future_dvs(small_plant, {"FI9.PV": [(NOW + timedelta(hours=1), 18.0)]}, NOW, 8) is None


def test_the_plant_files_list_is_read_and_a_wrong_line_is_named(small_plant: Plant, tmp_path: Path) -> None:
    file = tmp_path / "feed.csv"
    file.write_text("time,value\n2026-03-01T13:00:00+01:00,15\n2026-03-01T11:00:00Z,14\n", encoding="utf-8")
    assert read_announced(told(small_plant, file)) == {"FI9.PV": [(NOW - timedelta(hours=1), 14.0), (NOW, 15.0)]}
    file.write_text("time,value\n2026-03-01T13:00:00,15\n", encoding="utf-8")
    with pytest.raises(PlantFileError, match=r"'FI9.PV'.*feed.csv, line 2.*with its offset"):
        read_announced(told(small_plant, file))
    with pytest.raises(PlantFileError, match="cannot be read"):
        read_announced(told(small_plant, tmp_path / "none.csv"))


def test_low_and_high_courses_are_read_and_stand_at_the_value_where_a_line_has_none(
    small_plant: Plant, tmp_path: Path
) -> None:
    file = tmp_path / "feed.csv"
    lines = ["time,value,low,high", "2026-03-01T12:00:20Z,15,,19", "2026-03-01T12:00:50Z,14,14,14"]
    file.write_text("\n".join(lines), encoding="utf-8")
    plant = told(small_plant, file)
    courses = other_courses(plant, NOW, 8)
    assert list(courses) == ["high"]  # no line has another low
    np.testing.assert_array_equal(courses["high"][:, 0], [np.nan, np.nan, 19, 19, 19, 14, 14, 14])
    expected = future_dvs(plant, read_announced(plant), NOW, 8)
    assert expected is not None
    np.testing.assert_array_equal(expected[:, 0], [np.nan, np.nan, 15, 15, 15, 14, 14, 14])
    file.write_text("time,value\n2026-03-01T12:00:20Z,15\n", encoding="utf-8")
    assert other_courses(plant, NOW, 8) == {}
    file.write_text("time,value,high\n2026-03-01T12:00:20Z,15,much\n", encoding="utf-8")
    with pytest.raises(PlantFileError, match="line 2"):
        other_courses(plant, NOW, 8)
