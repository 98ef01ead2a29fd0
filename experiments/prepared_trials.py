"""Is advice as good where its derivatives were taken before its tick, and how much sooner is it there?

Closed loops of the evaporator with the model of `closed_loop.py`, trained here where there is none, on each seed with
`Advisor.prepare` after every tick and without. Seconds of CPU are those of advice and of preparation apart.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.closed_loop import DECISIONS, HOME, RECORD_ROWS, recorded_model
from experiments.contract import Outcome, run_experiment
from procmodel.advisor import advisor_of
from procmodel.control.plan import Plan
from procmodel.control.prepared import Prepared
from procmodel.evaluation.closed_loop import run_trials
from procmodel.evaluation.controllers import AdviceControl
from procmodel.metrics import ratio_interval
from procmodel.runtime.loop import Advisor
from procmodel.simulation import ReferencePlant

NAME = "evaporator"
SEEDS, QUICK_SEEDS = tuple(range(1001, 1009)), (1001,)


class Timed:
    """An advisor that notes the CPU seconds of planning and of preparing."""

    def __init__(self, advisor: Advisor) -> None:
        self._advisor, self.planned, self.spent = advisor, list[float](), list[float]()
        self.used = 0

    def advise(self, *given: Any, prepared: Prepared | None = None, **asked: Any) -> Any:
        began = time.process_time()
        found = self._advisor.advise(*given, prepared=prepared, **asked)
        self.planned.append(time.process_time() - began)
        self.used += prepared is not None
        return found

    def prepare(self, rows_RC: np.ndarray, plan: Plan, **asked: Any) -> Prepared | None:
        began = time.process_time()
        found = self._advisor.prepare(rows_RC, plan, **asked)
        self.spent.append(time.process_time() - began)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._advisor, name)


def study(quick: bool) -> Outcome:
    """The evaporator's closed loop with advice prepared between two ticks, and without."""
    seeds = QUICK_SEEDS if quick else SEEDS
    reference, plant, artifact = recorded_model(NAME, HOME / NAME, RECORD_ROWS[NAME])
    advisor = advisor_of(plant, artifact)
    found = {way: _trials(reference, advisor, way == "prepared", seeds) for way in ("plain", "prepared")}
    plain, prepared = (np.array(found[way]["costs"]) for way in ("plain", "prepared"))
    results: dict[str, Any] = {**found, "cost_ratio": float(prepared.mean() / plain.mean())}
    if len(seeds) > 1:
        interval = ratio_interval(prepared, plain)
        results["cost_ratio_interval"] = [interval.low, interval.high]
    lines = [
        f"{way:9} cost {np.mean(each['costs']):.6g}  advice {1e3 * each['advice_p50']:.1f} ms CPU (p50), "
        f"{1e3 * each['advice_p95']:.1f} (p95), preparing {1e3 * each['preparing_p50']:.1f}; holds {each['holds']}"
        for way, each in found.items()
    ]
    lines.append(f"cost of prepared over plain: {results['cost_ratio']:.5f} {results.get('cost_ratio_interval', '')}")
    return Outcome(values={}, results=results, seeds=seeds, lines=lines)


def _trials(reference: ReferencePlant, advisor: Advisor, prepares: bool, seeds: tuple[int, ...]) -> Mapping[str, Any]:
    timed: Any = Timed(advisor)
    control, plant = AdviceControl(timed, prepares=prepares), reference.plant
    rows = DECISIONS[NAME] * max(1, round((plant.advice.every or plant.sample_time) / plant.sample_time))
    loop = run_trials(reference, [control], seeds, rows=rows, warmup=control.history)
    trials = loop.trials[control.name]
    print(f"{'prepared' if prepares else 'plain'}: {len(trials)} trials done", file=sys.stderr, flush=True)
    return {
        "costs": [float(trial.cost.mean()) for trial in trials],
        "holds": sum(len(trial.holds) for trial in trials),
        "ticks": len(timed.planned),
        "ticks_prepared": timed.used,
        "advice_p50": float(np.median(timed.planned)),
        "advice_p95": float(np.quantile(timed.planned, 0.95)),
        "preparing_p50": float(np.median(timed.spent)) if timed.spent else 0.0,
    }


if __name__ == "__main__":
    raise SystemExit(run_experiment("prepared_trials", study))
