"""Plants that nobody here wrote: pcgym's reactor, four tanks and extraction column, in its environments and reward.

A mediocre controller (PI loops, now and then by hand) is logged for 20,000 steps; the world model learns from that log
and nothing else; then the advice runs one episode of pcgym's task. Beside it, in the same environment: the optimum
over the whole episode on the true equations, pcgym's own oracle, the best constant input, and the logged controller.

pcgym 0.1.8 needs an older numpy, so it runs behind a pipe (`peer_plants/pcgym_worker.py`) in an environment of its own,
which is made below `runs/` at the first run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from connectors.memory import MemoryHistorian
from experiments.contract import Outcome, run_experiment
from procmodel.control.optimizer import Optimizer
from procmodel.data import condition
from procmodel.plant import Plant, load_plant
from procmodel.runtime.loop import Advisor
from procmodel.training.train import train

FILES = Path(__file__).with_name("peer_plants")
HOME = Path("runs/pcgym")
START = datetime(2026, 1, 5, tzinfo=UTC)
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Loop:
    """A PI loop: `cv` by `mv`, gain [unit of MV per unit of CV], integral time [rows]."""

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


class Environment:
    """pcgym in its own process."""

    def __init__(self) -> None:
        words = [str(_interpreter()), "-W", "ignore", str(FILES / "pcgym_worker.py")]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Environment:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Answer of the worker."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("pcgym's process ended; its message stands above.")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _interpreter() -> Path:
    """Of an environment with pcgym, made when it is not there yet."""
    python = HOME / "venv" / "bin" / "python"
    if not (HOME / "venv" / "ready").exists():
        print("Installing pcgym 0.1.8 into runs/pcgym/venv: once, a few minutes.", file=sys.stderr)
        venv.create(HOME / "venv", with_pip=True, clear=True)
        wanted = ["pcgym==0.1.8", "numpy<2.3"]
        subprocess.run([str(python), "-m", "pip", "install", "-q", *wanted], check=True, stdout=sys.stderr)
        (HOME / "venv" / "ready").touch()
    return python.absolute()


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


def logged(name: str, case: Case, plant: Plant, steps: int, env: Environment) -> np.ndarray:
    """Rows [steps, C] of inputs held and states reached, kept from run to run."""
    kept = HOME / f"{name}-{steps}-{SEED}.npy"
    if kept.exists():
        return np.asarray(np.load(kept))
    rng = np.random.default_rng(SEED)
    schedule = {state: _levels(steps + 2, *span, rng) for state, span in case.asked.items()}
    made = env.ask(do="make", task=name, setpoints=schedule)
    controller, cvs = Mediocre(case, plant, rng), plant.cvs
    middle = [(plant.tags[mv].limits.low.at + plant.tags[mv].limits.high.at) / 2 for mv in plant.mvs]  # type: ignore[union-attr]
    u, x, rows = np.array(middle), np.array(made["x"]), []
    for t in range(steps):
        u = controller.act(u, x, {cvs.index(state): levels[t] for state, levels in schedule.items()})
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


def advised(name: str, advisor: Advisor, env: Environment) -> tuple[float, int]:
    """Return of one episode under advice, and how often it held.

    Before the first row the plant is taken to have rested at its first state under middle inputs.
    """
    plant, made = advisor.plant, env.ask(do="make", task=name)
    asked, x = made["setpoints"], made["x"]
    limits = [plant.tags[mv].limits for mv in plant.mvs]
    u = [0.5 * (each.low.at + each.high.at) for each in limits]  # type: ignore[union-attr]
    rows, gained, holds, previous, done, t = [[*u, *x]] * 90, 0.0, 0, None, False, 0
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


def by_controller(name: str, case: Case, plant: Plant, env: Environment) -> float:
    """Return of one episode under the logged controller."""
    made = env.ask(do="make", task=name)
    controller, x, cvs = Mediocre(case, plant, np.random.default_rng(SEED + 1)), np.array(made["x"]), plant.cvs
    u = np.array([0.5 * (plant.tags[mv].limits.low.at + plant.tags[mv].limits.high.at) for mv in plant.mvs])  # type: ignore[union-attr]
    gained, done, t = 0.0, False, 0
    while not done:
        u = controller.act(u, x, {cvs.index(state): levels[t + 1] for state, levels in made["setpoints"].items()})
        answer = env.ask(do="step", u=u.tolist())
        x, gained, done, t = np.array(answer["x"]), gained + answer["reward"], answer["done"], t + 1
    return gained


def study(quick: bool) -> Outcome:
    """Advice learned from a log, in pcgym's own environments."""
    results: dict[str, dict[str, float]] = {}
    steps, lines = (
        3_000 if quick else 20_000,
        [f"{'return':24}{'advice':>10}{'logged':>10}{'optimum':>10}{'oracle':>10}"],
    )
    with Environment() as env:
        for name in list(CASES)[: 1 if quick else None]:
            case = CASES[name]
            plant = load_plant(FILES / f"{name}.yaml")
            rows = logged(name, case, plant, steps, env)
            print(f"{name}: {len(rows)} rows logged; learning", file=sys.stderr)
            gained, holds = advised(name, learned(plant, rows, HOME / "scratch" / name), env)
            found = {"advice": gained, "holds": float(holds), "logged": by_controller(name, case, plant, env)}
            results[name] = found | ({} if quick else env.ask(do="peers", task=name))
            shown = [results[name].get(key) for key in ("advice", "logged", "optimum", "pcgym_oracle")]
            lines.append(
                f"{name:24}" + "".join(f"{value:10.3f}" if value is not None else f"{'-':>10}" for value in shown)
            )
            print(lines[-1], file=sys.stderr)
    values = {
        "pcgym_cstr_return": results["cstr"]["advice"],
        "pcgym_four_tank_return": results.get("four_tank", {}).get("advice"),
    }
    return Outcome(values=values, results=results, seeds=[SEED], lines=lines)


if __name__ == "__main__":
    raise SystemExit(run_experiment("peers", study))
