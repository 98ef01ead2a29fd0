"""Tables of time, tag and value in PostgreSQL, SQLite and DuckDB."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from fake_driver import T0, at, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("adbc_driver_manager", reason="ADBC is not installed: pip install 'procmodel[sql]'")

from databases import KINDS, address_of, fill

from connectors.credentials import Secret
from connectors.driver import TooLargeError, TransientError
from connectors.sql import SqlHistorian
from connectors.sql_database import Database
from connectors.sql_stamps import SqlClock
from procmodel.data.samples import Query
from procmodel.errors import HistorianError, PlantFileError
from procmodel.plant import History

# What a name may never do: end its string, start a comment, stand for a value, match others.
EVIL = [
    "x'; DROP TABLE samples; --",
    'a"b',
    "%",
    "_",
    "$1",
    "?",
    ":a",
    "\\",
    "tag",
    "Tag",
    " tag",
    "Ä 1",
    "' OR '1'='1",
]
STRANGE = '"raw ""2""; ?"'
TYPES = {"postgresql": "timestamptz", "duckdb": "timestamptz", "sqlite": "TEXT"}
TEXT = "%Y-%m-%d %H:%M:%S.%fZ"


def historian(address: str, timezone: str | None = None, **options: Any) -> SqlHistorian:
    return SqlHistorian(
        History(kind="sql", path=address, timezone=timezone, options={"table": "samples", **options}), {}
    )


def written(kind: str, stamp: datetime) -> Any:
    return stamp.strftime(TEXT) if kind == "sqlite" else stamp


def timed(kind: str) -> dict[str, Any]:
    return {"time": {"format": TEXT}} if kind == "sqlite" else {}


@pytest.fixture(scope="module", params=KINDS)
def plant(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Kind and address of a database with a table of evil names."""
    kind = request.param
    postgres = request.getfixturevalue("postgres") if kind == "postgresql" else ""
    address = address_of(kind, postgres, tmp_path_factory.mktemp(kind))
    create = f"CREATE TABLE samples (tag TEXT, time {TYPES[kind]}, value DOUBLE PRECISION, quality INTEGER)"
    strange = f'CREATE TABLE {STRANGE} ("t?g" TEXT, "$1" {TYPES[kind]}, "va""lue" DOUBLE PRECISION)'
    about = "CREATE TABLE about (tag TEXT, unit TEXT, note TEXT, low REAL, high REAL, step BOOLEAN)"
    rows = [
        (tag, written(kind, at(second)), 100.0 * index + second, 0 if second == 3 else 64 if second == 4 else 192)
        for index, tag in enumerate(EVIL)
        for second in (4, 2, 0, 3, 1)
    ]
    rows += [("same", written(kind, at(7)), float(n), 192) for n in range(30)]
    rows += [("empty", written(kind, at(1)), None, None), ("digits", written(kind, at(0)), 0.1 + 0.2, 192)]
    marks = "(?, ?, ?, ?)"
    fill(
        kind,
        address,
        [create, strange, about, f"INSERT INTO {STRANGE} VALUES ('a', '{at(0).strftime(TEXT)}', 1.5)"],
        [
            (f"INSERT INTO samples VALUES {marks}", rows),
            ("INSERT INTO about VALUES (?, ?, ?, ?, ?, ?)", [("tag", "degC", "reactor", 0.0, 150.0, False)]),
        ],
    )
    return kind, address


@pytest.mark.parametrize("page", [1, 2, 5, 1000])
def test_an_evil_name_is_a_name_and_nothing_else(plant: tuple[str, str], page: int) -> None:
    # A well-known client pasted tag names into its queries.
    kind, address = plant
    source = historian(address, page=page, **timed(kind))
    found = rows_of(source, Query(tags=tuple(EVIL)))
    for index, tag in enumerate(EVIL):
        assert found[tag] == [(at(second), 100.0 * index + second, 0) for second in range(5)], tag
    assert {info.name for info in source.search()} == {*EVIL, "same", "empty", "digits"}


