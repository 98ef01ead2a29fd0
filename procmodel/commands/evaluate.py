"""`evaluate`: is this model good enough to advise, and how do we know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import procmodel
from procmodel.commands.judge import (
    Findings,
    judge_backtest,
    judge_free_runs,
    judge_open_loop,
    judge_record,
    judge_steps,
)
from procmodel.commands.model import Place, dataset_of, model_of
from procmodel.commands.progress import Progress
from procmodel.evaluation.claims import claims_of
from procmodel.evaluation.headlines import headlines
from procmodel.evaluation.report import write_report
from procmodel.evaluation.story import sections
from procmodel.plant import Plant
from procmodel.tracking import Tracker

FOOTER = (
    "Advice only: the operator moves the plant, and this software is no safety function.",
    "A record shows what happened, not what would have happened; only a trial on the plant shows what advice is worth.",
)


def evaluate(plant: Plant, place: Place, progress: Progress) -> dict[str, Any]:
    """All that can be said without a simulator; ingests and trains first where that was not done yet."""
    dataset = dataset_of(plant, place, progress)
    artifact = model_of(plant, place, progress)
    findings = Findings()
    progress.stage("evaluate", "Judging the model on rows it has not seen")
    judge_record(plant, dataset, findings)
    progress.step(1, 6, "open loop")
    judge_open_loop(plant, dataset, artifact, findings)
    progress.step(3, 6, "step responses")
    gains = judge_steps(plant, dataset, artifact, findings)
    progress.step(4, 6, "free runs")
    values = judge_free_runs(plant, dataset, artifact, findings)
    progress.step(5, 6, "backtest")
    judge_backtest(plant, dataset, artifact, findings)
    name = f"evaluate:{plant.name.replace('-', '_')}"
    findings.results["claims"] = [claim.to_dict() for claim in claims_of(name, dict(values))]
    with Tracker(place.out, experiment=plant.name, name="evaluate", tags={"plant": plant.fingerprint}) as run:
        run.metrics(values)
        run.metrics({"gains_gate_passed": float(gains.gate.passed)})
        report = write_findings(
            plant, place.report, findings, title=f"{plant.name}: is the model good enough to advise?"
        )
        run.artifact(report, "report")
    return {"plant": plant.name, "experiment": name, **findings.results, "report": str(report)}


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
