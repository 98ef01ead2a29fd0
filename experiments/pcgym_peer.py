"""pcgym's reactor, four tanks and extraction column, in its own environments and reward; a part of `experiments.peers`.

A mediocre controller (PI loops, now and then by hand) is logged for 20,000 steps; the world model learns from that log
and nothing else; then the advice runs one episode of pcgym's task. Beside it, in the same environment: the optimum
over the whole episode on the true equations, pcgym's own oracle, the best constant input, and the logged controller.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from connectors.memory import MemoryHistorian
from experiments.worker import FILES, Asked, Worker
from procmodel.control.optimizer import Optimizer
from procmodel.data import condition
from procmodel.plant import Plant, load_plant
from procmodel.runtime.loop import Advisor
from procmodel.training.train import train

HOME = Path("runs/pcgym")
WANTED = ("pcgym==0.1.8", "numpy<2.3")  # it needs an older numpy than procmodel
START = datetime(2026, 1, 5, tzinfo=UTC)
SEED = 0
PAST = 90
"""Rows of history that the advice is given."""


@dataclass(frozen=True, kw_only=True)
class Loop:
    """A PI loop: state `cv` by input `mv`, gain [unit of MV per unit of CV], integral time [rows]."""

    mv: int
    cv: int
    gain: float
    reset: float


@dataclass(frozen=True, kw_only=True)
class Case:
    """How one of pcgym's tasks is run while it is logged; its plant file is `peer_plants/NAME.yaml`.

    Attributes:
        asked: Span of the setpoints, by state.
        loops: Of the logged controller; an MV without one is moved by hand.
    """

    asked: Mapping[str, tuple[float, float]]
    loops: Sequence[Loop]


CASES = {
    "cstr": Case(asked={"Ca": (0.80, 0.94)}, loops=[Loop(mv=0, cv=0, gain=-15.0, reset=4.0)]),
    "four_tank": Case(
        asked={"h3": (0.05, 0.55), "h4": (0.10, 0.45)},
        loops=[Loop(mv=1, cv=2, gain=10.0, reset=8.0), Loop(mv=0, cv=3, gain=10.0, reset=8.0)],
    ),
    "multistage_extraction": Case(asked={"X5": (0.22, 0.48)}, loops=[Loop(mv=0, cv=8, gain=40.0, reset=2.0)]),
}


class Mediocre:
    """Sluggish PI loops in velocity form; for a tenth of the time somebody moves a loop's MV by hand instead."""

    def __init__(self, case: Case, plant: Plant, rng: np.random.Generator) -> None:
        self._loops = {loop.mv: loop for loop in case.loops}
        limits = [plant.tags[name].limits for name in plant.mvs]
        self._low, self._high = (np.array([getattr(each, side).at for each in limits]) for side in ("low", "high"))
        self._rng, self._before, self._manual = rng, dict.fromkeys(range(len(limits)), 0.0), np.zeros(len(limits))

    def act(self, u_U: np.ndarray, x_X: np.ndarray, asked: Mapping[int, float]) -> np.ndarray:
        """Next inputs, to a thousandth of their range."""
        new, span = u_U.copy(), self._high - self._low
        for mv in range(len(u_U)):
            loop = self._loops.get(mv)
            error = asked[loop.cv] - x_X[loop.cv] if loop else 0.0
            self._manual[mv] -= 1
            if self._manual[mv] < -180:
                self._manual[mv] = 20
            if loop is None or self._manual[mv] > 0:
                if self._rng.uniform() < 0.15:
                    new[mv] += self._rng.uniform(-0.2, 0.2) * span[mv]
            else:
                new[mv] += loop.gain * (error - self._before[mv] + error / loop.reset)
            self._before[mv] = error
        shares = np.clip((new - self._low) / span, 0.0, 1.0)
        return np.asarray(self._low + span * np.round(shares, 3))


def logged(name: str, case: Case, plant: Plant, steps: int, env: Asked) -> np.ndarray:
    """Rows [steps, C] of inputs held and states reached, kept from run to run."""
    kept = HOME / f"{name}-{steps}-{SEED}.npy"
    if kept.exists():
        return np.asarray(np.load(kept))
    rng = np.random.default_rng(SEED)
    schedule = {state: _levels(steps + 2, *span, rng) for state, span in case.asked.items()}
    made = env.ask(do="make", task=name, setpoints=schedule)
    controller, states = Mediocre(case, plant, rng), plant.columns[len(plant.mvs) :]
    middle = [(plant.tags[mv].limits.low.at + plant.tags[mv].limits.high.at) / 2 for mv in plant.mvs]  # type: ignore[union-attr]
    u, x, rows = np.array(middle), np.array(made["x"]), []
    for t in range(steps):
        u = controller.act(u, x, {states.index(state): levels[t] for state, levels in schedule.items()})
        x = np.array(env.ask(do="step", u=u.tolist())["x"])
        rows.append([*u, *x])
    HOME.mkdir(parents=True, exist_ok=True)
    np.save(kept, np.array(rows))
    return np.array(rows)