def test_a_name_that_is_not_there_matches_nothing(plant: tuple[str, str]) -> None:
    kind, address = plant
    for name in ("%%", "t_g", "nothing' OR tag = 'tag"):
        with pytest.raises(HistorianError, match="is not in the record"):
            historian(address, **timed(kind)).read(Query(tags=(name,)))


def test_a_range_is_half_open_with_the_row_held_at_its_start(plant: tuple[str, str]) -> None:
    kind, address = plant
    found = rows_of(historian(address, **timed(kind)), Query(tags=("tag",), start=at(1.5), end=at(3)))["tag"]
    assert [stamp for stamp, _, _ in found] == [at(1), at(2)]


def test_a_stamp_that_fills_a_page_is_passed(plant: tuple[str, str]) -> None:
    kind, address = plant
    source = historian(address, page=4, **timed(kind))
    assert len(rows_of(source, Query(tags=("same",)))["same"]) == 1
    assert source.report.duplicates == 29


def test_qualities_are_decoded_and_kept(plant: tuple[str, str]) -> None:
    kind, address = plant
    source = historian(address, columns={"quality": "quality"}, quality="opc-da", **timed(kind))
    rows = [row for batch in source.read(Query(tags=("tag", "empty"))) for row in batch.to_pylist()]
    told = [(row["status"], row["quality"]) for row in rows if row["tag"] == "tag"]
    assert told == [(192, 0), (192, 0), (192, 0), (0, 2), (64, 1)]
    assert [(row["value"], row["state"], row["quality"]) for row in rows if row["tag"] == "empty"] == [
        (None, "(empty)", 2)
    ]


def test_no_digit_is_lost(plant: tuple[str, str]) -> None:
    kind, address = plant
    assert rows_of(historian(address, **timed(kind)), Query(tags=("digits",)))["digits"][0][1] == 0.1 + 0.2


def test_tables_and_columns_may_be_called_anything(plant: tuple[str, str]) -> None:
    kind, address = plant
    columns = {"tag": "t?g", "time": "$1", "value": 'va"lue'}
    source = historian(address, table='raw "2"; ?', columns=columns, **timed(kind))
    assert rows_of(source, Query(tags=("a",)))["a"] == [(at(0), 1.5, 0)]


def test_a_table_tells_of_the_tags(plant: tuple[str, str]) -> None:
    kind, address = plant
    told = {"unit": "unit", "description": "note", "low": "low", "high": "high", "step": "step"}
    [info] = historian(address, about={"table": "about", **told}, **timed(kind)).search("t*")
    assert (info.name, info.unit, info.description) == ("tag", "degC", "reactor")
    assert (info.low, info.high, info.step) == (0.0, 150.0, False)


