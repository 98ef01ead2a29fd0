"""The record in a few numbers, for the report and for `--json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from procmodel.data.dataset import Dataset
from procmodel.data.excitation import Excitation
from procmodel.data.health import tag_health
from procmodel.data.plant_test import PlantTest
from procmodel.evaluation.plain import plain
from procmodel.plant import Plant


def record_facts(dataset: Dataset, plant: Plant) -> dict[str, Any]:
    """Rows, length, and per tag how much of it was good, its gaps and its range."""
    times = dataset.times().astype("datetime64[s]")
    return {
        "rows": dataset.rows,
        "step_s": dataset.step,
        "first": f"{times[0]}Z" if dataset.rows else None,
        "last": f"{times[-1]}Z" if dataset.rows else None,
        "stretches": len(dataset.stretches),
        "tags": {
            health.name: {
                "role": str(plant.tags[health.name].role),
                "unit": plant.tags[health.name].unit,
                "good_percent": 100 * health.good,
                "gaps": health.gaps,
                "longest_gap_s": health.longest_gap,
                "stuck": len(health.stuck),
                "least": plain(health.low),
                "most": plain(health.high),
                "interval_s": health.interval,
            }
            for health in tag_health(dataset, plant)
        },
    }


def excitation_facts(audit: Mapping[str, Excitation], tests: Mapping[str, PlantTest] | None = None) -> dict[str, Any]:
    """Per MV: how much of its moves was its own, whether they answer the CVs, and a test where one is due."""
    return {
        mv: {
            "own_percent": 100 * found.own,
            "moved_percent": 100 * found.moved,
            "answers": [cv for cv, answer in found.answers.items() if answer.gain > 0 and found.moves_answer_cvs],
            "moves_answer_cvs": bool(found.moves_answer_cvs),
            "plant_test": str(tests[mv]) if tests and mv in tests else None,
        }
        for mv, found in audit.items()
    }
