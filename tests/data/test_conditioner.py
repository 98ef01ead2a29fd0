"""From a historian to a dataset: ranges, campaigns, errors and the manifest."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from procmodel.data.conditioner import condition
from procmodel.data.dataset import Dataset
from procmodel.data.samples import SCHEMA, Campaign, Quality, Query, ReadReport, TagInfo
from procmodel.errors import DatasetError
from procmodel.plant import Plant

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
Series = dict[str, list[tuple[float, float | None, Quality]]]  # tag -> (seconds after T0, value, quality)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


class ListHistorian:
    """A historian that holds lists; hands them over tag by tag in batches of a few rows."""

    def __init__(self, series: Series, campaigns: Sequence[Campaign] = (), batch: int = 7) -> None:
        self.report = ReadReport()
        self._series, self._campaigns, self._batch = series, tuple(campaigns), batch
        self.query: Query | None = None

    def search(self, pattern: str = "*") -> Iterator[TagInfo]:
        yield from (TagInfo(name=name) for name in self._series if fnmatch.fnmatch(name, pattern))

    def campaigns(self) -> Sequence[Campaign]:
        return self._campaigns

    def latest(self, tags: Sequence[str]) -> pa.RecordBatch:
        return _batch([(tag, *self._series[tag][-1]) for tag in tags])

    def read(self, query: Query) -> Iterator[pa.RecordBatch]:
        self.query = query
        moments = [at(t) for samples in self._series.values() for t, _, _ in samples]
        self.report = ReadReport(sources={"list": "0" * 64}, first=min(moments), last=max(moments))
        for tag in query.tags:
            rows = [(tag, *sample) for sample in self._series.get(tag, [])]
            before = [r for r in rows if query.start and at(r[1]) < query.start]
            inside = [
                r
                for r in rows
                if (not query.start or at(r[1]) >= query.start) and (not query.end or at(r[1]) < query.end)
            ]
            rows = (before[-1:] if query.carry_in else []) + inside
            for i in range(0, len(rows), self._batch):
                self.report.rows += len(rows[i : i + self._batch])
                yield _batch(rows[i : i + self._batch])


def _batch(rows: list[tuple[str, float, float | None, Quality]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [
            pa.array([r[0] for r in rows]).dictionary_encode(),
            pa.array([at(r[1]) for r in rows], type=SCHEMA.field("time").type),
            pa.array([r[2] for r in rows], type=pa.float64()),
            pa.array([int(r[3]) for r in rows], type=pa.int64()),
            pa.array([int(r[3]) for r in rows], type=pa.int8()),
            pa.array([None for _ in rows], type=pa.string()),
        ],
        schema=SCHEMA,
    )


def steady(first: float, last: float, every: float, value: float) -> list[tuple[float, float | None, Quality]]:
    return [(float(t), value, Quality.GOOD) for t in np.arange(first, last + every / 2, every)]


def record(plant: Plant, first: float = 0, last: float = 600, every: float = 5) -> Series:
    """Every tag steady at 10 times its column number."""
    return {name: steady(first, last, every, 10.0 * c) for c, name in enumerate(plant.columns)}


def column(dataset: Dataset, name: str) -> np.ndarray:
    return dataset.values[:, dataset.columns.index(name)]


def test_the_grid_starts_at_a_multiple_of_the_sample_time(small_plant: Plant) -> None:
    dataset = condition(small_plant, ListHistorian(record(small_plant, first=3, last=604)))
    assert dataset.start == T0
    assert (dataset.step, dataset.rows, dataset.columns) == (10.0, 61, tuple(small_plant.columns))
    assert [(s.name, s.start, s.stop, s.began) for s in dataset.stretches] == [("record", 0, 61, T0)]
    np.testing.assert_array_equal(dataset.values[5], [0, 10, 20, 30, 40])
    np.testing.assert_allclose(dataset.good_fraction[0], 0.7)
    assert dataset.times()[-1] == np.datetime64("2026-03-01T12:10:00")


def test_an_asked_range_is_filled_from_the_sample_before_it(small_plant: Plant) -> None:
    series = record(small_plant, first=-300, last=900)
    series["FC1.SP"] = [(-250.0, 33.0, Quality.GOOD), (95.0, 44.0, Quality.GOOD)]
    dataset = condition(small_plant, ListHistorian(series), start=at(4), end=at(197))
    assert (dataset.start, dataset.rows) == (T0, 20)  # outward to whole rows
    np.testing.assert_allclose(column(dataset, "FC1.SP"), [33] * 9 + [38.5] + [44] * 10)
    assert (dataset.good_fraction == 1).all()


@pytest.mark.parametrize("spoil", ["null", "bad", "outside its range", "uncertain"])
def test_what_is_not_good_becomes_a_gap_and_is_counted(small_plant: Plant, spoil: str) -> None:
    series = record(small_plant)
    value = {"null": None, "bad": 20.0, "outside its range": 100.5, "uncertain": 20.0}[spoil]
    quality = {"bad": Quality.BAD, "uncertain": Quality.UNCERTAIN}.get(spoil, Quality.GOOD)
    series["LI1.PV"] = [(t, value, quality) if 100 <= t < 150 else (t, v, q) for t, v, q in series["LI1.PV"]]
    dataset = condition(small_plant, ListHistorian(series))
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(column(dataset, "LI1.PV"))), np.arange(10, 15))
    facts = dataset.manifest["sampling"]["LI1.PV"]
    assert facts["not_good"] == 10
    assert facts["out_of_range"] == (10 if spoil == "outside its range" else 0)


def test_uncertain_samples_can_be_accepted(small_plant: Plant) -> None:
    series = record(small_plant)
    series["LI1.PV"] = [(t, v, Quality.UNCERTAIN) for t, v, _ in series["LI1.PV"]]
    dataset = condition(small_plant, ListHistorian(series), accept_uncertain=True)
    assert np.isfinite(column(dataset, "LI1.PV")).all()


def test_a_largest_gap_of_the_plant_file_is_obeyed(small_plant: Plant) -> None:
    tags = {
        n: t.model_dump(include={"role", "unit"}) | ({"max_gap": "1 min"} if n == "FI9.PV" else {})
        for n, t in small_plant.tags.items()
    }
    plant = Plant.model_validate({"name": "gapped", "sample_time": "10 s", "tags": tags})
    series = record(plant)
    for name in ("FI9.PV", "TI1.PV"):
        series[name] = [s for s in series[name] if not 200 < s[0] < 265]
    dataset = condition(plant, ListHistorian(series))
    assert np.isnan(column(dataset, "FI9.PV")).sum() == 6  # 65 s apart: the cells from 200 to 260, and half of the next
    assert np.isfinite(column(dataset, "TI1.PV")).all()  # ten rows are always bridged


def test_campaigns_apart_become_stretches_without_the_days_between(small_plant: Plant) -> None:
    day = 86_400.0
    series = {
        name: [*steady(0, 300, 5, 1.0 + c), *steady(30 * day + 2, 30 * day + 202, 5, 2.0 + c)]
        for c, name in enumerate(small_plant.columns)
    }
    campaigns = [
        Campaign(name="first", start=T0, end=at(300)),
        Campaign(name="second", start=at(30 * day + 2), end=at(30 * day + 202)),
    ]
    dataset = condition(small_plant, ListHistorian(series, campaigns))
    assert [(s.name, s.start, s.stop) for s in dataset.stretches] == [("first", 0, 30), ("second", 30, 51)]
    assert dataset.stretches[1].began == at(30 * day)
    assert dataset.start == T0
    # No value of the first campaign may reach into the second, nor a line between them.
    np.testing.assert_allclose(dataset.values[:30, 0], 1.0)
    np.testing.assert_allclose(dataset.values[30:, 0], 2.0)
    np.testing.assert_allclose(dataset.good_fraction[30], 0.8)
    times = dataset.times()
    assert times[29] == np.datetime64("2026-03-01T12:04:50")
    assert times[30] == np.datetime64("2026-03-31T12:00:00")


def test_a_setpoint_held_at_the_end_of_one_campaign_says_nothing_of_the_next(small_plant: Plant) -> None:
    series = record(small_plant, 0, 2000)
    series["FC1.SP"] = [(0.0, 5.0, Quality.GOOD), (1100.0, 6.0, Quality.GOOD)]
    campaigns = [Campaign(name=n, start=at(a), end=at(a + 500)) for n, a in (("one", 0), ("two", 1000))]
    dataset = condition(small_plant, ListHistorian(series, campaigns))
    np.testing.assert_array_equal(column(dataset, "FC1.SP")[:50], 5.0)
    assert np.isnan(column(dataset, "FC1.SP")[50:60]).all()
    np.testing.assert_array_equal(column(dataset, "FC1.SP")[60:], 6.0)


def test_the_sample_at_the_very_end_of_a_campaign_closes_its_last_line(small_plant: Plant) -> None:
    series = record(small_plant, 0, 2000)
    series["TI1.PV"] = [(t, t / 20, Quality.GOOD) for t, _, _ in series["TI1.PV"]]
    campaigns = [Campaign(name=n, start=at(a), end=at(a + 500)) for n, a in (("one", 0), ("two", 1000))]
    dataset = condition(small_plant, ListHistorian(series, campaigns))
    assert (dataset.good_fraction == 1).all()
    assert column(dataset, "TI1.PV")[[49, 99]] == pytest.approx([495 / 20, 1495 / 20])


def test_a_setpoint_is_carried_into_a_campaign_that_touches(small_plant: Plant) -> None:
    series = record(small_plant, 0, 1000)
    series["FC1.SP"] = [(0.0, 5.0, Quality.GOOD)]
    campaigns = [Campaign(name=n, start=at(a), end=at(b)) for n, a, b in (("one", 0, 497), ("two", 497, 1000))]
    dataset = condition(small_plant, ListHistorian(series, campaigns))
    assert [(s.name, s.start, s.stop) for s in dataset.stretches] == [("one", 0, 50), ("two", 50, 100)]
    np.testing.assert_array_equal(column(dataset, "FC1.SP"), 5.0)


def test_rows_at_the_ends_without_a_good_mv_or_cv_are_cut_off(small_plant: Plant) -> None:
    series = record(small_plant, 100, 400)
    series["FI9.PV"] = steady(0, 800, 5, 1.0)  # a disturbance alone trains nothing
    series["FC1.SP"][-1] = (400.0, 0.0, Quality.BAD)
    series["FC2.SP"][-1] = (400.0, 0.0, Quality.BAD)
    dataset = condition(small_plant, ListHistorian(series))
    assert (dataset.start, dataset.rows) == (at(100), 30)


def test_the_result_does_not_depend_on_the_size_of_the_batches(small_plant: Plant) -> None:
    rng = np.random.default_rng(3)
    series: Series = {
        name: [
            (float(t), float(rng.normal(50, 3)), Quality.GOOD if rng.random() > 0.1 else Quality.BAD)
            for t in np.round(np.cumsum(rng.exponential(8, 200)), 3)
        ]
        for name in small_plant.columns
    }
    one, other = (condition(small_plant, ListHistorian(series, batch=b)) for b in (1, 1000))
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.good_fraction, other.good_fraction)
    assert one.start == other.start


def test_the_manifest_says_whence_and_what(small_plant: Plant) -> None:
    manifest = condition(small_plant, ListHistorian(record(small_plant))).manifest
    assert manifest["plant"] == "small-plant"
    assert manifest["fingerprint"] == small_plant.fingerprint
    assert manifest["tags"] == small_plant.columns
    assert manifest["sources"] == {"list": "0" * 64}
    assert manifest["report"]["rows"] == 5 * 121
    assert manifest["report"]["first"] == T0.isoformat()
    assert re.fullmatch(r"\d+\.\d+\.\d+", manifest["procmodel"])
    assert datetime.fromisoformat(manifest["created"]).tzinfo is not None
    assert manifest["sampling"]["FI9.PV"]["median_interval_s"] == pytest.approx(5, rel=0.03)


def test_progress_counts_samples_and_ends_complete(small_plant: Plant) -> None:
    seen: list[tuple[int, int]] = []
    historian = ListHistorian(record(small_plant), batch=50)
    condition(small_plant, historian, start=T0, end=at(600), progress=lambda done, total: seen.append((done, total)))
    done = [d for d, _ in seen]
    assert done == sorted(done)
    assert all(total >= d for d, total in seen)
    assert seen[-1] == (605, 605)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"LI1.PV": []}, r"CV 'LI1.PV' has no sample in the asked range"),
        ({"FC2.SP": [(1.0, 5.0, Quality.BAD)]}, r"MV 'FC2.SP' has 1 sample, none of them good"),
        (
            {"TI1.PV": [(0.0, 400.0, Quality.GOOD)] * 3},
            r"'TI1.PV' has 3 samples, all outside its range \[0, 150\] degC",
        ),
        ({"TI1.PV": [(0.0, 40.0, Quality.GOOD), (500.0, 40.0, Quality.GOOD)]}, r"'TI1.PV'.*too far apart"),
    ],
)
def test_an_mv_or_cv_that_is_never_good_is_named(small_plant: Plant, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        condition(small_plant, ListHistorian({**record(small_plant), **change}))


def test_a_disturbance_that_is_never_good_is_only_a_gap(small_plant: Plant) -> None:
    dataset = condition(small_plant, ListHistorian({**record(small_plant), "FI9.PV": []}))
    assert np.isnan(column(dataset, "FI9.PV")).all()


def test_no_overlap_with_the_asked_range_says_what_the_source_holds(small_plant: Plant) -> None:
    historian = ListHistorian(record(small_plant))
    with pytest.raises(
        DatasetError, match=r"no sample lies in the asked range, 2025-01-01.*runs from 2026-03-01T12:00"
    ):
        condition(small_plant, historian, start=datetime(2025, 1, 1, tzinfo=UTC), end=datetime(2025, 2, 1, tzinfo=UTC))


def test_no_overlap_with_any_campaign_lists_them(small_plant: Plant) -> None:
    historian = ListHistorian(record(small_plant), [Campaign(name="ex_1", start=T0, end=at(600))])
    with pytest.raises(DatasetError, match=r"No campaign lies in the asked range 2027.*'ex_1' 2026-03-01"):
        condition(small_plant, historian, start=datetime(2027, 1, 1, tzinfo=UTC))


def test_campaigns_that_overlap_are_refused(small_plant: Plant) -> None:
    campaigns = [Campaign(name=n, start=at(a), end=at(a + 300)) for n, a in (("one", 0), ("two", 200))]
    with pytest.raises(DatasetError, match=r"'two' starts at .* before 'one' ends"):
        condition(small_plant, ListHistorian(record(small_plant), campaigns))
