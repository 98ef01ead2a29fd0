"""Feed-forward of a measured disturbance and dead time, in plans against what the plant's equations demand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from control_fakes import LinearModel, make_plant, newest_good, unit_scaler
from torch import Tensor

from procmodel.control.optimizer import Optimizer
from procmodel.control.plan import Plan
from procmodel.data.window import Columns, Window
from procmodel.plant import Plant

KEEP, PUSH, DISTURB = 0.8, 0.2, 0.3
GAIN, DISTURBANCE_GAIN = PUSH / (1 - KEEP), DISTURB / (1 - KEEP)
ROWS = 40
TAGS: dict[str, Any] = {
    "U": {"role": "MV", "unit": "1", "limits": [-9, 9]},
    "Y": {"role": "CV", "unit": "1", "setpoint": 0, "range": [-5, 5]},
    "D": {"role": "DV", "unit": "1"},
}


def plant() -> Plant:
    """A move is free in each row, and costs next to nothing."""
    return make_plant(TAGS, horizon=f"{5 * ROWS} s", blocks=ROWS, move_weight=1e-9)


class Delayed:
    """`y+ = KEEP y + PUSH u(dead rows ago) + DISTURB d`; the latent holds y and the moves that are on their way."""

    def __init__(self, plant: Plant, dead: int) -> None:
        self._columns, self._dead = Columns.of(plant), dead
        self.rows, self.latent_size = dead + 1, 1 + dead

    def encode(self, window: Window) -> Tensor:
        moves_BL = window.values[:, -self._dead :, self._columns.mv[0]]
        return torch.cat([newest_good(window, self._columns.cv), moves_BL], dim=1)

    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        moves = torch.cat([z_BD[:, 1:], u_BU], dim=1)
        return torch.cat([KEEP * z_BD[:, :1] + PUSH * moves[:, :1] + DISTURB * d_BV, moves[:, 1:]], dim=1)

    def read_out(self, z_BD: Tensor) -> Tensor:
        return z_BD[:, :1]


def optimizer(model: Any) -> Optimizer:
    return Optimizer(plant=plant(), model=model, scaler=unit_scaler(plant()))


def undelayed(disturb: float = DISTURB) -> LinearModel:
    return LinearModel(plant(), [[KEEP]], [[PUSH]], [[disturb]])


def true_level(moves_N: np.ndarray, disturbance: float) -> np.ndarray:
    """Y of each row, from 0, by the plant's equation."""
    y, found = 0.0, []
    for u in moves_N:
        y = KEEP * y + PUSH * float(u) + DISTURB * disturbance
        found.append(y)
    return np.array(found)


@pytest.mark.parametrize("step", [2.0, -1.0])
def test_a_measured_disturbance_changes_the_plan_as_the_gains_demand(step: float) -> None:
    """It has just stepped and no CV shows it yet. Y stays at 0 where U makes up for it by the ratio of the gains."""
    history = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, step]])
    knowing = optimizer(undelayed()).plan(history)
    assert knowing.unmoved[-1, 0] == pytest.approx(DISTURBANCE_GAIN * step, rel=1e-3)
    np.testing.assert_allclose(knowing.moves[:, 0], -DISTURBANCE_GAIN / GAIN * step, rtol=1e-3)
    np.testing.assert_allclose(true_level(knowing.moves[:, 0], step), 0.0, atol=5e-3)
    blind = optimizer(undelayed(disturb=0.0)).plan(history)
    np.testing.assert_allclose(blind.moves, 0.0, atol=1e-9)
    assert true_level(blind.moves[:, 0], step)[-1] == pytest.approx(DISTURBANCE_GAIN * step, rel=1e-3)


def first_move(plan: Plan) -> int:
    """Row in which the plan first goes half of its way."""
    return int(np.argmax(np.abs(plan.moves[:, 0]) > 0.5 * np.abs(plan.moves[:, 0]).max()))


@pytest.mark.parametrize("dead", [1, 5])
def test_with_dead_time_the_plan_moves_so_much_ahead_of_what_is_announced(dead: int) -> None:
    """The disturbance comes in row 20 (from 0): what meets it has to be sent `dead` rows before, and no sooner."""
    future = np.zeros((ROWS, 1))
    future[20:] = 2.0
    plan = optimizer(Delayed(plant(), dead)).plan(np.zeros((dead + 1, 3)), future_dv_HV=future)
    answer = -DISTURBANCE_GAIN / GAIN * 2.0
    np.testing.assert_allclose(plan.moves[: 20 - dead, 0], 0.0, atol=1e-3)
    np.testing.assert_allclose(plan.moves[20 - dead : ROWS - dead, 0], answer, rtol=1e-3)
    np.testing.assert_allclose(plan.predicted, 0.0, atol=1e-3)
    at_once = optimizer(undelayed()).plan(np.zeros((2, 3)), future_dv_HV=future)
    assert (first_move(plan), first_move(at_once)) == (20 - dead, 20)


@pytest.mark.parametrize("dead", [1, 5])
def test_no_answer_is_forecast_before_the_dead_time_is_over(dead: int) -> None:
    opt = optimizer(Delayed(plant(), dead))
    plan = opt.plan(np.zeros((dead + 1, 3)), setpoints={"Y": 1.0})
    np.testing.assert_array_equal(plan.predicted[:dead], plan.unmoved[:dead])
    assert plan.moves[0, 0] == pytest.approx(1.0 / PUSH, rel=1e-3)  # all of the way in the first row that it can reach
    assert plan.predicted[dead, 0] == pytest.approx(1.0, abs=1e-3)
    # Moves that are on their way already are not made again: Y comes to 1 by what was sent, and U settles at 1 / GAIN.
    sent = np.zeros((dead + 1, 3))
    sent[-1, 0] = 1.0 / PUSH
    later = opt.plan(sent, setpoints={"Y": 1.0})
    assert later.unmoved[dead - 1, 0] == pytest.approx(1.0, rel=1e-9)
    np.testing.assert_allclose(later.moves[:10, 0], 1.0 / GAIN, rtol=1e-3)
