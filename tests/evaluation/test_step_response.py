"""Step responses against closed forms: a first-order model, and the quadruple tank at rest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from evaluation_fakes import FirstOrderWorld

from procmodel.data.window import Columns, Scaler
from procmodel.errors import DatasetError
from procmodel.evaluation.baselines import ModelForecast
from procmodel.evaluation.gains import compare_gains, gain_gate
from procmodel.evaluation.step_response import (
    FRACTIONS,
    StepResponse,
    model_response,
    operating_points,
    step_sizes,
    true_response,
)
from procmodel.plant import Plant
from procmodel.simulation import operate, reference_plant, steady_gains
from procmodel.simulation.quadruple_tank import steady_levels

CENTRE, SPREAD = np.array([40.0, 30.0, 50.0, 60.0, 10.0]), np.array([5.0, 4.0, 8.0, 6.0, 2.0])
GAIN = np.array([[0.5, 0.0, 0.2], [-0.3, -0.4, 0.0]])
KEEP = np.array([0.9, 0.5])


def respond(plant: Plant, rows: int, gain: np.ndarray = GAIN) -> StepResponse:
    columns = Columns.of(plant)
    world = FirstOrderWorld(torch.from_numpy(gain), torch.from_numpy(KEEP), columns)
    forecast = ModelForecast(model=world, scaler=Scaler(centre=CENTRE, spread=SPREAD), columns=columns)
    points = CENTRE + SPREAD * np.random.default_rng(0).standard_normal((6, 3, 5))
    points[0, 1] = np.nan  # a gap in the history of one of them
    return model_response(forecast, plant, points, SPREAD, rows)


def test_a_linear_model_answers_as_its_closed_form_says_in_engineering_units(small_plant: Plant) -> None:
    response = respond(small_plant, 200)
    scale = SPREAD[2:4, None] / SPREAD[None, :2]
    rise = 1 - KEEP[None, :] ** np.arange(1, 201)[:, None]
    np.testing.assert_allclose(response.curves, rise[:, :, None] * (GAIN[:, :2] * scale)[None], atol=1e-12)
    np.testing.assert_allclose(response.gain, GAIN[:, :2] * scale, atol=1e-8)
    # 1 - 0.9^n is above 95 % from n = 28.4 rows of 10 s on.
    figures = response.figures("FC1.SP", "LI1.PV")
    assert figures.settling_time == pytest.approx(10 * np.log(0.05) / np.log(0.9), rel=0.01)


def test_steps_turn_round_at_hard_limits_and_span_five_and_ten_per_cent(small_plant: Plant) -> None:
    sizes = step_sizes(small_plant, np.array([[50.0, 79.0], [2.0, 40.0]]), SPREAD)
    assert sizes[:, 0, 0].tolist() == pytest.approx([100 * f for f in FRACTIONS])
    assert sizes[:, 0, 1].tolist() == pytest.approx([-8.0, -4.0, -4.0, -8.0])
    assert sizes[:, 1, 0].tolist() == pytest.approx([10.0, 5.0, 5.0, 10.0])


def test_points_without_any_good_mv_are_passed_over_and_none_at_all_is_an_error(small_plant: Plant) -> None:
    columns = Columns.of(small_plant)
    world = FirstOrderWorld(torch.from_numpy(GAIN), torch.from_numpy(KEEP), columns)
    forecast = ModelForecast(model=world, scaler=Scaler(centre=CENTRE, spread=SPREAD), columns=columns)
    points = np.tile(CENTRE, (3, 3, 1))
    points[1, :, 0] = np.nan
    assert len(model_response(forecast, small_plant, points, SPREAD, 5).by_point) == 2
    points[:, :, 4] = np.nan
    with pytest.raises(DatasetError, match="outside outages"):
        model_response(forecast, small_plant, points, SPREAD, 5)


def test_the_true_response_of_the_tanks_ends_where_bernoulli_says() -> None:
    tank = reference_plant("quadruple-tank")
    truth = true_response(tank, [(tank.x0, tank.u0, tank.d0, tank.w0)], 400)
    base = np.array(steady_levels(tank.u0))
    for u in range(2):
        slopes = []
        for fraction in FRACTIONS:
            moved = tank.u0.copy()
            moved[u] += 6.0 * fraction
            slopes.append((np.array(steady_levels(moved)) - base)[:3] / (6.0 * fraction))
        # The tanks' equation is rounded off near empty: 3e-7 cm per cm.
        np.testing.assert_allclose(truth.curves[-1, :, u], np.mean(slopes, axis=0), atol=2e-5)


def test_a_finite_horizon_is_taken_at_its_end_for_model_and_truth_alike() -> None:
    tank = reference_plant("quadruple-tank")
    short = true_response(tank, [(tank.x0, tank.u0, tank.d0, tank.w0)], 12)
    assert (np.abs(short.gain[:2]) < 0.8 * np.abs(steady_gains(tank)[:2])).all()
    assert np.isnan(short.figures("P101.SP", "LI101.PV").settling_time)  # not settled, and it says so


def test_operating_points_hand_over_the_past_and_the_truth_of_the_same_moment() -> None:
    tank = reference_plant("quadruple-tank")
    run = operate(tank, rows=60, seed=2)
    rows, points = operating_points(run, 10, 3)
    assert rows.shape == (3, 10, 6)
    np.testing.assert_array_equal(rows[-1], run.rows[49:59])
    np.testing.assert_array_equal(points[-1][0], run.x[58])
    np.testing.assert_array_equal(points[-1][2], run.d[58])  # what the model sees last, and holds too


def test_the_gate_passes_the_declared_signs_and_names_the_wrong_one(small_plant: Plant) -> None:
    gate = gain_gate(respond(small_plant, 100))
    # Declared: FC1 -> LI1 is +; FC2 -> TI1 is - with a dead time of 20 s, which a first-order model does not have.
    assert [check.passed for check in gate.checks] == [True, False]
    assert "dead time of 20 s" in gate.reasons[0]
    wrong = gain_gate(respond(small_plant, 100, GAIN * np.array([[-1.0], [1.0]])))
    assert not wrong.passed
    assert "FC1.SP -> LI1.PV: the plant file declares '+'" in wrong.reasons[0]


def test_a_dead_time_that_the_model_keeps_passes(small_plant: Plant) -> None:
    response = respond(small_plant, 100)
    late = np.concatenate([np.zeros_like(response.by_point[:, :2]), response.by_point[:, :-2]], axis=1)
    delayed = StepResponse(
        plant=small_plant, step=response.step, curves=late.mean(axis=0), by_point=late, source="model"
    )
    assert gain_gate(delayed).passed


def test_a_sign_that_holds_at_half_of_the_operating_points_fails(small_plant: Plant) -> None:
    response = respond(small_plant, 100)
    mixed = response.by_point.copy()
    mixed[:2] *= -0.5
    torn = StepResponse(
        plant=small_plant, step=response.step, curves=mixed.mean(axis=0), by_point=mixed, source="model"
    )
    assert torn.gain[0, 0] > 0
    assert any("67 % of the operating points" in reason for reason in gain_gate(torn).reasons)


def test_gains_are_told_pair_by_pair_with_sign_and_value_of_model_and_truth(small_plant: Plant) -> None:
    response = respond(small_plant, 200)
    truth = response.gain * np.array([[2.0, 1.0], [-1.0, 1.0]])
    told = compare_gains(response, SPREAD, truth).to_dict()
    assert (told["right"], told["pairs"]) == (3, 4)
    by_pair = {(row["mv"], row["cv"]): row for row in told["table"]}
    assert by_pair["FC1.SP", "TI1.PV"]["model"]["sign"] == "-"
    assert by_pair["FC1.SP", "TI1.PV"]["truth"]["sign"] == "+"
    assert by_pair["FC1.SP", "TI1.PV"]["right"] is False
    assert by_pair["FC2.SP", "LI1.PV"]["truth"]["sign"] == "0"
    assert by_pair["FC2.SP", "LI1.PV"]["right"] is True
    assert by_pair["FC1.SP", "LI1.PV"]["truth"]["value"] == pytest.approx(2 * 0.5 * 8 / 5)
    assert by_pair["FC1.SP", "LI1.PV"]["unit"] == "cm/kg/h"


def test_without_a_truth_nothing_is_claimed_right(small_plant: Plant) -> None:
    told = compare_gains(respond(small_plant, 50), SPREAD).to_dict()
    assert (told["right"], told["pairs"]) == (0, 0)
    assert all(row["right"] is None and row["truth"] is None for row in told["table"])
