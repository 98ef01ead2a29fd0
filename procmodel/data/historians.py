"""Finds the connector that a plant file names. Connectors come from installed packages, by entry point."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from procmodel.data.samples import Historian, Live
from procmodel.errors import HistorianError, PlantFileError
from procmodel.plant import Plant
from procmodel.plant.tag import nearest

GROUP = "procmodel.historians"
LIVE_GROUP = "procmodel.live"
"""Of sources that are followed as things happen."""


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


def open_live(plant: Plant, since: Mapping[str, datetime] | None = None) -> Live:
    """The source of `plant.history`, to be followed as things happen.

    Args:
        since: By tag, the newest sample that is known. A source that `bridges` begins behind it; others with what
            happens from now on.

    Raises:
        PlantFileError, HistorianError: as for `open_historian`.
    """
    if plant.history is None:
        raise PlantFileError(f"Plant {plant.name!r} has no history to follow. Add one to the plant file.")
    connector = load_connector(plant.history.kind, LIVE_GROUP)
    known = {"since": since} if since and getattr(connector, "bridges", False) else {}
    live: Live = connector(plant.history, plant.tags, **known)
    return live


def load_connector(kind: str, group: str = GROUP) -> Any:
    """The connector of this kind: a class, made from a `History` and the plant's tags.

    Raises:
        HistorianError: as for `open_historian`.
    """
    found = _connector(kind, group)
    try:
        return found.load()
    except ImportError as error:
        extra = found.extras[0] if found.extras else found.name
        raise HistorianError(
            f"history.kind {found.name!r} needs the library {error.name or error}, which is not installed. "
            f"Install it with: pip install 'procmodel[{extra}]'"
        ) from error


def _connector(kind: str, group: str) -> EntryPoint:
    known = {each.name: each for each in entry_points(group=group)}
    if not known:
        raise HistorianError(
            "No connector is installed. Install procmodel into this environment: pip install -e . in its folder."
        )
    if kind not in known and group == GROUP and kind in {each.name for each in entry_points(group=LIVE_GROUP)}:
        raise HistorianError(
            f"history.kind {kind!r} keeps no record that could be read: it can only be followed as things happen "
            "(procmodel.data.historians.open_live). Name a historian that records it."
        )
    if kind not in known and group == LIVE_GROUP and kind in {each.name for each in entry_points(group=GROUP)}:
        raise HistorianError(
            f"history.kind {kind!r} is a record that is read; it cannot be followed as things happen. Name a source "
            f"that can: {', '.join(sorted(known))}."
        )
    if kind not in known:
        raise HistorianError(
            f"history.kind: unknown kind {kind!r}; {nearest(kind, known)} "
            f"Connectors installed: {', '.join(sorted(known))}."
        )
    return known[kind]
