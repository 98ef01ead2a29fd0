"""Bugs that other readers of exports ship: each check passes here, and fails as soon as the bug is put in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from corpus.binary import workbook

import connectors.excel_files
import connectors.frames
import connectors.record
import connectors.stamps
from connectors.csv_files import CsvHistorian
from connectors.excel_files import ExcelHistorian
from connectors.stamp_formats import Written
from procmodel.data import condition
from procmodel.data.samples import Quality, Query
from procmodel.errors import HistorianError
from procmodel.plant import History, Plant, Role, Tag

DAY = "2024-05-01T"


def read(folder: Path, text: str, tag: str = "A", timezone: str | None = None, **options: Any) -> pl.DataFrame:
    (folder / "export.csv").write_text(text, encoding="utf-8")
    source = CsvHistorian(History(kind="csv", path="export.csv", timezone=timezone, options=options), {}, base=folder)
    return pl.concat([pl.DataFrame(batch) for batch in source.read(Query(tags=(tag,)))])


def a_page_of_timeouts_holds_no_number(folder: Path) -> None:
    rows = "".join(f"{DAY}06:{minute:02}:00Z,I/O Timeout\n" for minute in range(60))
    found = read(folder, f"time,A\n{DAY}05:59:00Z,12.5\n{rows}")
    assert found["value"].to_list() == [12.5, *[None] * 60]
    assert found["quality"].to_list() == [Quality.GOOD, *[Quality.BAD] * 60]


def a_row_at_the_edge_of_two_pages_stands_once(folder: Path) -> None:
    rows = [f"{DAY}06:{minute:02}:00Z,{minute}\n" for minute in range(6)]
    assert read(folder, "time,A\n" + "".join([*rows[:4], *rows[3:]]))["value"].to_list() == [0, 1, 2, 3, 4, 5]


def an_outage_stays_between_its_neighbours(folder: Path) -> None:
    text = f"time,A\n{DAY}06:00:00Z,1\n{DAY}06:01:00Z,Bad\n{DAY}06:02:00Z,Bad\n{DAY}06:58:00Z,9\n"
    found = read(folder, text)
    assert found["quality"].to_list() == [Quality.GOOD, Quality.BAD, Quality.BAD, Quality.GOOD]


def no_ramp_is_drawn_over_an_outage(folder: Path) -> None:
    """Though a gap of two hours is bridged between two good samples."""
    rows = "".join(f"2024-05-01T{6 + n // 60:02}:{n % 60:02}:00Z,{n},5\n" for n in (*range(5), *range(62, 70)))
    text = f"time,LI1.PV,FC1.SP\n{rows}2024-05-01T06:05:00Z,Bad,5\n2024-05-01T07:01:00Z,Bad,5\n"
    (folder / "export.csv").write_text(text, encoding="utf-8")
    tags = {
        "LI1.PV": Tag(name="LI1.PV", role=Role.CV, unit="cm", max_gap="2 h"),
        "FC1.SP": Tag(name="FC1.SP", role=Role.MV, unit="cm", max_gap="2 h"),
    }
    history = History(kind="csv", path=str(folder / "export.csv"))
    plant = Plant(name="tiny", sample_time=60, history=history, tags=tags)
    level = condition(plant, CsvHistorian(history, tags)).values[:, 0]
    assert np.isfinite(level[:4]).all()
    assert np.isnan(level[6:61]).all()


def a_stamp_without_a_zone_is_asked_about(folder: Path) -> None:
    with pytest.raises(HistorianError, match="carry no time zone"):
        read(folder, f"time,A\n{DAY}06:00:00,1\n")


def names_are_never_squeezed_to_one(folder: Path) -> None:
    rows = "".join(f"{name},{DAY}06:00:00Z,{n}\n" for n, name in enumerate(["TI 1", "TI1", "ti1"]))
    assert [read(folder, f"tag,time,value\n{rows}", name)["value"].to_list() for name in ("TI 1", "TI1", "ti1")] == [
        [0.0],
        [1.0],
        [2.0],
    ]


def days_and_months_keep_their_places_in_a_column(folder: Path) -> None:
    found = read(folder, "time;A\n03/04/2024;1\n12/04/2024;2\n13/04/2024;3\n", timezone="UTC")
    assert found["time"].to_list() == [datetime(2024, 4, day, tzinfo=UTC) for day in (3, 12, 13)]


def a_number_in_another_notation_never_becomes_nothing(folder: Path) -> None:
    with pytest.raises(HistorianError, match="decimal comma"):
        read(folder, f"time;A\n{DAY}06:00:00Z;12\n{DAY}06:01:00Z;1.234,5\n")


def an_error_in_a_cell_is_a_bad_sample(folder: Path) -> None:
    rows = [["time", "A"], [datetime(2024, 5, 1, 6), 1.5], [datetime(2024, 5, 1, 7), "#N/A"]]
    (folder / "a.xlsx").write_bytes(workbook(rows))
    source = ExcelHistorian(History(kind="excel", path="a.xlsx", timezone="UTC"), {}, base=folder)
    found = pl.concat([pl.DataFrame(batch) for batch in source.read(Query(tags=("A",)))])
    assert found["value"].to_list() == [1.5, None]


def the_state_as_a_number(put: Callable[..., None]) -> None:
    """tagreader: 60 values of 246.0, the number of the state."""
    honest = connectors.frames.numbers

    def numbers(*given: Any) -> pl.DataFrame:
        return honest(*given).with_columns(value=pl.col("value").fill_null(246.0), word=pl.lit(None, pl.String))

    put(connectors.frames, "numbers", numbers)


def edges_twice(put: Callable[..., None]) -> None:
    """asyncua: the last row of a page is the first of the next."""
    put(connectors.record, "deduplicated", lambda record: (record, 0, 0))


def bad_rows_dropped(put: Callable[..., None]) -> None:
    """Drop what is bad, then interpolate: 57 minutes of ramp that nobody measured."""
    honest = connectors.frames._finished
    put(connectors.frames, "_finished", lambda samples: honest(samples).filter(pl.col("value").is_not_null()))


def oslo(put: Callable[..., None]) -> None:
    """tagreader: a default zone."""
    honest = connectors.record.Reading
    put(
        connectors.record,
        "Reading",
        lambda *, options, timezone: honest(options=options, timezone=timezone or "Europe/Oslo"),
    )


def squeezed_names(put: Callable[..., None]) -> None:
    """tagreader: names without blanks and case as keys."""
    put(connectors.frames, "source_names", lambda column: column.str.replace_all(" ", "").str.to_lowercase())


def each_cell_for_itself(put: Callable[..., None]) -> None:
    """pandas: months first where that fits the cell, else days."""
    put(connectors.stamps, "written_of", lambda column: Written(formats=("%m/%d/%Y", "%d/%m/%Y")))


def unread_is_null(put: Callable[..., None]) -> None:
    """polars: what is no number in its own notation is null, without a word."""
    put(connectors.frames, "numbers", lambda cells, *_: _cast(cells))


def _cast(cells: pl.Series) -> pl.DataFrame:
    return pl.DataFrame(
        {"value": cells.cast(pl.Float64, strict=False), "word": pl.Series([None] * len(cells), dtype=pl.String)}
    )


def errors_as_empty_cells(put: Callable[..., None]) -> None:
    """calamine, and what is built on it: a cell with an error is handed over as an empty one."""
    honest = connectors.excel_files.text_of
    put(
        connectors.excel_files,
        "text_of",
        lambda cell, decimal: None if str(cell).startswith("#") else honest(cell, decimal),
    )


BUGS: dict[str, tuple[Callable[[Path], None], Callable[..., None]]] = {
    "I/O Timeout read as 246.0": (a_page_of_timeouts_holds_no_number, the_state_as_a_number),
    "rows at page edges twice": (a_row_at_the_edge_of_two_pages_stands_once, edges_twice),
    "an outage bridged": (an_outage_stays_between_its_neighbours, bad_rows_dropped),
    "an outage bridged on the grid": (no_ramp_is_drawn_over_an_outage, bad_rows_dropped),
    "a default zone": (a_stamp_without_a_zone_is_asked_about, oslo),
    "names squeezed to one key": (names_are_never_squeezed_to_one, squeezed_names),
    "day and month swapped inside one column": (days_and_months_keep_their_places_in_a_column, each_cell_for_itself),
    "1.234,5 read as nothing": (a_number_in_another_notation_never_becomes_nothing, unread_is_null),
    "cells with errors read as empty": (an_error_in_a_cell_is_a_bad_sample, errors_as_empty_cells),
}


@pytest.mark.parametrize("bug", BUGS)
def test_the_bug_is_not_here(tmp_path: Path, bug: str) -> None:
    BUGS[bug][0](tmp_path)


@pytest.mark.parametrize("bug", BUGS)
def test_the_check_sees_the_bug_when_it_is_put_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    check, put_in = BUGS[bug]
    put_in(monkeypatch.setattr)
    with pytest.raises((AssertionError, HistorianError, pytest.fail.Exception)):
        check(tmp_path)
