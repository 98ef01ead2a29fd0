"""When a general solver counts as a peer, and how much slower than advice it then is.

A peer is at the same optimum where the plan it ended with costs within 0.1 % of ours, by our merit, and for no other
reason. Its time is that until its iterates came this near and stayed: what it takes beyond is its own tolerance. One
that ran out of time elsewhere has no time; that it had so many seconds is a lower bound, and named so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

SAME = 1e-3
"""Share of our merit by which the cost of the same optimum may differ [-]."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One solve.

    Attributes:
        trace: CPU seconds, and merit over ours less 1, of each iterate; empty where the solver does not show them.
        seconds: CPU time to its end, without building the program.
        excess: Merit of its plan over ours, less 1.
        success: By its own word.
        ran_out_of_time: It was ended by its patience.
        iterations: Made; -1 where it was ended from outside.
        build_seconds: CPU time to build the program and its derivatives.
    """

    trace: Sequence[tuple[float, float]]
    seconds: float
    excess: float
    success: bool
    ran_out_of_time: bool
    iterations: int
    build_seconds: float

    @property
    def same_optimum(self) -> bool:
        """Whether its plan costs what ours does."""
        return bool(abs(self.excess) <= SAME)

    @property
    def reached(self) -> float | None:
        """CPU seconds after which its iterates stayed at the same optimum; None where it did not end there."""
        if not self.same_optimum:
            return None
        found = self.seconds
        for seconds, excess in reversed(self.trace):
            if not abs(excess) <= SAME:
                break
            found = seconds
        return found

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def judged(runs: Sequence[Run]) -> dict[str, Any]:
    """What a peer's runs on several ticks come to; at the same optimum only where all of them are."""
    same = bool(runs) and all(run.same_optimum for run in runs)
    reached = [run.reached for run in runs if run.reached is not None]
    return {
        "same_optimum": same,
        "seconds": float(np.median(reached)) if same else None,
        "seconds_to_its_end": float(np.median([run.seconds for run in runs])),
        "ran_out_of_time": any(run.ran_out_of_time for run in runs),
        "success": all(run.success for run in runs),
        "excess_over_ours": [run.excess for run in runs],
        "iterations": [run.iterations for run in runs],
        "build_seconds": float(np.median([run.build_seconds for run in runs])),
    }


def speed_over(peers: Sequence[dict[str, Any]], median: float) -> dict[str, float | None]:
    """How many times the `median` seconds of ours the fastest peer takes.

    Returns:
        `times`: of the fastest at the same optimum; None where there is none, or where one that ran out of time had
        less than that and might have been faster. `at_least`: what all of them, those out of time too, take at least.
    """
    reached = min((peer["seconds"] for peer in peers if peer["same_optimum"]), default=None)
    open_ends = [p["seconds_to_its_end"] for p in peers if p["ran_out_of_time"] and not p["same_optimum"]]
    least = min([*open_ends, *([reached] if reached is not None else [])], default=None)
    return {
        "times": reached / median if reached is not None and reached == least else None,
        "at_least": least / median if least is not None else None,
    }
