"""Parts never share what a window could see, and say so when they would be too short."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.split import Parts, split
from procmodel.errors import DatasetError
from procmodel.plant import Plant

T0 = datetime(2026, 3, 1, tzinfo=UTC)


def plant_with(**rule: Any) -> Plant:
    tags = {"U": {"role": "MV", "unit": "V"}, "Y": {"role": "CV", "unit": "W"}}
    return Plant.model_validate({"name": "p", "sample_time": 1, "tags": tags, "split": rule})


def dataset_of(lengths: dict[str, int], apart: int = 86_400) -> Dataset:
    """Campaigns of so many rows of 1 s, each `apart` seconds after the end of the one before."""
    stretches, row, began = [], 0, T0
    for name, length in lengths.items():
        stretches.append(Stretch(name=name, start=row, stop=row + length, began=began))
        row, began = row + length, began + timedelta(seconds=length + apart)
    return Dataset(
        columns=("U", "Y"),
        values=np.zeros((row, 2)),
        good_fraction=np.ones((row, 2), dtype=np.float32),
        start=T0,
        step=1.0,
        stretches=tuple(stretches),
    )


def ranges(part: tuple[Stretch, ...]) -> list[tuple[str, int, int]]:
    return [(s.name, s.start, s.stop) for s in part]


def test_shares_are_cut_from_the_end_with_a_gap_before_each() -> None:
    parts = split(dataset_of({"record": 1000}), plant_with(test=0.2, validation=0.25), gap_rows=40)
    assert ranges(parts.test) == [("record", 800, 1000)]
    assert ranges(parts.validation) == [("record", 570, 760)]  # a quarter of the 760 rows left
    assert ranges(parts.train) == [("record", 0, 530)]
    assert parts.test[0].began == T0 + timedelta(seconds=800)


def test_each_campaign_gives_a_share_of_its_end_and_a_short_one_stays_whole() -> None:
    parts = split(dataset_of({"a": 400, "b": 90, "c": 600}), plant_with(test=0.25, validation=0.3), gap_rows=50)
    assert ranges(parts.test) == [("a", 300, 400), ("c", 940, 1090)]
    assert ("b", 400, 490) in ranges(parts.train)


def test_named_campaigns_are_the_test() -> None:
    dataset = dataset_of({"ex_1": 300, "ex_4": 200, "ex_9": 300})
    parts = split(dataset, plant_with(test=["ex_4"], validation=0.3), gap_rows=30)
    assert ranges(parts.test) == [("ex_4", 300, 500)]
    assert ranges(parts.train) == [("ex_1", 0, 180), ("ex_9", 500, 680)]
    assert ranges(parts.validation) == [("ex_1", 210, 300), ("ex_9", 710, 800)]


def test_campaigns_that_touch_in_time_are_kept_a_gap_apart() -> None:
    dataset = dataset_of({"a": 300, "b": 200, "c": 300}, apart=0)
    parts = split(dataset, plant_with(test=["b"], validation=0.3), gap_rows=30)
    assert ranges(parts.test) == [("b", 300, 500)]  # the test is never shortened
    assert ranges(parts.validation) == [("a", 210, 270), ("c", 710, 800)]
    assert ranges(parts.train) == [("a", 0, 180), ("c", 530, 680)]


def test_many_short_campaigns_are_given_whole() -> None:
    dataset = dataset_of({f"batch {i}": 60 for i in range(20)})
    parts = split(dataset, plant_with(test=0.1, validation=0.2), gap_rows=50)
    assert [s.name for s in parts.test] == ["batch 18", "batch 19"]
    assert [s.name for s in parts.validation] == [f"batch {i}" for i in range(14, 18)]
    assert len(parts.train) == 14


def test_without_a_test_share_there_is_no_test_part() -> None:
    assert split(dataset_of({"record": 1000}), plant_with(test=0, validation=0.2), gap_rows=40).test == ()


def test_an_unknown_campaign_is_named_with_the_known_ones() -> None:
    with pytest.raises(DatasetError, match=r"'ex_7', which the dataset does not have; known: ex_1, ex_4"):
        split(dataset_of({"ex_1": 300, "ex_4": 200}), plant_with(test=["ex_7"]), gap_rows=30)


@pytest.mark.parametrize(
    ("rows", "rule", "message"),
    [
        (100, {"test": 0.2}, r"validation part would have 0 rows in one piece; 40 are needed.*40 s\)"),
        (130, {"test": 0.35, "validation": 0.3}, r"validation part would have 0 rows"),
    ],
)
def test_a_part_too_short_for_one_window_is_an_error_with_the_figures(
    rows: int, rule: dict[str, Any], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        split(dataset_of({"record": rows}), plant_with(**rule), gap_rows=40)


@given(
    st.lists(st.integers(1, 900), min_size=1, max_size=6),
    st.sampled_from([0, 5, 100_000]),
    st.sampled_from([0.0, 0.15, 0.4]),
    st.sampled_from([0.1, 0.3, 0.45]),
    st.integers(1, 80),
)
def test_no_two_parts_come_nearer_than_the_gap(
    lengths: list[int], apart: int, test: float, validation: float, gap: int
) -> None:
    dataset = dataset_of({f"c{i}": n for i, n in enumerate(lengths)}, apart)
    try:
        parts: Parts = split(dataset, plant_with(test=test, validation=validation), gap)
    except DatasetError:
        event("refused")
        return
    times = (dataset.times() - dataset.times()[0]).astype("timedelta64[s]").astype(int)
    pieces = sorted(
        (int(times[s.start]), int(times[s.stop - 1]), use)
        for use, part in enumerate((parts.train, parts.validation, parts.test))
        for s in part
    )
    for (_, last, use), (first, _, other) in itertools.pairwise(pieces):
        assert first > last
        if use != other:
            assert first - last - 1 >= gap
    borders = {(s.start, s.stop) for s in dataset.stretches}
    for s in (*parts.train, *parts.validation, *parts.test):
        assert any(a <= s.start < s.stop <= b for a, b in borders)
