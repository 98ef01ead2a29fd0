"""One body of tests over every kind of table: CSV, Parquet and frames in memory, long and wide."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import connectors.samples
from connectors.csv_files import CsvHistorian
from connectors.memory import MemoryHistorian
from connectors.parquet_files import ParquetHistorian
from connectors.record import TableHistorian
from procmodel.data.samples import SCHEMA, Historian, Quality, Query
from procmodel.errors import HistorianError, PlantFileError
from procmodel.plant import History, Role, Tag

T0 = datetime(2024, 5, 1, 6, 0, tzinfo=UTC)
TAGS = {
    "FC1.SP": Tag(name="FC1.SP", role=Role.MV, unit="kg/h", source_unit="kg/min"),
    "TI1.PV": Tag(name="TI1.PV", role=Role.CV, unit="degC", source_unit="degF", range=(0, 100)),
}
# Minutes after T0, raw value.
RAW: dict[str, list[tuple[float, float]]] = {
    "FC1.SP": [(0.0, 1.0), (3.0, 2.0), (10.5, 1.5)],
    "TI1.PV": [(0.0, 32.0), (1.0, 212.0), (2.0, 213.0), (3.0, 122.0)],  # 213 degF is above the instrument's range
}
CONVERTED = {"FC1.SP": [60.0, 120.0, 90.0], "TI1.PV": [0.0, 100.0, 905 / 9, 50.0]}

Make = Callable[[Path], TableHistorian]


def stamp(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


def long_frame() -> pl.DataFrame:
    rows = [(tag, stamp(minutes), value) for tag, samples in RAW.items() for minutes, value in samples]
    return pl.DataFrame(
        rows, schema={"tag": pl.String, "time": pl.Datetime("us", "UTC"), "value": pl.Float64}, orient="row"
    )


def wide_frame() -> pl.DataFrame:
    times = sorted({minutes for samples in RAW.values() for minutes, _ in samples})
    columns: dict[str, Any] = {"time": [stamp(minutes) for minutes in times]}
    columns |= {tag: [dict(samples).get(minutes) for minutes in times] for tag, samples in RAW.items()}
    return pl.DataFrame(columns).with_columns(pl.col("time").cast(pl.Datetime("us", "UTC")))


def csv_of(frame: pl.DataFrame) -> Make:
    def make(folder: Path) -> TableHistorian:
        frame.with_columns(pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")).write_csv(folder / "export.csv")
        return CsvHistorian(History(kind="csv", path="export.csv"), TAGS, base=folder)

    return make


def parquet_of(frame: pl.DataFrame) -> Make:
    def make(folder: Path) -> TableHistorian:
        frame.write_parquet(folder / "export.parquet")
        return ParquetHistorian(History(kind="parquet", path="*.parquet"), TAGS, base=folder)

    return make


HISTORIANS: dict[str, Make] = {
    "csv long": csv_of(long_frame()),
    "csv wide": csv_of(wide_frame()),
    "parquet long": parquet_of(long_frame()),
    "parquet wide": parquet_of(wide_frame()),
    "parquet with local stamps": lambda folder: _local_parquet(folder),
    "polars long": lambda _: MemoryHistorian(long_frame(), TAGS),
    "pandas wide with an index of stamps": lambda _: MemoryHistorian(wide_frame().to_pandas().set_index("time"), TAGS),
    "arrow wide": lambda _: MemoryHistorian(wide_frame().to_arrow(), TAGS),
    "memory by its kind": lambda _: MemoryHistorian(History(kind="memory", options={"frame": long_frame()}), TAGS),
}


def _local_parquet(folder: Path) -> TableHistorian:
    local = pl.col("time").dt.convert_time_zone("Asia/Tokyo").dt.replace_time_zone(None)
    wide_frame().with_columns(local).write_parquet(folder / "export.parquet")
    history = History(kind="parquet", path="export.parquet", timezone="Asia/Tokyo")
    return ParquetHistorian(history, TAGS, base=folder)


@pytest.fixture(params=HISTORIANS)
def historian(request: pytest.FixtureRequest, tmp_path: Path) -> TableHistorian:
    return HISTORIANS[request.param](tmp_path)


def rows(historian: Historian, query: Query) -> dict[str, list[tuple[datetime, float, int]]]:
    found: dict[str, list[tuple[datetime, float, int]]] = {tag: [] for tag in query.tags}
    for batch in historian.read(query):
        assert batch.schema == SCHEMA
        for row in batch.to_pylist():
            found[row["tag"]].append((row["time"], row["value"], row["quality"]))
    return found


def test_every_sample_comes_in_the_tags_own_unit_in_order_of_time(historian: TableHistorian) -> None:
    found = rows(historian, Query(tags=("TI1.PV", "FC1.SP")))
    for tag, samples in RAW.items():
        assert [time for time, _, _ in found[tag]] == [stamp(minutes) for minutes, _ in samples]
        np.testing.assert_allclose([value for _, value, _ in found[tag]], CONVERTED[tag], rtol=1e-12, atol=1e-10)


def test_a_value_outside_the_instrument_range_is_bad_and_counted(historian: TableHistorian) -> None:
    found = rows(historian, Query(tags=tuple(TAGS)))
    assert [quality for _, _, quality in found["TI1.PV"]] == [Quality.GOOD, Quality.GOOD, Quality.BAD, Quality.GOOD]
    report = historian.report
    assert (report.rows, report.bad, report.out_of_range, report.duplicates, report.unsorted) == (7, 1, 1, 0, 0)
    assert (report.first, report.last) == (stamp(0), stamp(10.5))


def test_a_source_is_known_by_its_hash(historian: TableHistorian) -> None:
    list(historian.read(Query(tags=tuple(TAGS))))
    (digest,) = historian.report.sources.values()
    assert len(digest) == 64
    assert set(digest) <= set("0123456789abcdef")


def test_the_range_is_half_open_and_the_value_held_at_its_start_is_carried_in(historian: TableHistorian) -> None:
    asked = Query(tags=("FC1.SP", "TI1.PV"), start=stamp(1), end=stamp(3))
    found = rows(historian, asked)
    assert [time for time, _, _ in found["FC1.SP"]] == [stamp(0)]
    assert [time for time, _, _ in found["TI1.PV"]] == [stamp(0), stamp(1), stamp(2)]
    assert (historian.report.first, historian.report.last) == (stamp(1), stamp(2))


def test_without_carry_in_nothing_before_the_start_is_handed_over(historian: TableHistorian) -> None:
    found = rows(historian, Query(tags=("FC1.SP", "TI1.PV"), start=stamp(1), end=stamp(3), carry_in=False))
    assert [time for time, _, _ in found["FC1.SP"]] == []
    assert [time for time, _, _ in found["TI1.PV"]] == [stamp(1), stamp(2)]


def test_the_newest_sample_of_each_tag_is_told_in_the_order_asked(historian: TableHistorian) -> None:
    batch = historian.latest(["TI1.PV", "FC1.SP"])
    assert batch.schema == SCHEMA
    told = [(row["tag"], row["time"], row["value"]) for row in batch.to_pylist()]
    assert told == [("TI1.PV", stamp(3), pytest.approx(50.0)), ("FC1.SP", stamp(10.5), pytest.approx(90.0))]


def test_tags_are_found_by_a_pattern(historian: TableHistorian) -> None:
    assert sorted(info.name for info in historian.search()) == ["FC1.SP", "TI1.PV"]
    assert [info.name for info in historian.search("*.PV")] == ["TI1.PV"]
    assert list(historian.search("*.pv")) == []


def test_a_record_without_campaigns_names_none(historian: TableHistorian) -> None:
    assert list(historian.campaigns()) == []


def test_an_unknown_tag_is_named_with_the_nearest(historian: TableHistorian) -> None:
    with pytest.raises(HistorianError, match=r"Tag 'TI1\.PW' is not in the record .*did you mean 'TI1\.PV'\?"):
        historian.read(Query(tags=("TI1.PW",)))


def test_a_range_without_samples_names_both_ranges(historian: TableHistorian) -> None:
    with pytest.raises(HistorianError) as caught:
        historian.read(Query(tags=tuple(TAGS), start=stamp(60), end=stamp(120)))
    for part in (
        "2024-05-01T07:00:00+00:00 to 2024-05-01T08:00:00",
        "2024-05-01T06:00:00+00:00 to 2024-05-01T06:10:30",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize("rows_in_a_batch", [1, 2, 3, 1000])
def test_the_cut_into_batches_changes_nothing(
    historian: TableHistorian, monkeypatch: pytest.MonkeyPatch, rows_in_a_batch: int
) -> None:
    whole = pa.Table.from_batches(historian.read(Query(tags=tuple(TAGS))))
    monkeypatch.setattr(connectors.samples, "BATCH_ROWS", rows_in_a_batch)
    cut = list(historian.read(Query(tags=tuple(TAGS))))
    assert max(batch.num_rows for batch in cut) <= rows_in_a_batch
    assert pa.Table.from_batches(cut).to_pylist() == whole.to_pylist()


def test_a_second_read_starts_a_new_report(historian: TableHistorian) -> None:
    list(historian.read(Query(tags=("TI1.PV",))))
    list(historian.read(Query(tags=("TI1.PV",))))
    assert historian.report.rows == 4


def test_samples_in_our_own_schema_are_a_historian_again() -> None:
    batches = list(MemoryHistorian(long_frame(), TAGS).read(Query(tags=tuple(TAGS))))
    again = MemoryHistorian(pa.Table.from_batches(batches))
    found = rows(again, Query(tags=("TI1.PV",)))
    assert [quality for _, _, quality in found["TI1.PV"]] == [0, 0, 2, 0]


def test_a_pandas_column_of_numbers_and_words_keeps_both() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"time": pandas.date_range(T0, periods=4, freq="1min"), "A": [1.0, "I/O Timeout", None, 4]}
    )
    historian = MemoryHistorian(frame)
    assert [(value, quality) for _, value, quality in rows(historian, Query(tags=("A",)))["A"]] == [
        (1.0, 0),
        (None, 2),
        (4.0, 0),
    ]
    assert historian.report.words == {"I/O Timeout": 1}


def test_several_frames_are_campaigns_by_their_names() -> None:
    later = long_frame().with_columns(pl.col("time") + timedelta(hours=1))
    historian = MemoryHistorian({"second run": later, "run 1.5": long_frame()}, TAGS)
    assert [(each.name, each.start) for each in historian.campaigns()] == [
        ("run 1.5", stamp(0)),
        ("second run", stamp(60)),
    ]
    assert len(rows(historian, Query(tags=("FC1.SP",)))["FC1.SP"]) == 6


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(PlantFileError, match="needs a data frame, got list"):
        MemoryHistorian([1, 2, 3])
    with pytest.raises(PlantFileError, match="reads a frame made in Python"):
        MemoryHistorian(History(kind="memory"))
