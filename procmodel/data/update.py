"""A stored dataset brought up to date: the newest part of the record is read again and replaced, the rest stays.

Shapes: T rows, C tags.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np

from procmodel.data.conditioner import condition
from procmodel.data.dataset import Dataset
from procmodel.data.rules import Rule, rule_of
from procmodel.data.samples import Historian
from procmodel.errors import DatasetError
from procmodel.plant import Plant, Role

OVERLAP = 3600.0


def update(
    plant: Plant,
    historian: Historian,
    dataset: Dataset,
    *,
    overlap: float = OVERLAP,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """The dataset as `condition` would make it from the whole record of today, by reading only its end.

    Rows are read again from an overlap before the dataset's end on, and before it as far as a line may be long that a
    late sample bends. So samples that come late by less than the overlap replace what was there. What is older is not
    looked at. Longest gaps that were found from the record stay as they were found, until it is ingested
    anew: otherwise old rows would change with them.

    Args:
        overlap: How late a sample may come [s].

    Raises:
        DatasetError: The dataset is another plant's, or has campaigns, which are not prolonged.
    """
    sampling = dataset.manifest.get("sampling", {})
    if len(dataset.stretches) != 1 or dataset.manifest.get("fingerprint") != plant.fingerprint or historian.campaigns():
        raise DatasetError(
            "Only a dataset of this very plant and of one piece is brought up to date. Make it anew with 'procmodel "
            "ingest'."
        )
    gaps = {name: float(facts["max_gap_s"]) for name, facts in sampling.items() if facts["max_gap_s"] is not None}
    rules = [rule_of(plant, name, gaps.get(name)) for name in plant.columns]
    row = _first_to_replace(plant, dataset, rules, overlap)
    # Bad samples that are passed over, and counters, need more than the one sample before.
    before = max((rule.max_gap or overlap for rule in rules if rule.bridges or rule.gain), default=0.0)
    early = max(0, row - math.ceil(before / dataset.step))
    fresh = condition(
        plant, historian, start=dataset.start + timedelta(seconds=early * dataset.step), gaps=gaps, progress=progress
    )
    skipped = row - round((fresh.start - dataset.start).total_seconds() / dataset.step)
    if skipped < 0:
        raise DatasetError(
            f"The record of today has nothing at {fresh.start.isoformat()} less {-skipped} rows, where the dataset has "
            "values. Make it anew with 'procmodel ingest'."
        )
    values = np.concatenate([dataset.values[:row], fresh.values[skipped:]])
    return dataclasses.replace(
        dataset,
        values=values,
        good_fraction=np.concatenate([dataset.good_fraction[:row], fresh.good_fraction[skipped:]]),
        ages=np.concatenate([dataset.ages[:row], fresh.ages[skipped:]]),
        stretches=(dataclasses.replace(dataset.stretches[0], start=0, stop=len(values)),),
        manifest=_manifest(dataset, fresh, row),
    )


def _first_to_replace(plant: Plant, dataset: Dataset, rules: list[Rule], overlap: float) -> int:
    """The first row that today's record may change, at which an MV or CV is good."""
    # A late sample bends the line that leads to it, as far back as a line may be long.
    longest = max((rule.max_gap for rule in rules if rule.max_gap is not None), default=0.0)
    row = dataset.rows - 1 - math.ceil((overlap + longest) / dataset.step)
    led = [c for c, name in enumerate(dataset.columns) if plant.tags[name].role in (Role.MV, Role.CV)]
    good = np.flatnonzero((dataset.good_fraction[: max(row, 0) + 1, led] > 0).any(axis=1))
    return int(good[-1]) if len(good) else 0


def _manifest(dataset: Dataset, fresh: Dataset, row: int) -> dict[str, Any]:
    old, new = dataset.manifest, fresh.manifest
    began = dataset.start + timedelta(seconds=row * dataset.step)
    return {
        **old,
        "sources": {**old.get("sources", {}), **new["sources"]},
        "report": new["report"],
        "created": new["created"],
        "updated_from": began.isoformat(),
    }
