"""Results of closed-loop trials, and their figures of merit.

Judged by what truly happened, not by what the instruments showed.

Shapes: T rows of the trial, C tags, U MVs, V DVs, Y CVs, G constraint heads, K decisions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from procmodel.evaluation.limits import TOLERANCE, soft_limits, traces
from procmodel.metrics import LoopFigures, ratio_interval
from procmodel.simulation import ReferencePlant

Array = np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """One controller through one episode.

    Attributes:
        rows: Measured, [T, C].
        y, u, d, margins: True CVs, held MVs, true DVs, true margins.
        setpoints: [T, Y], NaN where there is none.
        cost: True stage cost, [T].
        held: Whether the decision behind each row was a hold, [T].
        holds: Row and reason of each hold.
        seconds, cpu_seconds: Time of each decision, by the clock and of the processor, [K].
        figures: Cost, violation, travel.
    """

    controller: str
    seed: int
    rows: Array
    y: Array
    u: Array
    d: Array
    margins: Array
    setpoints: Array
    cost: Array
    held: Array
    holds: tuple[tuple[int, str], ...]
    seconds: Array
    cpu_seconds: Array
    figures: LoopFigures


@dataclass(frozen=True, kw_only=True, eq=False)
class ClosedLoop:
    """All controllers over all seeds.

    Attributes:
        reference: The plant.
        seeds: In order.
        rows: T, of each trial; `warmup` rows lie before.
        trials: By controller, in the order of the seeds.
    """

    reference: ReferencePlant
    seeds: tuple[int, ...]
    rows: int
    warmup: int
    trials: dict[str, tuple[Trial, ...]]

    @property
    def cost_unit(self) -> str:
        """Of a stage cost; the reference plants are priced in dollars."""
        return "$/h" if self.reference.hourly_cost is not None else "-"

    def cost(self, controller: str) -> Array:
        """Mean cost of each seed."""
        return np.array([trial.figures.cost for trial in self.trials[controller]])

    def to_dict(self) -> dict[str, Any]:
        """One entry per controller, and `trial` with what they share."""
        controllers = {name: self._summary(name) for name in self.trials}
        return {
            **controllers,
            "trial": {
                "plant": self.reference.name,
                "seeds": list(self.seeds),
                "rows": self.rows,
                "warmup": self.warmup,
                "sample_time_s": self.reference.plant.sample_time,
                "cost_unit": self.cost_unit,
                "violation_tolerance_percent": 100 * TOLERANCE,
            },
        }

    def _summary(self, name: str) -> dict[str, Any]:
        trials, cost = self.trials[name], self.cost(name)
        reasons = Counter(reason for trial in trials for _, reason in trial.holds)
        travel = np.mean([trial.figures.travel for trial in trials], axis=0)
        return {
            "cost": float(cost.mean()),
            "cost_std": float(cost.std(ddof=1)) if len(cost) > 1 else 0.0,
            "cost_by_seed": cost.tolist(),
            "cost_over": {other: self._ratio(name, other) for other in self.trials if other != name},
            "violation": self._violation(trials),
            "limits": self._limits(trials),
            "travel_percent_per_row": dict(zip(self.reference.plant.mvs, (100 * travel).tolist(), strict=True)),
            "holds": sum(len(trial.holds) for trial in trials),
            "hold_reasons": dict(reasons),
            "decisions": sum(len(trial.seconds) for trial in trials),
            "solve_seconds": _percentiles([trial.seconds for trial in trials]),
            "solve_cpu_seconds": _percentiles([trial.cpu_seconds for trial in trials]),
        }

    def _ratio(self, name: str, other: str) -> dict[str, float] | None:
        """Paired ratio of costs with its 95 % interval; None where a cost is not above zero."""
        ours, theirs = self.cost(name), self.cost(other)
        if not (ours > 0).all() or not (theirs > 0).all():
            return None
        interval = ratio_interval(ours, theirs)
        return {"ratio": interval.ratio, "low": interval.low, "high": interval.high}

    def _violation(self, trials: Sequence[Trial]) -> dict[str, dict[str, float]]:
        """By rank: share of rows beyond a limit, and the excess as a mean over all rows [% of the span]."""
        seconds = self.rows * self.reference.plant.sample_time
        ranks = sorted({rank for trial in trials for rank in trial.figures.violated})
        return {
            str(rank): {
                "share": float(np.mean([trial.figures.violated[rank] for trial in trials])),
                "mean_excess_percent": float(np.mean([100 * t.figures.violation[rank] / seconds for t in trials])),
            }
            for rank in ranks
        }

    def _limits(self, trials: Sequence[Trial]) -> dict[str, dict[str, Any]]:
        """Per limit: share of rows beyond it, mean over those and largest excess in its own unit."""
        out = {}
        for i, limit in enumerate(soft_limits(self.reference)):
            beyond = np.concatenate([traces(self.reference, t.y, t.margins)[i].excess for t in trials])
            over = beyond[beyond > 0]
            out[limit.name] = {
                "rank": limit.rank,
                "unit": limit.unit,
                "share": float((beyond > 0).mean()),
                "mean_excess": float(over.mean()) if over.size else 0.0,
                "largest_excess": float(over.max()) if over.size else 0.0,
            }
        return out


def _percentiles(seconds: Sequence[Array]) -> dict[str, float]:
    all_K = np.concatenate(seconds)
    found = np.percentile(all_K, [50, 95, 99]) if all_K.size else np.zeros(3)
    return dict(zip(("p50", "p95", "p99"), found.tolist(), strict=True))
