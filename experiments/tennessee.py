"""The Tennessee Eastman process under setpoint advice, a part of `experiments.peers`.

tep-studio's own decentralised loops (Ricker 1996) keep the plant running; a person above them moves five setpoints. The
record is what six campaigns of 100 h leave, each begun at the base case (about 170 $/h) with its own noise. The person is
no optimizer: every 2 to 6 h, sometimes only after 12 to 24 h, one setpoint is led along a ramp to a value drawn anew from a
habitual span about the base case, whatever that does to the cost, and now and then all of them go back to the base case.
So single setpoints are seen near their cheap end, all five together hardly ever, and none beyond the span; the results say
what the record cost on average and what its cheapest day cost.

From this record alone the ordinary path (`condition`, `train`, `optimizer_of`, `advisor_of`) makes the advice, which asks
for a lower metered cost within limits of its own. It begins at the base case after a day at rest; the cost is that of the
plant's own account, from the first advice on, the way there included. Disturbance 6 is the loss of feed A.

Pieces are kept in `runs/tep/` under a hash of what made them; a stopped run goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from connectors.memory import MemoryHistorian
from experiments.worker import FILES, Worker
from procmodel.commands.advise import advisor_of, optimizer_of
from procmodel.data import condition
from procmodel.plant import Plant, load_plant
from procmodel.runtime.loop import Advisor
from procmodel.training.artifact import load_artifact, save_artifact
from procmodel.training.train import train

HOME = Path("runs/tep")
WANTED = ("tep-studio==0.2.0",)
START = datetime(2026, 1, 5, tzinfo=UTC)
ROW = 0.25  # [h], the plant file's sample time
CAMPAIGNS, CAMPAIGN_HOURS = 6, 100
TRIAL_SEEDS, TRIAL_HOURS, REST_HOURS = (201, 202, 203), 72, 25
SETPOINTS = {
    "pressure.SP": "reactor_pressure", "level.SP": "reactor_level", "temperature.SP": "reactor_temperature",
    "ya.SP": "ya", "yac.SP": "yac",
}  # fmt: skip
MEASURED = {
    "pressure.PV": "reactor_pressure", "level.PV": "reactor_level", "temperature.PV": "reactor_temperature",
    "separator.PV": "separator_level", "stripper.PV": "stripper_level", "purge.PV": "purge_flow",
    "feed_A.PV": "feed_A_flow",
}  # fmt: skip
HABIT = {
    "pressure.SP": (2660.0, 2790.0, 20.0), "level.SP": (66.0, 84.0, 2.0), "temperature.SP": (119.2, 122.2, 0.5),
    "ya.SP": (53.0, 59.0, 1.0), "yac.SP": (55.5, 60.5, 1.0),
}  # fmt: skip
"""By setpoint: span that the person uses [unit], and how fast it is ramped [unit/h]."""
NORMAL = {
    "reactor_pressure": (-np.inf, 2895.0), "reactor_level": (50.0, 100.0), "reactor_temperature": (-np.inf, 150.0),
    "separator_level": (30.0, 100.0), "stripper_level": (30.0, 100.0),
}  # fmt: skip
"""Limits of normal operation (Downs and Vogel 1993, table 6), which judge; beyond them lie the trips."""


class Asked(Protocol):
    """The process behind its pipe."""

    def ask(self, **request: Any) -> dict[str, Any]: ...


def plant_file() -> Plant:
    """The engineer's page."""
    return load_plant(FILES / "tep.yaml")


def habits(base: Mapping[str, float], rows: int, rng: np.random.Generator) -> list[dict[str, float]]:
    """Setpoints of each row by tag, as the person leaves them; `base` is where they stand at first."""
    at, aim, due, out = dict(base), dict(base), int(rng.integers(4, 12)), list[dict[str, float]]()
    for t in range(rows):
        if t >= due:
            if rng.uniform() < 0.08:
                aim = dict(base)
            else:
                tag = str(rng.choice(list(HABIT)))
                aim[tag] = float(rng.uniform(*HABIT[tag][:2]))
            due = t + int(rng.integers(48, 97) if rng.uniform() < 0.1 else rng.integers(8, 25))
        for tag, (_, _, speed) in HABIT.items():
            at[tag] += float(np.clip(aim[tag] - at[tag], -speed * ROW, speed * ROW))
        out.append({tag: round(value, 2) for tag, value in at.items()})
    return out


def row_of(plant: Plant, setpoints: Mapping[str, float], answer: Mapping[str, Any]) -> list[float]:
    """One row of the grid: setpoints held, averages seen."""
    seen = {tag: answer["measured"][name] for tag, name in MEASURED.items()} | {"COST": answer["cost"]} | dict(setpoints)
    return [seen[name] for name in plant.columns]


def run_row(worker: Asked, at: Mapping[str, float]) -> dict[str, Any]:
    """A row of the plant under these setpoints."""
    return worker.ask(do="run", hours=ROW, setpoints={SETPOINTS[tag]: value for tag, value in at.items()})


