"""A long record as a historian exports it: irregular stamps, a deadband, bad samples, all tags in order of time."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numba import njit

TAGS = 100
START = 1_767_225_600_000_000  # 2026-01-01 UTC [us]
SEED = 20261127
_SPAN = 1800  # seconds made at a time
_ROW_GROUP = 1_000_000
SCHEMA = pa.schema(
    [
        ("tag", pa.dictionary(pa.int32(), pa.string())),
        ("time", pa.timestamp("us", tz="UTC")),
        ("value", pa.float64()),
        ("quality", pa.int8()),
    ]
)


def names() -> list[str]:
    """Tag names; the first ten are setpoints that an operator moves now and then."""
    return [f"FC{i:03d}.SP" if i < 10 else f"TI{i:03d}.PV" for i in range(TAGS)]


@njit(cache=True)
def _span_of(level_C, kept_C, kept_at_C, since: int, rng, times, codes, values, quality):  # type: ignore[no-untyped-def]
    """Scans of `_SPAN` seconds, once a second with jitter, less what the deadband drops. Returns how many were kept.

    A measurement wanders by steps of 1 about 500 and carries noise of 0.6; a scan is kept where it differs from the
    last one kept by more than 0.5, or 60 s have passed: about two out of three are. Values have two decimals, as those
    of sensors have. One sample in 200 is bad and holds no number. Stamps rise over the tags too.
    """
    n = 0
    for second in range(_SPAN):
        at = (since + second) * 1_000_000
        for c in range(level_C.shape[0]):
            t = at + c * 9_000 + rng.integers(0, 9_000)
            if c < 10:
                if rng.random() < 1 / 600:
                    level_C[c] += rng.normal() * 5.0
                value = level_C[c]
            else:
                level_C[c] += rng.normal() - 0.001 * (level_C[c] - 500.0)
                value = np.floor((level_C[c] + 0.6 * rng.normal()) * 100.0 + 0.5) / 100.0
            bad = rng.random() < 0.005
            if abs(value - kept_C[c]) <= 0.5 and t - kept_at_C[c] < 60_000_000 and not bad:
                continue
            times[n], codes[n], values[n], quality[n] = t, c, value, 2 if bad else 0
            n += 1
            if not bad:
                kept_C[c], kept_at_C[c] = value, t
    return n


def made(rows: int, folder: Path | None = None) -> Path:
    """A Parquet file with that many samples, made once and kept in a temporary folder.

    Args:
        folder: Where; None: below the system's temporary folder.
    """
    folder = folder or Path(tempfile.gettempdir()) / "procmodel-long-record"
    path = folder / f"samples-{rows}.parquet"
    told = path.with_suffix(".json")
    facts = {"rows": rows, "seed": SEED, "tags": TAGS, "version": 2}
    if path.exists() and told.exists() and json.loads(told.read_text()) == facts:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    with pq.ParquetWriter(part, SCHEMA, compression="zstd", compression_level=1, use_dictionary=["tag"]) as writer:
        _write(writer, rows)
    part.replace(path)
    told.write_text(json.dumps(facts))
    return path


def _write(writer: pq.ParquetWriter, rows: int) -> None:
    room = _SPAN * TAGS
    times, values = np.empty(room, dtype=np.int64), np.empty(room)
    codes, quality = np.empty(room, dtype=np.int32), np.empty(room, dtype=np.int8)
    level_C, kept_C, kept_at_C = np.full(TAGS, 500.0), np.full(TAGS, np.inf), np.zeros(TAGS, dtype=np.int64)
    dictionary = pa.array(names())
    left, since, waiting, held = rows, START // 1_000_000, [], 0
    rng = np.random.default_rng(SEED)
    while left:
        n = min(left, _span_of(level_C, kept_C, kept_at_C, since, rng, times, codes, values, quality))
        columns = [
            pa.DictionaryArray.from_arrays(pa.array(codes[:n].copy()), dictionary),
            pa.array(times[:n].copy()).cast(SCHEMA.field("time").type),
            pa.array(values[:n].copy(), mask=quality[:n] > 0),
            pa.array(quality[:n].copy()),
        ]
        waiting.append(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))
        held, left, since = held + n, left - n, since + _SPAN
        if held >= _ROW_GROUP or not left:
            writer.write_table(pa.Table.from_batches(waiting), row_group_size=_ROW_GROUP + room)
            waiting, held = [], 0
