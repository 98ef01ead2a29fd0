"""Bugs that other clients of servers ship: each check passes here, and fails as soon as the bug is put in."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fake_driver import FakeDriver, Row, at, historian, rows_of

pytest.importorskip("asyncua", reason="asyncua is not installed: pip install 'procmodel[opcua]'")
pytest.importorskip("adbc_driver_manager", reason="ADBC is not installed: pip install 'procmodel[sql]'")
pytest.importorskip("deltalake", reason="deltalake is not installed: pip install 'procmodel[delta]'")

import deltalake
from asyncua import ua
from databases import fill

import connectors.cache
import connectors.delta
import connectors.opcua_history
import connectors.pi_values
import connectors.sql
import connectors.sql_database
import connectors.tag_reader
import connectors.tally
from connectors.delta import DeltaHistorian
from connectors.sql import SqlHistorian
from procmodel.data.samples import Quality, Query
from procmodel.errors import HistorianError
from procmodel.plant import History

GOOD, BAD = Quality.GOOD, Quality.BAD
EVIL = "x' OR '1'='1"


def a_page_of_timeouts_holds_no_number(_: Path) -> None:
    timeout = {"Value": {"Name": "I/O Timeout", "Value": 246, "IsSystem": True}, "Good": False}
    items = [{"Timestamp": f"2024-05-01T06:00:{second:02}Z", **timeout} for second in range(60)]
    found = connectors.pi_values.samples_of(items, "pi")
    assert found["value"].to_list() == [None] * 60
    assert found["quality"].to_list() == [BAD] * 60


def a_cache_keeps_like_names_apart(folder: Path) -> None:
    names = ["TI 1", "TI1", "ti1"]
    record: dict[str, list[Row]] = {name: [(0, float(number), GOOD)] for number, name in enumerate(names)}
    source = historian(FakeDriver(record), cache={"folder": str(folder)})
    for name in names * 2:  # the second time from the cache
        found = rows_of(source, Query(tags=(name,), start=at(0), end=at(10)))
        assert found[name] == [(at(0), float(names.index(name)), 0)]


def a_stamp_that_fills_a_page_is_got_past(_: Path) -> None:
    asked: list[datetime] = []

    def count(_tag: str, start: datetime, _end: datetime) -> None:
        asked.append(start)
        assert len(asked) < 50, "asked without end"

    driver = FakeDriver({"A": [(0, 1.0, GOOD)] * 9 + [(5, 2.0, GOOD)]}, before_page=count)
    assert [value for _, value, _ in rows_of(historian(driver, parallel=1), Query(tags=("A",)))["A"]] == [1.0, 2.0]


def a_row_at_the_edge_of_two_pages_stands_once(_: Path) -> None:
    source = historian(FakeDriver({"A": [(second, float(second), GOOD) for second in range(10)]}), parallel=1)
    assert [value for _, value, _ in rows_of(source, Query(tags=("A",)))["A"]] == [float(n) for n in range(10)]
    assert source.report.duplicates == 0


def a_continuation_that_repeats_its_edge_adds_nothing(_: Path) -> None:
    def answer(seconds: range, point: bytes) -> ua.HistoryReadResult:
        values = [ua.DataValue(ua.Variant(1.0 * s), ua.StatusCode(ua.UInt32(0)), at(s), at(s)) for s in seconds]
        return ua.HistoryReadResult(
            StatusCode=ua.StatusCode(ua.UInt32(0)), ContinuationPoint=point, HistoryData=ua.HistoryData(values)
        )

    answers = iter([answer(range(4), b"3"), answer(range(3, 6), b"")])

    async def read(_: Any) -> list[ua.HistoryReadResult]:
        return [next(answers)]

    asked = connectors.opcua_history.first_values(read, ua.NodeId("A", 2), at(0), at(60), 10, place="plant")
    values, _more = asyncio.run(asked)
    assert [each.Value.Value for each in values] == [0, 1, 2, 3, 4, 5]


def an_outage_stays_between_its_neighbours(_: Path) -> None:
    source = historian(FakeDriver({"A": [(0, 1.0, GOOD), (60, None, BAD), (3480, 9.0, GOOD)]}))
    assert [quality for _, _, quality in rows_of(source, Query(tags=("A",)))["A"]] == [GOOD, BAD, GOOD]


def a_name_is_only_a_name_in_sql(folder: Path) -> None:
    rows = [(tag, int(at(n).timestamp()), float(n)) for n, tag in enumerate(["A", EVIL])]
    fill(
        "sqlite",
        str(folder / "plant.sqlite"),
        ["CREATE TABLE samples (tag TEXT, time INTEGER, value REAL)"],
        [("INSERT INTO samples VALUES (?, ?, ?)", rows)],
    )
    options = {"table": "samples", "time": {"unit": "s"}}
    source = SqlHistorian(History(kind="sql", path=str(folder / "plant.sqlite"), options=options), {})
    assert rows_of(source, Query(tags=(EVIL,)))[EVIL] == [(at(1), 1.0, 0)]


def a_name_is_only_a_name_in_delta(folder: Path) -> None:
    frame = pl.DataFrame({"tag": ["A", EVIL], "time": [at(0), at(1)], "value": [0.0, 1.0]})
    deltalake.write_deltalake(str(folder / "table"), frame.to_arrow())
    source = DeltaHistorian(History(kind="delta", path=str(folder / "table")), {})
    assert rows_of(source, Query(tags=(EVIL,)))[EVIL] == [(at(1), 1.0, 0)]


def a_stamp_without_a_zone_is_asked_about(folder: Path) -> None:
    fill(
        "duckdb",
        str(folder / "plant.duckdb"),
        ["CREATE TABLE samples (tag TEXT, time TIMESTAMP, value DOUBLE)"],
        [("INSERT INTO samples VALUES (?, ?, ?)", [("A", datetime(2024, 5, 1, 6), 1.0)])],
    )
    history = History(kind="sql", path=str(folder / "plant.duckdb"), options={"table": "samples"})
    with pytest.raises(HistorianError, match="time zone"):
        rows_of(SqlHistorian(history, {}), Query(tags=("A",)))


def the_state_as_a_number(put: Callable[..., None]) -> None:
    """tagreader: 60 values of 246.0, the number of the state."""
    put(connectors.pi_values, "_read", lambda item: (float(item["Value"]["Value"]), None, int(GOOD), None))


def squeezed_keys(put: Callable[..., None]) -> None:
    """tagreader: the cache's keys are names without blanks and case."""
    cache = connectors.cache.Cache
    home, facts = cache._home, cache._facts
    put(cache, "_home", lambda self, tag: home(self, re.sub(r"\W", "", tag).lower()))
    put(cache, "_facts", lambda self, tag: facts(self, re.sub(r"\W", "", tag).lower()))


