"""A data frame is a historian, and a dataset comes out as a frame: pandas and polars, in and out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from connectors.memory import MemoryHistorian
from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.samples import Query

START = datetime(2024, 5, 1, 6, tzinfo=UTC)
VALUES = np.array([[1.0, 10.0], [np.nan, 10.5], [3.0, 11.0], [1 / 3, 1e-300]])
DATASET = Dataset(
    columns=("TI 1.PV", "FC1.SP"),
    values=VALUES,
    good_fraction=np.where(np.isnan(VALUES), 0, 1).astype(np.float32),
    start=START,
    step=60.0,
    stretches=(Stretch(name="record", start=0, stop=4),),
)
OUT: dict[str, Callable[[Dataset], Any]] = {
    "polars": lambda data: data.to_polars(),
    "pandas": lambda data: data.to_pandas(),
}


@pytest.mark.parametrize("library", OUT)
def test_a_dataset_as_a_frame_is_a_historian_that_holds_every_number_to_the_bit(library: str) -> None:
    historian = MemoryHistorian(OUT[library](DATASET))
    found: dict[str, list[tuple[datetime, float]]] = {name: [] for name in DATASET.columns}
    for batch in historian.read(Query(tags=DATASET.columns)):
        for row in batch.to_pylist():
            found[row["tag"]].append((row["time"], row["value"]))
    times = DATASET.times().astype("datetime64[us]").astype(object)
    for column, name in enumerate(DATASET.columns):
        assert found[name] == [
            (time.replace(tzinfo=UTC), value)
            for time, value in zip(times, VALUES[:, column].tolist(), strict=True)
            if value == value  # a gap holds no sample
        ]


@pytest.mark.parametrize("library", OUT)
def test_a_frame_has_a_row_per_grid_row_with_its_good_share_and_stretch(library: str) -> None:
    frame = OUT[library](DATASET)
    assert len(frame) == DATASET.rows
    assert {"TI 1.PV|good", "FC1.SP|good", "stretch"} <= set(frame.columns)
    assert list(frame["TI 1.PV|good"]) == [1, 0, 1, 1]
    assert set(frame["stretch"]) == {"record"}
