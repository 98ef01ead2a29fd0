"""Ignition's tag history, in tables as Ignition makes them."""

from __future__ import annotations

from typing import Any

import pytest
from fake_driver import at, rows_of

pytest.importorskip("adbc_driver_manager", reason="ADBC is not installed: pip install 'procmodel[sql]'")

from databases import address_of, fill

from connectors.ignition import IgnitionHistorian, quality_of
from procmodel.data.samples import Quality, Query
from procmodel.errors import HistorianError
from procmodel.plant import History

TABLES = (
    "CREATE TABLE sqlth_drv (id INTEGER, name VARCHAR(255), provider VARCHAR(255))",
    "CREATE TABLE sqlth_scinfo (id INTEGER, scname VARCHAR(255), drvid INTEGER)",
    "CREATE TABLE sqlth_te (id INTEGER, tagpath VARCHAR(255), scid INTEGER, datatype INTEGER, querymode INTEGER, "
    "created BIGINT, retired BIGINT)",
    "CREATE TABLE sqlth_partitions (pname VARCHAR(255), drvid INTEGER, start_time BIGINT, end_time BIGINT, "
    "blocksize INTEGER, flags INTEGER)",
)
DATA = (
    "CREATE TABLE {} (tagid INTEGER, intvalue BIGINT, floatvalue DOUBLE PRECISION, stringvalue VARCHAR(255), "
    "datevalue TIMESTAMP, dataintegrity INTEGER, t_stamp BIGINT)"
)
HOUR = 3600


def ms(seconds: float) -> int:
    return round(at(seconds).timestamp() * 1000)


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    kind = request.param
    postgres = request.getfixturevalue("postgres") if kind == "postgresql" else ""
    place = address_of(kind, postgres, tmp_path_factory.mktemp(kind))
    names = ("sqlt_data_1_2024_05", "sqlt_data_1_2024_06", "sqlt_data_2_2024_05", "sqlt_data_1_2024_05_60")
    value = "(tagid, intvalue, floatvalue, stringvalue, dataintegrity, t_stamp) VALUES (?, ?, ?, ?, ?, ?)"
    fill(
        kind,
        place,
        [
            *TABLES,
            *(DATA.format(name) for name in names),
            "CREATE TABLE gateway_points (path TEXT, eu TEXT, hi DOUBLE PRECISION)",
        ],
        [
            ("INSERT INTO gateway_points VALUES (?, ?, ?)", [("area/ti1", "degC", 150.0)]),
            ("INSERT INTO sqlth_drv VALUES (?, ?, ?)", [(1, "gateway", "default"), (2, "gateway", "other")]),
            ("INSERT INTO sqlth_scinfo VALUES (?, ?, ?)", [(1, "_exempt_", 1), (2, "_exempt_", 2)]),
            (
                "INSERT INTO sqlth_te VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (7, "area/ti1", 1, 0, 3, 0, ms(60)),  # retired when its type was changed
                    (8, "area/ti1", 1, 1, 3, ms(60), None),
                    (9, "area/batch", 1, 2, 0, 0, None),
                    (17, "area/ti1", 2, 1, 3, 0, None),
                    (18, "area/o'brien \"; --", 1, 1, 3, 0, None),
                ],
            ),
            (
                "INSERT INTO sqlth_partitions VALUES (?, ?, ?, ?, ?, ?)",
                [
                    ("sqlt_data_1_2024_06", 1, ms(HOUR), None, 0, 0),
                    ("sqlt_data_1_2024_05", 1, ms(-HOUR), ms(HOUR) - 1, 0, 0),
                    ("sqlt_data_2_2024_05", 2, ms(-HOUR), ms(HOUR), 0, 0),
                    ("sqlt_data_1_2024_05_60", 1, ms(-HOUR), ms(HOUR), 60000, 0),  # made of the others
                ],
            ),
            (
                f"INSERT INTO {names[0]} {value}",
                [
                    (7, 5, None, None, 192, ms(0)),
                    (7, 6, None, None, 192, ms(30)),
                    (8, None, 7.5, None, 192, ms(60)),
                    (8, None, 8.25, None, 0, ms(90)),
                    (8, None, None, None, 512, ms(91)),
                    (9, None, None, "B-17", 192, ms(0)),
                    (18, None, 1.0, None, 192, ms(0)),
                ],
            ),
            (
                f"INSERT INTO {names[1]} {value}",
                [(8, None, 9.0, None, 192, ms(HOUR)), (8, None, 9.5, None, 192, ms(2 * HOUR))],
            ),
            (f"INSERT INTO {names[2]} {value}", [(17, None, -1.0, None, 192, ms(45))]),
            (f"INSERT INTO {names[3]} {value}", [(8, None, 4711.0, None, 192, ms(75))]),
        ],
    )
    return place


