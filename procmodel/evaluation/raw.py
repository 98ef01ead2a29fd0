"""Raw samples of one tag, as the historian gave them. Shapes: N samples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from procmodel.data.samples import Quality

Array = np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class RawSamples:
    """Samples of one tag as the historian gave them.

    Attributes:
        time: [N] datetime64, UTC.
        value: [N]; NaN where the source held no number.
        good: [N].
    """

    time: Array
    value: Array
    good: Array


def raw_samples(batches: Iterable[Any], tag: str) -> RawSamples:
    """The samples of one tag from the Arrow batches that a historian reads."""
    times, values, good = [np.empty(0, dtype="datetime64[us]")], [np.empty(0)], [np.empty(0, dtype=bool)]
    for batch in batches:
        tags = batch.column("tag")
        names = tags.dictionary.to_pylist()
        if tag not in names:
            continue
        own = tags.indices.to_numpy(zero_copy_only=False) == names.index(tag)
        times.append(batch.column("time").to_numpy(zero_copy_only=False)[own].astype("datetime64[us]"))
        values.append(batch.column("value").to_numpy(zero_copy_only=False)[own].astype(float))
        good.append(batch.column("quality").to_numpy(zero_copy_only=False)[own] == int(Quality.GOOD))
    value = np.concatenate(values)
    return RawSamples(time=np.concatenate(times), value=value, good=np.concatenate(good) & np.isfinite(value))
