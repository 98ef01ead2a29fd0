"""Does a slow layer above the advice beat one flat optimizer of equal compute, where there is something to store?

A small waterworks: a well pump fills a basin that is full or empty within half an hour, a second pump lifts the water
to a tower that lasts for some hours. Electricity has another price every hour, known a day ahead; the town's demand
is known but for its whims. All controllers have the same model from 40 days of the operators' record (the slow layer
its own, from the same record), the same announcements and the same weather; their CPU seconds are counted.

Finished episodes are kept in `runs/hierarchy/`, a file each: a stopped run goes on where it was.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.contract import Outcome, run_experiment
from procmodel.advisor import optimizer_of
from procmodel.control.hierarchy import Hierarchy
from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Plan
from procmodel.control.requests import Orders
from procmodel.data.dataset import Dataset, Stretch
from procmodel.evaluation.closed_loop import Trial, run_trials
from procmodel.evaluation.controllers import Decision, FunctionControl, Observation
from procmodel.evaluation.plain import plain
from procmodel.metrics import ratio_interval
from procmodel.plant import Plant
from procmodel.plant.slow import slow_plant
from procmodel.simulation import ReferencePlant, operate, own_plant
from procmodel.simulation.signals import stream, wander
from procmodel.training.artifact import Artifact, load_artifact, save_artifact
from procmodel.training.slow import load_slow, train_slow
from procmodel.training.train import train
from procmodel.world_model.slow import SlowRows

HOME = Path("runs/hierarchy")
RECORD_ROWS, RECORD_SEED = 40 * 288, 0
SEEDS = tuple(range(1001, 1011))
ROWS, WARMUP = 288, 540
"""Of an episode: a day from 21:00, when the tower is low anyway, so that what is left in it counts for little."""

PLANT = """
name: waterworks
sample_time: 5 min
tags:
  FC1.SP: {role: MV, unit: m3/h, limits: [0, 600], max_move: 80}
  FC2.SP: {role: MV, unit: m3/h, limits: [0, 600], max_move: 80}
  LI1.PV: {role: CV, unit: m, range: [0, 4], limits: {low: {at: 0.8, rank: 1}, high: {at: 3.4, rank: 1}}}
  LI2.PV: {role: CV, unit: m, range: [0, 6], limits: {low: {at: 1.5, rank: 1}, high: {at: 5.5, rank: 1}}}
  FI9.PV: {role: DV, unit: m3/h, range: [0, 800]}
  JI9.PV: {role: DV, unit: CHF/kWh, range: [0, 1]}
training: {window: 1 h, rollout: auto}
advice:
  horizon: 2 h
  objective: "JI9.PV * (FC1.SP * (0.1 + 0.08 * (FC1.SP / 600)**2) + FC2.SP * (0.2 + 0.25 * (FC2.SP / 600)**2))"
