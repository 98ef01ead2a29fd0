"""What the study of closed loops says of figures that are given to it."""

from __future__ import annotations

import signal
from typing import Any

import numpy as np
import pytest
from training_plants import tiny_plant, tiny_record

from experiments import closed_loop
from procmodel.control.optimizer import Optimizer
from procmodel.data.window import Columns
from procmodel.simulation import REFERENCE_PLANTS
from procmodel.training.prepare import parts_of, prepare
from procmodel.training.settings import horizon_rows
from procmodel.world_model.doubt import doubt_about


def trial(seed: int, **cost: float) -> dict[str, Any]:
    def of(value: float) -> dict[str, Any]:
        return {
            "cost": value,
            "violation": {"1": {"share": value / 100}},
            "holds": 1,
            "hold_reasons": {"stale": 1},
            "decisions": 10,
            "solve_seconds": {"p50": 0.02},
            "travel_percent_per_row": {"A": 1.0, "B": 2.0},
        }

    return {"seed": seed, "rows": 30, **{who.replace("_", "-"): of(value) for who, value in cost.items()}}


def test_claims_are_of_the_worst_plant_and_of_both_linear_controllers() -> None:
    good = [trial(s, advice=2.1, lmpc_n4sid=3.0, dmc=4.0, oracle=2.0) for s in (1, 2)]
    bad = [trial(s, advice=3.0, lmpc_n4sid=2.5, dmc=4.0, oracle=2.0) for s in (1, 2)]
    found = closed_loop.outcome({"one": closed_loop.table(good), "two": closed_loop.table(bad)}, [1, 2])
    assert found.values["worst_cost_over_oracle"] == pytest.approx(1.5)
    assert found.values["beats_linear_mpc_share"] == 0.5
    assert found.values["hold_share"] == pytest.approx(0.1)
    assert found.values["worst_rank_1_above_oracle"] == pytest.approx(0.01)
    figures = found.results["plants"]["one"]["advice"]
    assert figures["cost_over"]["oracle"]["ratio"] == pytest.approx(1.05)
    assert figures["hold_reasons"] == {"stale": 2}
    assert found.results["oracle_without_solution_share"] == pytest.approx(0.1)
    assert len(found.lines) == 2 * 6
    assert sum("oracle had no solution 2 times of 20" in line for line in found.lines) == 2


def test_linear_controllers_correct_and_keep_apart_as_the_world_model_does() -> None:
    plant, record = tiny_plant(), tiny_record()
    scaler, parts = prepare(record, plant).scaler, parts_of(record, plant)
    held = [record.values[s.start : s.stop] for s in parts.validation]
    for each in closed_loop.linear_controllers(plant, record, scaler):
        optimizer = each._advisor.planner
        assert isinstance(optimizer, Optimizer)
        found = doubt_about(optimizer._model, scaler, Columns.of(plant), held, horizon_rows(plant), 0.9)
        assert optimizer._bias.trust is not None
        np.testing.assert_array_equal(optimizer._bias.trust.gain_HY, found.trust.gain_HY)
        assert each.history == optimizer.rows_wanted


def test_every_reference_plant_is_tried() -> None:
    assert set(closed_loop.DECISIONS) == set(REFERENCE_PLANTS)
    assert len(closed_loop.SEEDS) == len(set(closed_loop.SEEDS)) >= 50


def test_a_stopped_run_tells_of_the_seeds_that_were_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(trained: object, folder: object, seed: int, decisions: int) -> dict[str, Any]:
        if seed == closed_loop.SEEDS[3]:
            signal.raise_signal(signal.SIGINT)
        return trial(seed, advice=2.1, lmpc_n4sid=3.0, dmc=4.0, oracle=2.0)

    monkeypatch.setattr(closed_loop, "train", lambda *a: None)
    monkeypatch.setattr(closed_loop, "episode", of)
    found = closed_loop.study_of(False, REFERENCE_PLANTS, {})
    assert found.seeds == list(closed_loop.SEEDS[:3])
    assert {each["seeds"] for each in found.results["plants"].values()} == {3}


def test_plants_run_anew_stand_beside_the_stored_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = {
        name: closed_loop.table([trial(s, advice=2.2, lmpc_n4sid=3.0, dmc=4.0, oracle=2.0) for s in (1, 2)])
        for name in ("evaporator", "gas-turbine")
    }
    anew = trial(1, advice=2.0, lmpc_n4sid=3.0, dmc=4.0, oracle=2.0)
    monkeypatch.setattr(closed_loop, "train", lambda *a: None)
    monkeypatch.setattr(closed_loop, "episode", lambda *a: anew)
    found = closed_loop.study_of(False, ("gas-turbine",), stored)
    ratios = {name: each["advice"]["cost_over"]["oracle"]["ratio"] for name, each in found.results["plants"].items()}
    assert ratios == {"evaporator": pytest.approx(1.1), "gas-turbine": pytest.approx(1.0)}
    assert found.values["worst_cost_over_oracle"] == pytest.approx(1.1)


def test_a_plant_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert closed_loop.main(["--plants", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("closed_loop: --plants got nowhere; there are evaporator, quadruple-tank")
