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


def demo(results: Mapping[str, Any]) -> None:
    open_loop(results["open_loop"])
    gains, loop = results["gains"], results["closed_loop"]
    print(f"\nStep responses: {gains['right']} of {gains['pairs']} MV-CV pairs have the true sign.")
    unit = loop["trial"]["cost_unit"]
    print(f"\nClosed loop, mean of {len(loop['trial']['seeds'])} paired runs:")
    for name in ("advice", "operator", "oracle", "hold"):
        each = loop[name]
        beyond = 100 * each["violation"].get("1", {"share": 0.0})["share"]
        print(f"  {name:<9} cost {each['cost']:10.5g} {unit}   rank-1 limits broken {beyond:5.2f} % of the time   "
              f"holds {each['holds']} of {each['decisions']}")  # fmt: skip
    claims(results["claims"])
    print()


def open_loop(found: Mapping[str, Any]) -> None:
    print("\nForecast error on unseen days, divided by the CV's standard deviation:")
    for cv, entry in found.items():
        words = []
        for who in ("model", "arx", "persistence"):
            steps = entry.get(who, {})
            words.append(f"{who} " + " ".join(f"{steps[k]['over_std']:.3f}" for k in steps))
        print(f"  {cv:<12} after {'/'.join(entry['model'])} rows: " + "   ".join(words))


def claims(judged: list[Mapping[str, Any]]) -> None:
    for claim in judged:
        value = "-" if claim["value"] is None else f"{claim['value']:.4g}"
        print(
            f"  {'met ' if claim['met'] else 'MISSED'} {claim['claim']} = {value} ({claim['sense']} {claim['bound']:g})"
        )


def evaluation(results: Mapping[str, Any]) -> None:
    open_loop(results["open_loop"])
    for name, run_of in results.get("free_run", {}).items():
        print(f"Free run {name}: RMSE {run_of['rmse']:.4g} {run_of['unit']} (spread {run_of['spread']:.2g})")
    gate = results["gains"]["gate"]
    print("Declared signs: " + ("all found." if gate["passed"] else "; ".join(gate["reasons"])))
    if tested := results.get("backtest"):
        backtest(tested)
    claims(results["claims"])
    for row in (results.get("comparison") or {}).get("table", ()):
        this, other = ("-" if row[key] is None else f"{row[key]:.4g}" for key in ("this", "other"))
        better = f"  {row['better']} is better" if row["better"] else ""
        print(f"  {row['figure']:<45} {this:>9}  against {other:>9} {row['unit']}{better}")
    champion = results["champion"]
    print(f"Run {results['run'][:8]}, {champion['reason']}.")
    print(f"Report: {results['report']}")


def backtest(tested: Mapping[str, Any]) -> None:
    from procmodel.plant.words import many

    share, ticks, benefit = tested["agreement"]["share"], tested["ticks"], tested["benefit"]
    words = f"Backtest: the operator did the same at {100 * share:.0f} % of {many(ticks, 'tick')}"
    if benefit is not None:
        words += (
            f"; following it is judged worth {benefit['mean']:.3g} {tested['cost_unit']} "
            f"({100 * benefit['confidence']:.0f} % interval {benefit['low']:.3g} to {benefit['high']:.3g}) "
            f"of {tested['cost_recorded']:.4g}"
        )
    print(f"{words}. {tested['caveat']}")


def training(facts: Mapping[str, Any]) -> None:
    for mv, audit in facts["excitation"].items():
        answers = "answer the CVs (feedback)" if audit["moves_answer_cvs"] else "are the operators' own"
        print(f"{mv}: its recorded moves {answers}.")
        if audit["plant_test"]:
            print(f"  The record does not show all it does. A test would: {audit['plant_test']}.")
    for cv, root in facts["root_scales"].items():
        print(f"{cv} is learned as the root of its distance from {root['distance_from']:g} {root['unit']}.")
    for member in facts["members"]:
        use = member["action_use"]
        print(
            f"Seed {member['seed']}: CV error {use['real']:.3f} of a standard deviation over the horizon, "
            f"{use['shuffled']:.3f} with shuffled moves; effective rank {member['effective_rank']:.1f}."
        )
    print(f"Model: {facts['model']}")


def ingest(facts: Mapping[str, Any]) -> None:
    from procmodel.plant.words import many

    tags = len(facts["record"]["tags"])
    print(f"{many(facts['rows'], 'row')} of {facts['sample_time_s']:g} s from {facts['start']}, {many(tags, 'tag')}.")
    print(f"Campaigns: {', '.join(facts['campaigns'])}\nDataset: {facts['dataset']}")


def check(results: Mapping[str, Any]) -> None:
    from procmodel.plant.words import many

    for finding in results["findings"]:
        when = f" ({finding['start'][:19]})" if finding["start"] else ""
        print(f"{finding['fault']:<15} {finding['tag']:<14} {finding['text']}{when}")
    print(f"{many(len(results['findings']), 'finding')} in {many(results['record']['rows'], 'row')}.")
    for pair, answer in (results["response"] or {}).items():
        print(f"{pair}: {'shows' if answer['f'] > 5 else 'does not show'} in the record (F = {answer['f']:.3g})")
    if results["reason"]:
        print(f"Excitation: {results['reason']}")
    print(f"Page: {results['page']}")


def head(name: str, facts: Mapping[str, Any]) -> None:
    from procmodel.plant.words import many

    if facts["campaigns"] > 1:
        judged = f"judged on labels of {facts['campaigns']} campaigns, each left out whole"
    else:
        judged = "judged on labels left out in blocks of time: of another campaign nothing is known, all are of one"
    classes = facts["form"].startswith(("logistic on ", "hinge on "))
    print(f"{name}: {many(facts['labels'], 'label')}, {facts['form']}; {judged}")
    wrong, right = ("misjudged share", "2 AUC - 1") if classes else ("error", "share of variance explained")
    unit = "" if classes else f" {facts['unit']}"
    print(f"{wrong} {facts['error']:.3g}{unit}, skill {facts['skill']:.2f} ({right})")
    if before := facts["replaced"]:
        print(f"before: {many(before['labels'], 'label')}, {wrong} {before['error']:.3g}{unit}")
    by_row = facts["allowance_by_row"]
    rows = sorted({row for row in (1, 5, 10, 30, len(by_row)) if row <= len(by_row)})
    print(f"the {facts['confidence']:.0%} lower bound deducts{f' [{unit.strip()}]' if unit else ''}:")
    print("rows ahead  " + "".join(f"{row:>8}" for row in (0, *rows)))
    print(
        "deducted    " + "".join(f"{value:>8.3g}" for value in (facts["allowance_now"], *(by_row[r - 1] for r in rows)))
    )
    for remark in facts["remarks"]:
        print(remark)
    print(f"Model: {facts['model']}")