slow: {row: 1 h, horizon: 24 h, targets: [LI2.PV]}
"""
BASIN, TOWER = 25.0, 500.0  # cross-sections [m2]
LAG = 300.0  # of the pumps behind their setpoints [s]
DAY = 288  # rows


class Waterworks:
    """Basin and tower [m] behind two lagging pumps [m3/h]; steps of 30 s."""

    def __init__(self) -> None:
        self.basin, self.tower, self.flows = 2.0, 3.5, [300.0, 300.0]

    def step(self, u: Sequence[float], d: Sequence[float]) -> list[float]:
        """Both levels [m], averaged over 5 min."""
        basin = tower = 0.0
        for _ in range(10):
            self.flows = [flow + 30.0 / LAG * (asked - flow) for flow, asked in zip(self.flows, u, strict=True)]
            lifted = self.flows[1] if self.basin > 0.0 else min(self.flows)
            self.basin = min(max(self.basin + (self.flows[0] - lifted) / 120.0 / BASIN, 0.0), 4.0)
            self.tower = min(max(self.tower + (lifted - d[0]) / 120.0 / TOWER, 0.0), 6.0)
            basin, tower = basin + self.basin / 10, tower + self.tower / 10
        return [basin, tower]


def pattern(rows: int) -> np.ndarray:
    """What the town is expected to draw [m3/h], [T]: little at night, much in the morning and the evening."""
    hour = np.arange(rows) % DAY / 12.0
    return 180.0 + 250.0 * np.exp(-(((hour - 8.0) / 2.0) ** 2)) + 220.0 * np.exp(-(((hour - 18.5) / 2.5) ** 2)) + (
        80.0 * ((hour > 6.0) & (hour < 23.0))
    )  # fmt: skip


def prices(rows: int, seed: int) -> np.ndarray:
    """Of electricity [CHF/kWh], [T]: cheap at night and at noon, dear in the evening, another day another price."""
    hour = np.arange(-(-rows // 12) + 24)
    usual = np.array([0.10] * 6 + [0.25] * 4 + [0.14] * 6 + [0.30] * 5 + [0.16] * 3)[hour % 24]
    return np.repeat(usual * np.exp(0.25 * stream(seed, "waterworks", "price").normal(size=len(hour))), 12)[:rows]


def surroundings(rows: int, seed: int) -> np.ndarray:
    """Demand with its whims, and price, [T, V]."""
    whims = wander(rows, step=300.0, time_constant=7200.0, spread=25.0, rng=stream(seed, "waterworks", "whims"))
    return np.stack([np.maximum(pattern(rows) + whims, 0.0), prices(rows, seed)], axis=1)


class Hands:
    """Two operators: one keeps the tower filled, with a mind of his own, the other has the well follow."""

    def __init__(self, seed: int) -> None:
        self._rng, self._left, self._lift, self._well = stream(seed, "waterworks", "hands"), [0, 0], 300.0, 300.0

    def act(self, row_C: np.ndarray, setpoints_Y: np.ndarray) -> np.ndarray:
        """Both pumps [m3/h]; the lift is looked at every 30 to 150 min, the well every 10 to 20 min."""
        basin, tower = float(row_C[2]), float(row_C[3])
        self._left = [left - 1 for left in self._left]
        if self._left[0] < 0 or not 1.6 < tower < 5.4:
            self._left[0] = int(self._rng.uniform(6, 30))
            self._lift = float(np.clip(300.0 + 150.0 * (3.5 - tower) + self._rng.normal(0, 100), 0, 600).round(-1))
        if self._left[1] < 0:
            self._left[1] = int(self._rng.uniform(2, 4))
            follow = self._lift + 60.0 * (2.1 - basin) + self._rng.normal(0, 25)
            self._well = float(np.clip(follow, 0, 600).round(-1))
        moves = np.array([self._well, self._lift])
        return np.clip(moves, row_C[:2] - 80.0, row_C[:2] + 80.0)


def waterworks(folder: Path) -> ReferencePlant:
    """The plant, its file and its people."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plant.yaml").write_text(PLANT, encoding="utf-8")
    return own_plant(
        folder / "plant.yaml", Waterworks, u0=[300.0, 300.0], d0=[300.0, 0.15],
        noise=[0.0, 0.0, 0.01, 0.01, 3.0, 0.0], operator=Hands, disturbances=surroundings,
    )  # fmt: skip


def recorded(reference: ReferencePlant, rows: int) -> Dataset:
    """The operators' record as it stands on the grid."""
    run = operate(reference, rows=rows, seed=RECORD_SEED)
    return Dataset(
        columns=tuple(reference.plant.columns), values=run.rows, good_fraction=np.ones(run.rows.shape, np.float32),
        start=run.start, step=run.step, stretches=(Stretch(name="record", start=0, stop=rows, began=run.start),),
    )  # fmt: skip


def models(reference: ReferencePlant, home: Path, rows: int) -> tuple[Artifact, Artifact]:
    """Fast and slow model, trained once and kept."""
    plant, dataset = reference.plant, recorded(reference, rows)
    if not (home / "fast").exists():
        save_artifact(train(dataset, plant, home / "scratch-fast"), home / "fast")
    fast = load_artifact(home / "fast", plant)
    if not (home / "slow").exists():
        save_artifact(train_slow(dataset, plant, fast, home / "scratch-slow"), home / "slow")
    return fast, load_slow(home / "slow", plant, fast)


