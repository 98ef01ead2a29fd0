"""Exports that cannot be used: one clear error each, exit code 2, and the files stay as they were."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from connectors.csv_files import CsvHistorian
from connectors.parquet_files import ParquetHistorian
from procmodel.data.samples import Query
from procmodel.errors import HistorianError, InputError, PlantFileError
from procmodel.plant import History, Role, Tag

TAGS = {"LI101.PV": Tag(name="LI101.PV", role=Role.CV, unit="cm", range=(0, 100))}
GOOD = "time,LI101.PV\n2024-05-01T06:00:00Z,50\n2024-05-01T06:01:00Z,51\n"

# What the file holds, and what the sentence must hold.
UNUSABLE: dict[str, tuple[str, list[str]]] = {
    "empty file": ("", ["export.csv is empty", "Export it again"]),
    "blanks only": (" \n\n", ["export.csv is empty"]),
    "header only": ("time,LI101.PV\n", ["export.csv: no rows below the header"]),
    "unknown tag": (
        GOOD.replace("LI101", "LI0101"),
        ["Tag 'LI101.PV' is not in the record", "did you mean 'LI0101.PV'?", "history.options.rename"],
    ),
    "no stamps with a zone": (GOOD.replace("Z,", ","), ["carry no time zone", "Set history.timezone"]),
    "all samples bad": (
        GOOD.replace(",50", ",I/O Timeout").replace(",51", ",I/O Timeout"),
        ["Tag 'LI101.PV': none of its 2 samples is usable", "'I/O Timeout' 2 times", "At least one good value"],
    ),
    "all out of range": (
        GOOD.replace(",5", ",-5"),
        ["Tag 'LI101.PV': none of its 2 samples is usable", "2 outside its range"],
    ),
    "no cell filled": (GOOD.replace(",50", ",").replace(",51", ","), ["none of its 0 samples is usable"]),
    "one column": (GOOD.replace(",", "#"), ["found only one column", "history.options.delimiter"]),
    "name twice": (GOOD.replace("time,", "time,LI101.PV,"), ["column 'LI101.PV' stands twice in the header"]),
    "cells too many": (GOOD.replace(",51", ",51,5"), ["cannot be read as CSV", "Expected 2 columns, got 3"]),
    "cells too few": (
        GOOD.replace("06:00:00Z,50", "06:00:00Z"),
        ["cannot be read as CSV", "Expected 2 columns, got 1"],
    ),
    "decimal commas": (GOOD.replace(",50", ',"50,5"'), ["decimal comma", "history.options.decimal: ','"]),
    "stamps day first": (GOOD.replace("2024-05-01T06:00:00Z", "01.05.2024 06:00"), ["not ISO 8601", "time.format"]),
}


def refusal(historian: CsvHistorian | ParquetHistorian, query: Query) -> str:
    with pytest.raises(HistorianError) as caught:
        historian.read(query)
    assert isinstance(caught.value, InputError)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize("what", UNUSABLE)
def test_an_unusable_export_gives_one_sentence_and_stays_as_it_was(tmp_path: Path, what: str) -> None:
    text, parts = UNUSABLE[what]
    file = tmp_path / "export.csv"
    file.write_text(text)
    historian = CsvHistorian(History(kind="csv", path=str(file)), TAGS)
    message = refusal(historian, Query(tags=("LI101.PV",)))
    for part in parts:
        assert part in message
    assert file.read_text() == text


def test_a_page_that_is_all_timeouts_never_becomes_a_number(tmp_path: Path) -> None:
    """A reader elsewhere returned 246.0, the number of the state, for each of them."""
    rows = "".join(f"2024-05-01T06:{minute:02}:00Z,I/O Timeout\n" for minute in range(60))
    (tmp_path / "export.csv").write_text("time,LI101.PV\n" + rows)
    historian = CsvHistorian(History(kind="csv", path="export.csv"), TAGS, base=tmp_path)
    assert "'I/O Timeout' 60 times" in refusal(historian, Query(tags=("LI101.PV",)))


def test_a_missing_file_is_named_in_full(tmp_path: Path) -> None:
    historian = CsvHistorian(History(kind="csv", path="exports/*.csv"), TAGS, base=tmp_path)
    message = refusal(historian, Query(tags=("LI101.PV",)))
    assert f"No file matches {tmp_path / 'exports' / '*.csv'}" in message
    assert "Correct history.path" in message


def test_one_missing_file_of_several_is_an_error_too(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(GOOD)
    historian = CsvHistorian(History(kind="csv", path=["a.csv", "b.csv"]), TAGS, base=tmp_path)
    assert "b.csv" in refusal(historian, Query(tags=("LI101.PV",)))


def test_a_folder_asks_for_the_files_in_it(tmp_path: Path) -> None:
    historian = CsvHistorian(History(kind="csv", path=str(tmp_path)), TAGS)
    assert f"is a folder. Write history.path: {tmp_path / '*.csv'}" in refusal(historian, Query(tags=("LI101.PV",)))


def test_a_history_without_a_path_asks_for_one() -> None:
    with pytest.raises(PlantFileError, match=r"history\.path is missing: kind 'csv' reads files"):
        CsvHistorian(History(kind="csv"), TAGS).read(Query(tags=("LI101.PV",)))


def test_no_overlap_with_the_asked_range_names_both(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_text(GOOD)
    historian = CsvHistorian(History(kind="csv", path="export.csv"), TAGS, base=tmp_path)
    asked = Query(tags=("LI101.PV",), start=datetime(2023, 1, 1, tzinfo=UTC), end=datetime(2023, 2, 1, tzinfo=UTC))
    message = refusal(historian, asked)
    assert "2023-01-01T00:00:00+00:00 to 2023-02-01T00:00:00+00:00" in message
    assert "2024-05-01T06:00:00+00:00 to 2024-05-01T06:01:00+00:00" in message


def test_samples_that_are_bad_only_in_the_asked_range_are_handed_over_as_bad(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_text(GOOD + "2024-05-01T06:02:00Z,Bad\n")
    historian = CsvHistorian(History(kind="csv", path="export.csv"), TAGS, base=tmp_path)
    asked = Query(tags=("LI101.PV",), start=datetime(2024, 5, 1, 6, 2, tzinfo=UTC), carry_in=False)
    (batch,) = historian.read(asked)
    assert batch.column("value").to_pylist() == [None]
    assert historian.report.bad == 1


def test_a_wrong_unit_names_the_tag(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'bar' measures .* cannot be converted to 'cm'"):
        Tag(name="LI101.PV", role=Role.CV, unit="cm", source_unit="bar")


@pytest.mark.parametrize("content", [b"", b"PAR1 and then nothing", b"time,A\n1,2\n"])
def test_what_is_no_parquet_file_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "export.parquet").write_bytes(content)
    historian = ParquetHistorian(History(kind="parquet", path="export.parquet"), TAGS, base=tmp_path)
    message = refusal(historian, Query(tags=("LI101.PV",)))
    assert "export.parquet is empty" in message if not content else "cannot be read as Parquet" in message


def test_a_parquet_file_cut_in_half_is_said(tmp_path: Path) -> None:
    file = tmp_path / "export.parquet"
    pl.DataFrame({"time": [datetime(2024, 5, 1, tzinfo=UTC)], "LI101.PV": [1.0]}).write_parquet(file)
    file.write_bytes(file.read_bytes()[:-20])
    historian = ParquetHistorian(History(kind="parquet", path=str(file)), TAGS)
    assert "cannot be read as Parquet" in refusal(historian, Query(tags=("LI101.PV",)))


def test_a_text_in_another_encoding_than_told_is_said(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_bytes("time,Füllstand\n2024-05-01T06:00:00Z,1\n".encode("cp1252"))
    history = History(kind="csv", path="export.csv", options={"encoding": "utf-8"})
    message = refusal(CsvHistorian(history, {}, base=tmp_path), Query(tags=("Füllstand",)))
    assert "is no text in utf-8" in message
    assert "history.options.encoding" in message
