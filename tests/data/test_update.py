"""A dataset brought up to date is the one that the whole record of today makes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from connectors.memory import MemoryHistorian
from procmodel.data import Dataset, condition
from procmodel.data.update import update
from procmodel.errors import DatasetError
from procmodel.plant import Plant

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
TAGS = {
    "FC1.SP": {"role": "MV", "unit": "kg/h"},
    "LI1.PV": {"role": "CV", "unit": "cm", "max_gap": "5 min"},
    "TI1.PV": {"role": "CV", "unit": "degC", "summary": "bridged_average", "max_gap": "20 min"},
    "AI1.LAB": {"role": "AUX", "unit": "%", "kind": "laboratory"},
    "FQ1.PV": {"role": "DV", "unit": "m3/h", "source_unit": "m3", "kind": "totalizer", "max_gap": "10 min"},
}
PLANT = Plant.model_validate({"name": "growing", "sample_time": "10 s", "tags": TAGS})
EVERY = {"FC1.SP": 900, "LI1.PV": 7, "TI1.PV": 200, "AI1.LAB": 2000, "FQ1.PV": 90}
Row = tuple[str, datetime, float | None]


def rows_of(seed: int, seconds: int = 20_000) -> list[Row]:
    rng = np.random.default_rng(seed)
    found: list[Row] = []
    for name, every in EVERY.items():
        times = np.cumsum(rng.exponential(every, 3 * seconds // every))
        times = times[times < seconds]
        values = np.cumsum(rng.exponential(1.0, len(times))) if name == "FQ1.PV" else 50 + rng.normal(size=len(times))
        bad = rng.random(len(times)) < 0.08
        found += [
            (name, T0 + timedelta(seconds=round(float(t), 3)), None if b else float(v))
            for t, v, b in zip(times, values, bad, strict=True)
        ]
    return found


def made(rows: list[Row]) -> MemoryHistorian:
    import polars as pl

    tags, times, values = zip(*rows, strict=True)
    return MemoryHistorian(pl.DataFrame({"tag": tags, "time": times, "value": values}), PLANT.tags)


def assert_same(found: Dataset, wanted: Dataset) -> None:
    np.testing.assert_array_equal(found.values, wanted.values)
    np.testing.assert_array_equal(found.good_fraction, wanted.good_fraction)
    np.testing.assert_array_equal(found.ages, wanted.ages)
    assert (found.start, found.stretches) == (wanted.start, wanted.stretches)


@pytest.mark.parametrize("seed", range(6))
def test_new_samples_and_late_ones_replace_what_was_there(seed: int) -> None:
    rows = rows_of(seed)
    until = T0 + timedelta(seconds=12_000)
    rng = np.random.default_rng(100 + seed)
    # Of the last half hour before the first export, a third came too late for it.
    late = [r[1] > until - timedelta(minutes=30) and rng.random() < 0.3 for r in rows]
    first = [r for r, is_late in zip(rows, late, strict=True) if r[1] < until and not is_late]
    before = condition(PLANT, made(first))
    assert_same(update(PLANT, made(rows), before, overlap=1800), condition(PLANT, made(rows)))


def test_an_update_with_nothing_new_changes_nothing() -> None:
    whole = condition(PLANT, made(rows_of(1)))
    assert_same(update(PLANT, made(rows_of(1)), whole), whole)


def test_what_is_older_than_the_overlap_is_not_read() -> None:
    rows = rows_of(2)
    whole = condition(PLANT, made(rows))
    recent = [r for r in rows if r[1] > T0 + timedelta(seconds=10_000)]  # the old exports are gone
    assert_same(update(PLANT, made(recent), whole, overlap=600), whole)


def test_another_plant_is_refused() -> None:
    other = Plant.model_validate({"name": "other", "sample_time": "10 s", "tags": TAGS})
    with pytest.raises(DatasetError, match="of this very plant"):
        update(other, made(rows_of(1)), condition(PLANT, made(rows_of(1))))
