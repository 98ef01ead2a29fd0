"""Operators keep their plants sane, move for reasons of their own, and do the same again from the same seed."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from procmodel.errors import InputError
from procmodel.simulation import REFERENCE_PLANTS, operate, reference_plant
from procmodel.simulation.operation import CLOCK_CHANGE, record_start
from procmodel.simulation.operators import LevelLoops

SEEDS = (0, 1, 2)
every_seed = pytest.mark.parametrize("seed", SEEDS)


@cache
def long_run(name, seed):
    return operate(reference_plant(name), rows=12000, seed=seed)


@every_seed
def test_the_tank_is_run_near_its_setpoints_and_no_tank_runs_dry_or_over(seed):
    run = long_run("quadruple-tank", seed)
    assert run.x.min() > 0.02
    assert run.x.max() < 19.0
    error = run.y[:, :2] - run.setpoints[:, :2]
    assert np.abs(error).mean() < 0.3
    assert 0.005 < (run.margins < 0).mean() < 0.25  # tank 4 binds now and then
    assert (run.y[:, 2] > 3.0).mean() < 0.1


@every_seed
def test_the_evaporator_is_run_with_a_cautious_margin(seed):
    run = long_run("evaporator", seed)
    assert 26.5 < run.y[:, 0].mean() < 28.0
    assert (run.y[:, 0] < 25.0).mean() < 0.02
    assert run.y[:, 1].min() > 42.0
    assert run.y[:, 1].max() < 75.0
    assert 0.8 < run.x[:, 0].min() <= run.x[:, 0].max() < 1.2  # the level loop holds [m]
    assert run.x[:, 3].min() > 1.0  # far from the valve's seat [kg/min]
    assert 0.005 < (run.margins < 0).mean() < 0.3


@every_seed
def test_the_evaporators_operator_costs_more_than_the_published_optimum(seed):
    reference, run = reference_plant("evaporator"), long_run("evaporator", seed)
    cost = np.mean([reference.stage_cost(y, u, u, []) for y, u in zip(run.y, run.u, strict=True)])
    assert 1.01 * 5738.2 < cost < 1.05 * 5738.2  # the optimum at the published inputs [$/h]


@every_seed
def test_both_mvs_of_the_evaporator_make_several_sizeable_moves_a_shift(seed):
    run = long_run("evaporator", seed)
    moves = np.abs(np.diff(run.u, axis=0))
    shifts = len(run.u) / 480
    assert (moves[:, 0] >= 3.0).sum() / shifts > 4
    assert (moves[:, 1] >= 6.0).sum() / shifts > 4
    limits = [reference_plant("evaporator").plant.tags[mv].max_move.up for mv in ("PIC100.SP", "FIC200.SP")]
    assert (moves.max(axis=0) <= np.array(limits) + 1e-9).all()


@pytest.mark.parametrize("name", REFERENCE_PLANTS)
def test_the_same_seed_gives_the_same_run_and_another_seed_another(name):
    reference = reference_plant(name)
    first, again, other = (operate(reference, rows=300, seed=seed) for seed in (7, 7, 8))
    assert np.array_equal(first.rows, again.rows)
    assert np.array_equal(first.x, again.x)
    assert not np.array_equal(first.rows, other.rows)


@pytest.mark.parametrize("name", REFERENCE_PLANTS)
def test_a_longer_run_begins_with_the_shorter_one(name):
    reference = reference_plant(name)
    assert np.array_equal(operate(reference, rows=200, seed=1).rows, operate(reference, rows=400, seed=1).rows[:200])


@pytest.mark.parametrize("name", REFERENCE_PLANTS)
def test_without_noise_the_rows_are_the_truth(name):
    reference = reference_plant(name)
    run = operate(reference, rows=50, seed=1, noise=False)
    columns = reference.plant.columns
    assert np.array_equal(run.rows[:, [columns.index(cv) for cv in reference.plant.cvs]], run.y)
    assert np.array_equal(run.rows[:, [columns.index(dv) for dv in reference.plant.dvs]], run.d)
    assert np.array_equal(run.rows[:, [columns.index(mv) for mv in reference.plant.mvs]], run.u)


def test_a_loop_is_in_manual_about_three_per_cent_of_the_time():
    shares = []
    for seed in range(30):
        operator = LevelLoops(seed)
        row, setpoints, manual = np.array([3.0, 3.0, 12.4, 12.7, 1.6, 20.0]), np.array([12.4, 12.7, np.nan]), 0
        for _ in range(20000):
            operator.act(row, setpoints)
            manual += any(loop.manual > 0 for loop in operator._loops)
        shares.append(manual / 20000)
    assert 0.02 < np.mean(shares) < 0.04


def test_the_loops_take_over_from_any_pump_voltage_without_a_bump():
    moves = LevelLoops(0).act(np.array([4.1, 1.7, 12.4, 12.7, 1.6, 20.0]), np.array([12.4, 12.7, np.nan]))
    assert moves.tolist() == [4.1, 1.7]


@pytest.mark.parametrize(("rows", "step"), [(40000, 5.0), (40000, 60.0), (100, 5.0)])
def test_every_record_runs_through_the_clock_change(rows, step):
    start = record_start(rows, step)
    before = (CLOCK_CHANGE - start).total_seconds()
    assert 0 < before < rows * step
    assert before % step == 0


def test_a_run_of_no_rows_is_refused():
    with pytest.raises(InputError, match="at least 1"):
        operate(reference_plant("evaporator"), rows=0, seed=0)
