"""The Tennessee Eastman process under setpoint advice, a part of `experiments.peers`.

tep-studio's own decentralised loops (Ricker 1996) keep the plant running; a person above them moves five setpoints. The
record is what six campaigns of 100 h leave, each begun at the base case (about 170 $/h) with its own noise. The person
is no optimizer: every 1.5 to 5 h, sometimes only after 12 to 24 h, the next of the five is led along a ramp to a value
drawn anew from a habitual span about the base case, whatever that does to the cost; now and then all go back to the
base case. So single setpoints are seen near their cheap end, all five together hardly ever, none beyond its span. The
results say what the record cost on average, and what its cheapest day cost.

From this record alone the ordinary path (`condition`, `train`, `optimizer_of`, `advisor_of`) makes the advice, which
asks for a lower metered cost within limits of its own. It begins at the base case after a day at rest; the cost is that
of the plant's own account, from the first advice on, the way there included. Disturbance 6 is the loss of feed A.

Pieces are kept in `runs/tep/` under a hash of what made them; a stopped run goes on where it was.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from connectors.memory import MemoryHistorian
from experiments.closed_loop import key_of
from experiments.worker import FILES, Asked, Worker
from procmodel.advisor import advisor_of
from procmodel.commands.model import Place
from procmodel.data import condition
from procmodel.plant import Plant, load_plant
from procmodel.runtime.loop import Advisor
from procmodel.training.artifact import load_artifact, save_artifact
from procmodel.training.train import train

HOME, WORKER = Path("runs/tep"), FILES / "tep_worker.py"
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


def habits(base: Mapping[str, float], rows: int, rng: np.random.Generator) -> list[dict[str, float]]:
    """Setpoints of each row by tag, as the person leaves them; `base` is where they stand at first."""
    at, aim, due, turn, out = dict(base), dict(base), int(rng.integers(4, 12)), list[str](), list[dict[str, float]]()
    for t in range(rows):
        if t >= due:
            if rng.uniform() < 0.05:
                aim = dict(base)
            else:
                turn = turn or [str(tag) for tag in rng.permutation(list(HABIT))]
                tag = turn.pop()
                aim[tag] = float(rng.uniform(*HABIT[tag][:2]))
            due = t + int(rng.integers(48, 97) if rng.uniform() < 0.08 else rng.integers(6, 21))
        for tag, (_, _, speed) in HABIT.items():
            at[tag] += float(np.clip(aim[tag] - at[tag], -speed * ROW, speed * ROW))
        out.append({tag: round(value, 2) for tag, value in at.items()})
    return out


def row_of(plant: Plant, setpoints: Mapping[str, float], answer: Mapping[str, Any]) -> list[float]:
    """One row of the grid: setpoints held, averages seen."""
    seen = {tag: answer["measured"][name] for tag, name in MEASURED.items()}
    row = {**setpoints, **seen, "COST": answer["cost"]}
    return [row[name] for name in plant.columns]


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


def logged(plant: Plant, campaigns: int, worker: Asked) -> list[np.ndarray]:
    """All campaigns, each kept from run to run."""
    made_of = (plant.columns, HABIT, MEASURED, inspect.getsource(habits), WORKER.read_text(), WANTED)
    key, out = _hash(_hash(*made_of), CAMPAIGN_HOURS), []
    for seed in range(1, campaigns + 1):  # a seed of 0 stops the simulator's noise at one value: sensors with an offset
        kept = HOME / f"campaign-{key}-{seed}.npy"
        if not kept.exists():
            HOME.mkdir(parents=True, exist_ok=True)
            np.save(kept, campaign(plant, CAMPAIGN_HOURS, seed, worker))
            print(f"campaign {seed} of {campaigns} logged", file=sys.stderr)
        out.append(np.asarray(np.load(kept)))
    return out


def _hash(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:10]


def learned(plant: Plant, runs: Sequence[np.ndarray]) -> tuple[Advisor, Place]:
    """Dataset, model, optimizer and guard from the log, and where the model is kept."""
    frames, begun = {}, START
    for number, rows in enumerate(runs):
        stamps = pl.Series("time", [begun + timedelta(hours=ROW * k) for k in range(len(rows))])
        frames[f"campaign {number}"] = pl.DataFrame(rows, schema=plant.columns, orient="row").with_columns(stamps)
        begun += timedelta(hours=ROW * len(rows) + 48)
    made_of = (plant.fingerprint, plant.training, plant.split, plant.advice.horizon, [rows.tobytes() for rows in runs])
    place = Place(out=HOME / f"model-{_hash(*made_of)}")
    if not place.model.exists():
        print("Learning the world model", file=sys.stderr)
        save_artifact(train(condition(plant, MemoryHistorian(frames, plant.tags)), plant, place.scratch), place.model)
    artifact = load_artifact(place.model, plant)
    return advisor_of(plant, artifact), place


def trial(plant: Plant, advisor: Advisor | None, worker: Asked, *, seed: int, disturbance: int = 0) -> dict[str, Any]:
    """A run under advice, or with the setpoints left at the base case where there is no advisor."""
    at, rest = started(worker, seed, disturbance), round(REST_HOURS / ROW)
    every = round((plant.advice.every or plant.sample_time) / plant.sample_time)
    rows, answers, previous = list[list[float]](), list[dict[str, Any]](), None
    holds, led = list[tuple[float, str]](), list[list[float]]()
    for t in range(rest + round(TRIAL_HOURS / ROW)):
        if advisor is not None and t >= rest and (t - rest) % every == 0:
            now = START + timedelta(hours=ROW * t)
            advice, plan = advisor.advise(np.array(rows[-rest:]), newest=now, now=now, previous=previous)
            previous = plan if advice.is_move else None
            if advice.is_move:
                at = {tag: advice.setpoints[tag] for tag in plant.mvs}
            else:
                holds.append((ROW * (t - rest), advice.reason))
        answer = run_row(worker, at)
        rows.append(row_of(plant, at, answer))
        if t >= rest:
            answers.append(answer)
            led.append([round(value, 2) for value in at.values()])
        if answer["tripped"]:
            break
    return judged(answers) | {"holds": len(holds), "held": episodes(holds), "setpoints_every_4_h": led[::16]}


def episodes(holds: Sequence[tuple[float, str]]) -> list[list[Any]]:
    """Holds that follow each other for the same kind of reason: first and last time [h], and the first reason."""
    out, before = list[list[Any]](), ""
    for at, reason in holds:
        kind = "".join(each for each in reason.split(":")[0] if not each.isdigit())
        if out and kind == before and at - out[-1][1] < 1.0:
            out[-1][1] = at
        else:
            out.append([at, at, reason])
        before = kind
    return out


def judged(answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Figures of a run: the plant's own account of its cost, and its limits at every step of its integration."""
    cost, day = np.array([each["true_cost"] for each in answers]), round(24 / ROW)
    beyond = {
        name: float(np.mean([each["least"][name] < low or each["most"][name] > high for each in answers]))
        for name, (low, high) in NORMAL.items()
    }
    return {
        "cost_per_hour": float(cost.mean()),
        "cost_last_day": float(cost[-day:].mean()),
        "cost_every_4_h": np.round(cost[:: round(4 / ROW)], 1).tolist(),
        "tripped_at_h": ROW * len(answers) if answers[-1]["tripped"] else None,
        "trip": answers[-1]["tripped"],
        "rows_beyond_normal": {name: share for name, share in beyond.items() if share},
        "production_m3_per_h": float(np.mean([each["measured"]["stripper_underflow"] for each in answers])),
        "product_g_percent": float(
            np.mean([each["measured"]["stripper_underflow_G_concentration"] for each in answers])
        ),
    }


