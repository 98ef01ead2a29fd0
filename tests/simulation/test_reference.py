"""What every reference plant keeps."""

from __future__ import annotations

import casadi
import numpy as np
import pytest
import torch

from procmodel.errors import InputError, ProcmodelError
from procmodel.simulation import REFERENCE_PLANTS, reference_plant, steady_gains, steady_state
from procmodel.simulation.reference import span

ALL = [reference_plant(name) for name in REFERENCE_PLANTS]
every_plant = pytest.mark.parametrize("reference", ALL, ids=REFERENCE_PLANTS)


def inputs_of(reference):
    return reference.u0.tolist(), reference.d0.tolist(), reference.w0.tolist()


@every_plant
def test_it_rests_at_its_published_steady_state(reference):
    assert np.abs(reference.equations(reference.x0.tolist(), *inputs_of(reference))).max() < 1e-8


@every_plant
def test_its_names_shapes_and_file_agree(reference):
    plant = reference.plant
    outputs = reference.outputs(reference.x0.tolist(), *inputs_of(reference))
    assert plant.name == reference.name
    assert len(outputs) == len(plant.cvs)
    assert len(reference.u0) == len(plant.mvs)
    assert len(reference.d0) == len(plant.dvs)
    assert len(reference.states) == len(reference.x0)
    assert set(reference.margins) == set(plant.constraints) == set(reference.lab_error)
    assert len(reference.noise) == len(plant.columns)
    assert all((noise == 0) == (name in plant.mvs) for noise, name in zip(reference.noise, plant.columns, strict=True))


@every_plant
def test_steady_gains_are_those_of_the_linearised_equations(reference):
    x, (u, d, w) = reference.x0.tolist(), inputs_of(reference)
    xs, us = casadi.SX.sym("x", len(x)), casadi.SX.sym("u", len(u))
    state, held = casadi.vertsplit(xs), casadi.vertsplit(us)
    rates = casadi.vertcat(*reference.equations(state, held, d, w, sqrt=casadi.sqrt))
    outputs = casadi.vertcat(*reference.outputs(state, held, d, w, sqrt=casadi.sqrt))
    jacobians = [casadi.jacobian(of, by) for of in (rates, outputs) for by in (xs, us)]
    a, b, c, direct = (np.array(m) for m in casadi.Function("f", [xs, us], jacobians)(x, u))
    assert steady_gains(reference) == pytest.approx(direct - c @ np.linalg.solve(a, b), rel=1e-5, abs=1e-7)


@every_plant
def test_it_is_stable_at_its_published_steady_state(reference):
    x, (u, d, w) = reference.x0, inputs_of(reference)
    a = np.stack(
        [
            np.subtract(reference.equations((x + e).tolist(), u, d, w), reference.equations((x - e).tolist(), u, d, w))
            / 2e-5
            for e in 1e-5 * np.eye(len(x))
        ],
        axis=1,
    )
    assert np.linalg.eigvals(a).real.max() < 0


@every_plant
def test_its_declared_signs_are_true(reference):
    gains, plant = steady_gains(reference), reference.plant
    for (mv, cv), gain in plant.gains.items():
        assert np.sign(gains[plant.cvs.index(cv), plant.mvs.index(mv)]) == {"+": 1.0, "-": -1.0}[gain.sign]


@every_plant
def test_floats_arrays_and_tensors_give_the_same(reference):
    rng = np.random.default_rng(0)
    x = reference.x0 * rng.uniform(0.95, 1.05, (5, len(reference.x0)))
    u = reference.u0 * rng.uniform(0.95, 1.05, (5, len(reference.u0)))
    d, w = np.tile(reference.d0, (5, 1)), np.tile(reference.w0, (5, 1))
    for function in (reference.equations, reference.outputs, *reference.margins.values()):
        one_by_one = np.array([function(*(part.tolist() for part in row)) for row in zip(x, u, d, w, strict=True)]).T
        arrays = function(x.T, u.T, d.T, w.T, sqrt=np.sqrt)
        tensors = function(*(torch.tensor(part).T for part in (x, u, d, w)), sqrt=torch.sqrt)
        assert np.array(arrays) == pytest.approx(one_by_one, rel=1e-12, abs=1e-15)
        stacked = torch.stack(tensors) if isinstance(tensors, list) else tensors
        assert stacked.numpy() == pytest.approx(one_by_one, rel=1e-12, abs=1e-15)


@every_plant
def test_a_longer_disturbance_begins_with_the_shorter_one(reference):
    short, long = reference.disturbances(700, 5), reference.disturbances(1500, 5)
    assert np.array_equal(short.d, long.d[:700])
    assert np.array_equal(short.w, long.w[:700])
    assert np.array_equal(reference.setpoints(700, 5), reference.setpoints(1500, 5)[:700], equal_nan=True)


@every_plant
def test_another_seed_brings_other_disturbances(reference):
    assert not np.array_equal(reference.disturbances(100, 1).w, reference.disturbances(100, 2).w)


def test_stage_cost_of_the_tank_is_equal_concern_tracking():
    tank = reference_plant("quadruple-tank")
    cost = tank.stage_cost([12.0, 13.0, 1.6], [3.1, 3.0], [3.0, 2.8], [12.4, 12.0, np.nan])
    move_weight = tank.plant.advice.move_weight
    assert cost == pytest.approx((0.4 / 20) ** 2 + (1.0 / 20) ** 2 + move_weight * ((0.1 / 10) ** 2 + (0.2 / 10) ** 2))
    assert span(tank.plant, "P101.SP") == 10.0


def test_stage_cost_of_the_evaporator_is_in_dollars_per_hour():
    evaporator = reference_plant("evaporator")
    cost = evaporator.stage_cost([25.0, 49.743, 9.27, 2.0], [191.713, 215.888], [0.0, 0.0], [np.nan] * 4)
    assert cost == pytest.approx(600 * 9.27 + 0.6 * 215.888 + 1.009 * 52.0)


def test_an_unknown_plant_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="evaporator, quadruple-tank"):
        reference_plant("cstr")


def test_inputs_without_a_steady_state_are_refused():
    with pytest.raises(ProcmodelError, match="no steady state"):
        steady_state(reference_plant("evaporator"), u=[4000.0, 80.0])


@every_plant
def test_published_values_cannot_be_changed_by_accident(reference):
    with pytest.raises(ValueError, match="read-only"):
        reference.x0[0] = 0.0
