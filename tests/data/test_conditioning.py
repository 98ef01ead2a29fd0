"""Time-weighted averages against brute force and closed forms."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procmodel.data.conditioning import Accumulator, Cells
from procmodel.data.intervals import quantile
from procmodel.data.rules import Rule
from procmodel.data.tag_loops import NEAR
from procmodel.errors import DatasetError, HistorianError
from procmodel.plant import Summary

SECOND = 1_000_000
Sample = tuple[float, float, bool]  # time [s], value, good


def averaged(
    samples: Sequence[Sample],
    *,
    step_s: float,
    rule: Rule,
    start: float | None = None,
    end: float | None = None,
    cuts: Sequence[int] = (),
) -> Cells:
    """Cells of one tag, its samples handed over in batches cut at `cuts`."""
    us = lambda t: None if t is None else round(t * SECOND)  # noqa: E731
    accumulator = Accumulator(["TAG"], [rule], round(step_s * SECOND), us(start), us(end))
    times = np.array([round(t * SECOND) for t, _, _ in samples], dtype=np.int64)
    values = np.array([v for _, v, _ in samples], dtype=np.float64)
    good = np.array([g for _, _, g in samples], dtype=np.bool_)
    edges = [0, *sorted(cuts), len(samples)]
    for a, b in itertools.pairwise(edges):
        accumulator.add(np.zeros(b - a, dtype=np.int64), times[a:b], values[a:b], good[a:b])
    return accumulator.finish(accumulator.bridged(accumulator.intervals_CB))


LINEAR, STEP = Rule(step=False, max_gap=1e6), Rule(step=True)

NAN = float("nan")
# Historian 2 of OPC UA Part 13, Annex A.1; what it makes of averages is in test_part_13.py.
IRREGULAR = [
    (0, 0, False), (2, 10, True), (25, 20, True), (28, 25, True), (39, 30, True), (42, 0, False), (48, 40, True),
    (52, 50, True), (72, 60, True), (77, 70, False), (83, 70, True), (86, 80, True), (90, 90, True),
]  # fmt: skip


def test_the_good_fraction_is_the_time_from_good_samples() -> None:
    cells = averaged(IRREGULAR, step_s=5, rule=LINEAR, start=0, end=100)
    # 2 s missing at first; bad from 42 to 48 and from 77 to 83; nothing after 90.
    expected = [0.6, *[1.0] * 7, 0.4, 0.4, *[1.0] * 5, 0.4, 0.4, 1.0, 0.0, 0.0]
    np.testing.assert_allclose(cells.good_fraction[:, 0], expected, atol=1e-7)


def test_a_mean_of_samples_counts_each_sample_in_its_own_cell_and_draws_the_line_where_there_is_none() -> None:
    samples = [(0, 1, True), (2, 3, True), (4, 5, True), (6, 9, True), (21, 24, True), (24, 30, False), (26, 7, True),
               (29, 8, True)]  # fmt: skip
    cells = averaged(
        samples, step_s=5, rule=Rule(step=False, max_gap=1e6, summary=Summary.SAMPLE_MEAN), start=0, end=30
    )
    # From 6 s to 21 s the line rises by 1 a second; the bad sample counts nowhere.
    np.testing.assert_allclose(cells.values[:, 0], [(1 + 3 + 5) / 3, 9, 15.5, 20.5, 24, (7 + 8) / 2])
    np.testing.assert_allclose(cells.good_fraction[:, 0], [1, 1, 1, 1, 0.8, 0.6], atol=1e-7)


@st.composite
def records(draw: st.DrawFn, min_size: int = 2) -> list[Sample]:
    """Irregular samples on a 1 ms raster, some bad, some sharing a time stamp."""
    intervals = draw(st.lists(st.integers(0, 9000), min_size=min_size, max_size=40))
    times = np.cumsum(intervals) / 1000
    values = st.floats(-100, 100, allow_nan=False, width=32)
    return [(float(t), draw(values), draw(st.integers(0, 5)) > 0) for t in times]


def brute_force(samples: list[Sample], rows: int, step_s: int, *, step_tag: bool) -> tuple[np.ndarray, np.ndarray]:
    """The same by looking at every millisecond: at its middle the line is its own mean."""
    ticks = (np.arange(rows * step_s * 1000) + 0.5) / 1000
    value = np.full(len(ticks), np.nan)
    for (t0, v0, good), (t1, v1, next_good) in itertools.pairwise(samples):
        inside = (ticks > t0) & (ticks < t1)
        if good:
            slope = (v1 - v0) / (t1 - t0) if next_good and not step_tag and t1 > t0 else 0.0
            value[inside] = v0 + slope * (ticks[inside] - t0)
    if step_tag and samples[-1][2]:
        value[ticks > samples[-1][0]] = samples[-1][1]
    cells = value.reshape(rows, step_s * 1000)
    good_cells = np.isfinite(cells)
    total = np.where(good_cells, cells, 0).sum(axis=1)
    count = good_cells.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), count / (step_s * 1000)


@given(records(), st.booleans())
def test_averages_agree_with_brute_force_over_every_millisecond(samples: list[Sample], step_tag: bool) -> None:
    rows = int(samples[-1][0] // 2) + 2
    rule = STEP if step_tag else LINEAR
    cells = averaged(samples, step_s=2, rule=rule, start=0, end=2 * rows)
    mean, fraction = brute_force(samples, rows, 2, step_tag=step_tag)
    np.testing.assert_allclose(cells.good_fraction[:, 0], fraction, atol=1e-6)
    np.testing.assert_allclose(cells.values[:, 0], mean, atol=1e-9 * 100, rtol=1e-9)


@given(records(), st.booleans(), st.lists(st.integers(0, 40), max_size=6), st.booleans())
def test_averages_do_not_depend_on_where_the_batches_are_cut(
    samples: list[Sample], step_tag: bool, cuts: list[int], open_range: bool
) -> None:
    rule = Rule(step=step_tag)
    bounds = {} if open_range else {"start": 0.0, "end": 200.0}
    whole = averaged(samples, step_s=0.5, rule=rule, **bounds)  # fine enough that automatic gaps matter
    cut = averaged(samples, step_s=0.5, rule=rule, cuts=[min(c, len(samples)) for c in cuts], **bounds)
    assert cut.first_row == whole.first_row
    np.testing.assert_array_equal(cut.values, whole.values)
    np.testing.assert_array_equal(cut.good_fraction, whole.good_fraction)


@given(records(), st.integers(0, 100), st.floats(0.01, 0.99))
def test_a_sample_put_on_the_straight_line_changes_nothing(samples: list[Sample], at: int, share: float) -> None:
    good = [(t, v, True) for t, v, _ in samples]
    i = at % (len(good) - 1)
    (t0, v0, _), (t1, v1, _) = good[i], good[i + 1]
    t = round(t0 + share * (t1 - t0), 6)
    on_line = v0 + (v1 - v0) * (t - t0) / (t1 - t0) if t1 > t0 else v1
    more = [*good[: i + 1], (t, on_line, True), *good[i + 1 :]]
    before = averaged(good, step_s=2, rule=LINEAR, start=0, end=400)
    after = averaged(more, step_s=2, rule=LINEAR, start=0, end=400)
    np.testing.assert_allclose(after.values, before.values, atol=1e-9)
    np.testing.assert_array_equal(after.good_fraction, before.good_fraction)


@given(records(min_size=3), st.integers(0, 100), st.booleans())
def test_every_bad_sample_opens_a_gap_until_the_next_good_one(samples: list[Sample], at: int, step_tag: bool) -> None:
    i = 1 + at % (len(samples) - 2)
    (t, v, _), (t1, _, _) = samples[i], samples[i + 1]
    rule = STEP if step_tag else LINEAR
    spoiled = [*samples[:i], (t, v, False), *samples[i + 1 :]]
    cells = averaged(spoiled, step_s=0.001, rule=rule, start=0, end=samples[-1][0] + 1)
    gap = slice(round(t * 1000), round(t1 * 1000))
    assert np.isnan(cells.values[gap]).all()
    assert (cells.good_fraction[gap] == 0).all()


@given(st.floats(-1e9, 1e9, allow_nan=False), records(), st.booleans())
def test_a_constant_comes_out_as_the_same_constant(value: float, samples: list[Sample], step_tag: bool) -> None:
    held = [(t, value, good) for t, _, good in samples]
    cells = averaged(held, step_s=2, rule=STEP if step_tag else LINEAR, start=0, end=400)
    assert set(cells.values[~np.isnan(cells.values)]) <= {value}


@given(records(), st.booleans(), st.sampled_from([0.5, 2.0, 7.0]))
def test_the_integral_is_preserved(samples: list[Sample], step_tag: bool, step_s: float) -> None:
    cells = averaged(samples, step_s=step_s, rule=STEP if step_tag else LINEAR, start=0, end=420)
    got = np.nansum(cells.values[:, 0] * cells.good_fraction[:, 0].astype(np.float64)) * step_s
    exact = 0.0
    ends = [*samples[1:], (420.0, 0.0, False)]
    for (t0, v0, good), (t1, v1, next_good) in zip(samples, ends, strict=True):
        if good and (step_tag or t1 < 420):
            exact += (t1 - t0) * (0.5 * (v0 + v1) if next_good and not step_tag else v0)
    assert got == pytest.approx(exact, abs=2e-3)  # good_fraction is float32


def test_the_sample_before_the_start_says_what_held_at_the_start() -> None:
    held = averaged([(-500, 7.0, True), (25, 9.0, True)], step_s=10, rule=STEP, start=0, end=40)
    np.testing.assert_allclose(held.values[:, 0], [7, 7, 8, 9])
    line = averaged([(-10, 0.0, True), (10, 20.0, True)], step_s=5, rule=LINEAR, start=0, end=10)
    np.testing.assert_allclose(line.values[:, 0], [12.5, 17.5])


def test_a_linear_tag_ends_with_its_last_sample_and_a_step_tag_holds() -> None:
    samples = [(0, 1.0, True), (10, 3.0, True)]
    line = averaged(samples, step_s=5, rule=LINEAR, start=0, end=20)
    held = averaged(samples, step_s=5, rule=STEP, start=0, end=20)
    np.testing.assert_array_equal(line.values[:, 0], [1.5, 2.5, NAN, NAN])
    np.testing.assert_array_equal(held.values[:, 0], [1, 1, 3, 3])


@pytest.mark.parametrize("step_tag", [False, True])
def test_an_interval_longer_than_the_largest_gap_is_not_bridged(step_tag: bool) -> None:
    samples = [(0, 1.0, True), (10, 1.0, True), (31, 1.0, True), (41, 1.0, False), (70, 1.0, True), (80, 1.0, True)]
    cells = averaged(samples, step_s=10, rule=Rule(step=step_tag, max_gap=20), start=0, end=80)
    np.testing.assert_allclose(cells.good_fraction[:, 0], [1, 0, 0, 0.9, 0.1, 0, 0, 1], atol=1e-7)


def test_an_outage_stays_a_gap_when_the_tag_names_no_largest_gap() -> None:
    # 2 s apart, then an hour of nothing: no ramp may be invented between.
    times = [*range(0, 1000, 2), *range(4600, 5600, 2)]
    samples = [(float(t), float(t), True) for t in times]
    cells = averaged(samples, step_s=5, rule=Rule(step=False), start=0, end=5600)
    assert np.isnan(cells.values[200:919]).all()
    assert np.isfinite(cells.values[:199]).all()
    assert np.isfinite(cells.values[920:1119]).all()


def test_the_only_outage_of_a_short_record_is_not_taken_for_usual() -> None:
    times = [*range(0, 60, 2), *range(3660, 3720, 2)]
    cells = averaged([(float(t), 1.0, True) for t in times], step_s=5, rule=Rule(step=False))
    assert np.isnan(cells.values[12:732]).all()


def test_a_compressed_signal_stays_whole_when_the_tag_names_no_largest_gap() -> None:
    # Nine quick samples, then ten minutes of quiet, again and again: the quiet is part of the record.
    times = np.cumsum(np.tile([*[5.0] * 9, 600.0], 50))
    cells = averaged([(float(t), 1.0, True) for t in times], step_s=5, rule=Rule(step=False))
    assert (cells.good_fraction[1:-1] == 1).all()


def test_an_open_range_grows_to_what_the_samples_cover() -> None:
    accumulator = Accumulator(["A", "B"], [LINEAR, LINEAR], 10 * SECOND)
    for code, (first, last) in ((0, (1000, 2000)), (1, (500, 4000))):  # the second begins earlier and ends later
        times = np.arange(first, last + 1, 50, dtype=np.int64) * SECOND
        accumulator.add(np.full(len(times), code), times, np.ones(len(times)), np.ones(len(times), dtype=np.bool_))
    cells = accumulator.finish(accumulator.bridged(accumulator.intervals_CB))
    assert (cells.first_row, len(cells.values)) == (50, 351)
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(cells.values[:, 0])) + 50, np.arange(100, 200))
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(cells.values[:, 1])) + 50, np.arange(50, 400))


def test_mixed_tags_in_one_batch_are_kept_apart() -> None:
    accumulator = Accumulator(["A", "B"], [STEP, STEP], 10 * SECOND, 0, 40 * SECOND)
    times = np.array([0, 0, 15, 20], dtype=np.int64) * SECOND
    accumulator.add(np.array([0, 1, 0, -1]), times, np.array([1.0, 5.0, 3.0, 99.0]), np.ones(4, dtype=np.bool_))
    cells = accumulator.finish(accumulator.bridged(accumulator.intervals_CB))
    np.testing.assert_allclose(cells.values, [[1, 5], [2, 5], [3, 5], [3, 5]])


@given(st.lists(st.tuples(records(), st.booleans()), min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_tags_mixed_at_will_come_out_as_each_on_its_own(tags: list[tuple[list[Sample], bool]], rng: Random) -> None:
    alone = [
        averaged(samples, step_s=5, rule=Rule(step=step), start=0, end=200, cuts=()).values[:, 0]
        for samples, step in tags
    ]
    rules = [Rule(step=step) for _, step in tags]
    together = Accumulator([str(c) for c in range(len(tags))], rules, 5 * SECOND, 0, 200 * SECOND)
    order = [c for c, (samples, _) in enumerate(tags) for _ in samples] + [-1] * 5  # and another plant's
    rng.shuffle(order)
    left = [iter(samples) for samples, _ in tags]
    rows = [next(left[c]) if c >= 0 else (0.0, 7.0, True) for c in order]
    times, values, good = (np.array(column) for column in zip(*rows, strict=True))
    cut = rng.randrange(len(order))
    for at in (slice(0, cut), slice(cut, None)):
        stamps = np.round(times[at] * SECOND).astype(np.int64)
        together.add(np.array(order[at], dtype=np.int64), stamps, values[at], good[at])
    found = together.finish(together.bridged(together.intervals_CB)).values
    np.testing.assert_array_equal(found, np.stack(alone, axis=1))


def test_a_batch_that_is_longer_than_what_is_laid_out_at_once_is_as_its_parts() -> None:
    count = 2 * NEAR + 1_000
    rng = np.random.default_rng(5)
    codes, times = rng.integers(-1, 3, count), np.cumsum(rng.integers(0, SECOND, count))
    values, good = rng.normal(size=count), rng.random(count) < 0.95
    rules = [Rule(step=False), Rule(step=True), Rule(step=False, summary=Summary.MAXIMUM)]
    found = []
    for size in (count, 777):
        accumulator = Accumulator(["A", "B", "C"], rules, 10 * SECOND)
        for at in (slice(i, i + size) for i in range(0, count, size)):
            accumulator.add(codes[at], times[at], values[at], good[at])
        found.append(accumulator.finish(accumulator.bridged(accumulator.intervals_CB)))
    np.testing.assert_array_equal(found[0].values, found[1].values)
    np.testing.assert_array_equal(found[0].good_fraction, found[1].good_fraction)


def test_a_sample_that_runs_backwards_is_named_however_late_in_a_batch_it_stands() -> None:
    times = np.arange(2 * NEAR, dtype=np.int64)
    times[-1] = 3
    accumulator = Accumulator(["TAG"], [LINEAR], SECOND)
    with pytest.raises(HistorianError, match=r"00\.000003 UTC follows a later one"):
        accumulator.add(np.zeros(len(times), dtype=np.int64), times, times * 1.0, np.ones(len(times), dtype=np.bool_))


def test_samples_that_run_backwards_are_refused() -> None:
    with pytest.raises(HistorianError, match=r"'TAG'.*follows a later one.*sort them"):
        averaged([(10, 1.0, True), (5, 1.0, True)], step_s=1, rule=LINEAR, start=0, end=20)


def test_a_stray_time_stamp_is_named_before_memory_runs_out() -> None:
    with pytest.raises(DatasetError, match=r"1970-01-01.*2096.*stray time stamp"):
        averaged([(0, 1.0, True), (4e9, 1.0, True)], step_s=1, rule=LINEAR)


def test_quantiles_of_intervals_are_right_within_a_bin() -> None:
    intervals = np.zeros(64 * 32, dtype=np.int64)
    for seconds, count in ((1, 900), (30, 99), (3600, 1)):
        octave = int(np.log2(seconds * SECOND))
        intervals[32 * octave + int(32 * (seconds * SECOND / 2**octave - 1))] += count
    assert quantile(intervals, 0.5) == pytest.approx(1 * SECOND, rel=0.03)
    assert quantile(intervals, 0.99) == pytest.approx(30 * SECOND, rel=0.03)
    assert quantile(intervals, 1.0) == pytest.approx(3600 * SECOND, rel=0.03)
    assert quantile(np.zeros_like(intervals), 0.5) == 0
