"""Plants that nobody here wrote, each in its own package and judged by that package's own figure.

`--only PART` runs one part anew and takes the others from the stored whole run, `experiments/results/peers.json`.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments import pcgym_peer, results, tennessee
from experiments.contract import Outcome, run_experiment

PARTS: Mapping[str, Callable[[bool], dict[str, dict[str, Any]]]] = {
    "pcgym": pcgym_peer.results,
    "tep": tennessee.results,
}
SEEDS = (pcgym_peer.SEED, *tennessee.TRIAL_SEEDS)


def study(quick: bool, only: str | None = None) -> Outcome:
    """pcgym's tasks and the Tennessee Eastman process under advice that was learned from a mediocre log."""
    found = {} if only is None else dict(results.stored("peers"))
    for part, run in PARTS.items():
        if only in (None, part):
            found |= run(quick)
    values = {
        "pcgym_cstr_return": found.get("cstr", {}).get("advice"),
        "pcgym_four_tank_return": found.get("four_tank", {}).get("advice"),
        "tep_cost_per_hour": found.get("tennessee_eastman", {}).get("cost_per_hour"),
    }
    lines = [*pcgym_peer.lines(found), "", *tennessee.lines(found)]
    return Outcome(values=values, results=found, seeds=SEEDS, lines=lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The study's command."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--only", choices=PARTS)
    mine, rest = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    whole = functools.update_wrapper(functools.partial(study, only=mine.only), study)
    return run_experiment("peers", whole, rest)


if __name__ == "__main__":
    raise SystemExit(main())
