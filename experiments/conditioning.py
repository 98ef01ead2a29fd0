"""A hundred million raw samples onto a 10 s grid, against the peers and the plain scan of the file.

Every way runs in a process of its own, which tells its peak memory; what is compared is run in turn, and medians count.
The peers take the plain mean of the good samples in a cell, which is less than is asked: no time weights, no gaps. Only
"weighted", pandas again, comes to the same averages. They run on a size that their memory holds; rates are compared.
The record and what is left out are told in `experiments.long_record` and `experiments.conditioning_run`.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from experiments.contract import Outcome, run_experiment
from experiments.long_record import SEED, TAGS, made

FULL, QUARTER, PEERS = 100_000_000, 25_000_000, 10_000_000
REPEATS = 3


def study(quick: bool) -> Outcome:
    """Conditions 100 M samples out of core; compares with pandas, polars, DuckDB and the plain scan."""
    sizes = (2_500_000, 2_000_000, 2_000_000) if quick else (FULL, QUARTER, PEERS)
    full, quarter, shared = (made(rows) for rows in sizes)
    repeats = 1 if quick else REPEATS
    large = _in_turn(("scan", "groups", "ours"), full, 1 if quick else REPEATS)
    small = _in_turn(("ours",), quarter, 1)
    peers = _in_turn(("ours", "scan", "pandas", "weighted", "polars", "duckdb"), shared, repeats)
    table = {
        "full": _summary(large, sizes[0]),
        "quarter": _summary(small, sizes[1]),
        "peers": _summary(peers, sizes[2]),
    }
    rate = {way: each["rows_per_s"] for way, each in table["peers"].items()}
    peak = {name: table[name]["ours"]["peak_gb"] for name in ("full", "quarter")}
    values = {
        "speed_over_pandas": rate["ours"] / rate["pandas"],
        "speed_over_group_by_dynamic": rate["ours"] / rate["polars"],
        "time_over_scan": table["full"]["ours"]["seconds"] / table["full"]["scan"]["seconds"],
        "peak_memory_gb": peak["full"],
        "memory_growth_25m_to_100m": peak["full"] / peak["quarter"],
    }
    results = {
        "tags": TAGS,
        "bytes_per_row": full.stat().st_size / sizes[0],
        "speed_over_pandas_to_the_same_averages": rate["ours"] / rate["weighted"],
        "time_over_quickest_scan": table["full"]["ours"]["seconds"] / table["full"]["groups"]["seconds"],
        **table,
    }
    return Outcome(values=values, results=results, seeds=[SEED], lines=_lines(table))


def _in_turn(ways: tuple[str, ...], file: Path, repeats: int) -> dict[str, list[dict[str, Any]]]:
    """Runs of each way, taken in turn so that a busy minute hits all of them."""
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way in ways:
            command = [sys.executable, "-m", "experiments.conditioning_run", way, str(file)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[way].append(json.loads(done.stdout.splitlines()[-1]))
    return found


def _summary(runs: dict[str, list[dict[str, Any]]], rows: int) -> dict[str, dict[str, Any]]:
    found = {}
    for way, each in runs.items():
        seconds = statistics.median(run["seconds"] for run in each)
        found[way] = {
            "rows": rows,
            "rows_out": each[0]["rows_out"],
            "seconds": seconds,
            "cpu_seconds": statistics.median(run["cpu_seconds"] for run in each),
            "all_seconds": [round(run["seconds"], 3) for run in each],
            "rows_per_s": rows / seconds,
            "peak_gb": max(run["peak_bytes"] for run in each) / 1e9,
        }
    return found


def _lines(table: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    lines = [f"{'':<8} {'':<8} {'samples':>12} {'seconds':>9} {'of a core':>9} {'rows/s':>12} {'peak GB':>8}"]
    for name, ways in table.items():
        for way, each in ways.items():
            lines.append(
                f"{name:<8} {way:<8} {each['rows']:>12,} {each['seconds']:>9.2f} {each['cpu_seconds']:>9.2f} "
                f"{each['rows_per_s']:>12,.0f} "
                f"{each['peak_gb']:>8.2f}"
            )
    return lines


if __name__ == "__main__":
    sys.exit(run_experiment("conditioning", study))
