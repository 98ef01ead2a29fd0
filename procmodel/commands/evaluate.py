"""`evaluate`: is this model good enough to advise, and how do we know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import procmodel
from procmodel.commands.judge import (
    Findings,
    judge_backtest,
    judge_free_runs,
    judge_health,
    judge_open_loop,
    judge_record,
    judge_steps,
)
from procmodel.commands.model import Place, dataset_of, model_of
from procmodel.commands.progress import Progress
from procmodel.commands.runs import one_of
from procmodel.commands.tell import plain
from procmodel.data.dataset import Dataset
from procmodel.errors import InputError
from procmodel.evaluation.claims import claims_of
from procmodel.evaluation.comparison import compare, key_figures
from procmodel.evaluation.gates import Gate, gates_of, verdict
from procmodel.evaluation.headlines import headlines
from procmodel.evaluation.report import write_report
from procmodel.evaluation.story import sections
from procmodel.plant import Plant
from procmodel.tracking import Registry, Run, Tracker, code_version, seal_of
from procmodel.training.artifact import Artifact

FOOTER = (
    "Advice only: the operator moves the plant, and this software is no safety function.",
    "A record shows what happened, not what would have happened; only a trial on the plant shows what advice is worth.",
)


def evaluate(plant: Plant, place: Place, progress: Progress, other: str | None = None) -> dict[str, Any]:
    """All that can be said without a simulator; ingests and trains first where that was not done yet.

    Args:
        other: Run of an evaluation to stand beside this one, by its id or the id's beginning.
    """
    registry = Registry(place.out)
    beside = None if other is None else registry.results(one_of(registry.runs(), other).id)  # told before the work
    dataset = dataset_of(plant, place, progress)
    artifact = model_of(plant, place, progress)
    progress.stage("evaluate", "Judging the model on rows it has not seen")
    findings, values = _judged(plant, dataset, artifact, progress)
    name = f"evaluate:{plant.name.replace('-', '_')}"
    findings.results["claims"] = [claim.to_dict() for claim in claims_of(name, values)]
    findings.results["provenance"] = _provenance(plant, place, artifact)
    if beside is not None and other is not None:
        findings.results["comparison"] = compare(findings.results, beside, name=other)
    known = findings.results["provenance"]
    parent = registry.trained_by(plant.name, known["model"])
    tags = {key: known[key] for key in ("data", "plant", "model")}
    with Tracker(place.out, experiment=plant.name, name="evaluate", tags=tags, parent=parent) as run:
        run.params({"seeds": known["seeds"]})
        run.metrics(_metrics(findings.results, values))
        run.artifact(place.model, "model")
        findings.results["champion"] = _crown(registry, run, plant, findings.results)
        findings.results["run"] = run.id
        report = write_findings(
            plant, place.report, findings, title=f"{plant.name}: is the model good enough to advise?"
        )
        results = {"plant": plant.name, "experiment": name, **findings.results, "report": str(report)}
        kept = place.report.with_name("results.json")
        kept.write_text(json.dumps(plain(results), indent=1, allow_nan=False), encoding="utf-8")
        run.artifact(kept)
        run.artifact(report, "report")
    return results


def _judged(
    plant: Plant, dataset: Dataset, artifact: Artifact, progress: Progress
) -> tuple[Findings, dict[str, float | None]]:
    """What was found, and the values of the claims."""
    findings = Findings()
    judge_record(plant, dataset, findings)
    progress.step(1, 6, "open loop")
    judge_open_loop(plant, dataset, artifact, findings)
    judge_health(plant, dataset, artifact, findings)
    progress.step(3, 6, "step responses")
    judge_steps(plant, dataset, artifact, findings)
    progress.step(4, 6, "free runs")
    values = judge_free_runs(plant, dataset, artifact, findings)
    progress.step(5, 6, "backtest")
    judge_backtest(plant, dataset, artifact, findings)
    return findings, dict(values)


def _provenance(plant: Plant, place: Place, artifact: Artifact) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "data": seal_of(place.dataset),
        "plant": plant.fingerprint,
        "model": seal_of(place.model),
        "code": code_version(),
        "seeds": [member["seed"] for member in artifact.notes.get("members", [])],
    }


def _metrics(results: Mapping[str, Any], values: Mapping[str, float | None]) -> dict[str, float]:
    """Figures as MLflow takes them: no spaces around, one number each."""
    figures = {f"figures/{name}": each.value for name, each in key_figures(results).items()}
    claimed = {name: value for name, value in values.items() if value is not None}
    return {**claimed, **figures, "gains_gate_passed": float(results["gains"]["gate"]["passed"])}


def _crown(registry: Registry, run: Run, plant: Plant, results: Mapping[str, Any]) -> dict[str, Any]:
    """Moves the alias where every gate passes; in any case the gates, the reason and who is champion now."""
    before = registry.champion(plant.name)
    try:
        theirs = registry.results(before.run) if before else None
    except InputError:  # its evaluation is gone: there is nothing to hold this one against
        theirs = None
    gates: tuple[Gate, ...] = gates_of(results, theirs)
    moved = all(gate.passed is not False for gate in gates)
    version = registry.crown(plant.name, run, results["provenance"]["model"]) if moved else None
    return {
        "moved": moved,
        "reason": verdict(gates),
        "gates": [gate.to_dict() for gate in gates],
        "version": version or (before.version if before else None),
        "model": results["provenance"]["model"] if moved else (before.model if before else None),
    }


def write_findings(plant: Plant, path: Path, findings: Findings, *, title: str) -> Path:
    """The report of what was found."""
    return write_report(
        path,
        sections(findings.results, findings.figures),
        title=title,
        lead=plant.description,
        meta=f"procmodel {procmodel.__version__}, plant {plant.fingerprint[:8]}",
        headlines=headlines(findings.results),
        footer=FOOTER,
    )