@pytest.fixture(params=["postgresql", "sqlite", "duckdb"])
def digital(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Two valves of one set of states: one recorded by numbers, one by words; and a level."""
    kind = request.param
    postgres = request.getfixturevalue("postgres") if kind == "postgresql" else ""
    address = address_of(kind, postgres, tmp_path)
    numbered = [("XV1", written(kind, at(s)), float(s)) for s in range(4)] + [("LI1", written(kind, at(0)), 1.0)]
    worded = [("XV2", written(kind, at(s)), word) for s, word in enumerate(["Open", "Shut", "Stuck"])]
    words = [("valve", 0, "Shut"), ("valve", 1, "Open"), ("valve", 2, "Travel"), ("other", 0, "No")]
    fill(
        kind,
        address,
        [
            *(f"DROP TABLE IF EXISTS {name}" for name in ("numbered", "worded", "points", "words")),
            f"CREATE TABLE numbered (tag TEXT, time {TYPES[kind]}, value DOUBLE PRECISION)",
            f"CREATE TABLE worded (tag TEXT, time {TYPES[kind]}, value TEXT)",
            "CREATE TABLE points (tag TEXT, digital TEXT, steps TEXT)",
            'CREATE TABLE words ("set" TEXT, code INTEGER, word TEXT)',
        ],
        [
            ("INSERT INTO numbered VALUES (?, ?, ?)", numbered),
            ("INSERT INTO worded VALUES (?, ?, ?)", worded),
            ("INSERT INTO points VALUES (?, ?, ?)", [("XV1", "valve", None), ("XV2", "valve", "1"), ("LI1", "", "0")]),
            ("INSERT INTO words VALUES (?, ?, ?)", words),
        ],
    )
    return kind, address


def test_digital_tags_have_numbers_and_words_whichever_of_them_was_recorded(digital: tuple[str, str]) -> None:
    kind, address = digital
    about = {"table": "points", "set": "digital", "step": "steps", "states": {"table": "words", "of": "set"}}
    found = {info.name: info for info in historian(address, table="numbered", about=about, **timed(kind)).search()}
    assert found["XV1"].states == found["XV2"].states == {0: "Shut", 1: "Open", 2: "Travel"}
    assert (found["LI1"].states, found["LI1"].step) == ({}, False)
    assert (found["XV1"].step, found["XV2"].step) == (True, True)

    def read(table: str, tag: str) -> list[tuple[float | None, str | None, int]]:
        source = historian(address, table=table, about=about, **timed(kind))
        rows = [row for batch in source.read(Query(tags=(tag,))) for row in batch.to_pylist()]
        return [(row["value"], row["state"], row["quality"]) for row in rows]

    assert read("numbered", "XV1") == [(0.0, "Shut", 0), (1.0, "Open", 0), (2.0, "Travel", 0), (3.0, None, 0)]
    assert read("numbered", "LI1") == [(1.0, None, 0)]
    assert read("worded", "XV2") == [(1.0, "Open", 0), (0.0, "Shut", 0), (None, "Stuck", 2)]


def test_the_newest_row_is_told(plant: tuple[str, str]) -> None:
    kind, address = plant
    [row] = historian(address, **timed(kind)).latest(["tag"]).to_pylist()
    assert (row["time"], row["value"]) == (at(4), 100.0 * EVIL.index("tag") + 4)


def test_a_connection_cannot_write(plant: tuple[str, str]) -> None:
    _, address = plant
    database = Database(History(kind="sql", path=address), Secret(), 30.0)
    with pytest.raises(HistorianError, match=r"(?i)read.?only"):
        database.rows("DELETE FROM samples")
    database.close()


def test_a_table_that_is_not_there_is_told_with_the_databases_words(plant: tuple[str, str]) -> None:
    kind, address = plant
    with pytest.raises(HistorianError, match=r"refused: .*nothing_of_the_kind"):
        historian(address, table="nothing_of_the_kind", **timed(kind)).read(Query(tags=("tag",)))


@pytest.mark.parametrize(
    ("unit", "column", "count"),
    [("s", "DOUBLE PRECISION", 1.0), ("s", "BIGINT", 1), ("ms", "BIGINT", 1000), ("us", "BIGINT", 1_000_000)],
)
@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_stamps_may_be_numbers(tmp_path: Path, kind: str, unit: str, column: str, count: float) -> None:
    address = str(tmp_path / "plant")
    seconds = [0, 1, 2, 5]
    rows = [
        ("a", type(count)((at(s) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * count), float(s))
        for s in seconds
    ]
    create = f"CREATE TABLE samples (tag TEXT, time {column}, value DOUBLE PRECISION)"
    fill(kind, address, [create], [("INSERT INTO samples VALUES (?, ?, ?)", rows)])
    source = historian(address, page=1, time={"unit": unit})
    assert rows_of(source, Query(tags=("a",)))["a"] == [(at(s), float(s), 0) for s in seconds]
    assert [row[0] for row in rows_of(source, Query(tags=("a",), start=at(0.5), end=at(2)))["a"]] == [at(0), at(1)]


@settings(max_examples=8, deadline=None, database=None, derandomize=True)
@given(
    seconds=st.lists(st.floats(0, 3, allow_subnormal=False), min_size=1, max_size=12),
    page=st.integers(1, 4),
)
def test_no_row_is_lost_between_pages_where_stamps_are_doubles(
    seconds: list[float], page: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    address = str(tmp_path_factory.mktemp("doubles") / "plant.sqlite")
    rows = [("a", T0.timestamp() + second, second) for second in seconds]
    create = "CREATE TABLE samples (tag TEXT, time REAL, value REAL)"
    fill("sqlite", address, [create], [("INSERT INTO samples VALUES (?, ?, ?)", rows)])
    source = historian(address, page=page, time={"unit": "s"})
    found = rows_of(source, Query(tags=("a",)))["a"]
    # Doubles of today lie a quarter of a microsecond apart; those of one microsecond share its stamp.
    told = [stamp for stamp, _, _ in found]
    for _, each, _ in rows:
        stamp = T0 + timedelta(seconds=each - T0.timestamp())
        assert min(abs(stamp - other) for other in told) <= timedelta(microseconds=1)
    assert source.report.rows + source.report.duplicates == len(rows)


@pytest.mark.parametrize("written_as", ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%d %H:%M:%S.%3f"])
def test_stamps_may_be_text(tmp_path: Path, written_as: str) -> None:
    address = str(tmp_path / "plant.sqlite")
    stamps = [at(0), at(1), at(1.25) if "%f" in written_as or "%3f" in written_as else at(2)]
    text = [each.strftime(written_as.replace("%3f", f"{each.microsecond // 1000:03d}")) for each in stamps]
    create = "CREATE TABLE samples (tag TEXT, time TEXT, value REAL)"
    fill("sqlite", address, [create], [("INSERT INTO samples VALUES ('a', ?, 1.0)", [(each,) for each in text])])
    source = historian(address, "UTC", page=1, time={"format": written_as})
    assert [stamp for stamp, _, _ in rows_of(source, Query(tags=("a",)))["a"]] == stamps
    assert len(rows_of(source, Query(tags=("a",), start=at(0.5), end=at(1.1), carry_in=False))["a"]) == 1


def test_numbers_beside_words_in_one_column_keep_both(tmp_path: Path) -> None:
    address = str(tmp_path / "plant.sqlite")
    create = "CREATE TABLE samples (tag TEXT, time INTEGER, value)"
    rows = [("a", 0, 123.456789012345), ("a", 1, "I/O Timeout"), ("a", 2, None), ("a", 3, 7), ("a", 4, "8.5")]
    fill("sqlite", address, [create], [("INSERT INTO samples VALUES (?, ?, ?)", rows)])
    source = historian(address, time={"unit": "s"})
    told = [(r["value"], r["state"], r["quality"]) for b in source.read(Query(tags=("a",))) for r in b.to_pylist()]
    assert told == [
        (123.456789012345, None, 0),
        (None, "I/O Timeout", 2),
        (None, "(empty)", 2),
        (7.0, None, 0),
        (8.5, None, 0),
    ]


def local_table(folder: Path, local: list[str]) -> str:
    address = str(folder / "plant.duckdb")
    create = "CREATE TABLE samples (tag TEXT, time TIMESTAMP, value DOUBLE)"
    fill("duckdb", address, [create], [("INSERT INTO samples VALUES ('a', ?, 1.0)", [(each,) for each in local])])
    return address


def test_stamps_without_a_zone_need_one(tmp_path: Path) -> None:
    address = local_table(tmp_path, ["2024-05-01 08:00:00"])
    with pytest.raises(HistorianError, match=r"carry no .*zone.* Set history\.timezone"):
        historian(address).read(Query(tags=("a",)))
    # Not Oslo, nor wherever this runs.
    assert rows_of(historian(address, "Asia/Tokyo"), Query(tags=("a",)))["a"][0][0] == datetime(
        2024, 4, 30, 23, tzinfo=UTC
    )


def test_the_repeated_hour_is_an_error_unless_its_first_pass_is_chosen(tmp_path: Path) -> None:
    clock = [f"2024-10-27 {hour}" for hour in ("00:30", "01:30", "02:00", "02:30", "02:59", "03:00", "03:30")]
    address = local_table(tmp_path, clock)
    with pytest.raises(HistorianError, match="happens twice in Europe/Zurich"):
        rows_of(historian(address, "Europe/Zurich"), Query(tags=("a",)))
    source = historian(address, "Europe/Zurich", ambiguous="first", page=1)
    found = [stamp for stamp, _, _ in rows_of(source, Query(tags=("a",)))["a"]]
    zurich = ZoneInfo("Europe/Zurich")
    assert found == [datetime.fromisoformat(each).replace(tzinfo=zurich).astimezone(UTC) for each in clock]
    assert source.report.ambiguous_times == 3
    # A range from within the second pass on begins at its end.
    after = Query(tags=("a",), start=datetime(2024, 10, 27, 1, 10, tzinfo=UTC), carry_in=False)
    assert [stamp for stamp, _, _ in rows_of(source, after)["a"]] == found[-2:]


def test_a_column_of_another_kind_is_told_before_anything_is_read(tmp_path: Path) -> None:
    address = str(tmp_path / "plant.duckdb")
    fill("duckdb", address, ["CREATE TABLE samples (tag TEXT, time BIGINT, value DOUBLE)"])
    with pytest.raises(HistorianError, match=r"holds Int64\. Say how its stamps are kept: .*\{unit: ms\}"):
        historian(address).read(Query(tags=("a",)))


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("tag,time,value")
    with pytest.raises(HistorianError, match="no file of SQLite or DuckDB"):
        historian(str(tmp_path / "notes.txt"))
    with pytest.raises(HistorianError, match=r"cannot be read: No such file.*postgresql://host/database"):
        historian(str(tmp_path / "none.sqlite"))
    with pytest.raises(PlantFileError, match=r"unknown key 'tabel'; did you mean 'table'\?"):
        SqlHistorian(History(kind="sql", path="x", options={"tabel": "x"}), {})
    assert not (tmp_path / "none.sqlite").exists()


def test_a_query_that_takes_too_long_is_ended_by_the_server_and_asked_in_halves(postgres: str) -> None:
    database = Database(History(kind="sql", path=postgres), Secret(), 0.05)
    with pytest.raises(TooLargeError, match="took too long"):
        database.rows("SELECT pg_sleep(5)")
    database.close()


def test_a_server_that_is_not_there_may_come_back_and_one_that_refuses_does_not(postgres: str) -> None:
    gone = Database(History(kind="sql", path="postgresql://tester@127.0.0.1:1/postgres"), Secret(), 2.0)
    with pytest.raises(TransientError, match="Connection refused"):
        gone.rows("SELECT 1")
    refusing = Database(History(kind="sql", path=postgres.replace("/postgres", "/nothing")), Secret(), 2.0)
    with pytest.raises(HistorianError, match="does not exist") as caught:
        refusing.rows("SELECT 1")
    assert not isinstance(caught.value, TransientError)


def test_a_password_is_not_told(postgres: str) -> None:
    secret = Secret(user="nobody here", password="hush@/:")
    database = Database(History(kind="sql", path=postgres), secret, 2.0)
    assert "hush" not in database.place
    with pytest.raises(HistorianError) as caught:
        database.rows("SELECT 'hush@/:' FROM nothing")
    assert "hush" not in str(caught.value)
    with pytest.raises(PlantFileError, match="holds a password"):
        Database(History(kind="sql", path="postgresql://a:b@host/x"), Secret(), 2.0)


def test_bounds_of_doubles_are_wider_never_narrower() -> None:
    import polars as pl

    from connectors.sql_options import SqlTime

    clock = SqlClock(
        time=SqlTime(unit="s"), dtype=pl.Float64(), typed=True, timezone=None, ambiguous="raise", place="x"
    )
    stamp = at(0.123457)
    low, high = clock.bound(stamp, wider=-1), clock.bound(stamp, wider=1)
    assert isinstance(low, float)
    assert isinstance(high, float)
    assert low < stamp.timestamp() < high
