"""Samples of many tags in one batch: in the plant's units, but for counters."""

from __future__ import annotations

import pytest

from connectors.live_columns import Columns
from connectors.live_samples import Sample
from procmodel.data.samples import Quality, ReadReport
from procmodel.plant import Kind, Role, Tag


def test_a_counter_stays_as_it_was_read_and_its_range_is_that_of_its_rate() -> None:
    tags = {
        "TI1": Tag(name="TI1", role=Role.CV, unit="degC", source_unit="degF", range=(0, 100)),
        "FQ1": Tag(name="FQ1", role=Role.DV, unit="m^3/h", source_unit="m^3", kind=Kind.TOTALIZER, range=(0, 50)),
    }
    report = ReadReport()
    samples = [(0, Sample(0, 212.0, 0, 0)), (1, Sample(0, 12345.0, 0, 0)), (0, Sample(1, 213.0, 0, 0))]
    rows = Columns(tags).batch(samples, report).to_pylist()
    assert [row["value"] for row in rows] == pytest.approx([100.0, 12345.0, 213 / 1.8 - 32 / 1.8])
    assert [row["quality"] for row in rows] == [Quality.GOOD, Quality.GOOD, Quality.BAD]
    assert report.out_of_range == 1
