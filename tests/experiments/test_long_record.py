"""The record that conditioning is measured on is what it is said to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from experiments import long_record
from experiments.conditioning_run import plant_of, weighted
from procmodel.data import condition
from procmodel.data.historians import open_historian


def test_the_record_is_irregular_in_order_of_time_and_partly_bad(tmp_path: Path) -> None:
    path = long_record.made(150_000, tmp_path)
    table = pq.read_table(path)
    times = table.column("time").cast("int64").to_numpy()
    assert table.num_rows == 150_000
    assert (np.diff(times) >= 0).all()
    assert np.mean(table.column("quality").to_numpy() == 2) == pytest.approx(0.0075, abs=0.003)  # bad ones are all kept
    assert table.column("value").null_count == int((table.column("quality").to_numpy() == 2).sum())
    tag = table.column("tag").combine_chunks()
    own = times[np.asarray(tag.cast("string")) == long_record.names()[50]]
    intervals = np.diff(own) / 1e6
    assert intervals.min() > 0.9
    assert intervals.max() > 2.5  # the deadband has left scans out
    assert long_record.made(150_000, tmp_path) == path


def test_the_peer_that_weights_by_time_comes_to_the_same_averages(tmp_path: Path) -> None:
    path = long_record.made(150_000, tmp_path)
    plant = plant_of(path)
    ours = condition(plant, open_historian(plant)).to_pandas()
    frame = pd.read_parquet(path)
    frame["value"] = frame["value"].where(frame["quality"] == 0)
    for name in ("FC003.SP", "TI050.PV"):
        samples = frame[frame["tag"] == name].set_index("time")["value"]
        theirs = weighted(samples, step=name.endswith(".SP")).reindex(ours.index)
        known = ours[name].notna() & theirs.notna()
        assert known.mean() > 0.9
        np.testing.assert_allclose(theirs[known], ours[name][known], rtol=1e-9)
