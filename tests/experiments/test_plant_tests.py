"""A plant test made on a reference plant: the steps that were proposed, behind the record, and nothing else touched."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from experiments.plant_tests import REST, make_tests
from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.plant_test import PlantTest
from procmodel.simulation import reference_plant


def test_the_tested_mv_steps_as_proposed_while_the_crew_moves_the_others() -> None:
    reference = reference_plant("evaporator")
    plant = reference.plant
    mv, rows, hold = plant.mvs[0], 50, 30
    values = np.zeros((rows, len(plant.columns)))
    dataset = Dataset(
        columns=tuple(plant.columns),
        values=values,
        good_fraction=np.ones_like(values, dtype=np.float32),
        start=datetime(2026, 3, 1, tzinfo=UTC),
        step=plant.sample_time,
        stretches=(Stretch(name="a", start=0, stop=rows),),
    )
    test = PlantTest(
        mv=mv, unit="kPa", cvs=plant.cvs, low=190.0, high=200.0, hold=hold * plant.sample_time, steps=3, enough=True
    )
    found = make_tests(reference, dataset, {mv: test}, seed=1)
    assert np.array_equal(found.values[:rows], values)
    assert [s.name for s in found.stretches] == ["a", f"test of {mv}"]
    assert found.stretches[1].rows == REST + 4 * hold
    assert found.rows == rows + REST + 4 * hold == len(found.good_fraction)
    assert (np.diff(found.times()) > np.timedelta64(0)).all()
    moved = found.values[rows + REST :, plant.columns.index(mv)]
    assert np.array_equal(moved, np.repeat([190.0, 200.0, 190.0, 200.0], hold))
    other = found.values[rows:, plant.columns.index(plant.mvs[1])]
    assert len(np.unique(other)) > 1
