"""`runs`: what was trained and evaluated, newest first, and one of them in full."""

from __future__ import annotations

import webbrowser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from procmodel.commands.tell import print_json
from procmodel.errors import InputError
from procmodel.tracking import Registry, RunFacts

SHOWN = 3
"""Key figures of a run in the table."""


def registries(out: Path | None) -> list[Registry]:
    """The store of a folder, or those of all folders in `runs/`; a server where `MLFLOW_TRACKING_URI` names one.

    Raises:
        InputError: There is none.
    """
    folders = [out] if out is not None else sorted(path.parent for path in Path("runs").glob("*/mlflow.db"))
    found = [each for each in map(Registry, folders) if each.exists]
    if not found and not (server := Registry(Path("runs"))).local:
        return [server]
    if not found:
        raise InputError(
            f"No runs in {out or Path('runs').absolute()}. Train or evaluate first, or name the folder with --out."
        )
    return found if found[0].local else found[:1]


def one_of(runs: Sequence[RunFacts], name: str) -> RunFacts:
    """The run of this id, or whose id begins so.

    Raises:
        InputError: None does, or several.
    """
    found = [run for run in runs if run.id.startswith(name)]
    if len(found) != 1:
        what = f"{len(found)} runs begin with" if found else "No run has the id"
        raise InputError(f"{what} {name!r}. 'procmodel runs' lists them; write more of the id.")
    return found[0]


def runs(name: str | None, out: Path | None, *, as_json: bool, open_report: bool) -> None:
    """Prints the list, or one run."""
    if name is None:
        found = listing(out)
        if as_json:
            print_json({"runs": [to_dict(run) for run in found]})
        else:
            tell_runs(found)
        return
    told, report = detail(out, name)
    (print_json if as_json else tell_run)(told)
    if open_report:
        if report is None:
            raise InputError(f"Run {name} has no report on this machine. Evaluate again, or look at another run.")
        webbrowser.open(report.as_uri())


def listing(out: Path | None) -> list[RunFacts]:
    """All runs that are no part of another, and the evaluations, newest first."""
    runs = [run for registry in registries(out) for run in registry.runs()]
    shown = [run for run in runs if not run.parent or run.kind == "evaluate"]
    return sorted(shown, key=lambda run: run.began.timestamp() if run.began else 0.0, reverse=True)


def detail(out: Path | None, name: str) -> tuple[dict[str, Any], Path | None]:
    """One run with its parts, and its report where this machine has it."""
    for registry in registries(out):
        runs = registry.runs()
        if any(run.id.startswith(name) for run in runs):
            run = one_of(runs, name)
            parts = [
                {"id": each.id, "kind": each.kind, "status": each.status} for each in runs if each.parent == run.id
            ]
            told = {**to_dict(run), "params": dict(run.params), "tags": dict(run.tags), "parts": parts}
            if run.kind != "evaluate":
                return told, None
            results = registry.results(run.id)
            report = Path(results["report"])
            more = {"gates": results["champion"], "backtest": results.get("backtest")}
            return {**told, **more, "report": str(report)}, report if report.is_file() else None
    raise InputError(f"No run has the id {name!r}. 'procmodel runs' lists them.")


def to_dict(run: RunFacts) -> dict[str, Any]:
    """As printed."""
    return {
        "id": run.id,
        "when": run.began,
        "plant": run.plant,
        "kind": run.kind,
        "status": run.status,
        "champion": run.champion,
        "figures": figures_of(run.metrics),
        "model": run.tags.get("model", ""),
        "data": run.tags.get("data", ""),
        "code": run.tags.get("procmodel", ""),
    }


def figures_of(metrics: Mapping[str, float]) -> dict[str, float]:
    """Key figures; the load of the machine and curves are left to MLflow's own page."""
    return {name.removeprefix("figures/"): value for name, value in metrics.items() if name.startswith("figures/")}


def tell_runs(runs: Sequence[RunFacts]) -> None:
    for run in runs:
        when = run.began.astimezone().strftime("%Y-%m-%d %H:%M") if run.began else "-"
        figures = list(figures_of(run.metrics).items())[:SHOWN]
        words = "; ".join(f"{name} {value:.3g}" for name, value in figures)
        mark = "* champion" if run.champion else ""
        print(
            f"{run.id[:8]}  {when}  {run.plant:<20} {run.kind:<9} {run.status.lower():<9} {mark:<10} {words}".rstrip()
        )


def tell_run(told: Mapping[str, Any]) -> None:
    for key in ("id", "when", "plant", "kind", "status", "champion", "model", "data", "code"):
        print(f"{key:<9} {told[key]}")
    for name, value in told["figures"].items():
        print(f"  {name:<45} {value:.4g}")
    if gates := told.get("gates"):
        print(f"gates     {gates['reason']}")
    for part in told["parts"]:
        print(f"part      {part['kind']} {part['id'][:8]} {part['status'].lower()}")
    if report := told.get("report"):
        print(f"Report: {report}")
