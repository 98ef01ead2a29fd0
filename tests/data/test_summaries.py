"""What a cell may tell besides its average: held, last, least and most values, angles, rates of counters, ages."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from procmodel.data import condition
from procmodel.data.conditioning import Accumulator, Cells
from procmodel.data.historians import open_historian
from procmodel.data.rules import Rule, rule_of
from procmodel.plant import Plant, Summary

SECOND = 1_000_000
NAN = float("nan")
Sample = tuple[float, float, bool]  # time [s], value, good
RAMP: list[Sample] = [(0, 0, True), (12, 12, True), (17, 0, False), (26, 5, True), (38, 17, True)]


def cells_of(samples: Sequence[Sample], rule: Rule, rows: int = 4, cuts: Sequence[int] = ()) -> Cells:
    """Rows of 10 s."""
    accumulator = Accumulator(["TAG"], [rule], 10 * SECOND, 0, rows * 10 * SECOND)
    for a, b in itertools.pairwise([0, *sorted(min(c, len(samples)) for c in cuts), len(samples)]):
        t, v, good = (np.array(x) for x in zip(*samples[a:b], strict=True)) if b > a else (np.empty(0),) * 3
        accumulator.add(np.zeros(b - a, dtype=np.int64), (t * SECOND).astype(np.int64), v, good.astype(bool))
    return accumulator.finish(accumulator.bridged(accumulator.intervals_CB))


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        # Bad from 17 to 26: the line rises to 12, is held to 17, and goes on at 26 with 5.
        (Summary.TIME_AVERAGE, [5, (11 * 2 + 12 * 5) / 7, 7, 13]),
        # Over the bad sample: from 12 at 12 s down to 5 at 26 s.
        (Summary.BRIDGED_AVERAGE, [5, (2 * 11 + 8 * 10) / 10, (6 * 6.5 + 4 * 7) / 10, 13]),
        (Summary.INTERPOLATED, [0, 10, 8, 9]),
        (Summary.PREVIOUS, [0, 0, NAN, 5]),
        (Summary.LAST, [0, 12, 5, 17]),
        (Summary.MINIMUM, [0, 10, 5, 9]),
        (Summary.MAXIMUM, [10, 12, 9, 17]),
    ],
)
def test_each_summary_of_a_ramp_with_a_bad_sample(summary: Summary, expected: list[float]) -> None:
    cells = cells_of(RAMP, Rule(step=False, max_gap=60, summary=summary))
    np.testing.assert_allclose(cells.values[:, 0], expected)


def test_a_causal_record_knows_nothing_of_what_comes_later() -> None:
    plant = Plant.model_validate(
        {
            "name": "causal",
            "sample_time": "10 s",
            "conditioning": {"causal": True},
            "tags": {"A": {"role": "MV", "unit": "1"}, "B": {"role": "CV", "unit": "1", "max_gap": "1 min"}},
        }
    )
    rule = rule_of(plant, "B")
    before = cells_of([(0, 1, True), (15, 4, True)], rule).values[:, 0]
    after = cells_of([(0, 1, True), (15, 4, True), (31, 100, True)], rule).values[:, 0]
    np.testing.assert_array_equal(before[:3], after[:3])
    np.testing.assert_allclose(before[:3], [1, 2.5, 4])


def test_an_angle_is_averaged_the_shorter_way_round() -> None:
    rule = Rule(step=False, max_gap=60, turn=360.0, low=0.0, high=360.0)
    cells = cells_of([(0, 350, True), (10, 10, True), (20, 30, True)], rule)
    np.testing.assert_allclose(cells.values[:2, 0] % 360, [0, 20], atol=1e-9)


def test_an_angle_that_goes_all_the_way_round_points_nowhere() -> None:
    rule = Rule(step=False, max_gap=60, turn=360.0)
    cells = cells_of([(0, 0, True), (2.5, 90, True), (5, 180, True), (7.5, 270, True), (10, 360, True)], rule, rows=1)
    assert np.isnan(cells.values[0, 0])


def test_a_counter_becomes_its_rate_over_a_rollover_and_a_reset() -> None:
    rule = Rule(step=False, max_gap=60, gain=3600.0, rollover=1000.0, low=0.0, high=1e6)
    # 10 per 10 s is 3600 per hour; over the rollover at 1000; then set back to 0: not known.
    cells = cells_of([(0, 980, True), (10, 990, True), (20, 0, True), (30, 30, True), (40, 10, True)], rule)
    np.testing.assert_allclose(cells.values[:, 0], [3600, 3600, 10_800, NAN])


def test_the_amount_that_a_counter_counted_is_the_integral_of_its_rate() -> None:
    rng = np.random.default_rng(0)
    times = np.concatenate([[0.0], np.sort(rng.uniform(0, 400, 60)), [400.0]])
    count = np.cumsum(rng.exponential(1.0, len(times)))
    cells = cells_of(
        list(zip(times, count, [True] * len(times), strict=True)), Rule(step=False, max_gap=1e6, gain=1.0), 40
    )
    assert np.nansum(cells.values) * 10 == pytest.approx(count[-1] - count[0])


def test_a_laboratory_value_holds_and_tells_its_age() -> None:
    plant = Plant.model_validate(
        {
            "name": "laboratory",
            "sample_time": "10 s",
            "tags": {
                "A": {"role": "MV", "unit": "1"},
                "B": {"role": "CV", "unit": "1"},
                "C": {"role": "AUX", "unit": "%", "kind": "laboratory"},
            },
        }
    )
    cells = cells_of([(5, 7, True), (25, 9, True), (36, 0, False)], rule_of(plant, "C"))
    np.testing.assert_allclose(cells.values[:, 0], [7, 7, 8, 9])
    np.testing.assert_allclose(cells.ages[:, 0], [5, 15, 5, NAN])  # at the row's end; a bad sample ends it


samples = st.lists(
    st.tuples(st.integers(0, 9000), st.floats(0, 360, width=32), st.integers(0, 5)), min_size=1, max_size=30
)


@settings(max_examples=60)
@given(
    samples,
    st.sampled_from(list(Summary)),
    st.booleans(),
    st.sampled_from([0.0, 360.0]),
    st.sampled_from([0.0, 1.0]),
    st.lists(st.integers(0, 30), max_size=4),
)
def test_no_summary_depends_on_where_the_batches_are_cut(
    drawn: list[tuple[int, float, int]], summary: Summary, step: bool, turn: float, gain: float, cuts: list[int]
) -> None:
    times = np.cumsum([wait for wait, _, _ in drawn]) / 1000
    given_ = [(float(t), v, q > 0) for t, (_, v, q) in zip(times, drawn, strict=True)]
    averaged = summary in (Summary.TIME_AVERAGE, Summary.BRIDGED_AVERAGE)
    rule = Rule(step=step, summary=summary, turn=turn if averaged else 0.0, gain=gain if averaged and not turn else 0.0,
                aged=True)  # fmt: skip
    whole, cut = cells_of(given_, rule, 30), cells_of(given_, rule, 30, cuts)
    np.testing.assert_array_equal(cut.values, whole.values)
    np.testing.assert_array_equal(cut.good_fraction, whole.good_fraction)
    np.testing.assert_array_equal(cut.ages, whole.ages)


def test_a_counter_in_an_export_is_read_as_the_rate_of_its_tag(tmp_path: Path) -> None:
    lines = ["time,FC1.SP,FQ1.PV"]
    lines += [f"2026-03-01T12:{m:02d}:00Z,5,{100 + m * 2}" for m in range(10)]  # 2 m3 a minute
    (tmp_path / "export.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tags = {
        "FC1.SP": {"role": "MV", "unit": "1"},
        "FQ1.PV": {"role": "CV", "unit": "m3/h", "source_unit": "m3", "kind": "totalizer", "range": [0, 200]},
    }
    history = {"kind": "csv", "path": str(tmp_path / "export.csv")}
    plant = Plant.model_validate({"name": "counted", "sample_time": "1 min", "history": history, "tags": tags})
    np.testing.assert_allclose(condition(plant, open_historian(plant)).values[:9, 1], 120.0)