def from_the_last_stamp_on(put: Callable[..., None]) -> None:
    """kukur: the next page begins with the last stamp of this one, whatever came; edges are handed over twice."""

    def pages(
        ask: Any, start: datetime, end: datetime, *, limit: int, **_: Any
    ) -> Iterator[tuple[pl.DataFrame, datetime]]:
        while True:
            page = ask(start, end, limit)
            start = page.samples["time"].max() or start
            yield page.samples, end
            if not page.more:
                return

    put(connectors.tag_reader, "pages", pages)


def after_the_last_stamp(put: Callable[..., None]) -> None:
    """The hasty cure: what shares the last stamp of a page is lost."""

    def pages(
        ask: Any, start: datetime, end: datetime, *, limit: int, **_: Any
    ) -> Iterator[tuple[pl.DataFrame, datetime]]:
        while start < end:
            page = ask(start, end, limit)
            yield page.samples, end
            if not page.more:
                return
            start = page.samples["time"].max() + timedelta(seconds=6)

    put(connectors.tag_reader, "pages", pages)


def edges_twice(put: Callable[..., None]) -> None:
    """asyncua: the last rows of an answer are the first of the next."""
    put(connectors.opcua_history, "_without_edge", lambda found, _: found)


def bad_rows_dropped(put: Callable[..., None]) -> None:
    """Drop what is bad, then interpolate: 57 minutes of ramp that nobody measured."""
    take = connectors.tally.Tally.take
    put(connectors.tally.Tally, "take", lambda self, frame: take(self, frame).filter(pl.col("quality") == int(GOOD)))


def values_pasted(put: Callable[..., None]) -> None:
    """RTDIP: queries made of the names as they come."""
    database, rows = connectors.sql_database.Database, connectors.sql_database.Database.rows

    def pasted(self: Any, query: str, values: Any = (), *, limit: int = 0) -> pl.DataFrame:
        for each in values:
            query = query.replace(connectors.sql_database.VALUE, f"'{each}'" if isinstance(each, str) else str(each), 1)
        return rows(self, query, limit=limit)

    put(database, "rows", pasted)


def literals_pasted(put: Callable[..., None]) -> None:
    """RTDIP, where there are no parameters."""
    put(connectors.delta, "_literal", lambda text: f"'{text}'")


def oslo(put: Callable[..., None]) -> None:
    """tagreader: a default zone."""
    honest = connectors.sql.SqlClock
    put(connectors.sql, "SqlClock", lambda **given: honest(**{**given, "timezone": given["timezone"] or "Europe/Oslo"}))


BUGS: dict[str, tuple[Callable[[Path], None], Callable[..., None]]] = {
    "I/O Timeout read as 246.0": (a_page_of_timeouts_holds_no_number, the_state_as_a_number),
    "a cache whose keys are squeezed": (a_cache_keeps_like_names_apart, squeezed_keys),
    "a pager that never ends": (a_stamp_that_fills_a_page_is_got_past, from_the_last_stamp_on),
    "a pager that jumps": (a_row_at_the_edge_of_two_pages_stands_once, after_the_last_stamp),
    "rows at page edges twice": (a_row_at_the_edge_of_two_pages_stands_once, from_the_last_stamp_on),
    "continuations that repeat": (a_continuation_that_repeats_its_edge_adds_nothing, edges_twice),
    "an outage bridged": (an_outage_stays_between_its_neighbours, bad_rows_dropped),
    "names pasted into SQL": (a_name_is_only_a_name_in_sql, values_pasted),
    "names pasted where there are no parameters": (a_name_is_only_a_name_in_delta, literals_pasted),
    "a default zone": (a_stamp_without_a_zone_is_asked_about, oslo),
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
