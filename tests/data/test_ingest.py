"""Out of core and in memory are the same, to the last bit, however little is held at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from procmodel.data import condition, load_dataset, spool
from procmodel.data.ingest import ingest
from procmodel.data.samples import SCHEMA, Campaign, Query, ReadReport, TagInfo
from procmodel.errors import DatasetError, HistorianError
from procmodel.plant import Plant

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
TAGS = {
    "FC1.SP": {"role": "MV", "unit": "kg/h"},
    "FC2.SP": {"role": "MV", "unit": "kg/h", "max_gap": "10 min"},
    "LI1.PV": {"role": "CV", "unit": "cm", "range": [0, 100]},
    "TI1.PV": {"role": "CV", "unit": "degC", "summary": "maximum"},
    "TI2.PV": {"role": "AUX", "unit": "degC", "summary": "interpolated"},
    "AI1.LAB": {"role": "AUX", "unit": "%", "kind": "laboratory"},
    "FQ1.PV": {"role": "DV", "unit": "m3/h", "source_unit": "m3", "kind": "totalizer"},
    "WD1.PV": {"role": "AUX", "unit": "deg", "kind": "angle"},
}
PLANT = Plant.model_validate({"name": "ordered", "sample_time": "10 s", "tags": TAGS})


class OrderedHistorian:
    """All tags in order of time, in batches of some rows."""

    in_time_order = True

    def __init__(self, rows: list[tuple[str, int, float, int]], batch: int) -> None:
        self.report, self._rows, self._batch = ReadReport(), rows, batch

    def search(self, pattern: str = "*") -> Iterator[TagInfo]:
        yield from ()

    def campaigns(self) -> Sequence[Campaign]:
        return ()

    def latest(self, tags: Sequence[str]) -> pa.RecordBatch:
        raise AssertionError("not asked here")

    def read(self, query: Query) -> Iterator[pa.RecordBatch]:
        lo, hi = (None if t is None else round((t - T0).total_seconds() * 1e6) for t in (query.start, query.end))
        held: dict[str, tuple[str, int, float, int]] = {}
        rows = [r for r in self._rows if (hi is None or r[1] < hi)]
        if lo is not None:
            held = {r[0]: r for r in rows if r[1] < lo}
            rows = sorted(held.values(), key=lambda r: r[1]) + [r for r in rows if r[1] >= lo]
        for i in range(0, len(rows), self._batch):
            part = rows[i : i + self._batch]
            yield pa.RecordBatch.from_arrays(
                [
                    pa.array([r[0] for r in part]).dictionary_encode(),
                    pa.array([T0 + timedelta(microseconds=r[1]) for r in part], type=SCHEMA.field("time").type),
                    pa.array([r[2] for r in part], type=pa.float64()),
                    pa.nulls(len(part), pa.int64()),
                    pa.array([r[3] for r in part], type=pa.int8()),
                    pa.nulls(len(part), pa.string()),
                ],
                schema=SCHEMA,
            )


def record(seed: int, seconds: int = 20_000) -> list[tuple[str, int, float, int]]:
    """Samples of very different density, with bad ones, outages of every tag, and a setpoint that rests for hours."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[str, int, float, int]] = []
    means = {"FC1.SP": 4000, "FC2.SP": 300, "LI1.PV": 4, "TI1.PV": 70, "TI2.PV": 25, "AI1.LAB": 3600, "FQ1.PV": 60,
             "WD1.PV": 12}  # fmt: skip
    for name, mean in means.items():
        times = np.cumsum(rng.exponential(mean, size=3 * seconds // mean + 2))
        times = times[(times < seconds) & ((times < 9_000) | (times > 11_500))]  # an outage of 2,500 s
        values = 50 + np.cumsum(rng.normal(size=len(times)))
        if name == "FQ1.PV":
            values = np.cumsum(rng.exponential(1.0, size=len(times)))
        bad = rng.random(len(times)) < 0.05
        rows += [(name, round(t * 1e6), float(v), 2 * int(b)) for t, v, b in zip(times, values, bad, strict=True)]
    return sorted(rows, key=lambda r: r[1])


def little_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 rows are put away at a time, and three times as many are read back."""
    monkeypatch.setattr(spool, "_WINDOW", 1)
    monkeypatch.setattr(spool, "_STRIP", 150 * 24 * len(TAGS))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("span", [(None, None), (4_000, 15_000)])
def test_a_record_conditioned_out_of_core_is_the_one_in_memory(
    seed: int, span: tuple[float | None, float | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    little_at_a_time(monkeypatch)
    rows = record(seed)
    start, end = (None if s is None else T0 + timedelta(seconds=s) for s in span)
    whole = condition(PLANT, OrderedHistorian(rows, 1_000_000), start=start, end=end)
    stored = load_dataset(ingest(PLANT, OrderedHistorian(rows, 97), tmp_path / "d", start=start, end=end), PLANT)
    np.testing.assert_array_equal(stored.values, whole.values)
    np.testing.assert_array_equal(stored.good_fraction, whole.good_fraction)
    np.testing.assert_array_equal(stored.ages, whole.ages)
    assert (stored.start, stored.rows, stored.aged) == (whole.start, whole.rows, ("AI1.LAB",))
    assert [(s.name, s.start, s.stop, s.began) for s in stored.stretches] == [("record", 0, whole.rows, whole.start)]
    assert stored.manifest["sampling"] == whole.manifest["sampling"]
    assert list(tmp_path.iterdir()) == [tmp_path / "d"]  # nothing of the spool is left


@pytest.mark.parametrize("batch", [97, 1_000_000])
def test_a_historian_that_goes_on_after_the_end_changes_nothing(
    batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    little_at_a_time(monkeypatch)
    start, end = (T0 + timedelta(seconds=s) for s in (2_000, 6_000))
    kept = condition(PLANT, OrderedHistorian(record(2), batch), start=start, end=end)
    read = OrderedHistorian.read
    monkeypatch.setattr(OrderedHistorian, "read", lambda self, query: read(self, replace(query, end=None)))
    assert_same = np.testing.assert_array_equal
    for found in (
        condition(PLANT, OrderedHistorian(record(2), batch), start=start, end=end),
        load_dataset(ingest(PLANT, OrderedHistorian(record(2), batch), tmp_path / "d", start=start, end=end), PLANT),
    ):
        assert_same(found.values, kept.values)
        assert_same(found.good_fraction, kept.good_fraction)
        assert_same(found.ages, kept.ages)


def test_a_promise_of_order_that_is_not_kept_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    little_at_a_time(monkeypatch)
    rows = record(0)
    rows = [*rows[5_000:], *rows[:5_000]]
    with pytest.raises(HistorianError, match=r"arrives after .* promises all tags in order of time"):
        ingest(PLANT, OrderedHistorian(rows, 97), tmp_path / "d")
    assert not list(tmp_path.iterdir())


def test_a_cv_that_is_never_good_stores_nothing(tmp_path: Path) -> None:
    rows = [(name, t, v, 2 if name == "LI1.PV" else q) for name, t, v, q in record(1)]
    with pytest.raises(DatasetError, match=r"CV 'LI1.PV' has [\d,]+ samples, none of them good"):
        ingest(PLANT, OrderedHistorian(rows, 97), tmp_path / "d")
    assert not list(tmp_path.iterdir())
