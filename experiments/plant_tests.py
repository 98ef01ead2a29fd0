"""Plant tests made on a reference plant, as `procmodel train` proposes them, and what they add to its record.

Shapes: T rows, C tags.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import timedelta

import numpy as np

from procmodel.data.dataset import Dataset, Stretch, moment
from procmodel.data.excitation import excitation_audit
from procmodel.data.plant_test import PlantTest, propose_tests
from procmodel.plant import Plant
from procmodel.simulation import ReferencePlant, Simulator
from procmodel.training.prepare import parts_of
from procmodel.training.settings import horizon_rows

REST = 200
"""Rows under the operator before each MV's test."""


def choose_tests(dataset: Dataset, plant: Plant) -> tuple[dict[str, PlantTest], bool]:
    """Tests that the record asks for, and False; where it asks for none, those of every MV, and True."""
    parts = parts_of(dataset, plant)
    asked = (dataset, plant, parts, excitation_audit(dataset, plant, parts), horizon_rows(plant))
    proposed = propose_tests(*asked)
    return (proposed, False) if proposed else (propose_tests(*asked, asked=True), True)


def make_tests(reference: ReferencePlant, dataset: Dataset, tests: Mapping[str, PlantTest], seed: int) -> Dataset:
    """The dataset with a stretch for each test: the tested MV steps up and down, the crew goes on with the others, and
    disturbances are as ever."""
    values, stretches = [dataset.values], list(dataset.stretches)
    began = moment(int(dataset.times()[-1].astype(np.int64))) + timedelta(seconds=dataset.step)
    for k, (mv, test) in enumerate(tests.items()):
        rows_TC = _steps(reference, test, reference.plant.mvs.index(mv), round(test.hold / dataset.step), seed + k)
        began += timedelta(days=1)
        start = stretches[-1].stop
        stretches.append(Stretch(name=f"test of {mv}", start=start, stop=start + len(rows_TC), began=began))
        began += len(rows_TC) * timedelta(seconds=dataset.step)
        values.append(rows_TC)
    added = len(np.concatenate(values)) - dataset.rows
    good = np.ones((added, len(dataset.columns)), dtype=np.float32)
    return dataclasses.replace(
        dataset,
        values=np.concatenate(values),
        good_fraction=np.concatenate([dataset.good_fraction, good]),
        stretches=tuple(stretches),
    )


def _steps(reference: ReferencePlant, test: PlantTest, place: int, hold: int, seed: int) -> np.ndarray:
    """What the instruments show, [T, C]."""
    count = REST + hold * (test.steps + 1)
    weather, setpoints = reference.disturbances(count, seed), reference.setpoints(count, seed)
    operator, simulator = reference.operator(seed), Simulator(reference, seed=seed)
    row, rows = simulator.look(weather.d[0], weather.w[0]).row, []
    for t in range(count):
        moves = np.array(operator.act(row, setpoints[t]), dtype=float)
        if t >= REST:
            moves[place] = (test.low, test.high)[(t - REST) // hold % 2]
        row = simulator.tick(moves, weather.d[t], weather.w[t]).row
        rows.append(row)
    return np.stack(rows)