def kept_trial(plant: Plant, trained: tuple[Advisor, Place] | None, worker: Asked, **which: int) -> dict[str, Any]:
    """A trial, read again where the same model and code ran it before."""
    code = "".join(map(inspect.getsource, (trial, judged, episodes))) + WORKER.read_text()
    key = _hash(
        which,
        code,
        TRIAL_HOURS,
        REST_HOURS,
        key_of((trained[1].model / "manifest.json").read_bytes()) if trained else None,
    )
    kept = HOME / f"trial-{key}.json"
    if not kept.exists():
        kept.write_text(json.dumps(trial(plant, trained[0] if trained else None, worker, **which)))
        print(f"trial {which} {'under advice' if trained else 'without advice'} run", file=sys.stderr)
    found: dict[str, Any] = json.loads(kept.read_text())
    return found


def results(quick: bool) -> dict[str, dict[str, Any]]:
    """Cost per hour under advice over the seeds of the trial, and what disturbance 6 does with and without it."""
    plant = load_plant(FILES / "tep.yaml")
    with Worker(WORKER.name, HOME, WANTED) as worker:
        runs = logged(plant, 3 if quick else CAMPAIGNS, worker)
        trained = learned(plant, runs)
        trials = [kept_trial(plant, trained, worker, seed=seed) for seed in TRIAL_SEEDS[: 1 if quick else None]]
        found = {"tennessee_eastman": summary(plant, runs, trials)}
        if not quick:
            found["tennessee_eastman"]["without_advice"] = kept_trial(plant, None, worker, seed=TRIAL_SEEDS[0])
            for name, each in {"advice": trained, "without_advice": None}.items():
                told = kept_trial(plant, each, worker, seed=TRIAL_SEEDS[0], disturbance=6)
                found.setdefault("tennessee_eastman_idv_6", {})[name] = told
    return found


def summary(plant: Plant, runs: Sequence[np.ndarray], trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The worst that must not be is the worst of all seeds; costs are means. A trip leaves no cost."""
    cost, day = [run[:, plant.columns.index("COST")] for run in runs], round(24 / ROW)
    days = np.concatenate([np.convolve(each, np.ones(day) / day, mode="valid") for each in cost if len(each) >= day])
    sound = not any(each["tripped_at_h"] or each["rows_beyond_normal"] for each in trials)
    return {
        "cost_per_hour": float(np.mean([each["cost_per_hour"] for each in trials])) if sound else None,
        "record_rows": sum(map(len, cost)),
        "record_cost_mean": float(np.concatenate(cost).mean()),
        "record_cost_cheapest_day": float(days.min()),
        "record_share_of_days_below_128.7": float(np.mean(days < 128.7)),
        "trials": list(trials),
    }


def lines(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """For reading."""
    out = [f"{'Tennessee Eastman':34}{'$/h':>8}{'last day':>10}{'tripped at':>12}{'holds':>7}"]
    main, fault = found.get("tennessee_eastman", {}), found.get("tennessee_eastman_idv_6", {})
    shown = {f"advice, seed {seed}": each for seed, each in zip(TRIAL_SEEDS, main.get("trials", []), strict=False)}
    shown |= {"without advice": main["without_advice"]} if "without_advice" in main else {}
    for name, each in [*shown.items(), *((f"disturbance 6, {who}", each) for who, each in fault.items())]:
        tripped = f"{each['tripped_at_h']:.2f} h" if each["tripped_at_h"] else "never"
        out.append(f"{name:34}{each['cost_per_hour']:8.1f}{each['cost_last_day']:10.1f}{tripped:>12}{each['holds']:7d}")
    return out
