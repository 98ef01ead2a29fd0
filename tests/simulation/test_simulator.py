"""The simulator against scipy's integrator, and what a tick promises."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from procmodel.errors import ProcmodelError
from procmodel.simulation import REFERENCE_PLANTS, Simulator, operate, reference_plant

every_plant = pytest.mark.parametrize("name", REFERENCE_PLANTS)


@every_plant
def test_it_follows_an_independent_integrator_through_an_operated_stretch(name):
    reference = reference_plant(name)
    run = operate(reference, rows=150, seed=2)
    spread = np.maximum(run.x.std(axis=0), 1e-3)
    x = run.x_before
    for t in range(150):
        u, d, w = run.u[t].tolist(), run.d[t].tolist(), run.w[t].tolist()
        solved = solve_ivp(
            lambda _, x, u=u, d=d, w=w: reference.equations(x.tolist(), u, d, w),
            (0.0, run.step),
            x,
            rtol=1e-10,
            atol=1e-12,
            dense_output=True,
        )
        x = solved.y[:, -1]
        assert np.abs((run.x[t] - x) / spread).max() < 1e-4
        if t % 50 == 0:
            for i in range(run.y.shape[1]):
                mean = (
                    quad(
                        lambda s, i=i, u=u, d=d, w=w, path=solved.sol: reference.outputs(path(s).tolist(), u, d, w)[i],
                        0.0,
                        run.step,
                    )[0]
                    / run.step
                )
                assert run.y[t, i] == pytest.approx(mean, rel=1e-5)


@every_plant
def test_at_rest_it_stays_at_rest(name):
    reference = reference_plant(name)
    simulator = Simulator(reference, seed=0, noise=False)
    for _ in range(50):
        reading = simulator.tick(reference.u0, reference.d0, reference.w0)
    assert simulator.state == pytest.approx(reference.x0, rel=1e-6)
    columns = reference.plant.columns
    assert [reading.row[columns.index(mv)] for mv in reference.plant.mvs] == reference.u0.tolist()
    assert [reading.row[columns.index(dv)] for dv in reference.plant.dvs] == reference.d0.tolist()
    assert [reading.row[columns.index(cv)] for cv in reference.plant.cvs] == reading.y.tolist()


@every_plant
def test_a_held_step_ends_at_the_steady_state_of_its_inputs(name):
    from procmodel.simulation import steady_state

    reference = reference_plant(name)
    simulator = Simulator(reference, seed=0, noise=False)
    u = reference.u0 * [1.01, 0.99]
    for _ in range(1500):
        simulator.tick(u, reference.d0, reference.w0)
    assert simulator.state == pytest.approx(steady_state(reference, u), rel=1e-5)


@every_plant
def test_moves_are_clipped_to_the_limits_and_the_reading_says_so(name):
    reference = reference_plant(name)
    limits = [reference.plant.tags[mv].limits for mv in reference.plant.mvs]
    reading = Simulator(reference, seed=0).tick([1e6, -1e6], reference.d0, reference.w0)
    assert reading.u.tolist() == [limits[0].high.at, limits[1].low.at]


@every_plant
def test_sensor_noise_has_the_declared_size_and_spares_the_moves(name):
    reference = reference_plant(name)
    simulator, quiet = Simulator(reference, seed=4), Simulator(reference, seed=4, noise=False)
    errors = []
    for _ in range(2000):
        inputs = (reference.u0, reference.d0, reference.w0)
        errors.append(simulator.tick(*inputs).row - quiet.tick(*inputs).row)
    # 2,000 draws: the standard deviation is known to 1.6 %, so 8 % is five times that.
    assert np.std(errors, axis=0) == pytest.approx(reference.noise, rel=0.08)


@every_plant
def test_looking_takes_no_time(name):
    reference = reference_plant(name)
    simulator = Simulator(reference, seed=0, noise=False)
    before = simulator.state
    reading = simulator.look(reference.d0, reference.w0)
    assert np.array_equal(simulator.state, before)
    assert np.array_equal(reading.u, reference.u0)


def test_a_state_that_runs_away_is_an_error_and_no_number():
    reference = reference_plant("evaporator")
    simulator = Simulator(reference, seed=0, x0=[1.0, 25.0, 1e12, 2.0])
    with pytest.raises(ProcmodelError, match="left its range"):
        simulator.tick(reference.u0, reference.d0, reference.w0)


def test_a_branch_meets_the_same_noise_and_leaves_the_plant_it_came_from_alone() -> None:
    reference = reference_plant("evaporator")
    plant, alone = (Simulator(reference, seed=3) for _ in range(2))
    weather = reference.disturbances(12, 3)
    for t in range(6):
        plant.tick(reference.u0, weather.d[t], weather.w[t])
        alone.tick(reference.u0, weather.d[t], weather.w[t])
    same, other = plant.branch(), plant.branch()
    for t in range(6, 12):
        moved = other.tick(reference.u0 + 5.0, weather.d[t], weather.w[t])
        branched = same.tick(reference.u0, weather.d[t], weather.w[t])
        expected = alone.tick(reference.u0, weather.d[t], weather.w[t])
        np.testing.assert_array_equal(branched.row, expected.row)
        np.testing.assert_array_equal(plant.tick(reference.u0, weather.d[t], weather.w[t]).row, expected.row)
        assert np.any(moved.row != expected.row)