def advised(plant: Plant, **changes: Any) -> Plant:
    """The plant with another way of advising."""
    return plant.model_copy(update={"advice": plant.advice.model_copy(update=changes)})


class AsSetpoints:
    """A fast layer that takes what the slow one asks for as setpoints over its whole horizon."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self.rows_wanted, self.horizon = optimizer.rows_wanted, optimizer.horizon

    def plan(self, rows_RC: np.ndarray, orders: Orders, **asked: Any) -> Plan:
        """As of the optimizer within."""
        led = replace(orders, setpoints={**orders.ends, **orders.setpoints}, ends={})
        return self._optimizer.plan(rows_RC, led, **asked)


@dataclass
class Rig:
    """A planner in closed loop, with its CPU seconds."""

    planner: Any
    history: int
    rows_ahead: int
    interval: int
    seed: int = 0
    seconds: float = 0.0
    holds: int = 0
    held: np.ndarray | None = None
    previous: Plan | None = None

    def act(self, seen: Observation) -> Decision:
        """Plans where advice is due."""
        if seen.t % self.interval and self.held is not None:
            return Decision(u=self.held)
        at, ahead = len(seen.rows), self.rows_ahead
        total = at + ahead
        future = np.stack([pattern(total)[at:], prices(total, self.seed)[at:]], axis=1)
        begun = time.process_time()
        plan = self.planner.plan(seen.rows[-self.history :], future_dv_HV=future, previous=self.previous)
        self.seconds += time.process_time() - begun
        self.previous = plan if plan.status.usable else None
        self.holds += not plan.status.usable
        self.held = plan.moves[0] if plan.status.usable else seen.u_previous
        return Decision(u=self.held)


def rigs(plant: Plant, fast: Artifact, slow: Artifact) -> dict[str, Callable[[], Rig]]:
    """Who is compared, by name."""
    above = slow_plant(plant)
    rows = SlowRows.of(plant, fast.model, fast.scaler)

    def layered(lower: Any) -> Rig:
        planner = Hierarchy(plant=plant, fast=lower, slow=optimizer_of(above, slow), slow_rows=rows)
        return Rig(planner, planner.rows_wanted, planner.future_rows, 1)

    def flat(**changes: Any) -> Rig:
        optimizer = optimizer_of(advised(plant, **changes), fast)
        return Rig(optimizer, optimizer.rows_wanted, optimizer.future_rows, optimizer.horizon.interval)

    return {
        "flat, 2 h": flat,
        # Of equal compute: the hierarchy's CPU time per row lies between those of these two.
        "flat, 24 h": lambda: flat(horizon=86_400.0, blocks=12, every=600.0),
        "flat, 24 h, every 15 min": lambda: flat(horizon=86_400.0, blocks=12, every=900.0),
        "hierarchy, setpoints": lambda: layered(AsSetpoints(optimizer_of(plant, fast))),
        "hierarchy": lambda: layered(optimizer_of(plant, fast)),
    }


def paid(trial: Trial, value: float) -> float:
    """Mean cost [CHF/h]; what the tower holds more at the end than at the start is worth `value` [CHF/kWh]."""
    u, price = trial.u, trial.d[:, 1]
    energy = u[:, 0] * (0.1 + 0.08 * (u[:, 0] / 600) ** 2) + u[:, 1] * (0.2 + 0.25 * (u[:, 1] / 600) ** 2)
    stored = TOWER * (trial.y[-1, 1] - trial.y[0, 1]) * energy.sum() / u[:, 1].sum()
    return float((price * energy).mean() - value * stored * 12 / len(u))


def episode(reference: ReferencePlant, name: str, make: Callable[[], Rig], seed: int, home: Path) -> dict[str, Any]:
    """One controller through one day, or what an earlier call kept of it."""
    stored = home / f"{seed} {name}.json"
    if stored.exists():
        return dict(json.loads(stored.read_text()))
    rig = make()
    rig.seed = seed
    control = FunctionControl(name, rig.act)
    trial = run_trials(reference, [control], seeds=[seed], rows=ROWS, warmup=WARMUP).trials[name][0]
    price = np.sort(trial.d[:, 1])
    beyond = np.maximum(trial.y - np.array([3.4, 5.5]), np.array([0.8, 1.5]) - trial.y)
    found = {
        "cost": paid(trial, float(price[: len(price) // 4].mean())),
        "cost_at_mean_price": paid(trial, float(price.mean())),
        "share_broken": float((beyond > 0.0).any(axis=1).mean()),
        "largest_excess_m": float(max(beyond.max(), 0.0)),
        "tower_end_m": float(trial.y[-1, 1]),
        "cpu_ms_per_row": 1e3 * rig.seconds / ROWS,
        "holds": rig.holds,
    }
    stored.write_text(json.dumps(found))
    print(f"{seed} {name}: {found['cost']:.2f} CHF/h, {found['cpu_ms_per_row']:.0f} ms", file=sys.stderr, flush=True)
    return found


def table(found: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, dict[str, Any]]:
    """Means by controller, and the ratio of its cost to each other one's over the same seeds, with 95 % intervals."""
    out: dict[str, dict[str, Any]] = {}
    for name, mine in found.items():
        out[name] = {key: plain(float(np.mean([each[key] for each in mine]))) for key in mine[0]}
        for key in ("cost", "cost_at_mean_price"):
            ours = np.array([each[key] for each in mine])
            out[name][f"{key}_over"] = {
                other: vars(ratio_interval(ours, np.array([each[key] for each in theirs])))
                for other, theirs in found.items()
                if other != name
            }
    return out


