"""Many problems at once: the answers of one at a time."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from control_fakes import COLUMN, latent_model, make_plant, unit_scaler

from procmodel.control.batched import BatchedOptimizer
from procmodel.control.fleet import Fleet, Request
from procmodel.control.optimizer import Optimizer
from procmodel.control.requests import Orders
from procmodel.errors import PlantFileError

PLANT = make_plant(COLUMN, horizon="60 s", blocks=4)
MAKE = partial(Optimizer, plant=PLANT, model=latent_model(PLANT), scaler=unit_scaler(PLANT))
RECORD = np.random.default_rng(1).normal(size=(60, 6)) * 0.3


def requests() -> list[Request]:
    return [
        Request(
            rows_RC=RECORD[at : at + 18],
            orders=Orders(setpoints={"Purity": 0.02 * at}, out_of_service=("Steam",) if at % 3 == 0 else ()),
        )
        for at in range(9)
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_plans_of_many_are_those_of_one_at_a_time(workers: int) -> None:
    with Fleet(MAKE, workers=workers) as fleet:
        found = fleet.plan(requests())
        tested = fleet.backtest(RECORD, range(20, 32), setpoints={"Purity": 0.3})
    for request, plan in zip(requests(), found, strict=True):
        alone = MAKE().plan(request.rows_RC, request.orders)
        np.testing.assert_allclose(plan.moves, alone.moves, atol=1e-9)
        assert plan.status is alone.status
    for first in range(20, 32, 12 // workers):
        optimizer, previous = MAKE(), None
        for tick in range(first, first + 12 // workers):
            rows_RC = RECORD[max(0, tick + 1 - optimizer.rows_wanted) : tick + 1]
            previous = optimizer.plan(rows_RC, setpoints={"Purity": 0.3}, previous=previous)
            np.testing.assert_allclose(tested[tick - 20].moves, previous.moves, atol=1e-9)


@pytest.mark.parametrize("ramp", [None, 1.2])
def test_batched_workers_plan_as_one_at_a_time_does(ramp: float | None) -> None:
    """A ramp goes on from the plan before, so that a batched backtest has to go in order, too."""
    tags = COLUMN | {"Purity": COLUMN["Purity"] | {"ramp": ramp}}
    plant = make_plant(tags, horizon="60 s", blocks=4)
    parts = {"plant": plant, "model": latent_model(plant), "scaler": unit_scaler(plant)}
    setpoints = {"Purity": 0.3}
    with Fleet(partial(BatchedOptimizer, **parts), workers=1, pieces=1) as fleet:
        found = fleet.plan(
            [Request(rows_RC=RECORD[at : at + 18], orders=Orders(setpoints=setpoints)) for at in range(6)]
        )
        tested = fleet.backtest(RECORD, range(20, 26), setpoints=setpoints)
    alone, previous = Optimizer(**parts), None
    for at in range(6):
        known = alone.plan(RECORD[at : at + 18], setpoints=setpoints)
        assert found[at].cost == pytest.approx(known.cost, rel=2e-3)
        previous = alone.plan(RECORD[at + 3 : at + 21], setpoints=setpoints, previous=previous if ramp else None)
        assert tested[at].cost == pytest.approx(previous.cost, rel=2e-3)
        assert tested[at].limits == previous.limits


def test_nothing_asked_is_nothing_planned() -> None:
    with Fleet(MAKE, workers=1) as fleet:
        assert fleet.plan([]) == []
        assert fleet.backtest(RECORD, []) == []


def test_a_wrong_request_is_told_as_by_the_optimizer() -> None:
    with Fleet(MAKE, workers=1) as fleet, pytest.raises(PlantFileError, match="unknown CV"):
        fleet.plan([Request(rows_RC=RECORD[:20], orders=Orders(setpoints={"Nothing": 1.0}))])