def started(worker: Asked, seed: int, disturbance: int = 0) -> dict[str, float]:
    """The plant at the base case; its setpoints by tag. The disturbance begins after the rest."""
    base = worker.ask(do="start", seed=seed, disturbance=disturbance, **{"from": float(REST_HOURS)})["setpoints"]
    return {tag: base[name] for tag, name in SETPOINTS.items()}


def campaign(plant: Plant, hours: int, seed: int, worker: Asked) -> np.ndarray:
    """Rows [T, C] of one campaign, which ends early where the plant trips."""
    out = []
    for at in habits(started(worker, seed), round(hours / ROW), np.random.default_rng(seed)):
        answer = run_row(worker, at)
        if answer["tripped"]:
            print(f"campaign {seed} tripped after {answer['time']:.1f} h: {answer['tripped']}", file=sys.stderr)
            break
        out.append(row_of(plant, at, answer))
    return np.array(out)


def logged(plant: Plant, campaigns: int, hours: int, worker: Asked) -> list[np.ndarray]:
    """All campaigns, each kept from run to run."""
    key, out = _hash(habits_key(plant), hours), []
    for seed in range(campaigns):
        kept = HOME / f"campaign-{key}-{seed}.npy"
        if not kept.exists():
            HOME.mkdir(parents=True, exist_ok=True)
            np.save(kept, campaign(plant, hours, seed, worker))
            print(f"campaign {seed + 1} of {campaigns} logged", file=sys.stderr)
        out.append(np.asarray(np.load(kept)))
    return out


def habits_key(plant: Plant) -> str:
    """What a campaign depends on."""
    return _hash(plant.columns, HABIT, MEASURED, (FILES / "tep_worker.py").read_text(), WANTED)


def _hash(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:10]


def learned(plant: Plant, runs: Sequence[np.ndarray]) -> Advisor:
    """Dataset, model, optimizer and guard from the log; the model is kept."""
    frames, begun = {}, START
    for number, rows in enumerate(runs):
        stamps = pl.Series("time", [begun + timedelta(hours=ROW * k) for k in range(len(rows))])
        frames[f"campaign {number}"] = pl.DataFrame(rows, schema=plant.columns, orient="row").with_columns(stamps)
        begun += timedelta(hours=ROW * len(rows) + 48)
    kept = HOME / f"model-{_hash(plant.fingerprint, [rows.tobytes() for rows in runs])}"
    if not kept.exists():
        print("Learning the world model", file=sys.stderr)
        dataset = condition(plant, MemoryHistorian(frames, plant.tags))
        save_artifact(train(dataset, plant, kept.with_suffix(".scratch")), kept)
    artifact = load_artifact(kept, plant)
    return advisor_of(plant, artifact, optimizer_of(plant, artifact))


def advised(advisor: Advisor | None, worker: Asked, *, seed: int, hours: float, disturbance: int = 0) -> dict[str, Any]:
    """A run under advice, or with the setpoints left at the base case where there is no advisor."""
    plant = plant_file()
    at, rest, every = started(worker, seed, disturbance), round(REST_HOURS / ROW), round(plant.advice.every / 900.0)  # type: ignore[operator]
    rows, answers, advices, holds, previous = list[list[float]](), list[dict[str, Any]](), [], list[tuple[float, str]](), None
    for t in range(rest + round(hours / ROW)):
        if advisor is not None and t >= rest and (t - rest) % every == 0:
            now = START + timedelta(hours=ROW * t)
            advice, plan = advisor.advise(np.array(rows[-rest:]), newest=now, now=now, previous=previous)
            previous = plan if advice.is_move else None
            at = {tag: advice.setpoints[tag] for tag in plant.mvs} if advice.is_move else at
            holds += [] if advice.is_move else [(ROW * (t - rest), advice.reason)]
            advices.append([ROW * (t - rest), *at.values(), advice.is_move])
        answer = run_row(worker, at)
        rows.append(row_of(plant, at, answer))
        answers += [answer] if t >= rest else []
        if answer["tripped"]:
            break
    return judged(answers, holds) | {"last_setpoints": at}


def judged(answers: Sequence[Mapping[str, Any]], holds: Sequence[tuple[float, str]]) -> dict[str, Any]:
    """Figures of a run: the plant's own account of its cost, and its limits at every step of its integration."""
    cost, day = np.array([each["true_cost"] for each in answers]), round(24 / ROW)
    beyond = {
        name: float(np.mean([each["least"][name] < low or each["most"][name] > high for each in answers]))
        for name, (low, high) in NORMAL.items()
    }
    return {
        "cost_per_hour": float(cost.mean()),
        "cost_last_day": float(cost[-day:].mean()),
        "tripped_at_h": ROW * len(answers) if answers[-1]["tripped"] else None,
        "trip": answers[-1]["tripped"],
        "rows_beyond_normal": {name: share for name, share in beyond.items() if share},
        "production_m3_per_h": float(np.mean([each["measured"]["stripper_underflow"] for each in answers])),
        "holds": len(holds),
        "first_hold": list(holds[0]) if holds else None,
        "cost_by_hour": np.round(cost.reshape(-1)[:: round(1 / ROW)], 1).tolist(),
    }
