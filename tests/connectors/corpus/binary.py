"""Excel workbooks (written by openpyxl) and Parquet files (written by Arrow)."""

from __future__ import annotations

import io
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.case import MORNING, NUMBERS, PLANT, ZURICH, Case, Expected, expected, grid_of, number, rows_of


def workbook(rows: list[list[Any]], title: str = "Sheet1") -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = title
    for row in rows:
        sheet.append([None if cell == "" else cell for cell in row])
        for cell in sheet[sheet.max_row]:
            if isinstance(cell.value, str) and cell.value.startswith("#"):
                cell.data_type = "e"
    held = io.BytesIO()
    book.save(held)
    return held.getvalue()


def on_site(moment: datetime) -> datetime:
    return moment.astimezone(ZURICH).replace(tzinfo=None)


def days(moment: datetime) -> float:
    """As Excel counts them."""
    return (on_site(moment) - datetime(1899, 12, 30)) / timedelta(days=1)


@cache
def datalink() -> bytes:
    """PI DataLink, compressed data of three tags side by side, of different length."""
    columns = [[(on_site(time), value) for time, value in samples] for samples in PLANT.values()]
    longest = max(map(len, columns))
    rows: list[list[Any]] = [["Compressed data"], [], [cell for tag in PLANT for cell in (tag, "")]]
    rows.append([cell for unit in ("degC", "kg/h", "bar") for cell in (unit, "")])
    for n in range(longest):
        rows.append([cell for column in columns for cell in (column[n] if n < len(column) else ("", ""))])
    return workbook(rows, "PI")


ERRORS = [[on_site(MORNING + timedelta(minutes=n)), value] for n, value in enumerate([1.5, "#N/A", "No Data", 2.5])]


def parquet(columns: dict[str, Any]) -> bytes:
    held = io.BytesIO()
    pq.write_table(pa.table(columns), held)
    return held.getvalue()


def long_columns(zone: str | None) -> dict[str, Any]:
    rows = [(t, tag, v) for t, tag, v in rows_of(PLANT)]
    stamps = [t if zone else on_site(t) for t, _, _ in rows]
    return {
        "tag": [tag for _, tag, _ in rows],
        "time": pa.array(stamps, pa.timestamp("us", tz=zone)),
        "value": [None if isinstance(v, str) else v for _, _, v in rows],
        "quality": ["Bad" if isinstance(v, str) else "Good" for _, _, v in rows],
    }


def wide_columns() -> dict[str, Any]:
    grid = grid_of(NUMBERS)
    stamps = pa.array([on_site(time) for time, _ in grid], pa.timestamp("ns"))
    return {"ts": stamps, **{tag: [values[n] for _, values in grid] for n, tag in enumerate(NUMBERS)}}


def text_columns() -> dict[str, Any]:
    grid = grid_of(NUMBERS)
    columns = {tag: [number(values[n], ",", ".") for _, values in grid] for n, tag in enumerate(NUMBERS)}
    return {"time": [on_site(time).strftime("%d.%m.%Y %H:%M:%S") for time, _ in grid], **columns}


BY_SENSOR = {
    tag: [Expected(t, None, 2, "(empty)") if isinstance(v, str) else Expected(t, v) for t, v in samples]
    for tag, samples in PLANT.items()
}

BINARY: tuple[Case, ...] = (
    Case(
        name="PI DataLink",
        kind="excel",
        files={"unit 2.xlsx": datalink()},
        expected=expected(PLANT),
        timezone="Europe/Zurich",
        options={"layout": "pairs", "header": ["skip", "names", "units"]},
        report={"units": {"TI101.PV": "degC", "FIC101.SP": "kg/h", "PI 7.PV": "bar"}},
    ),
    Case(
        name="Excel, a column per tag",
        kind="excel",
        timezone="Europe/Zurich",
        expected=expected(PLANT),
        files={"a.xlsx": workbook([["time", *PLANT], *([on_site(t), *values] for t, values in grid_of(PLANT))])},
    ),
    Case(
        name="Excel, errors in cells",
        kind="excel",
        timezone="Europe/Zurich",
        files={"a.xlsx": workbook([["time", "A"], *ERRORS])},
        expected=expected(
            {"A": [(MORNING + timedelta(minutes=n), v) for n, v in enumerate([1.5, "#N/A", "No Data", 2.5])]}
        ),
    ),
    Case(
        name="Excel, days without a date format",
        kind="excel",
        timezone="Europe/Zurich",
        expected=expected(NUMBERS),
        files={"a.xlsx": workbook([["time", *NUMBERS], *([days(t), *values] for t, values in grid_of(NUMBERS))])},
    ),
    Case(
        name="Excel, a row per sample in text",
        kind="excel",
        timezone="Europe/Zurich",
        expected=expected(NUMBERS),
        files={
            "a.xlsx": workbook(
                [
                    ["Tag", "Time", "Value"],
                    *(
                        [tag, on_site(t).strftime("%d.%m.%Y %H:%M:%S"), number(v, ",", ".")]
                        for t, tag, v in rows_of(NUMBERS)
                    ),
                ]
            )
        },
        options={"decimal": ","},
    ),
    Case(name="Parquet, long", kind="parquet", files={"a.parquet": parquet(long_columns("UTC"))}, expected=BY_SENSOR),
    Case(
        name="Parquet, wide and local",
        kind="parquet",
        files={"a.parquet": parquet(wide_columns())},
        expected=expected(NUMBERS),
        timezone="Europe/Zurich",
    ),
    Case(
        name="Parquet, all text",
        kind="parquet",
        files={"a.parquet": parquet(text_columns())},
        expected=expected(NUMBERS),
        timezone="Europe/Zurich",
        options={"decimal": ","},
    ),
)
