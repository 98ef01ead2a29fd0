"""Excel workbooks, written by openpyxl as PI DataLink and people leave them."""

from __future__ import annotations

import hashlib
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest

from connectors.excel_files import ExcelHistorian
from procmodel.data.exports import sniff
from procmodel.data.samples import Quality, Query
from procmodel.errors import HistorianError
from procmodel.plant import History

openpyxl = pytest.importorskip("openpyxl")
T0 = datetime(2024, 5, 1, 6)


def workbook(file: Path, sheets: dict[str, list[list[Any]]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
            for cell in sheet[sheet.max_row]:
                if isinstance(cell.value, str) and cell.value.startswith("#"):
                    cell.data_type = "e"
    book.save(file)
    return file


def historian(file: Path, **options: Any) -> ExcelHistorian:
    return ExcelHistorian(History(kind="excel", path=str(file), timezone="UTC", options=options), {})


def table(source: ExcelHistorian, *tags: str) -> pl.DataFrame:
    frames = [pl.DataFrame(batch) for batch in source.read(Query(tags=tags))]
    return pl.concat(frames).with_columns(pl.col("tag").cast(pl.String))


DATALINK: list[list[Any]] = [
    ["Compressed data of unit 2"],
    ["TI1.PV", None, "FI1.PV", None],
    ["reactor top", None, "feed", None],
    ["degC", None, "kg/h", None],
    [T0, 81.25, T0.replace(second=7), 1200],
    [T0.replace(minute=1), "I/O Timeout", T0.replace(minute=2), 1201.5],
    [T0.replace(minute=3), "#N/A", None, None],
    [T0.replace(minute=4), 81.5, None, None],
]
HEADER = ["skip", "names", "descriptions", "units"]


def test_a_datalink_sheet_of_compressed_samples_is_read_with_its_errors_as_bad_samples(tmp_path: Path) -> None:
    file = workbook(tmp_path / "unit 2.xlsx", {"Sheet1": DATALINK, "empty": []})
    source = historian(file, layout="pairs", header=HEADER)
    assert [(each.name, each.unit, each.description) for each in source.search()] == [
        ("TI1.PV", "degC", "reactor top"),
        ("FI1.PV", "kg/h", "feed"),
    ]
    found = table(source, "TI1.PV", "FI1.PV")
    top = found.filter(pl.col("tag") == "TI1.PV")
    assert top["value"].to_list() == [81.25, None, None, 81.5]
    assert top["quality"].to_list() == [Quality.GOOD, Quality.BAD, Quality.BAD, Quality.GOOD]
    assert top["state"].to_list() == [None, "I/O Timeout", "#N/A", None]
    assert top["time"].to_list() == [T0.replace(minute=minute, tzinfo=UTC) for minute in (0, 1, 3, 4)]
    assert found.filter(pl.col("tag") == "FI1.PV")["value"].to_list() == [1200.0, 1201.5]
    assert source.report.sources == {str(file): hashlib.sha256(file.read_bytes()).hexdigest()}


def test_dates_without_a_date_format_are_days_as_excel_counts_them(tmp_path: Path) -> None:
    rows = [["time", "TI1.PV"], [45413.25, 45000.5], [45413.2506944444, 2]]  # 2024-05-01 06:00:00 and 06:01:00
    source = historian(workbook(tmp_path / "days.xlsx", {"Sheet1": rows}))
    found = table(source, "TI1.PV")
    assert found["time"].to_list() == [T0.replace(minute=minute, tzinfo=UTC) for minute in (0, 1)]
    assert found["value"].to_list() == [45000.5, 2.0]


def test_numbers_as_text_with_a_decimal_comma_stand_beside_true_numbers(tmp_path: Path) -> None:
    rows = [["time", "A"], [T0, 1.5], [T0.replace(minute=1), "1.234,5"], [T0.replace(minute=2), True]]
    source = historian(workbook(tmp_path / "a.xlsx", {"Sheet1": rows}), decimal=",")
    assert table(source, "A")["value"].to_list() == [1.5, 1234.5, 1.0]


def test_one_sheet_of_several_has_to_be_named(tmp_path: Path) -> None:
    rows = [["time", "A"], [T0, 1]]
    file = workbook(tmp_path / "a.xlsx", {"June": rows, "July": [["time", "A"], [T0, 2]]})
    with pytest.raises(HistorianError, match="has several sheets, June, July"):
        historian(file).read(Query(tags=("A",)))
    assert table(historian(file, sheet="July"), "A")["value"].to_list() == [2.0]
    with pytest.raises(HistorianError, match="sheet is 'May', but the sheets are June, July"):
        historian(file, sheet="May").read(Query(tags=("A",)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)),
        ("a.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)),  # with a password
        ("a.XLS", b"<html><table><tr><td>time</td></tr></table></html>"),  # as some web pages export
    ],
)
def test_an_old_or_locked_workbook_is_to_be_saved_anew(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(HistorianError, match=r"none of them can be read\. Open it in Excel and save it as \.xlsx"):
        historian(tmp_path / name).read(Query(tags=("A",)))
    for given in (tmp_path, tmp_path / name):
        with pytest.raises(HistorianError, match=r"can(not)? be read\. Open .* in Excel and save .*as \.xlsx"):
            sniff(given)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and then nothing", b"time,A\n1,2\n"])
def test_what_is_no_workbook_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.xlsx").write_bytes(content)
    with pytest.raises(HistorianError, match="is empty" if not content else "cannot be read as an Excel workbook"):
        historian(tmp_path / "a.xlsx").read(Query(tags=("A",)))


def test_a_workbook_that_cannot_be_read_is_closed_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "damaged.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
    with pytest.raises(HistorianError, match="Save it again") as told:
        historian(path).read(Query(tags=("A",)))
    assert told.value.__cause__ is not None  # its frames are alive, and with them whatever they left open
    assert str(path) not in [file.path for file in psutil.Process().open_files()]
