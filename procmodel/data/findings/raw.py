"""Raw samples of each tag, as far as detectors look at them. Shapes: N good samples of one tag."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from procmodel.data.samples import Quality

MOST = 1_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Raw:
    """Good samples of one tag.

    Attributes:
        times: [N] [us since 1970], rising.
        values: [N], finite.
        repeated: Samples whose stamp an earlier one has too.
    """

    times: np.ndarray
    values: np.ndarray
    repeated: int


def collect(
    batches: Iterable[pa.RecordBatch], names: Iterable[str], worst: Quality, most: int = MOST
) -> dict[str, Raw]:
    """Good samples by tag: the first `most` of each, so that memory has a bound.

    Args:
        worst: Samples of a quality worse than it are bad.
    """
    parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in names}
    held = dict.fromkeys(parts, 0)
    for batch in batches:
        codes_N = batch.column("tag").indices.to_numpy(zero_copy_only=False)
        times_N = batch.column("time").view(pa.int64()).to_numpy(zero_copy_only=False)
        values_N = batch.column("value").to_numpy(zero_copy_only=False)
        good_N = batch.column("quality").to_numpy(zero_copy_only=False) <= worst
        good_N &= np.isfinite(values_N)
        for code, name in enumerate(batch.column("tag").dictionary.to_pylist()):
            if name in parts and held[name] < most:
                at = good_N & (codes_N == code)
                parts[name].append((times_N[at], values_N[at]))
                held[name] += int(at.sum())
    return {name: _joined(found) for name, found in parts.items()}


def _joined(parts: list[tuple[np.ndarray, np.ndarray]]) -> Raw:
    times = np.concatenate([np.empty(0, dtype=np.int64), *(t for t, _ in parts)])
    values = np.concatenate([np.empty(0), *(v for _, v in parts)])
    later = np.concatenate([[True], np.diff(times) > 0]) if len(times) else np.empty(0, dtype=bool)
    return Raw(times=times[later], values=values[later], repeated=int(len(times) - later.sum()))
