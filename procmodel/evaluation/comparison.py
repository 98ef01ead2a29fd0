"""The figures by which evaluations are told apart, and two of them side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Results = Mapping[str, Any]
NEAR = 30
"""Row ahead at which forecast errors are compared, or the nearest that was judged."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of an evaluation.

    Attributes:
        better: "lower" or "higher" is better.
    """

    value: float
    unit: str
    better: str


def key_figures(results: Results) -> dict[str, Figure]:
    """By name; what was not found is not there."""
    found: dict[str, Figure] = {}
    for cv, entry in results.get("open_loop", {}).items():
        known = {int(k): error["over_std"] for k, error in entry["model"].items() if error["over_std"] is not None}
        if known:
            row = min(known, key=lambda k: abs(k - NEAR))
            found[f"forecast error of {cv} after {row} rows"] = Figure(value=known[row], unit="spreads", better="lower")
    for name, run in results.get("free_run", {}).items():
        found[f"free-run error on {name}"] = Figure(value=run["rmse"], unit=run["unit"], better="lower")
    if gains := results.get("gains"):
        checked, wrong = gains["gate"]["checked"], len(gains["gate"]["reasons"])
        if checked:
            found["declared signs not found"] = Figure(value=float(wrong), unit=f"of {checked}", better="lower")
    if health := results.get("health"):
        found["unseen rows that surprise it"] = Figure(value=100 * health["surprised_share"], unit="%", better="lower")
    if tested := results.get("backtest"):
        held, agreed = tested["held_while_followed"], tested["agreement"]["share"]
        if held is not None:
            found["ticks held while followed"] = Figure(value=100 * held, unit="%", better="lower")
        found["ticks at which the operator did the same"] = Figure(value=100 * agreed, unit="%", better="higher")
        if tested["benefit"] is not None:
            for key, words in (("mean", "benefit on the record"), ("low", "its lower bound")):
                found[words] = Figure(value=tested["benefit"][key], unit=tested["cost_unit"], better="higher")
    return found


def compare(mine: Results, theirs: Results, *, name: str) -> dict[str, Any]:
    """This evaluation beside another, figure by figure.

    Args:
        name: Of the other.
    """
    ours, others = key_figures(mine), key_figures(theirs)
    table = []
    for figure in dict.fromkeys([*ours, *others]):
        a, b = ours.get(figure), others.get(figure)
        sample = a or b
        assert sample is not None
        better = None
        if a and b and a.value != b.value:
            better = "this" if (a.value < b.value) == (sample.better == "lower") else "other"
        table.append(
            {
                "figure": figure,
                "unit": sample.unit,
                "this": a.value if a else None,
                "other": b.value if b else None,
                "better": better,
            }
        )
    first, second = mine.get("provenance", {}), theirs.get("provenance", {})
    differs = [key for key in ("data", "plant", "model", "code") if first.get(key) != second.get(key)]
    return {"with": name, "differs": differs, "table": table}
