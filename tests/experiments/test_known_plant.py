"""Who knows the plant forecasts it: the filters of the study are right where the answer is known."""

import numpy as np
import pytest
from scipy.linalg import solve_discrete_are

from experiments.known_plant import Known, error, filtered, jacobian
from procmodel.evaluation.interventions import intervene
from procmodel.simulation import reference_plant


def test_derivatives_of_a_linear_map_are_its_matrices():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(3, 4)), rng.normal(size=(2, 4))
    found = jacobian(lambda x: (first @ x + 1.0, second @ x - 2.0), rng.normal(size=4), np.full(4, 0.7))
    np.testing.assert_allclose(found[0], first, atol=1e-8)
    np.testing.assert_allclose(found[1], second, atol=1e-8)


def test_the_filter_of_a_linear_plant_ends_in_the_gain_of_the_riccati_equation():
    """Two histories that differ in their last reading alone: the states differ by the gain times that difference."""
    known = Known.of(reference_plant("van-de-vusse"))
    states, size = len(known.reference.x0), len(known.size_S)
    rng = np.random.default_rng(1)
    a, c = 0.3 * rng.normal(size=(size, size)) + 0.5 * np.eye(size), rng.normal(size=(2, size))
    noise = np.array([0.3, 0.5])

    def go(s, v):
        return a @ s, c @ s

    y, v = rng.normal(size=(200, 2)), np.zeros((200, 1))
    other = y.copy()
    other[-1] += [1.0, -0.5]
    wander = np.concatenate([(1e-6 * known.size_S[:states]) ** 2, known.variance_W * (1.0 - known.keeps_W**2)])
    doubt = solve_discrete_are(a.T, c.T, np.diag(wander), np.diag(noise**2))
    gain = a @ doubt @ c.T @ np.linalg.inv(c @ doubt @ c.T + np.diag(noise**2))
    moved = filtered(known, go, other, v, noise) - filtered(known, go, y, v, noise)
    np.testing.assert_allclose(moved, gain @ [1.0, -0.5], rtol=1e-3, atol=1e-9)


@pytest.fixture(scope="module")
def moved():
    return intervene(reference_plant("quadruple-tank"), seed=5, starts=3, history=40, ahead=60)


def test_who_knows_the_equations_of_the_tanks_misses_a_fiftieth_and_their_linear_form_more(moved):
    known = Known.of(reference_plant("quadruple-tank"))
    knows = error(known, known.advance(), moved, 40)
    means = moved.rows_SLC.mean(axis=(0, 1))
    straight = error(known, known.straight(means[:2], means[5:6]), moved, 40)
    assert (knows < 0.05).all()
    assert straight.mean() > 2 * knows.mean()


def test_the_linear_form_is_the_plant_for_small_departures():
    known = Known.of(reference_plant("quadruple-tank"))
    reference = known.reference
    go, straight = known.advance(), known.straight(reference.u0, reference.d0)
    at = np.concatenate([reference.x0, reference.w0]) * (1.0 + 1e-4)
    v = np.concatenate([reference.u0 * (1.0 - 1e-4), reference.d0])
    for true, near in zip(go(at, v), straight(at, v), strict=True):
        np.testing.assert_allclose(near, true, rtol=1e-6)
