"""What can be said of a record before any training: gaps, stuck sensors, and whether the moves were the operator's own.

    python examples/look_at_a_record.py

The record here is a data frame made up on the spot: a valve that an operator moves by hand, another that a controller
moves to hold a level, and the level.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from connectors.memory import MemoryHistorian
from procmodel.data import Parts, condition, excitation_audit, tag_health
from procmodel.plant import Plant

PLANT = Plant.model_validate(
    {
        "name": "two-valves",
        "sample_time": "10 s",
        "tags": {
            "FC1.SP": {"role": "MV", "unit": "%", "limits": [0, 100]},
            "FC2.SP": {"role": "MV", "unit": "%", "limits": [0, 100]},
            "LI1.PV": {"role": "CV", "unit": "cm", "limits": {"high": {"at": 80, "rank": 1}}, "max_gap": "2 min"},
        },
    }
)


def made_up(rows: int = 5000, seed: int = 0) -> pl.DataFrame:
    """A wide frame; the level is lost for 20 min."""
    rng = np.random.default_rng(seed)
    by_hand = 50 + np.cumsum(rng.normal(0, 3, rows) * (rng.random(rows) < 0.02))
    level, controlled = np.full(rows, 50.0), np.full(rows, 50.0)
    for t in range(1, rows):
        controlled[t] = 50 + 2.0 * (level[t - 1] - 50)
        flow = by_hand[t] - controlled[t] + rng.normal(0, 5)
        level[t] = level[t - 1] + 0.02 * flow
    seen = np.where((np.arange(rows) >= 3000) & (np.arange(rows) < 3120), np.nan, level + rng.normal(0, 0.02, rows))
    time = np.datetime64("2026-03-01T00:00:00", "ms") + np.arange(rows) * np.timedelta64(10_000, "ms")
    return pl.DataFrame({"time": time, "FC1.SP": by_hand, "FC2.SP": controlled, "LI1.PV": seen})


def main() -> None:
    dataset = condition(PLANT, MemoryHistorian(made_up(), PLANT.tags, timezone="UTC"))
    for tag in tag_health(dataset, PLANT):
        print(f"{tag.name}: good {tag.good:.1%}, longest gap {tag.longest_gap:g} s, {tag.low:.1f} to {tag.high:.1f}")
    everything = Parts(train=dataset.stretches, validation=(), test=())
    for mv, found in excitation_audit(dataset, PLANT, everything).items():
        words = "answers the CVs: feedback" if found.moves_answer_cvs else "moves for reasons of its own"
        print(f"{mv}: {found.own:.0%} of its moves are its own; it {words}")


if __name__ == "__main__":
    main()
