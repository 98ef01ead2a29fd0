"""Samples of many tags, as they come, in one Arrow batch in the plant's units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from connectors.live_samples import Sample, moment
from procmodel.data.samples import SCHEMA, Quality, ReadReport
from procmodel.plant import Kind, Tag
from procmodel.plant.units import affine


class Columns:
    """Turns samples of numbered tags into batches.

    Args:
        tags: The plant's tags, numbered in their order.
    """

    def __init__(self, tags: Mapping[str, Tag]) -> None:
        self._names = pa.array(list(tags), pa.string())
        # A counter stays as it was read: its tag is the rate, which is known with the next reading only.
        plain = [tag.kind is not Kind.TOTALIZER for tag in tags.values()]
        scales = [
            affine(tag.source_unit, tag.unit) if tag.source_unit and is_plain else (1.0, 0.0)
            for tag, is_plain in zip(tags.values(), plain, strict=True)
        ]
        ranges = [
            tag.range if tag.range and is_plain else (-np.inf, np.inf)
            for tag, is_plain in zip(tags.values(), plain, strict=True)
        ]
        self._gain_C, self._offset_C = np.array(scales, dtype=np.float64).reshape(-1, 2).T
        self._low_C, self._high_C = np.array(ranges, dtype=np.float64).reshape(-1, 2).T

    def batch(self, samples: Sequence[tuple[int, Sample]], report: ReadReport) -> pa.RecordBatch:
        """Samples, each with the number of its tag, in `SCHEMA`; the report counts them."""
        at = np.array([index for index, _ in samples], dtype=np.int32)
        raw = np.array([np.nan if each.value is None else each.value for _, each in samples], dtype=np.float64)
        value = self._gain_C[at] * raw + self._offset_C[at]
        quality = np.array([each.quality for _, each in samples], dtype=np.int8)
        # The slack of `connectors.samples.converted`: rounding is no reason to call a sensor broken.
        span = self._high_C[at] - self._low_C[at]
        slack = np.where(np.isfinite(span), 1e-9 * np.where(np.isfinite(span), span, 0.0), 0.0)
        outside = (value < self._low_C[at] - slack) | (value > self._high_C[at] + slack)
        value = np.where(outside, value, np.clip(value, self._low_C[at], self._high_C[at]))
        quality[outside] = int(Quality.BAD)
        times = np.array([each.time for _, each in samples], dtype=np.int64)
        report.rows += len(samples)
        report.bad += int((quality == int(Quality.BAD)).sum())
        report.uncertain += int((quality == int(Quality.UNCERTAIN)).sum())
        report.out_of_range += int(outside.sum())
        first, last = moment(int(times.min())), moment(int(times.max()))
        report.first = min(report.first or first, first)
        report.last = max(report.last or last, last)
        columns = [
            pa.DictionaryArray.from_arrays(pa.array(at), self._names),
            pa.array(times).cast(SCHEMA.field("time").type),
            pa.array(value, mask=np.isnan(raw)),
            pa.array([each.status for _, each in samples], pa.int64()),
            pa.array(quality),
            pa.array([each.state for _, each in samples], pa.string()),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)
