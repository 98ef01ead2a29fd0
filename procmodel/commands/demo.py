"""`demo`: the whole job on a reference plant, from a raw historian export to advice and a report."""

from __future__ import annotations

import platform
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from procmodel.advisor import advisor_of
from procmodel.commands.advise import Advised
from procmodel.commands.evaluate import write_findings
from procmodel.commands.judge import Findings, judge_open_loop, judge_record, judge_steps
from procmodel.commands.model import Place, ingest, train_model
from procmodel.commands.progress import Progress
from procmodel.data.dataset import Dataset
from procmodel.evaluation.claims import claims_of, demo_values
from procmodel.evaluation.closed_loop import run_trials
from procmodel.evaluation.controllers import AdviceControl, Controller, HoldControl, OperatorControl, OracleControl
from procmodel.evaluation.figures.loops import closed_loop_trends, cost_bars
from procmodel.evaluation.figures.now import advice_figure
from procmodel.evaluation.open_loop import OpenLoop
from procmodel.evaluation.oracle import Oracle
from procmodel.evaluation.step_response import operating_points, true_response
from procmodel.evaluation.trial import ClosedLoop
from procmodel.plant import Plant, load_plant
from procmodel.simulation import ReferencePlant, record, reference_plant, steady_gains
from procmodel.training.artifact import Artifact

RECORD_SEED = 0
TRIAL_SEEDS = (101, 102, 103, 104)
"""Not the record's: the same seed is the same weather."""


def demo(name: str, out: Path, progress: Progress, *, quick: bool = False) -> tuple[dict[str, Any], Advised]:
    """Results as printed, and the advice for the record's last moment.

    Args:
        quick: A shorter record and fewer trials; claims nothing.
    """
    reference, place, findings = reference_plant(name), Place(out=out), Findings()
    progress.stage("record", f"Operators run the {name} and its historian records")
    recorded = record(reference, rows=12_000 if quick else 40_000, seed=RECORD_SEED, folder=out / "export")
    plant = load_plant(recorded.plant_file)
    dataset = ingest(plant, place, progress)
    artifact = train_model(plant, dataset, place, progress)

    progress.stage("evaluate", "Judging the model on rows it has not seen")
    judge_record(plant, dataset, findings)
    progress.step(1, 4, "open loop")
    forecasts = judge_open_loop(plant, dataset, artifact, findings)
    progress.step(2, 4, "step responses")
    _, points = operating_points(recorded.run, artifact.model.rows, 6)
    truth = true_response(reference, points, 300), steady_gains(reference)
    gains = judge_steps(plant, dataset, artifact, findings, truth)

    progress.stage("closed_loop", "Advice against operator and oracle")
    trials = _trials(reference, plant, artifact, progress, quick=quick)
    findings.results["closed_loop"] = trials.to_dict()
    findings.figures["closed_loop"] = closed_loop_trends(trials)
    findings.figures["cost"] = cost_bars(trials)

    progress.stage("advice", "Advice for this moment")
    advised = _now(plant, dataset, artifact)
    _show_advice(plant, advised, forecasts, findings)
    values = demo_values(gains.to_dict(), findings.results["closed_loop"])
    claims = [] if quick else claims_of(f"demo:{name}", values)
    findings.results["claims"] = [claim.to_dict() for claim in claims]
    findings.results["seconds"] = dict(progress.seconds)
    report = write_findings(plant, place.report, findings, title=f"{plant.name}: from historian to advice")
    results = {
        "plant": plant.name, "experiment": f"demo:{name}", "quick": quick, **findings.results,
        "seeds": {"record": RECORD_SEED, "trials": list(trials.seeds)},
        "environment": {"python": platform.python_version(), "machine": platform.machine()},
        "report": str(report),
    }  # fmt: skip
    return results, advised


def _trials(
    reference: ReferencePlant, plant: Plant, artifact: Artifact, progress: Progress, *, quick: bool
) -> ClosedLoop:
    advisor = advisor_of(plant, artifact)
    controllers: list[Controller] = [
        AdviceControl(advisor),
        OperatorControl(),
        OracleControl(Oracle(reference)),
        HoldControl(),
    ]
    # Rows of a control tick count: the same number of decisions on every plant, so the same time.
    every = max(1, round((plant.advice.every or plant.sample_time) / plant.sample_time))
    rows = round((60 if quick else 240) * min(every, 1.5))
    return run_trials(
        reference,
        controllers,
        TRIAL_SEEDS[: 2 if quick else None],
        rows=rows,
        warmup=advisor.rows_wanted,
        progress=lambda who, done, total: progress.step(done, total, who),
    )


def _now(plant: Plant, dataset: Dataset, artifact: Artifact) -> Advised:
    """Advice at the end of the record, as the control room would have had it then."""
    advisor = advisor_of(plant, artifact)
    last = dataset.stretches[-1]
    rows = dataset.values[last.start : last.stop][-advisor.rows_wanted :]
    ended: datetime = (last.began or dataset.start) + timedelta(seconds=last.rows * dataset.step)
    advice, plan = advisor.advise(rows, newest=ended, now=ended)
    return Advised(advice=advice, plan=plan, rows=rows)


def _show_advice(plant: Plant, advised: Advised, forecasts: OpenLoop, findings: Findings) -> None:
    findings.results["advice"] = advised.advice.to_dict()
    findings.figures["advice"] = advice_figure(advised.advice, plant, advised.rows, np.asarray(forecasts.band))
