"""What is known to come of a disturbance: stamped values, as DVs over the horizon.

Shapes: H rows ahead, V DVs.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from procmodel.errors import PlantFileError
from procmodel.plant import Plant

Announced = Mapping[str, Sequence[tuple[datetime, float]]]
"""By DV: from when on which value [unit]; it holds until the next one."""

OTHER_COURSES = ("low", "high")
"""Columns of an announced file beside `value`: how little and how much it may become."""


def read_announced(plant: Plant, course: str = "value") -> dict[str, list[tuple[datetime, float]]]:
    """What the plant file's `announced` files say.

    Args:
        course: Column to read; where a file or a line has none, its `value` stands.

    Raises:
        PlantFileError: A file cannot be read, or a line of it.
    """
    found = {}
    for name in plant.dvs:
        if (path := plant.tags[name].announced) is not None:
            found[name] = _read(name, Path(path), course)
    return found


def _read(name: str, path: Path, course: str) -> list[tuple[datetime, float]]:
    who = f"Tag {name!r}: announced {path}"
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except OSError as error:
        raise PlantFileError(
            f"{who} cannot be read ({error.strerror or error}). Correct it in the plant file."
        ) from None
    values = []
    for line, row in enumerate(rows, start=2):
        try:
            stamp = datetime.fromisoformat(row["time"].strip())
            value = float((row.get(course) or "").strip() or row["value"])
        except (KeyError, ValueError, AttributeError):
            raise PlantFileError(f"{who}, line {line}: needs `time,value`, an ISO 8601 stamp and a number.") from None
        if stamp.tzinfo is None or not math.isfinite(value):
            raise PlantFileError(f"{who}, line {line}: needs a stamp with its offset and a finite value.")
        values.append((stamp.astimezone(UTC), value))
    return sorted(values)


def future_dvs(plant: Plant, announced: Announced, now: datetime, rows: int) -> np.ndarray | None:
    """DVs of the next rows, [H, V], NaN where nothing is announced; None where nothing is.

    Row k ahead covers the sample time that begins k - 1 sample times from now, and takes what holds at its beginning.
    """
    future_HV = np.full((rows, len(plant.dvs)), np.nan)
    for v, name in enumerate(plant.dvs):
        for stamp, value in sorted(announced.get(name, ())):
            first = math.ceil(round((stamp - now).total_seconds() / plant.sample_time, 6))
            if first < rows:
                future_HV[max(first, 0) :, v] = value if first >= 0 else np.nan
    return future_HV if np.isfinite(future_HV).any() else None


def other_courses(plant: Plant, now: datetime, rows: int) -> dict[str, np.ndarray]:
    """How else the DVs may go, by name: all at their low, all at their high; what differs from the expected course.

    Raises:
        PlantFileError: As of `read_announced`.
    """
    expected, found = future_dvs(plant, read_announced(plant), now, rows), {}
    for course in OTHER_COURSES:
        other = future_dvs(plant, read_announced(plant, course), now, rows)
        if other is not None and (expected is None or not np.array_equal(other, expected, equal_nan=True)):
            found[course] = other
    return found
