"""Finds the connector that a plant file names. Connectors come from installed packages, by entry point."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from procmodel.data.samples import Historian
from procmodel.errors import HistorianError, PlantFileError
from procmodel.plant import Plant
from procmodel.plant.tag import nearest

GROUP = "procmodel.historians"


def open_historian(plant: Plant) -> Historian:
    """The historian of `plant.history`, ready to be read.

    Raises:
        PlantFileError: the plant names none, or its options do not fit the connector.
        HistorianError: no connector of that kind is installed, or a library that it needs is missing.
    """
    if plant.history is None:
        raise PlantFileError(
            f"Plant {plant.name!r} has no history to read. Add one to the plant file, such as "
            "history: {kind: csv, path: exports/*.csv}."
        )
    historian: Historian = load_connector(plant.history.kind)(plant.history, plant.tags)
    return historian


def load_connector(kind: str) -> Any:
    """The connector of this kind: a class, made from a `History` and the plant's tags.

    Raises:
        HistorianError: as for `open_historian`.
    """
    found = _connector(kind)
    try:
        return found.load()
    except ImportError as error:
        extra = found.extras[0] if found.extras else found.name
        raise HistorianError(
            f"history.kind {found.name!r} needs the library {error.name or error}, which is not installed. "
            f"Install it with: pip install 'procmodel[{extra}]'"
        ) from error


def _connector(kind: str) -> EntryPoint:
    known = {each.name: each for each in entry_points(group=GROUP)}
    if not known:
        raise HistorianError(
            "No connector is installed. Install procmodel into this environment: pip install -e . in its folder."
        )
    if kind not in known:
        raise HistorianError(
            f"history.kind: unknown kind {kind!r}; {nearest(kind, known)} "
            f"Connectors installed: {', '.join(sorted(known))}."
        )
    return known[kind]
