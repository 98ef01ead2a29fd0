"""From a historian's samples to datasets, windows and splits.

Names are loaded on first use: torch comes with the windows and the scaler, numba with `condition`, and a command that
needs neither waits for neither. The function `split` stays in its module, whose name it would fight over here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from procmodel.data.conditioner import condition
    from procmodel.data.dataset import Dataset, Stretch
    from procmodel.data.excitation import Excitation, excitation_audit
    from procmodel.data.health import TagHealth, tag_health
    from procmodel.data.samples import SCHEMA, Campaign, Historian, Quality, Query, ReadReport, TagInfo
    from procmodel.data.split import Parts
    from procmodel.data.storage import load_dataset, save_dataset, to_arrow, to_pandas, to_polars
    from procmodel.data.window import Columns, Scaler, Window
    from procmodel.data.windows import Windows

_HOMES = {
    "conditioner": ("condition",),
    "dataset": ("Dataset", "Stretch"),
    "excitation": ("Excitation", "excitation_audit"),
    "health": ("TagHealth", "tag_health"),
    "samples": ("SCHEMA", "Campaign", "Historian", "Quality", "Query", "ReadReport", "TagInfo"),
    "split": ("Parts",),
    "storage": ("load_dataset", "save_dataset", "to_arrow", "to_pandas", "to_polars"),
    "window": ("Columns", "Scaler", "Window"),
    "windows": ("Windows",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


__all__ = [
    "SCHEMA",
    "Campaign",
    "Columns",
    "Dataset",
    "Excitation",
    "Historian",
    "Parts",
    "Quality",
    "Query",
    "ReadReport",
    "Scaler",
    "Stretch",
    "TagHealth",
    "TagInfo",
    "Window",
    "Windows",
    "condition",
    "excitation_audit",
    "load_dataset",
    "save_dataset",
    "tag_health",
    "to_arrow",
    "to_pandas",
    "to_polars",
]
