"""Time stamps: how they are written, their zone, and the two clock changes of a year."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.csv_files import CsvHistorian
from connectors.memory import MemoryHistorian
from procmodel.data.samples import Query
from procmodel.errors import HistorianError, PlantFileError
from procmodel.plant import History

ZURICH = ZoneInfo("Europe/Zurich")


def read(folder: Path, text: str, *, timezone: str | None = None, **options: Any) -> tuple[CsvHistorian, pl.DataFrame]:
    (folder / "export.csv").write_text(text, encoding="utf-8")
    source = CsvHistorian(History(kind="csv", path="export.csv", timezone=timezone, options=options), {}, base=folder)
    batches = list(source.read(Query(tags=tuple(info.name for info in source.search()))))
    return source, pl.concat([pl.DataFrame(batch) for batch in batches])


def times(folder: Path, stamps: list[str], *, timezone: str | None = None, **options: Any) -> list[datetime]:
    rows = "".join(f"{stamp};{index}\n" for index, stamp in enumerate(stamps))
    _, found = read(folder, f"time;A\n{rows}", timezone=timezone, **options)
    return found.sort("value")["time"].to_list()


@pytest.mark.parametrize(
    "stamp",
    [
        "2024-05-01T06:30:00Z",
        "2024-05-01 06:30:00Z",
        "2024-05-01 06:30:00.000 Z",
        "2024-05-01T08:30:00+02:00",
        "2024-05-01T08:30:00.000+0200",
        "2024-05-01 08:30:00+02",
        "2024-05-01 08:30+02:00",
        "2024-05-01T03:00:00,000-03:30",
        " 2024-05-01T06:30Z ",
    ],
)
def test_a_stamp_with_a_zone_is_that_moment(tmp_path: Path, stamp: str) -> None:
    assert times(tmp_path, [stamp]) == [datetime(2024, 5, 1, 6, 30, tzinfo=UTC)]


@pytest.mark.parametrize("stamp", ["2024-05-01 08:30:00", "2024-05-01T08:30", "2024-05-01 08:30:00,000"])
def test_a_stamp_without_a_zone_takes_the_plants(tmp_path: Path, stamp: str) -> None:
    assert times(tmp_path, [stamp], timezone="Europe/Zurich") == [datetime(2024, 5, 1, 6, 30, tzinfo=UTC)]


def test_fractions_of_a_second_are_kept_to_the_microsecond(tmp_path: Path) -> None:
    found = times(tmp_path, ["2024-05-01T06:30:00.123456Z", "2024-05-01T06:30:01,5Z"])
    assert [stamp.microsecond for stamp in found] == [123456, 500000]


def test_stamps_with_and_without_a_zone_may_stand_in_one_column(tmp_path: Path) -> None:
    found = times(tmp_path, ["2024-05-01T06:30:00Z", "2024-05-01 09:30:00"], timezone="Europe/Zurich")
    assert found == [datetime(2024, 5, 1, hour, 30, tzinfo=UTC) for hour in (6, 7)]


def test_a_stamp_without_a_zone_is_an_error_where_the_plant_names_none(tmp_path: Path) -> None:
    with pytest.raises(HistorianError, match=r"carry no time zone. Set history.timezone") as caught:
        times(tmp_path, ["2024-05-01 08:30:00"])
    assert "export.csv: time stamps such as 2024-05-01 08:30:00" in str(caught.value)


@pytest.mark.parametrize(
    ("stamps", "moment"),
    [
        (["31/03/2024 10:00:00", "01/04/2024 10:00:00"], datetime(2024, 4, 1, 10)),
        (["03/31/2024 10:00", "04/01/2024 10:00"], datetime(2024, 4, 1, 10)),
        (["31.03.24 10:00:00.25", "1.4.24 10:00:00.5"], datetime(2024, 4, 1, 10, 0, 0, 500_000)),
        (["31.03.2024 10:00:00,25", "01.04.2024 10:00:00,5"], datetime(2024, 4, 1, 10, 0, 0, 500_000)),
        (["3/31/2024 10:00:00 PM", "4/1/2024 10:00:00 PM"], datetime(2024, 4, 1, 22)),
        (["31-Mar-24 10:00:00", "01-Apr-24 10:00:00"], datetime(2024, 4, 1, 10)),
        (["2024/03/31 10:00", "2024/04/01 10:00"], datetime(2024, 4, 1, 10)),
        (["2024-04-01 09:00:00", "31/03/2024 10:00", "01/04/2024 10:00"], datetime(2024, 4, 1, 10)),
        (["04/04/2024 10:00", "01-Apr-24 11:00", "04/04/2024 11:00"], datetime(2024, 4, 4, 11)),
        (["31/03/2024", "01/04/2024"], datetime(2024, 4, 1)),
    ],
)
def test_the_whole_column_decides_whether_days_or_months_come_first(
    tmp_path: Path, stamps: list[str], moment: datetime
) -> None:
    assert times(tmp_path, stamps, timezone="UTC")[-1] == moment.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("stamps", "asked"),
    [
        (["03/04/2024 10:00", "04/04/2024 10:00"], "'%d/%m/%Y %H:%M' or to '%m/%d/%Y %H:%M'"),
        (
            ["13/04/2024 10:00", "04/13/2024 10:00"],
            "Days come first in '13/04/2024 10:00' and months in '04/13/2024 10:00'",
        ),
        (["24-05-30 10:00", "24-05-31 10:00"], "such as '%d/%m/%Y %H:%M:%S'"),
        (["yesterday"], "such as '%d/%m/%Y %H:%M:%S'"),
    ],
)
def test_stamps_that_the_column_leaves_open_are_asked_about(tmp_path: Path, stamps: list[str], asked: str) -> None:
    with pytest.raises(HistorianError, match="is not ISO 8601") as caught:
        times(tmp_path, stamps, timezone="UTC")
    assert asked in str(caught.value)


def test_one_time_column_of_several_decides_for_all(tmp_path: Path) -> None:
    """The second tag alone could be read with months first."""
    text = (
        "A TimeStamp,A Value,B TimeStamp,B Value\n"
        "13/04/2024 10:00,1,03/04/2024 10:00,3\n14/04/2024 10:00,2,04/04/2024 10:00,4\n"
    )
    _, found = read(tmp_path, text, timezone="UTC")
    days = found.sort("value")["time"].to_list()
    assert [(each.month, each.day) for each in days] == [(4, 13), (4, 14), (4, 3), (4, 4)]


@pytest.mark.parametrize(
    ("stamp", "written"),
    [
        ("31/03/2024 10:00:00", "%d/%m/%Y %H:%M:%S"),
        ("03/31/2024 10:00", "%m/%d/%Y %H:%M"),
        ("31.03.24 10:00:00.000", "%d.%m.%y %H:%M:%S%.f"),
        ("31.03.24 10:00:00.000000", "%d.%m.%y %H:%M:%S.%f"),
        ("31.03.24 10:00:00,000", "%d.%m.%y %H:%M:%S,%f"),
        ("3/31/2024 10:00:00 AM", "%m/%d/%Y %I:%M:%S %p"),
        ("31-Mar-24 10:00:00", "%d-%b-%y %H:%M:%S"),
        ("31/03/2024 11:00:00 +0100", "%d/%m/%Y %H:%M:%S %z"),
    ],
)
def test_a_format_is_followed_and_the_answers_of_the_message_work(tmp_path: Path, stamp: str, written: str) -> None:
    found = times(tmp_path, [stamp], timezone="UTC", time={"format": written})
    assert found == [datetime(2024, 3, 31, 10, 0, tzinfo=UTC)]


def test_a_cell_that_does_not_fit_the_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(HistorianError, match=r"'2024-04-01' \(sample 2\) does not fit .*'%d/%m/%Y'"):
        times(tmp_path, ["31/03/2024", "2024-04-01"], timezone="UTC", time={"format": "%d/%m/%Y"})


@pytest.mark.parametrize(
    ("cells", "unit", "seconds"),
    [
        (["0", "1.5"], "s", [0, 1.5]),
        (["0", "250"], "ms", [0, 0.25]),
        (["1", "2.5"], "h", [3600, 9000]),
        (["0", "1"], "d", [0, 86400]),
    ],
)
def test_plain_numbers_count_from_the_origin(tmp_path: Path, cells: list[str], unit: str, seconds: list[float]) -> None:
    found = times(tmp_path, cells, time={"unit": unit, "origin": "2024-01-01T01:00:00+01:00"})
    assert found == [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=each) for each in seconds]


def test_plain_numbers_may_have_a_decimal_comma(tmp_path: Path) -> None:
    found = times(tmp_path, ["1,5"], decimal=",", time={"unit": "s", "origin": "2024-01-01T00:00:00Z"})
    assert found == [datetime(2024, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)]


def test_plain_numbers_are_asked_about(tmp_path: Path) -> None:
    with pytest.raises(HistorianError, match=r"plain numbers such as 1714545000. Say what they count"):
        times(tmp_path, ["1714545000"], timezone="UTC")
    with pytest.raises(PlantFileError, match=r"origin is missing: plain numbers count from it"):
        times(tmp_path, ["1714545000"], time={"unit": "s"})
    with pytest.raises(PlantFileError, match="has no time zone"):
        times(tmp_path, ["1714545000"], time={"unit": "s", "origin": "1970-01-01"})
    with pytest.raises(HistorianError, match=r"'soon' \(sample 2\) is no number"):
        times(tmp_path, ["1", "soon"], time={"unit": "s", "origin": "1970-01-01T00:00:00Z"})


@pytest.mark.parametrize("cell", ["1.7e22", "-9e18", "99999999999"])
def test_a_count_beyond_our_age_is_refused(tmp_path: Path, cell: str) -> None:
    with pytest.raises(HistorianError, match=r"\(sample 2\) lies beyond the years 1900 to 2200"):
        times(tmp_path, ["1714545000", cell], time={"unit": "s", "origin": "1970-01-01T00:00:00Z"})


def test_a_year_beyond_our_age_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HistorianError, match=r"'9024-05-01T06:30:00Z' \(sample 1\) lies beyond the years"):
        times(tmp_path, ["9024-05-01T06:30:00Z", "2024-05-01T06:30:00Z"])


def test_rows_without_a_stamp_are_left_out_and_said(tmp_path: Path) -> None:
    source, found = read(tmp_path, "time,A\n2024-05-01T06:00Z,1\n,2\n2024-05-01T06:01Z,3\n")
    assert found["value"].to_list() == [1.0, 3.0]
    assert source.report.notes == ["A: 1 sample left out, since they have no time stamp"]


# The night of 27 October 2024 in Zurich: 03:00 summer time becomes 02:00 winter time, at 01:00 UTC.
MIDNIGHT = datetime(2024, 10, 26, 22, 0, tzinfo=UTC)


def local(moment: datetime) -> str:
    return moment.astimezone(ZURICH).strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize("minutes", [1, 7, 30, 60])
@pytest.mark.parametrize("newest_first", [False, True])
def test_the_repeated_hour_is_told_apart_by_the_order_of_the_rows(
    tmp_path: Path, minutes: int, newest_first: bool
) -> None:
    moments = [MIDNIGHT + timedelta(minutes=minutes * step) for step in range(6 * 60 // minutes)]
    text = "time,A\n" + "".join(
        f"{local(each)},{step}\n" for step, each in list(enumerate(moments))[:: -1 if newest_first else 1]
    )
    source, found = read(tmp_path, text, timezone="Europe/Zurich")
    assert found.sort("value")["time"].to_list() == moments
    assert source.report.ambiguous_times == sum(
        0 <= (each - MIDNIGHT).total_seconds() - 7200 < 7200 for each in moments
    )
    assert source.report.missing_times == 0


def test_each_tag_of_a_file_sorted_by_tag_finds_its_own_repeated_hour(tmp_path: Path) -> None:
    a = [MIDNIGHT + timedelta(minutes=20 * step) for step in range(18)]
    b = [MIDNIGHT + timedelta(minutes=11 * step) for step in range(30)]
    rows = "".join(
        f"{tag},{local(each)},{step}\n" for tag, moments in (("A", a), ("B", b)) for step, each in enumerate(moments)
    )
    _, found = read(tmp_path, f"tag,time,value\n{rows}", timezone="Europe/Zurich")
    assert found.filter(pl.col("tag").cast(pl.String) == "A")["time"].to_list() == a
    assert found.filter(pl.col("tag").cast(pl.String) == "B")["time"].to_list() == b


def test_a_tag_with_few_samples_is_told_by_the_others_where_the_file_runs_in_order_of_time(tmp_path: Path) -> None:
    # The slow tag has one sample in the repeated hour, in its second pass; alone, nobody could tell.
    fast = [("F", MIDNIGHT + timedelta(minutes=5 * step)) for step in range(72)]
    slow = [("S", MIDNIGHT + timedelta(minutes=minutes)) for minutes in (1, 196, 300)]
    rows = "".join(f"{tag},{local(each)},1\n" for tag, each in sorted(fast + slow, key=lambda row: row[1]))
    _, found = read(tmp_path, f"tag,time,value\n{rows}", timezone="Europe/Zurich")
    assert found.filter(pl.col("tag").cast(pl.String) == "S")["time"].to_list() == [each for _, each in slow]


@given(
    st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 6 * 3600 - 1)), min_size=2, unique_by=lambda row: row[1])
)
def test_an_export_in_order_of_time_that_shows_the_step_back_is_read_without_an_error_in_time(
    rows: list[tuple[str, int]],
) -> None:
    """Whoever writes one sample each minute shows the step; any others among them then fall into place."""
    minutes = [("M", 60 * step) for step in range(6 * 60)]
    moments = sorted(
        {(MIDNIGHT + timedelta(seconds=second), tag) for tag, second in rows + minutes},
        key=lambda row: (row[0], row[1]),
    )
    frame = pl.DataFrame(
        {
            "tag": [tag for _, tag in moments],
            "time": [moment.astimezone(ZURICH).replace(tzinfo=None) for moment, _ in moments],
            "value": [float(index) for index in range(len(moments))],
        }
    )
    source = MemoryHistorian(frame, timezone="Europe/Zurich")
    for tag in {tag for _, tag in moments}:
        found = pl.concat([pl.DataFrame(batch) for batch in source.read(Query(tags=(tag,)))])
        assert found["time"].to_list() == [moment for moment, each in moments if each == tag]


@pytest.mark.parametrize(("rule", "hour"), [("first", 0), ("second", 1), ("infer", 0)])
def test_a_single_stamp_in_the_repeated_hour_follows_the_rule(tmp_path: Path, rule: str, hour: int) -> None:
    source, found = read(tmp_path, "time,A\n2024-10-27 02:30:00,1\n", timezone="Europe/Zurich", ambiguous=rule)
    assert found["time"].to_list() == [datetime(2024, 10, 27, hour, 30, tzinfo=UTC)]
    assert source.report.ambiguous_times == 1
    assert any("autumn clock change" in note for note in source.report.notes)


def test_the_repeated_hour_may_be_an_error(tmp_path: Path) -> None:
    with pytest.raises(HistorianError, match=r"2024-10-27 02:30:00 happens twice in Europe/Zurich \(1 such stamps\)"):
        read(tmp_path, "time,A\n2024-10-27 02:30:00,1\n", timezone="Europe/Zurich", ambiguous="raise")


def test_stamps_in_the_hour_that_does_not_exist_are_left_out_and_counted(tmp_path: Path) -> None:
    stamps = ["01:59:00", "02:00:00", "02:30:00", "03:00:00"]
    text = "time,A\n" + "".join(f"2024-03-31 {stamp},{index}\n" for index, stamp in enumerate(stamps))
    source, found = read(tmp_path, text, timezone="Europe/Zurich")
    assert found.select("time", "value").rows() == [
        (datetime(2024, 3, 31, 0, 59, tzinfo=UTC), 0.0),
        (datetime(2024, 3, 31, 1, 0, tzinfo=UTC), 3.0),
    ]
    assert source.report.missing_times == 2
    assert source.report.rows + source.report.missing_times == 4
    assert any("does not exist in Europe/Zurich" in note for note in source.report.notes)


def test_a_zone_without_clock_changes_has_neither(tmp_path: Path) -> None:
    stamps = ["2024-10-27 02:30:00", "2024-10-27 02:45:00", "2024-03-31 02:30:00"]
    rows = "".join(f"{stamp},{index}\n" for index, stamp in enumerate(stamps))
    source, found = read(tmp_path, f"time,A\n{rows}", timezone="Etc/GMT-1")
    assert found.sort("value")["time"].to_list() == [
        datetime(2024, 10, 27, 1, 30, tzinfo=UTC),
        datetime(2024, 10, 27, 1, 45, tzinfo=UTC),
        datetime(2024, 3, 31, 1, 30, tzinfo=UTC),
    ]
    assert (source.report.ambiguous_times, source.report.missing_times) == (0, 0)