def ignition(address: str, **options: Any) -> IgnitionHistorian:
    return IgnitionHistorian(History(kind="ignition", path=address, options={"provider": "default", **options}), {})


WHOLE = [
    (at(0), 5.0, Quality.GOOD),
    (at(30), 6.0, Quality.GOOD),
    (at(60), 7.5, Quality.GOOD),
    (at(90), 8.25, Quality.BAD),
    (at(91), None, Quality.BAD),
    (at(HOUR), 9.0, Quality.GOOD),
    (at(2 * HOUR), 9.5, Quality.GOOD),
]


@pytest.mark.parametrize("page", [1, 2, 3, 100])
def test_a_tag_is_read_through_its_partitions_and_changes_of_type(address: str, page: int) -> None:
    assert rows_of(ignition(address, page=page), Query(tags=("area/ti1",)))["area/ti1"] == WHOLE


def test_a_range_reaches_over_the_edge_of_a_month(address: str) -> None:
    found = rows_of(ignition(address), Query(tags=("Area/TI1",), start=at(95), end=at(HOUR + 1)))["Area/TI1"]
    assert [stamp for stamp, _, _ in found] == [at(91), at(HOUR)]


def test_the_value_held_at_the_start_may_be_of_the_month_before(address: str) -> None:
    found = rows_of(ignition(address), Query(tags=("area/ti1",), start=at(HOUR - 1), end=at(2 * HOUR)))["area/ti1"]
    assert [stamp for stamp, _, _ in found] == [at(91), at(HOUR)]


def test_providers_that_share_a_database_are_told_apart(address: str) -> None:
    assert rows_of(ignition(address, provider="OTHER"), Query(tags=("area/ti1",)))["area/ti1"] == [(at(45), -1.0, 0)]
    both = rows_of(ignition(address, provider=None), Query(tags=("area/ti1",), end=at(61)))["area/ti1"]
    assert [stamp for stamp, _, _ in both] == [at(0), at(30), at(45), at(60)]


def test_words_are_states(address: str) -> None:
    [batch] = ignition(address).read(Query(tags=("area/batch",)))
    assert [(row["value"], row["state"], row["status"]) for row in batch.to_pylist()] == [(None, "B-17", 192)]


def test_tags_are_found_and_an_evil_path_is_only_a_path(address: str) -> None:
    evil = "area/o'brien \"; --"
    assert [info.name for info in ignition(address).search("area/*")] == ["area/batch", evil, "area/ti1"]
    assert rows_of(ignition(address), Query(tags=(evil,)))[evil] == [(at(0), 1.0, 0)]
    with pytest.raises(HistorianError, match=r"did you mean 'area/ti1'\?"):
        ignition(address).read(Query(tags=("area/ti2",)))


def test_text_steps_and_a_table_of_ones_own_tells_the_rest(address: str) -> None:
    about = {"table": "gateway_points", "tag": "path", "unit": "eu", "high": "hi"}
    batch, _, temperature = ignition(address, about=about).search("area/*")
    assert (batch.name, batch.step, batch.unit) == ("area/batch", True, "")
    assert (temperature.step, temperature.unit, temperature.high) == (None, "degC", 150.0)


@pytest.mark.parametrize(
    ("code", "quality"),
    [
        (192, Quality.GOOD),
        (200, Quality.GOOD),  # with its substatus
        (0, Quality.BAD),
        (64, Quality.UNCERTAIN),
        (500, Quality.BAD),
        (-2147483136, Quality.BAD),  # 0x80000200
        (1073742080, Quality.UNCERTAIN),  # 0x40000100
    ],
)
def test_data_integrity_is_decoded(code: int, quality: Quality) -> None:
    assert quality_of(code) is quality
