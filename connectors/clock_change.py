"""The autumn clock change: which of two passes through the repeated hour a local stamp belongs to."""

from __future__ import annotations

import numpy as np
import polars as pl


def second_pass(local: pl.Series, twice: pl.Series, stream: pl.Series | None) -> np.ndarray:
    """Which rows lie in the second pass through a repeated hour, told by where the clock steps back, [N] bool.

    A file in order of time is one stream, so that a tag with few samples is told by the others' step; otherwise each
    tag is one. Rows without a step back, from which the passes cannot be told apart, count as the first.
    """
    rows = (
        pl.DataFrame({"local": local.cast(pl.Int64), "twice": twice, "day": local.dt.date()})
        .with_row_index("row")
        .with_columns(stream=stream if stream is not None else pl.lit(0))
        .drop_nulls("local")
        .with_columns(falling=(pl.col("local").first() > pl.col("local").last()).over("stream"))  # newest first
    )
    found = np.zeros(len(local), dtype=bool)
    turned = rows.reverse() if rows["local"][0] > rows["local"][-1] else rows
    in_order = not ((turned["local"].diff() < 0).fill_null(False) & ~turned["twice"]).any()
    for day in rows["day"].filter(rows["twice"]).unique():
        whole = turned.filter(pl.col("twice") & (pl.col("day") == day))
        if in_order and (whole["local"].diff() < 0).any():
            parts = [whole]
        else:
            each = rows.filter(pl.col("twice") & (pl.col("day") == day)).partition_by("stream")
            parts = [part.reverse() if part["falling"][0] else part for part in each]
        for part in parts:
            step = np.diff(part["local"].to_numpy())
            # An hourly record holds one and the same stamp twice.
            back = step < 0 if np.any(step != 0) else step == 0
            found[part["row"].to_numpy()[1:][np.cumsum(back) > 0]] = True
    return found