def _levels(count: int, low: float, high: float, rng: np.random.Generator) -> list[float]:
    """A setpoint that changes every 10 to 40 rows."""
    values: list[float] = []
    while len(values) < count:
        values += [round(float(rng.uniform(low, high)), 3)] * int(rng.integers(10, 40))
    return values[:count]


def learned(plant: Plant, rows: np.ndarray, scratch: Path) -> Advisor:
    """What the product makes of the log: dataset, model, optimizer, guard.

    The surprise gate is off: an episode begins at a state without a past, which is no fault of the plant.
    """
    step = timedelta(seconds=plant.sample_time)
    frame = pl.DataFrame(rows, schema=plant.columns).with_columns(
        pl.Series("time", [START + step * k for k in range(len(rows))])
    )
    dataset = condition(plant, MemoryHistorian(frame, plant.tags))
    artifact = train(dataset, plant, scratch)
    planner = Optimizer(plant=plant, model=artifact.model, scaler=artifact.scaler)
    return Advisor(plant=plant, planner=planner, model=artifact.model, scaler=artifact.scaler)


def past_of(plant: Plant, log: np.ndarray, x: Sequence[float]) -> list[list[float]]:
    """History [90, C] for an episode that begins at state `x` without one: the log's, up to its row nearest to `x` in
    shares of each state's spread, with `x` in place of that row's state.

    Made-up rest under middle inputs, which a state may be far from, told the model of answers that no plant gives.
    """
    states = log[PAST - 1 :, len(plant.mvs) :]
    end = PAST + int(np.argmin((((states - x) / np.maximum(states.std(axis=0), 1e-9)) ** 2).sum(axis=1)))
    rows: list[list[float]] = log[end - PAST : end].tolist()
    rows[-1][len(plant.mvs) :] = x
    return rows


def advised(name: str, advisor: Advisor, env: Asked, log: np.ndarray) -> tuple[float, int]:
    """Return of one episode under advice, and how often it held; its past is that of `past_of`."""
    plant, made = advisor.plant, env.ask(do="make", task=name)
    asked = made["setpoints"]
    rows, gained, holds, previous, done, t = past_of(plant, log, made["x"]), 0.0, 0, None, False, 0
    u = rows[-1][: len(plant.mvs)]
    while not done:
        now = START + timedelta(seconds=plant.sample_time * t)
        wanted = {state: float(levels[t + 1]) for state, levels in asked.items()}
        advice, plan = advisor.advise(np.array(rows), newest=now, now=now, setpoints=wanted, previous=previous)
        previous = plan if advice.is_move else None
        holds += not advice.is_move
        u = [advice.setpoints[mv] for mv in plant.mvs] if advice.is_move else u
        answer = env.ask(do="step", u=u)
        gained, done, t = gained + answer["reward"], answer["done"], t + 1
        rows = [*rows[1:], [*u, *answer["x"]]]
    return gained, holds


def by_controller(name: str, case: Case, plant: Plant, env: Asked, log: np.ndarray) -> float:
    """Return of one episode under the logged controller, from the same inputs."""
    made = env.ask(do="make", task=name)
    controller, x = Mediocre(case, plant, np.random.default_rng(SEED + 1)), np.array(made["x"])
    states = plant.columns[len(plant.mvs) :]
    u = np.array(past_of(plant, log, made["x"])[-1][: len(plant.mvs)])
    gained, done, t = 0.0, False, 0
    while not done:
        u = controller.act(u, x, {states.index(state): levels[t + 1] for state, levels in made["setpoints"].items()})
        answer = env.ask(do="step", u=u.tolist())
        x, gained, done, t = np.array(answer["x"]), gained + answer["reward"], answer["done"], t + 1
    return gained


def results(quick: bool) -> dict[str, dict[str, float]]:
    """By task: returns of the advice learned from a log and of its peers, in pcgym's own environments."""
    found: dict[str, dict[str, float]] = {}
    with Worker("pcgym_worker.py", HOME, WANTED) as env:
        for name in list(CASES)[: 1 if quick else None]:
            case, plant = CASES[name], load_plant(FILES / f"{name}.yaml")
            rows = logged(name, case, plant, 3_000 if quick else 20_000, env)
            print(f"{name}: {len(rows)} rows logged; learning", file=sys.stderr)
            gained, holds = advised(name, learned(plant, rows, HOME / "scratch" / name), env, rows)
            found[name] = {
                "advice": gained,
                "holds": float(holds),
                "logged": by_controller(name, case, plant, env, rows),
            }
            found[name] |= {} if quick else env.ask(do="peers", task=name)
    return found


def lines(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    """For reading."""
    out = [f"{'return':24}{'advice':>10}{'logged':>10}{'optimum':>10}{'oracle':>10}"]
    for name in (each for each in CASES if each in found):
        shown = [found[name].get(key) for key in ("advice", "logged", "optimum", "pcgym_oracle")]
        out.append(f"{name:24}" + "".join(f"{value:10.3f}" if value is not None else f"{'-':>10}" for value in shown))
    return out
