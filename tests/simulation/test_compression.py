"""Exception reporting and swinging door: what they promise, on any signal."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from procmodel.simulation.compression import archived, exception_report, swinging_door

signals = st.lists(st.tuples(st.integers(1, 5), st.floats(-10, 10)), min_size=2, max_size=120)


def laid_out(signal):
    times = np.cumsum([gap for gap, _ in signal]).tolist()
    return times, [value for _, value in signal]


def worst(times, values, kept):
    line = np.interp(times, [times[i] for i in kept], [values[i] for i in kept])
    return np.abs(line - values).max()


@given(signal=signals, deviation=st.floats(0.01, 3.0))
def test_the_door_keeps_every_value_within_its_deviation_of_the_line(signal, deviation):
    times, values = laid_out(signal)
    kept = swinging_door(times, values, deviation, longest=1e9)
    assert worst(times, values, kept) <= deviation + 1e-9


@given(signal=signals, deviation=st.floats(0.01, 3.0))
def test_the_archive_keeps_every_scan_within_its_deviation(signal, deviation):
    times, values = laid_out(signal)
    kept = archived(times, values, deviation, longest=1e9)
    assert worst(times, values, kept) <= deviation + 1e-9


@given(signal=signals, longest=st.integers(5, 30))
def test_no_gap_is_longer_than_the_longest_interval(signal, longest):
    times, _ = laid_out(signal)
    kept = archived(times, [1.0] * len(times), 0.5, longest)
    gaps = np.diff([times[i] for i in kept])
    # The exception test sends at the first scan past `longest`, at most one scan interval (5) late.
    assert gaps.size == 0 or gaps.max() <= longest + 5


@given(signal=signals)
def test_first_and_last_scan_are_always_kept_and_in_order(signal):
    times, values = laid_out(signal)
    for kept in (exception_report(times, values, 0.5, 20), archived(times, values, 0.5, 20)):
        assert kept[0] == 0
        assert kept[-1] == len(times) - 1
        assert kept == sorted(set(kept))


def test_a_straight_line_needs_its_two_ends():
    times = list(range(100))
    assert swinging_door(times, [0.3 * t for t in times], 0.01, longest=1e9) == [0, 99]


def test_a_corner_is_kept():
    values = [*range(50), *range(49, -1, -1)]
    kept = swinging_door(list(range(100)), values, 0.01, longest=1e9)
    assert 49 in kept
    assert len(kept) <= 4


def test_an_exception_brings_the_scan_before_it():
    assert exception_report([0, 1, 2, 3, 4], [5.0, 5.0, 5.0, 9.0, 9.0], 0.5, 100) == [0, 2, 3, 4]


def test_nothing_in_is_nothing_out():
    assert archived([], [], 1.0, 1.0) == []
