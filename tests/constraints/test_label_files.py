"""Laboratory results, events and alarm journals, against labels put down by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from procmodel.constraints import Labels, match_rows, read_labels, within
from procmodel.data.dataset import Dataset, Stretch
from procmodel.errors import LabelError

DAY = datetime(2024, 3, 5, tzinfo=UTC)


def read(folder: Path, text: str, apart: float = 0.0, timezone: str | None = None) -> Labels:
    file = folder / "labels.csv"
    file.write_text(text, encoding="utf-8")
    return read_labels(file, constraint="foaming", apart=apart, timezone=timezone)


def minutes(labels: Labels) -> list[tuple[float, float]]:
    """Minutes after the day began, and margin."""
    return [
        ((time - DAY).total_seconds() / 60, margin) for time, margin in zip(labels.times, labels.margins, strict=True)
    ]


# ---- laboratory


def test_a_result_belongs_to_the_time_of_its_sample_and_not_to_that_of_its_entry(tmp_path: Path) -> None:
    labels = read(
        tmp_path,
        "time,sampled,margin\n2024-03-05T03:00Z,2024-03-05T01:00Z,2.5\n2024-03-05T02:30Z,2024-03-05T01:30Z,-1\n",
    )
    assert minutes(labels) == [(60.0, 2.5), (90.0, -1.0)]


def test_a_delay_is_taken_off_the_stamp(tmp_path: Path) -> None:
    text = "time,delay,margin\n2024-03-05T03:00Z,2 h,2.5\n2024-03-05T03:10Z,45 min,1\n2024-03-05T04:00Z,,3\n"
    assert minutes(read(tmp_path, text)) == [(60.0, 2.5), (145.0, 1.0), (240.0, 3.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,delay,margin\n2024-03-05T03:00Z,45,1\n", "line 2: delay '45' is no duration with its unit"),
        ("sampled,delay,margin\n2024-03-05T03:00Z,2 h,1\n", "both `sampled` and `delay`"),
        ("time,sampled,margin\n2024-03-05T03:00Z,2024-03-05T04:00Z,1\n", "is after its result"),
        ("start,end\n2024-03-05T03:00Z,2024-03-05T02:00Z\n", "line 2: it ends before it starts"),
        ("start,end,event\n2024-03-05T03:00Z,,0\n", "needs its end"),
        ("time,alarm\n2024-03-05T03:00Z,maybe\n", "line 2: alarm 'maybe' is neither 1"),
        ("start,end\n", "holds no rows"),
    ],
)
def test_a_wrong_line_gets_one_message_that_says_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(LabelError, match="'foaming'") as caught:
        read(tmp_path, text)
    assert message in str(caught.value)


# ---- events


def test_an_event_is_one_label_where_it_began_and_between_two_it_was_safe(tmp_path: Path) -> None:
    labels = read(tmp_path, "start,end\n2024-03-05T02:00Z,2024-03-05T03:00Z\n2024-03-05T05:00Z,\n", apart=300)
    assert minutes(labels) == [(120.0, -1.0), (240.0, 1.0), (300.0, -1.0)]
    assert labels.drawn.tolist() == [False, True, False]


def test_times_said_to_be_safe_are_taken_at_their_middle_and_none_is_made_up(tmp_path: Path) -> None:
    text = (
        "start,end,event\n2024-03-05T02:00Z,2024-03-05T03:00Z,1\n2024-03-05T05:00Z,2024-03-05T05:10Z,1\n"
        "2024-03-05T08:00Z,2024-03-05T09:00Z,0\n"
    )
    labels = read(tmp_path, text)
    assert minutes(labels) == [(120.0, -1.0), (300.0, -1.0), (510.0, 1.0)]
    assert not labels.drawn.any()


def test_an_alarm_that_chatters_is_one_alarm(tmp_path: Path) -> None:
    """On at 10:00, off and on again within the minute for half an hour; then a new one three hours later."""
    lines = ["time,alarm"]
    for minute in range(600, 630):
        lines += [
            f"2024-03-05T{minute // 60:02}:{minute % 60:02}:{second:02}Z,{on}" for second, on in ((0, 1), (40, 0))
        ]
    lines += ["2024-03-05T13:00Z,ACTIVE", "2024-03-05T13:00:30Z,ACTIVE", "2024-03-05T13:05Z,RTN"]
    chattering = read(tmp_path, "\n".join(lines), apart=300)
    assert [margin for _, margin in minutes(chattering)] == [-1.0, 1.0, -1.0]
    assert minutes(chattering)[0][0] == 600.0
    assert minutes(chattering)[1][0] == pytest.approx((629 + 40 / 60 + 780) / 2)
    assert minutes(chattering)[2][0] == 780.0
    assert (read(tmp_path, "\n".join(lines), apart=0).margins < 0).sum() == 31


def test_an_alarm_that_only_goes_began_before_the_journal_and_one_that_stays_lasts(tmp_path: Path) -> None:
    text = "time,alarm\n2024-03-05T01:00Z,0\n2024-03-05T02:00Z,1\n2024-03-05T03:00Z,0\n2024-03-05T06:00Z,1\n"
    assert minutes(read(tmp_path, text, apart=60)) == [(120.0, -1.0), (270.0, 1.0), (360.0, -1.0)]


def test_an_event_within_another_does_not_end_it(tmp_path: Path) -> None:
    text = (
        "start,end\n2024-03-05T01:00Z,2024-03-05T05:00Z\n2024-03-05T02:00Z,2024-03-05T03:00Z\n"
        "2024-03-05T07:00Z,2024-03-05T08:00Z\n"
    )
    assert minutes(read(tmp_path, text, apart=60)) == [(60.0, -1.0), (360.0, 1.0), (420.0, -1.0)]


def test_what_was_drawn_between_two_campaigns_falls_out_and_what_was_written_there_is_an_error(tmp_path: Path) -> None:
    record = Dataset(
        columns=("A",),
        values=np.zeros((240, 1)),
        good_fraction=np.ones((240, 1), dtype=np.float32),
        start=DAY,
        step=60.0,
        stretches=(
            Stretch(name="one", start=0, stop=120, began=DAY),
            Stretch(name="two", start=120, stop=240, began=DAY + timedelta(hours=10)),
        ),
    )
    events = ["start,end", "2024-03-05T00:30Z,2024-03-05T00:40Z", "2024-03-05T01:30Z,2024-03-05T01:40Z"]
    labels = within(read(tmp_path, "\n".join([*events, "2024-03-05T11:00Z,"])), record)
    assert minutes(labels) == [(30.0, -1.0), (65.0, 1.0), (90.0, -1.0), (660.0, -1.0)]
    assert match_rows(labels, record, constraint="c").tolist() == [29, 64, 89, 179]
    outside = within(read(tmp_path, "\n".join([*events, "2024-03-05T04:00Z,", "2024-03-05T05:00Z,"])), record)
    with pytest.raises(LabelError, match=r"lies outside the record.*Take 1 line out"):
        match_rows(outside, record, constraint="c")
    two = read(tmp_path, "time,margin\n2024-03-05T01:00Z,1\n2024-03-05T04:00Z,1\n2024-03-05T05:00Z,1\n")
    with pytest.raises(LabelError, match=r"2 of 3 labels in .*, the first of 2024-03-05T04:00:00.*Take 2 lines out"):
        match_rows(within(two, record), record, constraint="c")


# ---- stamps


def test_local_stamps_are_read_in_the_plants_zone_on_both_sides_of_the_clock_change(tmp_path: Path) -> None:
    text = "time,margin\n2024-03-31 01:30,1\n2024-03-31 03:30,2\n2024-03-31T04:00+00:00,3\n"
    labels = read(tmp_path, text, timezone="Europe/Zurich")
    assert [time.strftime("%H:%M") for time in labels.times] == ["00:30", "01:30", "04:00"]


@pytest.mark.parametrize(
    ("stamp", "words"),
    [("2024-03-31 02:30", "does not exist in Europe/Zurich"), ("2024-10-27 02:30", "comes twice in Europe/Zurich")],
)
def test_a_local_stamp_that_the_clock_change_leaves_open_is_refused(tmp_path: Path, stamp: str, words: str) -> None:
    with pytest.raises(LabelError, match=f"line 2: time '{stamp}' {words}.*Add its offset"):
        read(tmp_path, f"time,margin\n{stamp},1\n", timezone="Europe/Zurich")
    assert len(read(tmp_path, f"time,margin\n{stamp}+01:00,1\n", timezone="Europe/Zurich")) == 1


# ---- Parquet


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_parquet_says_the_same_as_csv(tmp_path: Path, unit: str) -> None:
    times = [datetime(2024, 3, 31, 1, 30), datetime(2024, 3, 31, 0, 30)]
    table = pa.table({"time": pa.array(times, pa.timestamp(unit, tz="Europe/Zurich")), "margin": [2.0, -1.0]})
    pq.write_table(table, tmp_path / "labels.parquet")
    labels = read_labels(tmp_path / "labels.parquet", constraint="foaming")
    same = read(tmp_path, "time,margin\n2024-03-31T03:30+02:00,2\n2024-03-31T01:30+01:00,-1\n")
    assert labels.times == same.times
    assert labels.margins.tolist() == same.margins.tolist() == [-1.0, 2.0]


def test_parquet_holds_events_and_local_stamps_too(tmp_path: Path) -> None:
    stamps = pa.array([datetime(2024, 3, 5, 2), datetime(2024, 3, 5, 6)], pa.timestamp("us"))
    pq.write_table(pa.table({"start": stamps, "end": pa.array([datetime(2024, 3, 5, 4), None], stamps.type)}),
                   tmp_path / "labels.parquet")  # fmt: skip
    found = read_labels(tmp_path / "labels.parquet", constraint="foaming", timezone="Europe/Zurich")
    assert minutes(found) == [(60.0, -1.0), (240.0, 1.0), (300.0, -1.0)]
    with pytest.raises(LabelError, match="row 1: start '2024-03-05 02:00:00' has no zone"):
        read_labels(tmp_path / "labels.parquet", constraint="foaming")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"time": ["2024-03-05T01:00Z"], "value": [1.0]}, "has the columns time, value and lacks margin"),
        ({"time": ["2024-03-05T01:00Z"], "margin": pa.array([None], pa.float64())}, "row 1: margin '' is not a number"),
    ],
)
def test_a_wrong_parquet_file_gets_one_message(tmp_path: Path, columns: dict[str, object], message: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "labels.parquet")
    with pytest.raises(LabelError, match=message):
        read_labels(tmp_path / "labels.parquet", constraint="foaming")
    (tmp_path / "labels.parquet").write_text("time,margin\n", encoding="utf-8")
    with pytest.raises(LabelError, match="is no Parquet file"):
        read_labels(tmp_path / "labels.parquet", constraint="foaming")
    with pytest.raises(LabelError, match="No such file"):
        read_labels(tmp_path / "none.parquet", constraint="foaming")
