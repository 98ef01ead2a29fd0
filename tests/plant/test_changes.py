"""What an operator may change for a tick, and what not."""

from __future__ import annotations

import pytest

from procmodel.errors import PlantFileError
from procmodel.plant import Calculated, Limit, Limits, Plant, Status
from procmodel.plant.changes import changed_plant


def test_limits_and_statuses_of_a_tick_take_the_place_of_the_plant_files(small_plant: Plant) -> None:
    changed = changed_plant(
        small_plant,
        limits={"LI1.PV": {"high": 85.0}, "FC1.SP": {"low": 10.0, "high": 60.0}},
        statuses={"FC2.SP": Status.FEED_FORWARD},
    )
    level, valve = changed.tags["LI1.PV"].limits, changed.tags["FC1.SP"].limits
    assert level.high is not None
    assert level.low is not None
    assert (level.low.at, level.high.at, level.high.rank) == (20.0, 85.0, 1)
    assert (valve.low and valve.low.at, valve.high and valve.high.at) == (10.0, 60.0)
    assert changed.tags["FC2.SP"].status is Status.FEED_FORWARD
    assert small_plant.tags["LI1.PV"].limits.high is not None
    assert small_plant.tags["LI1.PV"].limits.high.at == 80.0  # the plant file stays as it is


@pytest.mark.parametrize(
    ("limits", "statuses", "message"),
    [
        ({"LI2.PV": {"high": 1.0}}, {}, "unknown tag 'LI2.PV'; did you mean 'LI1.PV'"),
        ({"TI1.PV": {"low": 1.0}}, {}, "'TI1.PV' has no low limit"),
        ({"LI1.PV": {"high": float("nan")}}, {}, "needs a finite number"),
        ({"LI1.PV": {"high": 10.0}}, {}, "low 20 must be below high 10"),
        ({"FC1.SP": {"high": 120.0}}, {}, "beyond 100 of the plant file"),
        ({"FC1.SP": {"low": -1.0}}, {}, "beyond 0 of the plant file"),
        ({}, {"LI1.PV": Status.FEED_FORWARD}, "feed-forward does not fit 'LI1.PV', which is a CV"),
        ({}, {"FI9.PV": Status.LOW}, "low does not fit 'FI9.PV', which is a DV"),
        ({}, {"X": Status.ON}, "unknown tag 'X'"),
    ],
)
def test_a_change_that_cannot_be_is_refused_by_name(
    small_plant: Plant, limits: dict[str, dict[str, float]], statuses: dict[str, Status], message: str
) -> None:
    with pytest.raises(PlantFileError, match=message):
        changed_plant(small_plant, limits=limits, statuses=statuses)


def test_nobody_sets_a_limit_outside_the_validity_limits(small_plant: Plant) -> None:
    valid = small_plant.tags["LI1.PV"].model_copy(update={"valid": (15.0, 82.0)})
    plant = small_plant.model_copy(update={"tags": {**small_plant.tags, "LI1.PV": valid}})
    changed_plant(plant, limits={"LI1.PV": {"high": 82.0}})
    with pytest.raises(PlantFileError, match="outside its valid limits 15 to 82"):
        changed_plant(plant, limits={"LI1.PV": {"high": 82.5}})


def test_a_limit_on_what_is_calculated_may_be_moved_either_way(small_plant: Plant) -> None:
    load = Calculated(expression="FC1.SP", unit="kg/h", limits=Limits(low=Limit(at=1.0), high=Limit(at=9.0, rank=1)))
    advice = small_plant.advice.model_copy(update={"constraints": {"load": load}})
    plant = small_plant.model_copy(update={"advice": advice})
    changed = changed_plant(plant, limits={"load": {"high": 12.0}}).advice.constraints["load"].limits
    assert (changed.low, changed.high) == (Limit(at=1.0), Limit(at=12.0, rank=1))
    for limits, message in (({"high": 0.5}, "low 1 must be below high 0.5 kg/h"), ({"high": float("inf")}, "finite")):
        with pytest.raises(PlantFileError, match=message):
            changed_plant(plant, limits={"load": limits})
