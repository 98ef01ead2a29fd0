"""What a model is worth on rows it was not trained on, and whether it may advise: the shared part of all evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from procmodel.advisor import UNDER_ADVICE, advisor_of, optimizer_of
from procmodel.data.dataset import Dataset
from procmodel.data.excitation import excitation_audit
from procmodel.data.historians import open_historian
from procmodel.data.plant_test import propose_tests
from procmodel.data.samples import Query
from procmodel.data.window import Columns
from procmodel.data.windows import scaled_runs
from procmodel.errors import DatasetError
from procmodel.evaluation.backtest import backtest
from procmodel.evaluation.baselines import ArxForecast, Forecaster, ModelForecast, Persistence
from procmodel.evaluation.evaluators import evaluators
from procmodel.evaluation.figures.backtest import backtest_figure
from procmodel.evaluation.figures.forecasts import error_growth, free_run_figure, open_loop_fan, step_response_matrix
from procmodel.evaluation.figures.record import conditioning, history_overview
from procmodel.evaluation.free_run import FreeRun, judge_free_run
from procmodel.evaluation.gains import Gains, compare_gains
from procmodel.evaluation.open_loop import OpenLoop, open_loop
from procmodel.evaluation.raw import RawSamples, raw_samples
from procmodel.evaluation.record_facts import excitation_facts, record_facts
from procmodel.evaluation.step_response import StepResponse, model_response
from procmodel.plant import Plant
from procmodel.training.artifact import Artifact
from procmodel.training.prepare import parts_of
from procmodel.training.settings import horizon_rows, window_rows
from procmodel.world_model.answers import SETTLED
from procmodel.world_model.linear import fit_arx
from procmodel.world_model.surprise import MEMORY, PACE, surprises


@dataclass(kw_only=True)
class Findings:
    """Results in plain numbers and figures as SVG, both by name, as the report takes them."""

    results: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, str] = field(default_factory=dict)


def forecaster_of(artifact: Artifact, plant: Plant, member: int = 0) -> ModelForecast:
    return ModelForecast(model=artifact.members[member], scaler=artifact.scaler, columns=Columns.of(plant))


def judge_record(plant: Plant, dataset: Dataset, findings: Findings) -> None:
    """The record itself: gaps, quality, whose the moves were."""
    findings.results["record"] = record_facts(dataset, plant)
    parts = parts_of(dataset, plant)
    audit = excitation_audit(dataset, plant, parts)
    tests = propose_tests(dataset, plant, parts, audit, horizon_rows(plant))
    findings.results["excitation"] = excitation_facts(audit, tests)
    findings.figures["history"] = history_overview(dataset, plant)
    findings.figures["conditioning"] = _closer_look(plant, dataset)


def judge_open_loop(plant: Plant, dataset: Dataset, artifact: Artifact, findings: Findings) -> OpenLoop:
    """Free runs on the test rows, beside persistence and least squares of the same history."""
    parts, rows = parts_of(dataset, plant), artifact.model.rows
    columns = Columns.of(plant)
    scaler = artifact.scaler.straight
    arx = fit_arx(scaled_runs(dataset, scaler, columns, parts.train), rows - 1)
    peers: dict[str, Forecaster] = {
        "model": forecaster_of(artifact, plant),
        "persistence": Persistence(columns=columns),
        "arx": ArxForecast(arx=arx, scaler=scaler, columns=columns),
    }
    longest = max(s.rows for s in parts.test or parts.validation)
    ahead = min(120, longest - rows - 1)
    result = open_loop(dataset, plant, peers, parts.test or parts.validation, history=rows, ahead=ahead)
    findings.results["open_loop"] = result.to_dict()
    findings.figures["open_loop"] = open_loop_fan(result)
    findings.figures["error_growth"] = error_growth(result)
    return result


def judge_health(plant: Plant, dataset: Dataset, artifact: Artifact, findings: Findings) -> None:
    """How often normal rows that the model has not seen surprise it, as the loop would take it."""
    parts, calibration, columns = parts_of(dataset, plant), artifact.calibration, Columns.of(plant)
    limit = UNDER_ADVICE * calibration.surprise_limit
    shares = []
    for stretch in parts.test or parts.validation:
        rows = dataset.values[stretch.start : stretch.stop]
        if len(rows) < artifact.model.rows + MEMORY:
            continue
        each = surprises(artifact.model, artifact.scaler, columns, rows, calibration.error_covariance_YY, pace=PACE)
        known = each[np.isfinite(each)]
        shares.append(np.convolve(known, np.ones(MEMORY) / MEMORY, mode="valid") if len(known) >= MEMORY else known)
    judged = np.concatenate([np.empty(0), *shares])
    if len(judged):
        findings.results["health"] = {
            "rows": len(judged), "surprised_share": float((judged > limit).mean()), "limit": float(limit),
        }  # fmt: skip


def judge_steps(
    plant: Plant,
    dataset: Dataset,
    artifact: Artifact,
    findings: Findings,
    truth: tuple[StepResponse, np.ndarray] | None = None,
    horizon: int = SETTLED,
) -> Gains:
    """Step responses against the declared signs and, where it is known, the truth."""
    response = model_response(
        forecaster_of(artifact, plant), plant, histories(dataset, artifact.model.rows), artifact.scaler.spread, horizon
    )
    gains = compare_gains(response, artifact.scaler.spread, None if truth is None else truth[1])
    findings.results["gains"] = gains.to_dict()
    findings.figures["steps"] = step_response_matrix(gains, [] if truth is None else [truth[0]])
    return gains


def judge_free_runs(plant: Plant, dataset: Dataset, artifact: Artifact, findings: Findings) -> dict[str, float]:
    """Whole test campaigns from their first samples, per member; claims are means over the members."""
    named = plant.split.test if isinstance(plant.split.test, list) else []
    if not named:
        return {}
    members = [forecaster_of(artifact, plant, m) for m in range(len(artifact.members))]
    runs: list[FreeRun] = []
    table: dict[str, Any] = {}
    claims: dict[str, float] = {}
    for cv in plant.cvs:
        raw = _raw(plant, cv)
        for stretch in (s for s in dataset.stretches if s.name in named):
            each = [
                judge_free_run(forecaster, dataset, plant, stretch, raw, cv, history=artifact.model.rows)
                for forecaster in members
            ]
            rmse = [run.rmse for run in each]
            runs.append(each[0])
            table[f"{stretch.name} {cv}"] = {
                **each[0].to_dict(),
                "rmse": float(np.mean(rmse)),
                "rmse_by_member": rmse,
                "spread": float(np.std(rmse)),
            }
            if cv == plant.cvs[0]:
                claims[f"rmse_{stretch.name}"] = float(np.mean(rmse))
    findings.results["free_run"] = table
    findings.figures["free_run"] = free_run_figure(runs)
    return claims


def judge_backtest(plant: Plant, dataset: Dataset, artifact: Artifact, findings: Findings) -> None:
    """Advice over the test rows: what the operator did, and who says what following would have been worth."""
    parts = parts_of(dataset, plant)
    rows, horizon = window_rows(plant), horizon_rows(plant)
    judges, left_out = evaluators(dataset, plant, parts, artifact.scaler, rows=rows, horizon=horizon)
    found = backtest(
        partial(advisor_of, plant, artifact),
        optimizer_of(plant, artifact),
        plant,
        artifact.scaler,
        dataset,
        parts.test or parts.validation,
        judges,
        left_out=left_out,
    )
    if found is not None:
        findings.results["backtest"] = found.to_dict()
        findings.figures["backtest"] = backtest_figure(found)


def histories(dataset: Dataset, rows: int, count: int = 24) -> np.ndarray:
    """Histories [B, L, C] evenly over the record, each within one stretch and without a gap."""
    whole = np.isfinite(dataset.values).all(axis=1)
    before = np.concatenate([[0], np.cumsum(~whole)])
    starts = np.concatenate([np.arange(s.start, max(s.start, s.stop - rows)) for s in dataset.stretches])
    starts = starts[before[starts + rows] == before[starts]]
    if not len(starts):
        raise DatasetError(f"No {rows} rows follow each other without a gap in some tag, so no step can be tried.")
    chosen = starts[np.linspace(0, len(starts) - 1, min(count, len(starts))).astype(int)]
    return np.stack([dataset.values[at : at + rows] for at in chosen])


def _raw(plant: Plant, tag: str, **span: Any) -> RawSamples:
    return raw_samples(open_historian(plant).read(Query(tags=(tag,), **span)), tag)


def _closer_look(plant: Plant, dataset: Dataset) -> str:
    """Raw samples beside the grid around the first gap of a CV, or in the middle."""
    columns, times = Columns.of(plant), dataset.times()
    gaps = np.flatnonzero(np.isnan(dataset.values[:, list(columns.cv)]).any(axis=1))
    first = max((s for s in dataset.stretches), key=lambda s: s.rows)
    middle = int(gaps[0]) if len(gaps) else (first.start + first.stop) // 2
    at, end = max(first.start, middle - 40), min(dataset.rows - 1, middle + 60)
    shown = [*plant.mvs[:1], *plant.cvs[:2]]
    raw = {tag: _raw(plant, tag) for tag in shown}
    return conditioning(raw, dataset, plant, times[at], times[end])
