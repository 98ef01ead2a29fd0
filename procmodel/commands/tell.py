"""What the commands print: one JSON object, or a few lines for people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from procmodel.advice import Advice


def print_json(value: Mapping[str, Any]) -> None:
    print(json.dumps(plain(value), indent=2, allow_nan=False))


def plain(value: Any) -> Any:
    """JSON has no NaN, and knows no array."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, datetime | Path) else value


def show(advice: Advice, zone: str | None) -> None:
    from rich.console import Console

    from procmodel.advice.show import render

    console = Console()
    # The tables need room; where no terminal sets the width, they take what they need.
    render(advice, console if console.is_terminal else Console(width=120), zone=ZoneInfo(zone or "UTC"))


def tell_demo(results: Mapping[str, Any]) -> None:
    tell_open_loop(results["open_loop"])
    gains, loop = results["gains"], results["closed_loop"]
    print(f"\nStep responses: {gains['right']} of {gains['pairs']} MV-CV pairs have the true sign.")
    unit = loop["trial"]["cost_unit"]
    print(f"\nClosed loop, mean of {len(loop['trial']['seeds'])} paired runs:")
    for name in ("advice", "operator", "oracle", "hold"):
        each = loop[name]
        beyond = 100 * each["violation"].get("1", {"share": 0.0})["share"]
        print(f"  {name:<9} cost {each['cost']:10.5g} {unit}   rank-1 limits broken {beyond:5.2f} % of the time   "
              f"holds {each['holds']} of {each['decisions']}")  # fmt: skip
    tell_claims(results["claims"])
    print()


def tell_open_loop(open_loop: Mapping[str, Any]) -> None:
    print("\nForecast error on unseen days, divided by the CV's standard deviation:")
    for cv, entry in open_loop.items():
        words = []
        for who in ("model", "arx", "persistence"):
            steps = entry.get(who, {})
            words.append(f"{who} " + " ".join(f"{steps[k]['over_std']:.3f}" for k in steps))
        print(f"  {cv:<12} after {'/'.join(entry['model'])} rows: " + "   ".join(words))


def tell_claims(claims: list[Mapping[str, Any]]) -> None:
    for claim in claims:
        value = "-" if claim["value"] is None else f"{claim['value']:.4g}"
        print(
            f"  {'met ' if claim['met'] else 'MISSED'} {claim['claim']} = {value} ({claim['sense']} {claim['bound']:g})"
        )
