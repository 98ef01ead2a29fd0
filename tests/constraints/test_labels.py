"""Labels: what the laboratory wrote, matched to grid rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from procmodel.constraints import Labels, label_blocks, match_rows, read_labels
from procmodel.data.dataset import Dataset, Stretch
from procmodel.errors import LabelError

START = datetime(2024, 3, 31, 0, 0, tzinfo=UTC)


def dataset(*stretches: tuple[int, int], rows: int = 100, step: float = 10.0) -> Dataset:
    return Dataset(
        columns=("A",),
        values=np.zeros((rows, 1)),
        good_fraction=np.ones((rows, 1), dtype=np.float32),
        start=START,
        step=step,
        stretches=tuple(Stretch(name=str(a), start=a, stop=b) for a, b in stretches or [(0, rows)]),
    )


def labels_at(*seconds: float) -> Labels:
    times = tuple(START + timedelta(seconds=s) for s in seconds)
    return Labels(times=times, margins=np.zeros(len(times)), source="lab.csv")


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    file = path / "lab.csv"
    file.write_bytes(text.encode(encoding))
    return file


def test_stamps_with_different_offsets_come_in_order_of_time(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "time,margin,note\n2024-03-31T03:30:00+02:00,2.5,after the clock change\n"
        "2024-03-31T01:30:00+01:00,-1,before it\n2024-03-31T02:00:00Z,0,\n",
    )
    labels = read_labels(file, constraint="foaming")
    assert [t.hour * 60 + t.minute for t in labels.times] == [30, 90, 120]
    assert labels.margins.tolist() == [-1.0, 2.5, 0.0]


def test_a_byte_order_mark_and_spaces_in_the_header_are_read_through(tmp_path: Path) -> None:
    file = write(tmp_path, "time, margin\r\n2024-03-31T00:00:10Z, 1.5\r\n", encoding="utf-8-sig")
    assert read_labels(file, constraint="foaming").margins.tolist() == [1.5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lacks time and margin"),
        ("time,value\n2024-03-31T00:00:10Z,1\n", "has the columns time, value and lacks margin"),
        ("time;margin\n2024-03-31T00:00:10Z;1\n", "with commas between"),
        ("time,margin\n", "holds no rows"),
        ("time,margin\n2024-03-31T00:00:10,1\n", "line 2: time '2024-03-31T00:00:10' has no zone"),
        ("time,margin\n2024-03-31T00:00:10Z,1\n31.03.2024,1\n", "line 3: time '31.03.2024' is not an ISO 8601"),
        ("time,margin\n2024-03-31T00:00:10Z,high\n", "line 2: margin 'high' is not a number"),
        ("time,margin\n2024-03-31T00:00:10Z,nan\n", "margin 'nan' is not a number"),
        ("time,margin\n2024-03-31T00:00:10Z\n", "margin '' is not a number"),
    ],
)
def test_a_wrong_file_gets_one_message_that_says_where(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(LabelError, match="'foaming'") as caught:
        read_labels(file, constraint="foaming")
    assert message in str(caught.value)


def test_a_missing_file_and_a_binary_one_are_label_errors(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"No such file.*Correct `labels`"):
        read_labels(tmp_path / "none.csv", constraint="foaming")
    (tmp_path / "lab.csv").write_bytes(b"\xff\xfe\x00t")
    with pytest.raises(LabelError, match="not UTF-8"):
        read_labels(tmp_path / "lab.csv", constraint="foaming")


@pytest.mark.parametrize(("seconds", "row"), [(0.1, 0), (9.9, 0), (10.0, 0), (10.1, 1), (20.0, 1), (1000.0, 99)])
def test_a_label_belongs_to_the_row_that_contains_it_or_ends_at_it(seconds: float, row: int) -> None:
    assert match_rows(labels_at(seconds), dataset(), constraint="c").tolist() == [row]


def test_a_stamp_on_the_edge_stays_there_on_a_grid_of_tenths() -> None:
    seconds = [0.1 * k for k in range(1, 101)]
    rows = match_rows(labels_at(*seconds), dataset(step=0.1), constraint="c")
    assert rows.tolist() == list(range(100))


@pytest.mark.parametrize("seconds", [-5.0, 0.0, 1000.1, 350.0])
def test_a_label_outside_the_record_or_between_its_stretches_is_named(seconds: float) -> None:
    with pytest.raises(LabelError, match=r"'c'.*lab.csv lies outside the record \(2024-03-31T00:00:00.*2 stretches"):
        match_rows(labels_at(seconds), dataset((0, 30), (40, 100)), constraint="c")


def test_a_label_in_a_later_campaign_is_counted_from_where_that_campaign_began() -> None:
    campaigns = replace(
        dataset(),
        stretches=(
            Stretch(name="spring", start=0, stop=40, began=START),
            Stretch(name="autumn", start=40, stop=100, began=START + timedelta(days=180)),
        ),
    )
    autumn = timedelta(days=180).total_seconds()
    rows_N = match_rows(labels_at(5.0, autumn + 5.0, autumn + 600.0), campaigns, constraint="c")
    assert rows_N.tolist() == [0, 40, 99]
    for between in (400.1, 500.0, autumn, autumn + 600.1):  # 500 s would be row 49, were the campaigns one record
        with pytest.raises(LabelError, match="lies outside the record"):
            match_rows(labels_at(between), campaigns, constraint="c")


def test_labels_close_in_time_go_together_unless_a_new_campaign_begins() -> None:
    rows_N = np.array([3, 5, 20, 29, 30, 31, 60])
    blocks = label_blocks(rows_N, dataset((0, 30), (30, 100)), gap=10)
    assert blocks.near_N.tolist() == [0, 0, 1, 1, 2, 2, 3]
    assert blocks.campaign_N.tolist() == [0, 0, 0, 0, 1, 1, 1]
