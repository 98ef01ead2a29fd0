"""Properties: how a file is cut into blocks changes nothing, and rows written twice change nothing but the report."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from corpus import CASES
from corpus.case import Case
from hypothesis import given, settings
from hypothesis import strategies as st

import connectors.csv_files
import connectors.encodings
from connectors.csv_files import CsvHistorian
from procmodel.data.samples import Query, ReadReport
from procmodel.plant import History

TEXTS = [case for case in CASES if case.kind == "csv"]
NIGHT = datetime(2024, 10, 26, 22, 0, tzinfo=UTC)  # midnight in Zurich, before the clocks go back


def read(folder: Path, case: Case) -> tuple[pl.DataFrame, ReadReport]:
    for name, content in case.files.items():
        (folder / name).write_bytes(content)
    history = History(kind="csv", path=case.path, timezone=case.timezone, options=dict(case.options))
    source = CsvHistorian(history, {}, base=folder)
    return pl.concat([pl.DataFrame(batch) for batch in source.read(Query(tags=tuple(case.expected)))]), source.report


@settings(max_examples=40)
@given(st.sampled_from(TEXTS), st.integers(4, 200), st.integers(100, 1000))
def test_the_cut_of_a_file_into_blocks_changes_nothing(case: Case, characters: int, rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole, report = read(Path(folder), case)
        with (
            patch.object(connectors.encodings, "_BLOCK", characters),
            patch.object(connectors.csv_files, "BLOCK", rows),
        ):
            cut, cut_report = read(Path(folder), case)
    assert cut.equals(whole)
    assert cut_report == report


def written(rows: Sequence[tuple[str, int, float]], zone: str | None) -> str:
    lines = ["tag,time,value"]
    for tag, seconds, value in rows:
        moment = NIGHT + timedelta(seconds=seconds)
        stamp = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None) if zone else moment
        lines.append(f"{tag},{stamp.isoformat()},{value!r}")
    return "\n".join(lines) + "\n"


def samples_of(text: str, tags: Sequence[str], zone: str | None) -> tuple[pl.DataFrame, ReadReport]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "export.csv").write_text(text, encoding="utf-8")
        source = CsvHistorian(History(kind="csv", path="*.csv", timezone=zone), {}, base=Path(folder))
        frames = [pl.DataFrame(batch) for batch in source.read(Query(tags=tuple(tags)))]
    return pl.concat(frames), source.report


ROWS = st.lists(
    st.tuples(st.sampled_from("ABC"), st.integers(0, 6 * 3600), st.floats(-1e6, 1e6)),
    min_size=1,
    max_size=30,
    unique_by=lambda row: row[:2],
)


@settings(max_examples=40)
@given(ROWS, st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=10))
def test_rows_written_twice_anywhere_change_nothing_but_the_report(
    rows: list[tuple[str, int, float]], doubles: list[tuple[int, int]]
) -> None:
    more = list(rows)
    for which, where in doubles:
        more.insert(where % (len(more) + 1), rows[which % len(rows)])
    tags = sorted({tag for tag, _, _ in rows})
    once, report = samples_of(written(rows, None), tags, None)
    twice, other = samples_of(written(more, None), tags, None)
    assert twice.equals(once)
    assert other.duplicates == len(doubles)
    ignored = {"duplicates": 0, "unsorted": 0, "sources": {}}
    assert dataclasses.replace(other, **ignored) == dataclasses.replace(report, **ignored)  # type: ignore[arg-type]


@settings(max_examples=40)
@given(ROWS, st.lists(st.integers(0, 10**6), max_size=10))
def test_lines_that_follow_themselves_change_nothing_in_the_repeated_hour(
    rows: list[tuple[str, int, float]], doubles: list[int]
) -> None:
    """A record every 10 min shows where the clock goes back; the historian then writes some lines twice."""
    steady = [("M", 600 * step, float(step)) for step in range(37)]
    rows = sorted(rows + steady, key=lambda row: (row[1], row[0]))
    again = {which % len(rows) for which in doubles}
    more = [row for n, row in enumerate(rows) for row in [row] * (2 if n in again else 1)]
    tags = sorted({tag for tag, _, _ in rows})
    once, _ = samples_of(written(rows, "Europe/Zurich"), tags, "Europe/Zurich")
    twice, report = samples_of(written(more, "Europe/Zurich"), tags, "Europe/Zurich")
    assert twice.equals(once)
    assert report.duplicates == len(again)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Zurich"])
def test_a_single_tag_read_alone_is_the_same_as_among_others(zone: str) -> None:
    rows = [(tag, 300 * step, float(step)) for step in range(72) for tag in ("A", "B")]
    together, _ = samples_of(written(rows, zone), ["A", "B"], zone)
    alone, _ = samples_of(written(rows, zone), ["A"], zone)
    assert (
        together.with_columns(pl.col("tag").cast(pl.String))
        .filter(pl.col("tag") == "A")
        .equals(alone.with_columns(pl.col("tag").cast(pl.String)))
    )
