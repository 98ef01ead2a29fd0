"""Every row that OPC UA Part 13 publishes for Interpolative, TimeAverage and TimeAverage2 (sources in `part_13`)."""

from __future__ import annotations

import numpy as np
import part_13
import pytest
from part_13 import EXAMPLES, INTERPOLATIVE, TIME_AVERAGE, TIME_AVERAGE_2, Example

from procmodel.data.conditioning import Accumulator, Cells
from procmodel.data.rules import Beyond, Rule
from procmodel.plant import Summary

SECOND = 1_000_000
# Where one sample stands at an interval's start and nothing follows, "the time duration used in calculations is one
# unit of time resolution" (5.4.2.4).
ONE_UNIT = 1e-6


def cells_of(example: Example, rule: Rule) -> Cells:
    accumulator = Accumulator(["TAG"], [rule], part_13.EVERY * SECOND, 0, part_13.END * SECOND)
    times_N, values_N, quality_N = (np.array(each) for each in zip(*example.samples, strict=True))
    good_N = quality_N <= (part_13.GOOD if example.uncertain_is_bad else part_13.UNCERTAIN)
    codes_N = np.zeros(len(times_N), dtype=np.int64)
    accumulator.add(codes_N, (times_N * SECOND).astype(np.int64), values_N, good_N)
    return accumulator.finish(accumulator.bridged(accumulator.intervals_CB))


def extrapolated(example: Example) -> Beyond:
    return Beyond.SLOPE if example.sloped_extrapolation else Beyond.HOLD


def assert_rows(found: Cells, table: tuple[float | None, ...]) -> None:
    """Three decimals, once rounded twice: 27.0454 is printed as 27.046."""
    expected = np.array([np.nan if value is None else value for value in table])
    np.testing.assert_allclose(found.values[: len(table), 0], expected, atol=6e-4, rtol=0)


@pytest.mark.parametrize("historian", INTERPOLATIVE)
def test_interpolated_values_are_those_of_the_published_tables(historian: int) -> None:
    example = EXAMPLES[historian]
    rule = Rule(step=example.stepped, bounded=False, summary=Summary.INTERPOLATED, beyond=extrapolated(example))
    assert_rows(cells_of(example, rule), INTERPOLATIVE[historian])


@pytest.mark.parametrize("historian", TIME_AVERAGE)
def test_averages_over_bad_samples_are_those_of_the_published_tables(historian: int) -> None:
    example = EXAMPLES[historian]
    rule = Rule(
        step=False, bounded=False, summary=Summary.BRIDGED_AVERAGE, beyond=extrapolated(example), hold=part_13.EVERY
    )
    assert_rows(cells_of(example, rule), TIME_AVERAGE[historian])


def test_version_1_04_extrapolates_an_average_to_the_end() -> None:
    rule = Rule(step=False, bounded=False, summary=Summary.BRIDGED_AVERAGE, beyond=Beyond.HOLD)
    assert_rows(cells_of(EXAMPLES[1], rule), (*TIME_AVERAGE[1][:-1], 90))


@pytest.mark.parametrize("historian", TIME_AVERAGE_2)
def test_averages_of_the_good_part_are_those_of_the_published_tables(historian: int) -> None:
    example = EXAMPLES[historian]
    rule = Rule(step=example.stepped, bounded=False, beyond=Beyond.HOLD, hold=ONE_UNIT)
    assert_rows(cells_of(example, rule), TIME_AVERAGE_2[historian])
