"""What every experiment prints, and how it is called: `python -m experiments.NAME [--json] [--quick] [--out DIR]`.

An experiment is a function from `quick` to an `Outcome`. Everything else is here: the command line, the claims with
their bounds, the clock, the environment, the JSON object, the readable table, and where the figures go.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from procmodel.errors import InputError, ProcmodelError
from procmodel.evaluation.claims import Claim, Sense
from procmodel.evaluation.plain import plain

BOUNDS: Mapping[str, Mapping[str, tuple[Sense, float]]] = {
    "conditioning": {
        "speed_over_pandas": (">=", 10.0),
        "speed_over_group_by_dynamic": (">=", 3.0),
        "time_over_scan": ("<=", 1.5),
        "peak_memory_gb": ("<=", 1.0),
        "memory_growth_25m_to_100m": ("<=", 1.15),
    },
    "export_fuzz": {
        "tracebacks": ("<=", 0.0),
        "hangs": ("<=", 0.0),
        "values_not_in_the_file": ("<=", 0.0),
    },
    "objectives": {"default_over_best_baseline_120": ("<=", 0.8)},
    "gains": {
        "sign_share_undeclared": (">=", 0.9),
        "sign_share_declared": (">=", 1.0),
        "mean_gain_error_undeclared": ("<=", 0.15),
        "interventional_error_over_best_linear_120": ("<=", 0.8),
    },
    "identifiability": {"two_way_r2": (">=", 0.95)},
    "surprise": {"tep_mean_detection": (">=", 0.70)},
    "public_benchmarks": {
        "cascaded_tanks_rmse": ("<=", 0.396),
        "mgt_rmse_ex_4": ("<=", 100.0),
        "mgt_rmse_ex_22": ("<=", 170.0),
    },
    "training_speed": {"share_of_preloaded": (">=", 0.9), "speed_over_dataloader": (">=", 5.0)},
    "advice_latency": {
        "speed_over_ipopt_mx": (">=", 500.0),
        "speed_over_best_peer": (">=", 10.0),
        "time_over_floor": ("<=", 4.0),
    },
    "true_model_race": {"p95_over_ipopt_true": ("<", 1.0), "cost_over_oracle": ("<=", 1.02)},
    "batch_device": {"worst_merit_off_serial": ("<=", 1e-3)},
    "batch_advice": {"year_of_minutes_seconds": ("<=", 3600.0)},
    "heads": {"coverage_shortfall": ("<=", 0.02)},
    "faulted_ticks": {"unsafe_advice": ("<=", 0.0), "unexplained_holds": ("<=", 0.0)},
    "backtest_coverage": {"truth_covered_share": (">=", 0.9)},
    "closed_loop": {
        "worst_cost_over_oracle": ("<=", 1.05),
        "beats_linear_mpc_share": (">=", 1.0),
        "hold_share": ("<=", 0.01),
        "worst_rank_1_above_oracle": ("<=", 0.01),
    },
    "peers": {
        "pcgym_cstr_return": (">=", -60.0),
        "pcgym_four_tank_return": (">=", -2.5),
        "tep_cost_per_hour": ("<=", 128.7),
    },
}
"""By experiment and claim: the sense and the bound that the project has set itself."""

LIBRARIES = ("numpy", "scipy", "torch", "casadi", "polars", "pyarrow", "numba")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an experiment found.

    Attributes:
        values: Value by claim name; None where it could not be found, which misses the claim.
        results: The whole table behind the claims; JSON values.
        seeds: Of everything drawn at random.
        lines: The same for reading, a line each.
        figures: Matplotlib figures by file name without its ending.
    """

    values: Mapping[str, float | None]
    results: Mapping[str, Any]
    seeds: Sequence[int]
    lines: Sequence[str] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


