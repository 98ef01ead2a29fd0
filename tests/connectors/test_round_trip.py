"""Whatever is written as CSV, long or wide, in one file or cut into several, is read back to the bit."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.csv_files import CsvHistorian
from procmodel.data.samples import Query
from procmodel.plant import History

T0 = datetime(2024, 1, 1, tzinfo=UTC)
NAMES = ("TI 1.PV", "ti1.pv", 'L,"1"', "Füllstand °C")

Samples = dict[tuple[str, int], float | str]  # (tag, microseconds after T0) -> number or word

cells = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False, width=64), st.sampled_from(["Bad", "I/O Timeout", "NO DATA"])
)
samples = st.dictionaries(
    st.tuples(st.sampled_from(NAMES), st.integers(0, 10**13)), cells, min_size=1, max_size=40
).filter(lambda found: all(any(isinstance(v, float) for (t, _), v in found.items() if t == tag) for tag, _ in found))


def stamp(microseconds: int) -> str:
    return (T0 + timedelta(microseconds=microseconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def long_rows(found: Samples) -> list[list[str]]:
    return [["tag", "time", "value"], *([tag, stamp(time), str(value)] for (tag, time), value in found.items())]


def wide_rows(found: Samples) -> list[list[str]]:
    tags = list(dict.fromkeys(tag for tag, _ in found))
    times = list(dict.fromkeys(time for _, time in found))
    return [["time", *tags], *([stamp(time), *(str(found.get((tag, time), "")) for tag in tags)] for time in times)]


def write(file: Path, rows: list[list[str]], delimiter: str) -> None:
    quoted = [delimiter.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    file.write_text("\n".join(quoted) + "\n", encoding="utf-8")


def read_back(folder: Path, found: Samples) -> Samples:
    historian = CsvHistorian(History(kind="csv", path="*.csv"), {}, base=folder)
    tags = tuple(dict.fromkeys(tag for tag, _ in found))
    frame = pl.concat([pl.DataFrame(batch) for batch in historian.read(Query(tags=tags))])
    back: Samples = {}
    for tag, time, value, state in frame.select(pl.col("tag").cast(pl.String), "time", "value", "state").rows():
        back[tag, (time - T0) // timedelta(microseconds=1)] = state if value is None else value
    for tag in tags:
        times = frame.filter(pl.col("tag").cast(pl.String) == tag)["time"]
        assert times.is_sorted()
    assert historian.report.rows == len(found)
    assert historian.report.duplicates == 0
    return back


@settings(max_examples=25)
@given(samples, st.sampled_from([",", ";", "\t"]))
def test_a_long_file_is_read_back_to_the_bit(found: Samples, delimiter: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "export.csv", long_rows(found), delimiter)
        assert read_back(Path(folder), found) == found


@settings(max_examples=25)
@given(samples, st.sampled_from([",", ";", "|"]))
def test_a_wide_file_is_read_back_to_the_bit(found: Samples, delimiter: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "export.csv", wide_rows(found), delimiter)
        assert read_back(Path(folder), found) == found


@settings(max_examples=25)
@given(samples, st.integers(1, 5), st.booleans())
def test_the_cut_into_files_changes_nothing(found: Samples, files: int, wide: bool) -> None:
    header, *rows = wide_rows(found) if wide else long_rows(found)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(files):
            write(Path(folder) / f"part {number}.csv", [header, *rows[number::files]], ",")
        assert read_back(Path(folder), found) == found
