"""PI loops: without error they rest, with a constant error they move as the textbook says, within limits."""

from __future__ import annotations

import numpy as np
import pytest

from procmodel.evaluation.closed_loop import START, run_trials
from procmodel.evaluation.controllers import Observation, OperatorControl
from procmodel.evaluation.pid import LOOPS, Loop, PidControl
from procmodel.simulation import REFERENCE_PLANTS, reference_plant

TANK = reference_plant("quadruple-tank")


@pytest.mark.parametrize("name", REFERENCE_PLANTS)
def test_each_reference_plant_has_a_loop_on_each_mv(name: str) -> None:
    plant = reference_plant(name).plant
    assert [loop.mv for loop in LOOPS[name]] == list(plant.mvs)
    assert all(loop.cv in plant.cvs for loop in LOOPS[name])


def test_a_constant_error_integrates_by_gain_over_reset_and_stops_at_the_limit() -> None:
    pid = PidControl(TANK.plant, (Loop(mv="P101.SP", cv="LI101.PV", gain=1.5, reset=10.0),))
    pid.reset(None)  # type: ignore[arg-type]
    u, seen = np.array([3.0, 3.0]), []
    for t in range(40):
        row = np.array([*u, 12.0, 12.7, 1.8, 20.0])
        u = pid.act(
            Observation(
                t=t, time=START, rows=row[None], setpoints=np.array([14.0, np.nan, np.nan]), u_previous=u,
                x=np.zeros(4), d=np.zeros(1), w=np.zeros(2),
            )
        ).u  # fmt: skip
        seen.append(u)
    assert [s[0] for s in seen[:3]] == pytest.approx([3.3, 3.6, 3.9])  # 1.5 * 2 cm / 10 rows, without a bump at first
    assert seen[-1][0] == 6.0
    assert all(s[1] == 3.0 for s in seen)


def test_a_loop_on_what_is_no_cv_is_refused() -> None:
    with pytest.raises(ValueError, match="not in"):
        PidControl(TANK.plant, (Loop(mv="P101.SP", cv="TI900.PV", gain=1.0, reset=10.0),))


def test_loops_track_better_than_the_operators_who_run_them_by_hand_now_and_then() -> None:
    plant = reference_plant("drum-boiler")
    result = run_trials(plant, [PidControl(plant.plant, LOOPS["drum-boiler"]), OperatorControl()], [11, 12, 13],
                        rows=80, warmup=40)  # fmt: skip
    assert result.cost("pid").mean() < result.cost("operator").mean()