def _memory_gb() -> float | None:
    """Of this machine; None where nobody can tell."""
    try:
        import psutil
    except ImportError:  # on a machine that was lent for its graphics card
        return None
    return float(round(psutil.virtual_memory().total / 2**30, 1))


def environment() -> dict[str, Any]:
    """What the figures depend on besides the code: processor, threads, memory, versions. No name of the machine."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "memory_gb": _memory_gb(),
        **versions,
    }


def run_experiment(name: str, study: Callable[[bool], Outcome], argv: Sequence[str] | None = None) -> int:
    """Runs one experiment as a command.

    Args:
        name: Key of `BOUNDS`, or a name that claims nothing.
        study: Called with whether `--quick` was given.
        argv: Instead of the command line's.

    Returns:
        Exit code: 0, 1 where a claim is missed, or 2 where something that it needs is not there.
    """
    arguments = _arguments(name, study.__doc__ or "", argv)
    began = time.perf_counter()
    try:
        outcome = study(arguments.quick)
    except ProcmodelError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    report = report_of(name, outcome, seconds=time.perf_counter() - began, quick=arguments.quick)
    _write(arguments.out / name, report, outcome, keep=not arguments.quick)
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        print("\n".join([*outcome.lines, "", *_claim_lines(report)]))
    return 0 if all(each["met"] for each in report["claims"]) else 1


def chosen_of(option: str, wish: str, known: Sequence[str]) -> tuple[str, ...]:
    """What an option asks for, by names with commas between them; nothing said means all that there is.

    Raises:
        InputError: A name is not known.
    """
    names = tuple(filter(None, wish.split(",")))
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"{option} got {', '.join(unknown)}; there are {', '.join(known)}.")
    return names or tuple(known)


def report_of(name: str, outcome: Outcome, *, seconds: float, quick: bool) -> dict[str, Any]:
    """The JSON object of one run. A quick run says so and claims nothing."""
    bounds = {} if quick else BOUNDS.get(name, {})
    claims = [
        Claim(claim=claim, value=in_json(outcome.values.get(claim)), sense=sense, bound=bound)
        for claim, (sense, bound) in bounds.items()
    ]
    return {
        "experiment": name,
        **({"quick": True} if quick else {}),
        "claims": [each.to_dict() for each in claims],
        "results": in_json(outcome.results),
        "seeds": list(outcome.seeds),
        "seconds": round(seconds, 2),
        "environment": environment(),
    }


def in_json(value: Any) -> Any:
    """The same with plain numbers and lists throughout; what is not finite is None."""
    if isinstance(value, Mapping):
        return {str(key): in_json(each) for key, each in value.items()}
    if isinstance(value, (str, bool, int, type(None))):
        return value
    if isinstance(value, Sequence):
        return [in_json(each) for each in value]
    if hasattr(value, "tolist"):  # an array, a tensor or a scalar of one
        return in_json(value.tolist())
    return plain(value)


def _arguments(name: str, purpose: str, argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m experiments.{name}", description=purpose)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout and nothing else")
    parser.add_argument("--quick", action="store_true", help="a shorter form that claims nothing")
    parser.add_argument("--out", type=Path, default=Path("runs/experiments"), help="folder of figures and results")
    return parser.parse_args(argv)


def _write(folder: Path, report: Mapping[str, Any], outcome: Outcome, *, keep: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in outcome.figures.items():
        figure.savefig(folder / f"{name}.png", dpi=110)
        print(f"Picture: {folder / name}.png", file=sys.stderr)
    (folder / ("result.json" if keep else "quick.json")).write_text(json.dumps(report, indent=2) + "\n")


def _claim_lines(report: Mapping[str, Any]) -> list[str]:
    if not report["claims"]:
        return ["Quick form: claims nothing." if report.get("quick") else "Claims nothing."]
    return [
        f"{'met   ' if each['met'] else 'MISSED'} {each['claim']} = {each['value']} ({each['sense']} {each['bound']})"
        for each in report["claims"]
    ]
