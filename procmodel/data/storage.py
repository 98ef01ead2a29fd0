"""A dataset as a folder: `grid.parquet` for any tool that reads tables, `dataset.json` for what it is and whence.

`manifest.json` seals both, so one flipped byte anywhere is noticed (see `procmodel.data.sealed`). A folder is written
beside its place and put there whole; the one before it stays until then.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.sealed import read_sealed, write_sealed
from procmodel.errors import DatasetError
from procmodel.plant import Plant

if TYPE_CHECKING:
    import polars

GRID, FACTS = "grid.parquet", "dataset.json"
KIND = "dataset"
# A dictionary of measured values is tried and given up for every column, which takes longer than all else; and measured
# values hardly shrink: a dataset of 16 million cells is 124 MB by snappy and 110 by zstd, which takes twice as long.
PARQUET = {"compression": "snappy", "use_dictionary": ["stretch"]}
_AGAIN = "Make it anew with 'procmodel ingest'."


def save_dataset(dataset: Dataset, folder: Path | str) -> Path:
    """Write a dataset; a folder that is there already is replaced once the new one is complete.

    Raises:
        DatasetError: Something else stands in that place; it is left as it is.
    """
    grid = pa.BufferOutputStream()
    pq.write_table(to_arrow(dataset), grid, **PARQUET)
    files = {GRID: grid.getvalue().to_pybytes(), FACTS: facts_of(dataset, dataset.rows)}
    return write_sealed(folder, KIND, files, error=DatasetError)


def load_dataset(folder: Path | str, plant: Plant | None = None) -> Dataset:
    """Read a dataset and check that it is whole and, where a plant is given, that it is that plant's.

    Raises:
        DatasetError: It is missing, damaged, or was made for another plant.
    """
    files = read_sealed(folder, KIND, again=_AGAIN, error=DatasetError)
    facts = json.loads(files[FACTS])
    if plant is not None:
        _refuse_other_plant(Path(folder), facts, plant)
    table = pq.read_table(pa.BufferReader(files[GRID]))
    columns = tuple(facts["columns"])
    return Dataset(
        columns=columns,
        values=_matrix(table, columns, np.float64),
        good_fraction=_matrix(table, tuple(f"{name}|good" for name in columns), np.float32),
        start=datetime.fromisoformat(facts["start"]),
        step=facts["step"],
        stretches=tuple(
            Stretch(name=s["name"], start=s["start"], stop=s["stop"], began=_time_or_none(s["began"]))
            for s in facts["stretches"]
        ),
        manifest=facts["manifest"],
        aged=(aged := tuple(facts.get("aged", ()))),
        ages=_matrix(table, tuple(f"{name}|age" for name in aged), np.float32),
    )


def to_arrow(dataset: Dataset) -> pa.Table:
    """One row per grid row: `time`, each tag's value (null in a gap), `<tag>|good`, `<tag>|age`, and the `stretch`."""
    names = [s.name for s in dataset.stretches]
    stretch_T = np.full(dataset.rows, -1, dtype=np.int32)
    for i, s in enumerate(dataset.stretches):
        stretch_T[s.start : s.stop] = i
    columns: dict[str, Any] = {"time": pa.array(dataset.times()).cast(pa.timestamp("us", tz="UTC"))}
    for c, name in enumerate(dataset.columns):
        columns[name] = pa.array(np.ascontiguousarray(dataset.values[:, c]), from_pandas=True)
    for c, name in enumerate(dataset.columns):
        columns[f"{name}|good"] = pa.array(np.ascontiguousarray(dataset.good_fraction[:, c]))
    for a, name in enumerate(dataset.aged):
        columns[f"{name}|age"] = pa.array(np.ascontiguousarray(dataset.ages[:, a]), from_pandas=True)
    indices = pa.array(stretch_T, mask=stretch_T < 0)
    columns["stretch"] = pa.DictionaryArray.from_arrays(indices, pa.array(names, type=pa.string()))
    return pa.table(columns)


def to_polars(dataset: Dataset) -> polars.DataFrame:
    """The table of `to_arrow` for polars."""
    import polars

    frame = polars.from_arrow(to_arrow(dataset))
    assert isinstance(frame, polars.DataFrame)
    return frame


def to_pandas(dataset: Dataset) -> Any:
    """The table of `to_arrow` for pandas, with the time as index."""
    return to_arrow(dataset).to_pandas().set_index("time")


def facts_of(dataset: Dataset, rows: int) -> bytes:
    """What stands beside the grid: all of a dataset but its rows, of which there are so many."""
    return json.dumps(_describe(dataset, rows), indent=1, ensure_ascii=False, allow_nan=False).encode()


def _describe(dataset: Dataset, rows: int) -> dict[str, Any]:
    return {
        "columns": list(dataset.columns),
        **({"aged": list(dataset.aged)} if dataset.aged else {}),
        "rows": rows,
        "start": dataset.start.isoformat(),
        "step": dataset.step,
        "stretches": [
            {
                "name": s.name,
                "start": s.start,
                "stop": s.stop,
                "began": None if s.began is None else s.began.isoformat(),
            }
            for s in dataset.stretches
        ],
        "manifest": dataset.manifest,
    }


def _time_or_none(stamp: str | None) -> datetime | None:
    return None if stamp is None else datetime.fromisoformat(stamp)


def _refuse_other_plant(folder: Path, facts: dict[str, Any], plant: Plant) -> None:
    made_for = facts["manifest"].get("fingerprint")
    if made_for == plant.fingerprint:
        return
    name, columns = facts["manifest"].get("plant"), facts["columns"]
    if name != plant.name:
        difference = f"it was made for plant {name!r}, not for {plant.name!r}"
    elif columns != plant.columns:
        changed = sorted(set(columns) ^ set(plant.columns)) or ["their order"]
        difference = f"the tags of plant {name!r} have changed since: {', '.join(changed)}"
    else:
        difference = f"a role, unit, step flag or the sample time of plant {name!r} has changed since"
    raise DatasetError(f"The dataset in {folder} does not fit: {difference}. {_AGAIN}")


def _matrix(table: pa.Table, names: tuple[str, ...], dtype: type[np.floating[Any]]) -> np.ndarray:
    """Columns side by side, [T, C]; null becomes NaN."""
    out = np.empty((table.num_rows, len(names)), dtype=dtype)
    for c, name in enumerate(names):
        out[:, c] = table.column(name).to_numpy()
    return out
