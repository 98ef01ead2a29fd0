"""One way of putting a long record on a 10 s grid, in a process of its own.

`python -m experiments.conditioning_run WAY FILE` prints seconds and peak memory as one JSON object. Seconds count from
the closed file to the finished grid; imports and the loading of compiled loops, which do not grow with the record, are
left out; peak memory is that of the whole process.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

STEP = 10
COLUMNS = ["tag", "time", "value", "quality"]


def plant_of(path: Path) -> Any:
    """A plant of all the record's tags; setpoints step, the others run linearly and find their gap themselves."""
    from experiments.long_record import names
    from procmodel.plant import Plant

    tags = {name: {"role": "MV" if name.endswith(".SP") else "CV", "unit": "1"} for name in names()}
    codes = {"0": "good", "1": "uncertain", "2": "bad"}
    history = {"kind": "parquet", "path": str(path), "options": {"quality": codes}}
    return Plant.model_validate({"name": "long-record", "sample_time": float(STEP), "history": history, "tags": tags})


def ours(path: Path) -> Callable[[], int]:
    """`procmodel ingest`: exact time-weighted averages, gaps, hashes and the stored dataset, out of core."""
    from experiments.long_record import made
    from procmodel.data.historians import open_historian
    from procmodel.data.ingest import ingest

    def whole(file: Path, folder: Path) -> int:
        plant = plant_of(file)
        out = ingest(plant, open_historian(plant), folder / "dataset")
        return int(json.loads((out / "dataset.json").read_text())["rows"])

    def run() -> int:
        with tempfile.TemporaryDirectory() as folder:
            return whole(path, Path(folder))

    with tempfile.TemporaryDirectory() as folder:
        whole(made(2_000_000), Path(folder))  # loads the compiled loops
    return run


def scan(path: Path) -> Callable[[], int]:
    """The floor: the same columns decoded to Arrow batches by pyarrow, and dropped."""
    import pyarrow.parquet as pq

    def run() -> int:
        file = pq.ParquetFile(path, read_dictionary=["tag"])
        return sum(batch.num_rows for batch in file.iter_batches(131_072, columns=COLUMNS))

    return run


def scan_by_groups(path: Path) -> Callable[[], int]:
    """The quickest decoding we know of: whole row groups, as many at once as there are cores, and dropped."""
    import pyarrow.parquet as pq

    def one(group: int) -> int:
        file = pq.ParquetFile(path, read_dictionary=["tag"])
        return int(file.read_row_group(group, COLUMNS, use_threads=False).num_rows)

    def run() -> int:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return sum(pool.map(one, range(pq.ParquetFile(path).num_row_groups)))

    return run


def pandas_resample(path: Path) -> Callable[[], int]:
    """The plain mean of each tag's good samples in a cell, by `resample`; no time weights, no gaps."""
    import pandas as pd

    def run() -> int:
        frame = pd.read_parquet(path, columns=COLUMNS)
        good = frame[frame["quality"] == 0].set_index("time")
        return len(good.groupby("tag", observed=True)["value"].resample(f"{STEP}s").mean())

    return run


def pandas_weighted(path: Path) -> Callable[[], int]:
    """What is asked, by `resample`: each tag's average weighted by time, with gaps where it was bad."""
    import pandas as pd

    def run() -> int:
        frame = pd.read_parquet(path, columns=COLUMNS)
        frame["value"] = frame["value"].where(frame["quality"] == 0)
        tags = frame.set_index("time").groupby("tag", observed=True)["value"]
        return sum(len(weighted(samples, step=str(name).endswith(".SP"))) for name, samples in tags)

    return run


def weighted(samples: pd.Series, *, step: bool) -> pd.Series:
    """Mean by time in each cell, NaN where nothing is known.

    Args:
        samples: Of one tag by time, NaN where bad. A good value holds until a bad one, which opens a gap.
        step: Values hold; otherwise straight lines join them.
    """
    import pandas as pd

    grid = f"{STEP}s"
    edges = pd.date_range(samples.index[0].floor(grid), samples.index[-1], freq=grid)
    both = samples.index.union(edges)
    held = samples.ffill().reindex(both)
    value = held.ffill() if step else held.interpolate("time", limit_area="inside")
    good = samples.notna().astype(float).reindex(both).ffill().fillna(0.0)
    seconds = both.to_series().diff().shift(-1).dt.total_seconds() * good
    mean = value if step else (value + value.shift(-1)) / 2
    sums = pd.DataFrame({"area": mean * seconds, "seconds": seconds}).resample(grid).sum()
    return sums["area"] / sums["seconds"]


def polars_dynamic(path: Path) -> Callable[[], int]:
    """The same plain mean by `group_by_dynamic`."""
    import polars as pl

    def run() -> int:
        record = pl.scan_parquet(path).select(COLUMNS).filter(pl.col("quality") == 0)
        grid = record.set_sorted("time").group_by_dynamic("time", every=f"{STEP}s", group_by="tag")
        return grid.agg(pl.col("value").mean()).collect().height

    return run


def duckdb_bucket(path: Path) -> Callable[[], int]:
    """The same plain mean by `time_bucket`."""
    import duckdb

    def run() -> int:
        query = (
            f"select tag, time_bucket(interval '{STEP} seconds', time) as t, avg(value) as mean from read_parquet(?) "
            "where quality = 0 group by tag, t"
        )
        return len(duckdb.execute(query, [str(path)]).fetchnumpy()["mean"])

    return run


WAYS = {
    "ours": ours,
    "scan": scan,
    "groups": scan_by_groups,
    "pandas": pandas_resample,
    "weighted": pandas_weighted,
    "polars": polars_dynamic,
    "duckdb": duckdb_bucket,
}


def main() -> None:
    import pyarrow as pa

    way, path = sys.argv[1], Path(sys.argv[2])
    pa.set_cpu_count(os.cpu_count() or 1)  # with OMP_NUM_THREADS=1 the scan and pandas would read with one core
    run = WAYS[way](path)
    began, spent = time.perf_counter(), time.process_time()
    rows = run()
    seconds, spent = time.perf_counter() - began, time.process_time() - spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"seconds": seconds, "cpu_seconds": spent, "peak_bytes": peak, "rows_out": rows}))


if __name__ == "__main__":
    main()
