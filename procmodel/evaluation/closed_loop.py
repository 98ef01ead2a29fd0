"""Closed-loop trials on a reference plant, paired: every controller meets the same weather.

Each seed fixes disturbances, sensor noise, setpoints and the time before the trial, in which the operator runs the
plant so that there is a history. The operator stays at the console: where a controller leaves a row to the operator, as
advice does while it holds, the plant is run as it was before.

Shapes: T rows of the trial, R rows with the time before it, C tags, U MVs, Y CVs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from procmodel.evaluation.controllers import Controller, Decision, Episode, Observation
from procmodel.evaluation.limits import traces
from procmodel.evaluation.trial import ClosedLoop, Trial
from procmodel.metrics import loop_figures
from procmodel.simulation import Reading, ReferencePlant, Simulator
from procmodel.simulation.reference import span

Array = np.ndarray
Progress = Callable[[str, int, int], None]
"""Called with the controller at work, the rows done and the rows in all."""
Schedule = Callable[[int, int], Array]
"""`(rows, seed) -> setpoints [T, Y]`."""

START = datetime(2026, 1, 5, tzinfo=UTC)  # of the time before the trial; only differences matter


def run_trials(
    reference: ReferencePlant,
    controllers: Sequence[Controller],
    seeds: Sequence[int],
    *,
    rows: int,
    warmup: int,
    setpoints: Schedule | None = None,
    progress: Progress | None = None,
) -> ClosedLoop:
    """Every controller through every seed's episode.

    Args:
        seeds: Not those of the record that a model was trained on: the same seed is the same weather.
        rows: Of each trial.
        warmup: Rows under the operator before, at least one; as many as a controller wants to see.
        setpoints: By rows and seed, [T, Y], of the trial and the time before. None takes the plant's task for the
            trial, or else what its operator is asked for, as ever before the trial.
    """
    trials: dict[str, list[Trial]] = {controller.name: [] for controller in controllers}
    total, done = len(controllers) * len(seeds) * rows, 0
    for seed in seeds:
        for controller in controllers:
            episode = _Run(reference, seed, rows, max(warmup, 1), setpoints)
            controller.reset(Episode(reference=reference, seed=seed))
            for row in range(rows):
                episode.tick(controller)
                if progress is not None:
                    progress(controller.name, done + row + 1, total)
            trials[controller.name].append(episode.trial(controller.name))
            done += rows
    return ClosedLoop(
        reference=reference,
        seeds=tuple(seeds),
        rows=rows,
        warmup=warmup,
        trials={name: tuple(each) for name, each in trials.items()},
    )


class _Run:
    """One controller through one episode, after the operator has run the plant for `warmup` rows."""

    def __init__(self, reference: ReferencePlant, seed: int, rows: int, warmup: int, schedule: Schedule | None) -> None:
        plant, count = reference.plant, warmup + rows
        self._reference, self._seed, self._warmup, self._at = reference, seed, warmup, 0
        self._weather = reference.disturbances(count, seed)
        self._setpoints = (schedule or reference.setpoints)(count, seed)
        if schedule is None and reference.task is not None:
            # A task comes faster than operators are asked in a record: at its pace they would take the plant to where
            # no record has been before the trial begins.
            self._setpoints = np.concatenate([self._setpoints[:warmup], reference.task(rows, seed)])
        self._simulator, self._operator = Simulator(reference, seed=seed), reference.operator(seed)
        self._measured = np.empty((count, len(plant.columns)))
        self._interval = max(1, round((plant.advice.every or plant.sample_time) / plant.sample_time))
        self._readings: list[Reading] = []
        self._cost: list[float] = []
        self._seconds: list[float] = []
        self._cpu_seconds: list[float] = []
        self._held: list[bool] = []
        self._holds: list[tuple[int, str]] = []
        self._decision = Decision(u=None)
        self._row = self._simulator.look(self._weather.d[0], self._weather.w[0]).row
        for _ in range(warmup):
            self._move()

    def tick(self, controller: Controller) -> None:
        """One row: a decision where one is due, then the plant."""
        t, previous = self._at - self._warmup, self._simulator.held
        if controller.every_row or t % self._interval == 0:
            seen, began, cpu = self._observe(t), time.perf_counter(), time.process_time()
            self._decision = controller.act(seen)
            self._seconds.append(time.perf_counter() - began)
            self._cpu_seconds.append(time.process_time() - cpu)
            if self._decision.hold is not None:
                self._holds.append((t, self._decision.hold))
        reading = self._move()
        asked = self._setpoints[self._at - 1]
        self._cost.append(self._reference.stage_cost(reading.y, reading.u, previous, asked))
        self._held.append(self._decision.hold is not None)
        self._readings.append(reading)

    def trial(self, controller: str) -> Trial:
        """What came of it."""
        plant, after = self._reference.plant, slice(self._warmup, self._at)
        y, u = np.array([r.y for r in self._readings]), np.array([r.u for r in self._readings])
        margins = np.array([r.margins for r in self._readings])
        cost, held = np.array(self._cost), np.array(self._held)
        spans = np.array([span(plant, name) for name in plant.mvs])
        return Trial(
            controller=controller,
            seed=self._seed,
            rows=self._measured[after],
            y=y,
            u=u,
            d=self._weather.d[after],
            margins=margins,
            setpoints=self._setpoints[after],
            cost=cost,
            held=held,
            holds=tuple(self._holds),
            seconds=np.array(self._seconds),
            cpu_seconds=np.array(self._cpu_seconds),
            figures=loop_figures(cost, traces(self._reference, y, margins), u, spans, plant.sample_time, held),
        )

    def _move(self) -> Reading:
        """One row as decided; the operator looks at every row, so that loops in manual know what was set."""
        by_hand = self._operator.act(self._row, self._setpoints[self._at])
        u = by_hand if self._decision.u is None else self._decision.u
        reading = self._simulator.tick(u, self._weather.d[self._at], self._weather.w[self._at])
        self._measured[self._at] = self._row = reading.row
        self._at += 1
        return reading

    def _observe(self, t: int) -> Observation:
        rows = self._measured[: self._at]
        rows.flags.writeable = False
        return Observation(
            t=t,
            time=START + timedelta(seconds=self._at * self._reference.plant.sample_time),
            rows=rows,
            setpoints=self._setpoints[self._at],
            u_previous=self._simulator.held,
            x=self._simulator.state,
            d=self._weather.d[self._at],
            w=self._weather.w[self._at],
        )
