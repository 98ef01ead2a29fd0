"""Windows cut in batches are the rows they stand for."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.window import Columns, Scaler
from procmodel.data.windows import Windows
from procmodel.errors import DatasetError
from procmodel.plant import Plant

COLUMNS = Columns(mv=(0, 1), cv=(2, 3), dv=(4,), count=5)
SCALER = Scaler(centre=np.array([1.0, 2, 3, 4, 5]), spread=np.array([1.0, 2, 4, 8, 16]))


def rows_with_gaps(count: int, seed: int = 0, gaps: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 5)) * 10
    rows[rng.random((count, 5)) < gaps] = np.nan
    return rows


@given(st.integers(1, 30), st.lists(st.integers(0, 70), min_size=1, max_size=20))
def test_a_batch_holds_the_scaled_rows_from_each_start(length: int, starts: list[int]) -> None:
    rows = rows_with_gaps(100)
    windows = Windows(rows, SCALER, COLUMNS, dtype=torch.float64)
    batch = windows.batch(torch.tensor(starts), length)
    expected = SCALER.window(np.stack([rows[s : s + length] for s in starts]))
    assert torch.equal(batch.values, expected.values)
    assert torch.equal(batch.mask, expected.mask)
    assert batch.values.shape == (len(starts), length, 5)


def test_the_last_window_ends_with_the_last_row() -> None:
    windows = Windows(rows_with_gaps(50, gaps=0), SCALER, COLUMNS)
    starts = windows.starts([Stretch(name="record", start=0, stop=50)], 20)
    assert starts.tolist() == list(range(31))
    last = windows.batch(starts[-1:], 20).values[0]
    assert torch.equal(last, windows.values[30:])


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(1, 20))
def test_no_window_crosses_the_border_of_a_stretch(lengths: list[int], length: int) -> None:
    edges = [0, *itertools.accumulate(lengths)]
    stretches = [Stretch(name=str(i), start=a, stop=b) for i, (a, b) in enumerate(itertools.pairwise(edges))]
    windows = Windows(rows_with_gaps(edges[-1], gaps=0), SCALER, COLUMNS)
    allowed = [s for s in range(edges[-1]) for a, b in itertools.pairwise(edges) if a <= s and s + length <= b]
    if allowed:
        assert windows.starts(stretches, length).tolist() == allowed
    else:
        with pytest.raises(DatasetError, match=f"No window of {length} rows"):
            windows.starts(stretches, length)


@pytest.mark.parametrize("min_good", [0.0, 0.5, 0.8, 1.0])
def test_only_gaps_of_mvs_and_cvs_rule_a_window_out(min_good: float) -> None:
    rows = rows_with_gaps(400, seed=2, gaps=0.2)
    rows[:, 4] = np.nan  # the disturbance alone is missing throughout
    rows[300:] = 1.0
    windows = Windows(rows, SCALER, COLUMNS)
    good = np.isfinite(rows[:, :4])
    expected = [s for s in range(396) if good[s : s + 5].mean() >= min_good]
    assert windows.starts([Stretch(name="r", start=0, stop=400)], 5, min_good).tolist() == expected


def test_what_stands_in_a_gap_is_finite_and_masked() -> None:
    windows = Windows(rows_with_gaps(100, gaps=0.5), SCALER, COLUMNS)
    assert torch.isfinite(windows.values).all()
    assert set(windows.mask.unique().tolist()) == {0.0, 1.0}
    assert (windows.values[windows.mask == 0] == 0).all()
    assert windows.values.dtype == torch.float32


def test_the_sampler_shows_every_start_once_before_any_twice() -> None:
    windows = Windows(rows_with_gaps(100, gaps=0), SCALER, COLUMNS)
    starts = windows.starts([Stretch(name="r", start=10, stop=100)], 11)
    batches = list(itertools.islice(windows.sampler(starts, np.random.default_rng(5), 32), 5))
    drawn = torch.cat(batches).tolist()
    assert len(drawn) == 160
    assert sorted(drawn[:80]) == starts.tolist()
    assert sorted(drawn[80:]) == starts.tolist()
    again = list(itertools.islice(windows.sampler(starts, np.random.default_rng(5), 32), 5))
    assert all(torch.equal(a, b) for a, b in zip(batches, again, strict=True))
    other = next(windows.sampler(starts, np.random.default_rng(6), 32))
    assert not torch.equal(batches[0], other)


def test_a_batch_larger_than_the_starts_is_still_full() -> None:
    windows = Windows(rows_with_gaps(30, gaps=0), SCALER, COLUMNS)
    starts = windows.starts([Stretch(name="r", start=0, stop=12)], 10)
    assert len(next(windows.sampler(starts, np.random.default_rng(0), 64))) == 64


def test_windows_of_a_dataset_are_those_of_its_values(small_plant: Plant) -> None:
    rows = rows_with_gaps(40)
    dataset = Dataset(
        columns=tuple(small_plant.columns),
        values=rows,
        good_fraction=np.isfinite(rows).astype(np.float32),
        start=datetime(2026, 3, 1, tzinfo=UTC),
        step=10.0,
        stretches=(Stretch(name="record", start=0, stop=40),),
    )
    scaler = Scaler.fit(rows)
    windows = Windows.of(dataset, scaler, Columns.of(small_plant))
    back = scaler.unscale(windows.values.double().numpy())
    mask = windows.mask.numpy() > 0
    np.testing.assert_array_equal(mask, np.isfinite(rows))
    np.testing.assert_allclose(back[mask], rows[mask], rtol=1e-5, atol=1e-5)
