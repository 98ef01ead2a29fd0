"""What every server gets from the wrapper: pages without seams, patience, a cache, several threads, a report."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fake_driver import FakeDriver, Row, at, by_tag, historian, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.driver import TransientError
from connectors.retry import Patience
from connectors.server import ServerHistorian
from connectors.server_options import ServerOptions
from procmodel.data.samples import SCHEMA, Quality, Query
from procmodel.errors import HistorianError, PlantFileError
from procmodel.plant import Role, Tag

# Stamps that share a second, bad samples, and numbers that are none.
ROWS = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.one_of(st.none(), st.floats(-1e6, 1e6)),
        st.sampled_from([Quality.GOOD, Quality.UNCERTAIN, Quality.BAD]),
    ),
    min_size=1,
    max_size=30,
)
RECORDS = st.dictionaries(st.sampled_from(["TI1", "TI2", "TI3"]), ROWS, min_size=1)
RANGES = st.tuples(st.integers(-5, 45), st.integers(1, 50))

FAST = settings(max_examples=40, deadline=None, database=None, derandomize=True)


class UnpluggedError(HistorianError):
    """What an interruption looks like from inside."""


def expected(rows: list[Row], query: Query) -> list[tuple[datetime, float | None, int]]:
    """By hand: one row per stamp (the last), those of the range, and the last before it."""
    last = {second: (value, quality) for second, value, quality in sorted(rows, key=lambda row: row[0])}
    told = [
        (at(second), value, int(quality if value is not None else Quality.BAD))
        for second, (value, quality) in last.items()
    ]
    inside = [
        row for row in told if (not query.start or row[0] >= query.start) and (not query.end or row[0] < query.end)
    ]
    before = [row for row in told if query.start and row[0] < query.start]
    return [*before[-1:], *inside] if query.carry_in else inside


def asked(record: Any, span: tuple[int, int] | None, carry_in: bool) -> Query:
    if span is None:
        return Query(tags=tuple(record), carry_in=carry_in)
    return Query(tags=tuple(record), start=at(span[0]), end=at(span[0] + span[1]), carry_in=carry_in)


@FAST
@given(
    record=RECORDS,
    span=st.one_of(st.none(), RANGES),
    carry_in=st.booleans(),
    page=st.integers(1, 8),
    parallel=st.integers(1, 4),
    widest=st.sampled_from([None, 7.0]),
)
def test_page_size_threads_and_split_ranges_change_nothing(
    record: dict[str, list[Row]],
    span: tuple[int, int] | None,
    carry_in: bool,
    page: int,
    parallel: int,
    widest: float | None,
) -> None:
    query = asked(record, span, carry_in)
    answer = {tag: expected(rows, query) for tag, rows in record.items()}
    if span is None:
        widest = None  # from 1970 on in steps of seconds would take all day
    source = historian(FakeDriver(record, widest=widest), page=page, parallel=parallel)
    if not any(stamp >= (query.start or at(0)) for rows in answer.values() for stamp, _, _ in rows):
        with pytest.raises(HistorianError, match="Nothing was recorded"):
            source.read(query)
        return
    assert rows_of(source, query) == answer
    assert source.report.rows == sum(map(len, answer.values()))


@FAST
@given(
    record=RECORDS,
    span=RANGES,
    page=st.integers(1, 6),
    parallel=st.integers(1, 3),
    falls=st.lists(st.integers(0, 6), max_size=4),
    leaves=st.lists(st.integers(0, 4), max_size=2),
    data=st.data(),
)
def test_a_read_interrupted_anywhere_and_resumed_equals_an_uninterrupted_one(
    record: dict[str, list[Row]],
    span: tuple[int, int],
    page: int,
    parallel: int,
    falls: list[int],
    leaves: list[int],
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    query = asked(record, span, True)
    if not any(at(span[0]) <= at(row[0]) < at(span[0] + span[1]) for rows in record.values() for row in rows):
        return
    whole = historian(FakeDriver(record), page=page)
    answer = rows_of(whole, query)
    cache = {"folder": str(tmp_path_factory.mktemp("cache"))}
    for fall in falls:  # the connection breaks at some page
        countdown = itertools.count(fall, -1)

        def unplug(*_: Any, left: Any = countdown) -> None:
            if next(left) == 0:
                raise UnpluggedError("no carrier")

        broken = historian(FakeDriver(record, before_page=unplug), page=page, parallel=parallel, cache=cache)
        with suppress(UnpluggedError):
            rows_of(broken, query)
    for leave in leaves:  # whoever asked goes away after some batches
        with closing(historian(FakeDriver(record), page=page, parallel=parallel, cache=cache).read(query)) as batches:
            list(itertools.islice(batches, leave))
    resumed = historian(FakeDriver(record), page=page, parallel=parallel, cache=cache)
    assert rows_of(resumed, query) == answer
    assert resumed.report.sources == whole.report.sources
    # And all of it is in the cache now: the server is not asked for a single page.
    again = FakeDriver(record, page_rows=page)
    assert rows_of(historian(again, cache=cache), query) == answer
    assert again.calls["page"] == 0


def test_what_was_fetched_before_an_interruption_is_not_asked_for_again(tmp_path: Path) -> None:
    record = {"TI1": [(second, 1.0, Quality.GOOD) for second in range(20)]}
    seen: list[datetime] = []

    def unplug(_: str, start: datetime, __: datetime) -> None:
        if start >= at(12):
            raise UnpluggedError("no carrier")

    cache = {"folder": str(tmp_path)}
    query = Query(tags=("TI1",), start=at(0), end=at(20))
    with pytest.raises(UnpluggedError):
        rows_of(historian(FakeDriver(record, before_page=unplug), page=5, cache=cache), query)
    watched = FakeDriver(record, before_page=lambda _tag, start, _end: seen.append(start))
    assert len(rows_of(historian(watched, page=5, cache=cache), query)["TI1"]) == 20
    assert min(seen) >= at(12)


def test_the_newest_window_is_asked_for_each_time_since_late_samples_may_arrive(tmp_path: Path) -> None:
    driver = FakeDriver({"TI1": [(second, 1.0, Quality.GOOD) for second in (0, 10, 20)]})
    query = Query(tags=("TI1",), start=at(0), end=at(60))
    cache = {"folder": str(tmp_path), "newest": 30.0}
    assert len(rows_of(historian(driver, now=at(45), cache=cache), query)["TI1"]) == 3  # settled until 15 s
    driver.record["TI1"] = [(0, 1.0, Quality.GOOD), (10, 1.0, Quality.GOOD), (17, 9.0, Quality.GOOD)]
    found = rows_of(historian(driver, now=at(45), cache=cache), query)["TI1"]
    assert [stamp for stamp, _, _ in found] == [at(0), at(10), at(17)]


EVIL = ["a b", "a", "a/b", "a_b", "A", "a.b", "../a", "ä", "a" * 300, "a\n", ""]


def test_a_cache_never_answers_with_another_tag_however_alike_the_names_are(tmp_path: Path) -> None:
    # A well-known client squeezed names to letters and digits for its keys, so that two tags shared one.
    record: dict[str, list[Row]] = {tag: [(0, float(number), Quality.GOOD)] for number, tag in enumerate(EVIL)}
    cache = {"folder": str(tmp_path / "cache")}
    query = Query(tags=tuple(EVIL), start=at(0), end=at(10))
    rows_of(historian(FakeDriver(record), cache=cache), query)
    silent = FakeDriver(record)
    found = rows_of(historian(silent, cache=cache), query)
    assert {tag: rows[0][1] for tag, rows in found.items()} == {tag: float(n) for n, tag in enumerate(EVIL)}
    assert silent.calls["page"] == 0
    assert {file.parent.parent for file in tmp_path.rglob("*.parquet")} == {tmp_path / "cache"}


def test_two_sources_share_a_cache_folder_and_nothing_else(tmp_path: Path) -> None:
    cache = {"folder": str(tmp_path)}
    query = Query(tags=("a",), start=at(0), end=at(10))
    for identity, value in (("x", 1.0), ("x y", 2.0), ("y", 3.0)):
        driver = FakeDriver({"a": [(0, value, Quality.GOOD)]}, identity=identity)
        assert rows_of(historian(driver, cache=cache), query)["a"][0][1] == value


@pytest.mark.parametrize("damage", ["cut off", "bits turned", "another tag's"])
def test_a_damaged_file_of_the_cache_is_asked_for_again(tmp_path: Path, damage: str) -> None:
    record: dict[str, list[Row]] = {
        tag: [(second, start + 1.0 * second, Quality.GOOD) for second in range(50)]
        for tag, start in (("TI1", 0.0), ("TI2", 100.0))
    }
    query = Query(tags=("TI1", "TI2"), start=at(0), end=at(50))
    cache = {"folder": str(tmp_path)}
    answer = rows_of(historian(FakeDriver(record), cache=cache), query)
    one, other = sorted(tmp_path.rglob("*.parquet"))
    whole = one.read_bytes()
    changed = {
        "cut off": whole[: len(whole) // 2],
        "bits turned": whole[:200] + bytes(255 - byte for byte in whole[200:230]) + whole[230:],
        "another tag's": other.read_bytes(),
    }
    one.write_bytes(changed[damage])
    (one.parent / "0-9.unfinished").write_bytes(b"left by a killed program")
    assert rows_of(historian(FakeDriver(record), cache=cache), query) == answer


def test_a_cache_that_cannot_be_written_is_an_error_that_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    source = historian(FakeDriver({"a": [(0, 1.0, Quality.GOOD)]}), cache={"folder": str(tmp_path / "file")})
    with pytest.raises(HistorianError, match=r"The cache .*file cannot be written: .*history\.options\.cache\.folder"):
        rows_of(source, Query(tags=("a",), start=at(0), end=at(10)))


def test_a_stamp_that_fills_a_page_does_not_hold_the_pager_up() -> None:
    # A well-known pager went on from the last stamp of a page, and never got past one that filled it.
    record = {"TI1": [(5, float(n), Quality.GOOD) for n in range(50)] + [(6, 7.0, Quality.GOOD)]}
    source = historian(FakeDriver(record), page=4)
    assert rows_of(source, Query(tags=("TI1",)))["TI1"] == [(at(5), 49.0, 0), (at(6), 7.0, 0)]
    assert source.report.duplicates == 49
    assert source.report.notes == ["TI1: 49 stamps held several values; the last one was kept"]


def test_a_stamp_that_fills_the_largest_page_is_passed_and_told() -> None:
    record = {"TI1": [(5, float(n), Quality.GOOD) for n in range(50)] + [(6, 7.0, Quality.GOOD)]}
    source = historian(FakeDriver(record, most_rows=10), page=4)
    assert [stamp for stamp, _, _ in rows_of(source, Query(tags=("TI1",)))["TI1"]] == [at(5), at(6)]
    assert "at least 10 samples share the stamp 2024-05-01T06:00:05+00:00" in source.report.notes[0]


def test_a_server_that_refuses_every_range_is_an_error() -> None:
    source = historian(FakeDriver({"TI1": [(5, 1.0, Quality.GOOD)]}, widest=0.0))
    with pytest.raises(HistorianError, match=r"Even 0\.001 s is too long a range"):
        rows_of(source, Query(tags=("TI1",), start=at(0), end=at(10)))


def failing(times: int, error: Callable[[], Exception]) -> Callable[..., None]:
    left = itertools.count(times, -1)

    def fail(*_: Any) -> None:
        if next(left) > 0:
            raise error()

    return fail


def test_what_passes_is_asked_again_and_counted() -> None:
    driver = FakeDriver({"TI1": [(5, 1.0, Quality.GOOD)]}, before_page=failing(3, lambda: TransientError("busy")))
    waits: list[float] = []
    source = historian(driver, sleep=waits.append)
    assert len(rows_of(source, Query(tags=("TI1",)))["TI1"]) == 1
    assert source.report.retries == len(waits) == 3
    assert all(0 <= wait <= longest for wait, longest in zip(waits, (0.5, 1.0, 2.0), strict=True))


def test_what_does_not_pass_is_asked_once() -> None:
    driver = FakeDriver({"TI1": [(5, 1.0, Quality.GOOD)]}, before_page=failing(9, lambda: HistorianError("forbidden")))
    with pytest.raises(HistorianError, match="forbidden"):
        rows_of(historian(driver), Query(tags=("TI1",)))
    assert driver.calls["page"] == 1


def test_patience_ends_and_says_how_often_it_asked() -> None:
    driver = FakeDriver({"TI1": [(5, 1.0, Quality.GOOD)]}, before_page=failing(99, lambda: TransientError("busy.")))
    with pytest.raises(HistorianError, match=r"busy\. It was asked 4 times"):
        rows_of(historian(driver, attempts=4), Query(tags=("TI1",)))


def test_a_server_is_left_alone_as_long_as_it_asks_and_not_for_an_hour() -> None:
    waits: list[float] = []
    patience = Patience(random=random.Random(1).random)
    answer = iter([TransientError("busy", after=7.0), None])

    def request() -> str:
        if (error := next(answer)) is not None:
            raise error
        return "there"

    assert patience.ask(request, sleep=waits.append, retried=lambda: None) == "there"
    assert waits == [7.0]
    with pytest.raises(HistorianError, match="asks to be left alone for 3600 s"):
        patience.ask(
            lambda: (_ for _ in ()).throw(TransientError("closed.", after=3600.0)),
            sleep=waits.append,
            retried=lambda: None,
        )


def test_waits_are_drawn_at_random_below_a_bound_that_doubles() -> None:
    certain = Patience(random=lambda: 1.0)
    assert [certain.wait(attempt) for attempt in range(8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    drawn = {Patience().wait(3) for _ in range(20)}
    assert len(drawn) > 10
    assert max(drawn) <= 4.0


def test_no_more_requests_run_at_once_than_allowed_and_more_than_one_does() -> None:
    two = threading.Barrier(2, timeout=30)

    def meet(*_: Any) -> None:
        two.wait()  # broken, and an error, unless two come together

    driver = FakeDriver({f"TI{n}": [(5, 1.0, Quality.GOOD)] for n in range(8)}, before_page=meet)
    rows_of(historian(driver, parallel=2), Query(tags=tuple(driver.record)))
    assert driver.most_at_once == 2


def test_a_read_that_is_left_stops_its_threads() -> None:
    driver = FakeDriver({f"TI{n}": [(second, 1.0, Quality.GOOD) for second in range(99)] for n in range(4)})
    with closing(historian(driver, page=1, parallel=4).read(Query(tags=tuple(driver.record)))) as batches:
        next(batches)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reader-")]
    assert driver.calls["page"] < 4 * 99


def test_whoever_leaves_does_not_wait_for_a_server_that_asked_for_time() -> None:
    # The second tag's server wants ten minutes; the first one's batch is there at once.
    def page(tag: str, *_: Any) -> None:
        if tag == "TI2":
            raise TransientError("busy", after=590.0)

    driver = FakeDriver({"TI1": [(0, 1.0, Quality.GOOD)], "TI2": [(0, 1.0, Quality.GOOD)]}, before_page=page)
    with closing(historian(driver, sleep=None, parallel=2).read(Query(tags=("TI1", "TI2")))) as batches:
        next(batches)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reader-")]


def test_the_report_counts_what_was_met() -> None:
    rows: list[Row] = [
        (0, 1.0, Quality.GOOD),
        (1, None, Quality.GOOD),
        (2, 3.0, Quality.UNCERTAIN),
        (3, 900.0, Quality.GOOD),
        (3, 900.0, Quality.GOOD),
        (4, 5.0, Quality.GOOD),
    ]
    tag = Tag(name="TI1", role=Role.CV, unit="degC", range=(0, 100))
    source = ServerHistorian(FakeDriver({"TI1": rows}), {"TI1": tag}, ServerOptions(page=2))
    found = rows_of(source, Query(tags=("TI1",)))["TI1"]
    assert [quality for _, _, quality in found] == [0, 2, 1, 2, 0]
    report = source.report
    assert (report.rows, report.bad, report.uncertain, report.out_of_range, report.duplicates) == (5, 2, 1, 1, 1)
    assert (report.gaps, report.words, report.first, report.last) == (2, {"(empty)": 1}, at(0), at(4))
    assert report.pages >= 3


def test_the_digest_of_a_source_tells_of_every_sample_and_not_of_its_pages() -> None:
    rows = [(second, 1.0 * second, Quality.GOOD) for second in range(20)]

    def digest(rows: list[Row], page: int) -> str:
        source = historian(FakeDriver({"TI1": rows}), page=page)
        rows_of(source, Query(tags=("TI1",)))
        return str(source.report.sources["fake://plant"])

    assert digest(rows, 3) == digest(rows, 7)
    assert digest(rows, 3) != digest([*rows[:-1], (19, 19.000001, Quality.GOOD)], 3)


def test_the_newest_sample_of_each_tag_comes_in_the_order_asked() -> None:
    record = {"TI1": [(0, 1.0, Quality.GOOD), (9, 2.0, Quality.GOOD)], "TI2": [(3, 3.0, Quality.BAD)]}
    batch = historian(FakeDriver(record)).latest(["TI2", "TI1"])
    assert batch.schema == SCHEMA
    told = [(row["tag"], row["time"], row["value"]) for row in batch.to_pylist()]
    assert told == [("TI2", at(3), 3.0), ("TI1", at(9), 2.0)]


def test_renamed_tags_are_asked_for_by_their_names_there_and_found_by_those_here() -> None:
    tags = {"TI1.PV": Tag(name="TI1.PV", role=Role.CV, unit="degC")}
    driver = FakeDriver({"U1:TI1": [(0, 1.0, Quality.GOOD)]})
    source = ServerHistorian(driver, tags, ServerOptions(rename={"U1:TI1": "TI1.PV"}))
    assert len(rows_of(source, Query(tags=("TI1.PV",)))["TI1.PV"]) == 1
    assert [info.name for info in source.search("*.PV")] == ["TI1.PV"]
    assert list(source.search("U1*")) == []
    with pytest.raises(PlantFileError, match="unknown tag 'TI9'"):
        ServerHistorian(driver, tags, ServerOptions(rename={"U1:TI1": "TI9"}))


def test_an_unknown_tag_is_named_with_the_nearest() -> None:
    source = historian(FakeDriver({"TI1.PV": [(0, 1.0, Quality.GOOD)]}))
    for ask in (lambda: source.read(Query(tags=("TI1.PW",))), lambda: source.latest(["TI1.PW"])):
        with pytest.raises(HistorianError, match=r"Tag 'TI1\.PW' is not in the record.*did you mean 'TI1\.PV'\?"):
            ask()


def test_a_range_without_samples_tells_of_the_newest() -> None:
    source = historian(FakeDriver({"TI1": [(0, 1.0, Quality.GOOD)]}))
    for start in (60, -60):
        with pytest.raises(
            HistorianError, match=r"Nothing was recorded.*newest sample there is of 2024-05-01T06:00:00"
        ):
            source.read(Query(tags=("TI1",), start=at(start), end=at(start + 10)))


def test_a_connection_is_closed_whatever_happens() -> None:
    driver = FakeDriver({"TI1": [(0, 1.0, Quality.GOOD)]})
    source = historian(driver)
    with pytest.raises(HistorianError):
        source.read(Query(tags=("no",)))
    assert driver.calls["close"] == 1
    by_tag(("TI1",), source.read(Query(tags=("TI1",))))
    list(source.search())
    source.latest(["TI1"])
    assert driver.calls["close"] == 5
