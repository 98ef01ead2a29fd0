"""Setpoint advice over the Tennessee Eastman process's own loops (tep-studio 0.2.0), a part of `experiments.peers`.

An operator moves one of five setpoints every few hours for no reason but habit; the world model learns from that log, and
the advice then lowers the operating cost of 72 h by setpoints alone.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from connectors.memory import MemoryHistorian
from procmodel.control.optimizer import Optimizer
from procmodel.data import condition
from procmodel.plant import Plant, load_plant
from procmodel.runtime.loop import Advisor
from procmodel.training.train import train

PLANT_FILE = Path(__file__).with_name("peer_plants") / "tep.yaml"
START = datetime(2026, 1, 5, tzinfo=UTC)
STRETCH = 0.25  # [h], the plant file's sample time
SETPOINTS = {
    "pressure.SP": "reactor_pressure", "level.SP": "reactor_level", "temperature.SP": "reactor_temperature",
    "ya.SP": "ya", "yac.SP": "yac",
}  # fmt: skip
MEASURED = {
    "pressure.PV": "reactor_pressure", "level.PV": "reactor_level", "temperature.PV": "reactor_temperature",
    "separator.PV": "separator_level", "stripper.PV": "stripper_level", "feed_A.PV": "feed_A_flow",
    "purge.PV": "purge_flow",
}  # fmt: skip


class Worker(Protocol):
    """The process behind its pipe."""

    def ask(self, **request: Any) -> dict[str, Any]: ...


def row_of(plant: Plant, setpoints: Mapping[str, float], answer: Mapping[str, Any]) -> list[float]:
    """One row of the grid: setpoints held, averages seen."""
    seen = {tag: answer["measured"][name] for tag, name in MEASURED.items()} | {"COST": answer["cost"]} | dict(setpoints)
    return [seen[name] for name in plant.columns]


def logged(plant: Plant, hours: float, seed: int, worker: Worker, kept: Path) -> list[np.ndarray]:
    """Rows of each run between trips, [T, C]; the file keeps them from call to call."""
    if kept.exists():
        with np.load(kept) as stored:
            return [np.asarray(stored[name]) for name in stored.files]
    rng, runs, total = np.random.default_rng(seed), [], round(hours / STRETCH)
    while sum(map(len, runs)) < total:
        runs.append(np.array(_one_run(plant, total - sum(map(len, runs)), seed + len(runs), rng, worker)))
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.savez(kept, *runs)
    return runs


def _one_run(plant: Plant, rows: int, seed: int, rng: np.random.Generator, worker: Worker) -> list[list[float]]:
    base = worker.ask(do="start", seed=seed)["setpoints"]
    at = {tag: base[name] for tag, name in SETPOINTS.items()}
    out: list[list[float]] = []
    due = 0
    for t in range(rows):
        if t >= due:
            tag = str(rng.choice(list(SETPOINTS)))
            limits = plant.tags[tag].limits
            assert limits.low is not None
            assert limits.high is not None
            at[tag] = round(float(rng.uniform(limits.low.at, limits.high.at)), 1)
            due = t + int(rng.integers(6, 24))
        answer = worker.ask(do="run", hours=STRETCH, setpoints={SETPOINTS[tag]: value for tag, value in at.items()})
        if answer["terminated"]:
            break
        out.append(row_of(plant, at, answer))
        if t % 100 == 0:
            print(f"tennessee: {t} of {rows} rows logged", file=sys.stderr)
    return out


def learned(plant: Plant, runs: list[np.ndarray], scratch: Path) -> Advisor:
    """Dataset, model, optimizer and guard from the log."""
    step, frames, begun = timedelta(hours=STRETCH), {}, START
    for number, rows in enumerate(runs):
        stamps = pl.Series("time", [begun + step * k for k in range(len(rows))])
        frames[f"run {number}"] = pl.DataFrame(rows, schema=plant.columns, orient="row").with_columns(stamps)
        begun += step * (len(rows) + 40)
    dataset = condition(plant, MemoryHistorian(frames, plant.tags))
    artifact = train(dataset, plant, scratch)
    planner = Optimizer(plant=plant, model=artifact.model, scaler=artifact.scaler)
    limit = artifact.calibration.surprise_limit
    return Advisor(
        plant=plant, planner=planner, model=artifact.model, scaler=artifact.scaler, surprise_limit=limit, name="tep"
    )


def advised(advisor: Advisor, worker: Worker, *, hours: float, seed: int, disturbance: int = 0) -> dict[str, Any]:
    """A run under advice, from the base case after 25 h at rest; cost counts from the first advice on."""
    plant, warm = advisor.plant, 100
    base = worker.ask(do="start", seed=seed, disturbance=disturbance, **{"from": warm * STRETCH})["setpoints"]
    at = {tag: base[name] for tag, name in SETPOINTS.items()}
    every = round((plant.advice.every or plant.sample_time) / plant.sample_time)
    rows: list[list[float]] = []
    cost: list[float] = []
    holds: list[tuple[float, str]] = []
    worst, previous, tripped = np.inf, None, None
    for t in range(warm + round(hours / STRETCH)):
        if t >= warm and (t - warm) % every == 0:
            now = START + timedelta(hours=STRETCH * t)
            advice, plan = advisor.advise(np.array(rows[-100:]), newest=now, now=now, previous=previous)
            previous = plan if advice.is_move else None
            if advice.is_move:
                at = {tag: advice.setpoints[tag] for tag in plant.mvs}
            else:
                holds.append(((t - warm) * STRETCH, advice.reason))
        answer = worker.ask(do="run", hours=STRETCH, setpoints={SETPOINTS[tag]: value for tag, value in at.items()})
        rows.append(row_of(plant, at, answer))
        if t >= warm:
            cost.append(answer["true_cost"])
            worst = min(worst, answer["worst_margin"])
        if answer["terminated"]:
            tripped = (t - warm + 1) * STRETCH
            break
    return {
        "cost_per_hour": float(np.mean(cost)), "cost_last_24_h": float(np.mean(cost[-96:])), "tripped_at_h": tripped,
        "worst_trip_margin": float(worst), "holds": len(holds), "first_hold": list(holds[0]) if holds else None,
        "last_setpoints": at, "cost_by_hour": np.round(cost[:: round(1 / STRETCH)], 2).tolist(),
    }  # fmt: skip


def plant_file() -> Plant:
    """The engineer's page."""
    return load_plant(PLANT_FILE)
