"""Does a backtest's interval hold the truth? A hundred records of a plant whose truth is known, and one real record.

One world model of the evaporator advises. Each repetition is a new record under its operators (a seed of its own for
weather, hands and noise): new judges are fitted to it, and the backtest says what following the advice would have been
worth, with a 95 % interval. The truth is the closed-loop counterfactual of the very same episodes: at each one's first
row the simulated plant is branched with its true state and the noise to come, and the same guarded advice is followed
in the same weather, seeing only measured values. Truth = mean over the episodes of the operators' true cost less the
true cost of following. The second truth is the mean of these over all repetitions, what the advice is worth in the
long run.

The advice of this study looks 30 min ahead in 4 blocks, so that a hundred repetitions fit in half an hour. Finished
ones are kept in `runs/backtest_coverage/`: a stopped run goes on where it was, and Ctrl-C gives the figures of those
done.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import procmodel
from experiments.contract import Outcome, in_json, run_experiment
from experiments.learned import learned
from procmodel.advisor import advisor_of, optimizer_of
from procmodel.commands.judge import Findings, judge_backtest
from procmodel.commands.model import Place, dataset_of, model_of
from procmodel.commands.progress import Progress
from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.split import Parts
from procmodel.data.window import Columns
from procmodel.errors import ProcmodelError
from procmodel.evaluation.backtest import Backtest, backtest
from procmodel.evaluation.evaluators import evaluators
from procmodel.evaluation.replay import Answer, advise_over, episode_at
from procmodel.metrics import block_interval
from procmodel.plant import Advising, Plant, load_plant
from procmodel.runtime.loop import Advisor
from procmodel.simulation import ReferencePlant, Simulator
from procmodel.simulation.operation import record_start
from procmodel.training.artifact import Artifact
from procmodel.training.settings import window_rows

HOME = Path("runs/backtest_coverage")
SEEDS = tuple(range(5001, 5101))
ROWS, TICKS = 3000, 60
"""Of a record (50 h of minutes), and ticks that the backtest judges in its last two fifths."""
MGT = Path(__file__).resolve().parents[1] / "examples" / "micro_gas_turbine" / "plant.yaml"


@dataclass
class Branched:
    """A judge that knows the truth: the simulated plant, branched at an episode's first row.

    Attributes:
        cost: True cost of each row so far [$/h].
    """

    simulator: Simulator
    d: np.ndarray
    w: np.ndarray
    cost: list[float] = field(default_factory=list)

    def follow(self, columns: Columns, before_RC: np.ndarray) -> Answer:
        def row(recorded_C: np.ndarray, held_U: np.ndarray) -> np.ndarray:
            at = len(self.cost)
            reading = self.simulator.tick(held_U, self.d[at], self.w[at])
            self.cost.append(true_cost(self.simulator.reference, reading.y, reading.u))
            return reading.row

        return row


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """What the instruments showed, what it truly cost, and the plant before each row."""

    dataset: Dataset
    cost: np.ndarray
    plants: tuple[Simulator, ...]
    d: np.ndarray
    w: np.ndarray


def study(quick: bool) -> Outcome:
    """Coverage of the backtest's interval on a hundred simulated records, and a backtest of a real one."""
    seeds = SEEDS[:2] if quick else SEEDS
    taught = learned("evaporator", rows=12_000)
    plant = short_sighted(taught.plant)
    home = HOME / key_of(taught.artifact)
    done: list[dict[str, Any]] = []
    try:
        for seed in seeds:
            done.append(repetition(taught.reference, plant, taught.artifact, seed, home))
            print(f"seed {seed}: {words(done[-1])}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        if not done:
            raise
        print(f"Stopped: the figures are of {len(done)} of {len(seeds)} seeds.", file=sys.stderr, flush=True)
    if quick or len(done) < len(seeds):
        return replace(outcome(done, {}, seeds[: len(done)]), values={})  # a part of the hundred claims nothing
    return outcome(done, micro_gas_turbine(), seeds)


def short_sighted(plant: Plant) -> Plant:
    """The plant with the shorter look ahead of this study."""
    advice = Advising.model_validate({**plant.advice.model_dump(), "horizon": "30 min", "blocks": 4})
    return plant.model_copy(update={"advice": advice})


def key_of(artifact: Artifact) -> str:
    """Repetitions belong to the weights that advised, and to the code that judged."""
    found = hashlib.sha256(b"".join(v.numpy().tobytes() for v in artifact.model.state_dict().values()))
    for file in [*sorted(Path(procmodel.__file__).parent.rglob("*.py")), Path(__file__)]:
        found.update(file.read_bytes())
    return found.hexdigest()[:12]


def repetition(reference: ReferencePlant, plant: Plant, artifact: Artifact, seed: int, home: Path) -> dict[str, Any]:
    """Interval and truth of one record; what is stored already is taken."""
    stored = home / f"{seed}.json"
    if stored.exists():
        kept: dict[str, Any] = json.loads(stored.read_text())
        return kept
    record = operated(reference, seed)
    optimizer, advisor = optimizer_of(plant, artifact), advisor_of(plant, artifact)
    half, late = ROWS // 2, 3 * ROWS // 5
    train, validation, test = (
        Stretch(name="record", start=a, stop=b) for a, b in ((0, half), (half, late), (late, ROWS))
    )
    judges, left_out = evaluators(
        record.dataset, plant, Parts(train=(train,), validation=(validation,), test=(test,)), artifact.scaler,
        rows=window_rows(plant), horizon=optimizer.horizon.steps,
    )  # fmt: skip
    found = backtest(
        partial(advisor_of, plant, artifact), optimizer, plant, artifact.scaler, record.dataset, (test,), judges,
        left_out=left_out, ticks=TICKS, workers=1,
    )  # fmt: skip
    assert found is not None  # the record has no gap
    truth = np.array([gained(advisor, record, found, int(start), optimizer.rows_wanted) for start in found.starts])
    result = in_json({"seed": seed, "truth": float(truth.mean()), "truth_by_episode": truth, **told(found)})
    stored.parent.mkdir(parents=True, exist_ok=True)
    part = stored.with_suffix(".part")
    part.write_text(json.dumps(result))
    part.replace(stored)
    return dict(result)


def operated(reference: ReferencePlant, seed: int) -> Record:
    """A record under the operators, on the grid as the instruments show it, and the plant before each of its rows."""
    weather, asked = reference.disturbances(ROWS, seed), reference.setpoints(ROWS, seed)
    operator, simulator = reference.operator(seed), Simulator(reference, seed=seed)
    row = simulator.look(weather.d[0], weather.w[0]).row
    rows, cost, plants = [], [], []
    for t in range(ROWS):
        plants.append(simulator.branch())
        reading = simulator.tick(operator.act(row, asked[t]), weather.d[t], weather.w[t])
        row = reading.row
        rows.append(row)
        cost.append(true_cost(reference, reading.y, reading.u))
    values = np.stack(rows)
    dataset = Dataset(
        columns=tuple(reference.plant.columns),
        values=values,
        good_fraction=np.ones(values.shape, dtype=np.float32),
        start=record_start(ROWS, reference.plant.sample_time),
        step=reference.plant.sample_time,
        stretches=(Stretch(name="record", start=0, stop=ROWS),),
    )
    return Record(dataset=dataset, cost=np.array(cost), plants=tuple(plants), d=weather.d, w=weather.w)


def true_cost(reference: ReferencePlant, y: np.ndarray, u: np.ndarray) -> float:
    """[$/h], by what truly happened."""
    assert reference.hourly_cost is not None
    return float(reference.hourly_cost(y, u))


def gained(advisor: Advisor, record: Record, found: Backtest, start: int, history: int) -> float:
    """True cost of an episode as it was, less that of following the advice in the same weather and noise [$/h]."""
    ahead = slice(start, start + found.rows)
    truth = Branched(simulator=record.plants[start].branch(), d=record.d[ahead], w=record.w[ahead])
    episode = episode_at(record.dataset, start, found.rows, history, found.interval)
    advise_over(advisor, replace(episode, judge=truth))
    return float(record.cost[ahead].mean() - np.mean(truth.cost))


def told(found: Backtest) -> dict[str, Any]:
    """The interval of all judges, and those of each method."""
    methods = dict.fromkeys(judge.method for judge in found.judges)
    bare = {name: found.worth(name) for name in (None, *methods)}
    return {
        "intervals": {
            name or "all": None if each is None else {"mean": each.mean, "low": each.low, "high": each.high}
            for name, each in bare.items()
        },
        "matched_ticks": int(np.isfinite(found.matched).sum()),
        "cost_recorded": float(found.recorded.mean()),
        "judges": len(found.judges),
    }


def words(each: Mapping[str, Any]) -> str:
    interval = each["intervals"]["all"]
    return "no interval" if interval is None else (
        f"truth {each['truth']:.1f}, interval {interval['low']:.1f} to {interval['high']:.1f} $/h"
    )  # fmt: skip


def outcome(done: Sequence[Mapping[str, Any]], real: Mapping[str, Any], seeds: Sequence[int]) -> Outcome:
    """Coverage of the same record's truth and of the long run's, by judge; where there is no interval, nothing is."""
    truths = np.array([each["truth"] for each in done])
    methods = list(dict.fromkeys(name for each in done for name in each["intervals"]))
    table: dict[str, Any] = {}
    for name in methods:
        found = [each["intervals"].get(name) for each in done]
        means = np.array([np.nan if each is None else each["mean"] for each in found])
        table[name] = {
            "covers_same_record": share(found, truths),
            "covers_long_run": share(found, np.full(len(found), truths.mean())),
            "mean_width": float(np.mean([each["high"] - each["low"] for each in found if each])),
            "mean_estimate": float(np.nanmean(means)),
            "bias": float(np.nanmean(means - truths)),
        }
    if len(truths) > 1:
        interval = block_interval(truths, block=1)
        table["truth"] = {"mean": interval.mean, "low": interval.low, "high": interval.high}
    lines = [f"{len(done)} records; true benefit {truths.mean():.1f} $/h of {done[0]['cost_recorded']:.0f}"]
    lines += [
        f"  {name:12} covers {each['covers_same_record']:.0%} (long run {each['covers_long_run']:.0%}), "
        f"width {each['mean_width']:.1f}, bias {each['bias']:+.1f} $/h"
        for name, each in table.items()
        if name != "truth"
    ]
    if real.get("benefit"):
        agreed, benefit = real["agreement"]["share"], real["benefit"]
        lines.append(
            f"micro gas turbine: agreement {agreed:.0%}; benefit {benefit['low']:.3g} to {benefit['high']:.3g}"
        )
    return Outcome(
        values={"truth_covered_share": table["all"]["covers_same_record"]},
        results={"coverage": table, "micro_gas_turbine": real, "repetitions": list(done)},
        seeds=list(seeds),
        lines=lines,
    )


def share(found: Sequence[Mapping[str, float] | None], truths: np.ndarray) -> float:
    held = [
        each is not None and each["low"] <= truth <= each["high"] for each, truth in zip(found, truths, strict=True)
    ]
    return float(np.mean(held))


def micro_gas_turbine() -> dict[str, Any]:
    """Backtest of the real record, whose test runs nobody steered to the setpoint of the plant file: the benefit says
    what steering to it would have brought against runs made for another purpose, so agreement and the judges'
    agreement with each other are what to look at."""
    try:
        plant, place, progress, findings = load_plant(MGT), Place(out=(HOME / "mgt").absolute()), Progress(), Findings()
        dataset = dataset_of(plant, place, progress)
        judge_backtest(plant, dataset, model_of(plant, place, progress), findings)
    except ProcmodelError as error:
        return {"absent": str(error)}
    return dict(findings.results.get("backtest", {}))


if __name__ == "__main__":
    raise SystemExit(run_experiment("backtest_coverage", study))