def at_equal_compute(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The flat optimizers of a day whose CPU time per row brackets the hierarchy's, and its cost over theirs.

    A dearer one at the same cost shows a saving; a cheaper one at the same cost shows that there is none. Both sides
    are None where no flat optimizer is there.
    """
    spent = results["hierarchy"]["cpu_ms_per_row"]
    flat = {name: each["cpu_ms_per_row"] for name, each in results.items() if name.startswith("flat, 24 h")}
    sides = {
        "cheaper": max((name for name, ms in flat.items() if ms <= spent), key=flat.__getitem__, default=None),
        "dearer": min((name for name, ms in flat.items() if ms > spent), key=flat.__getitem__, default=None),
    }
    return {
        side: name
        and {
            "controller": name,
            "cpu_over_the_hierarchys": flat[name] / spent,
            "hierarchys_cost_over": results["hierarchy"]["cost_over"][name],
        }
        for side, name in sides.items()
    }


def study(quick: bool) -> Outcome:
    """A slow layer above the advice against flat optimizers on a waterworks with a tower and a price by the hour."""
    home, seeds = (HOME / "quick", SEEDS[:1]) if quick else (HOME, SEEDS)
    reference = waterworks(home)
    fast, slow = models(reference, home, 6000 if quick else RECORD_ROWS)
    made = rigs(reference.plant, fast, slow)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in made}
    for seed in seeds:
        for name, make in made.items():
            found[name].append(episode(reference, name, make, seed, home))
    results = table(found)
    lines = [
        f"{name:22} {each['cost']:7.2f} CHF/h  broken {100 * each['share_broken']:5.2f} %  "
        f"{each['cpu_ms_per_row']:5.0f} ms a row"
        for name, each in results.items()
    ]
    equal = at_equal_compute(results)
    for side, each in equal.items():
        told = f"{each['controller']}, {each['cpu_over_the_hierarchys']:.2f} of the time" if each else "none"
        lines.append(f"next {side} flat optimizer of a day: {told}")
    results = {"controllers": results, "equal_compute": equal, "episodes": found}
    return Outcome(values={}, results=results, seeds=list(seeds), lines=lines)


if __name__ == "__main__":
    raise SystemExit(run_experiment("hierarchy", study))
