"""Random steps on a plant without unmeasured disturbances: moves that answer nothing, and errors of the model alone."""

from __future__ import annotations

import numpy as np
import pytest

from procmodel.data.window import Columns
from procmodel.evaluation.interventions import Interventions, intervene
from procmodel.simulation import Simulator, reference_plant

REFERENCE = reference_plant("quadruple-tank")
STARTS, HISTORY, AHEAD = 3, 20, 40


@pytest.fixture(scope="module")
def moved() -> Interventions:
    return intervene(REFERENCE, seed=5, starts=STARTS, history=HISTORY, ahead=AHEAD)


def test_moves_stay_within_a_tenth_of_their_travel_and_hold_at_least_ten_rows(moved: Interventions) -> None:
    last = moved.rows_SLC[:, -1, list(Columns.of(REFERENCE.plant).mv)]
    assert np.abs(moved.u_SHU - last[:, None]).max() <= 0.6 + 1e-9  # of 0 to 6 V
    for series in moved.u_SHU.transpose(0, 2, 1).reshape(-1, AHEAD):
        changes = np.flatnonzero(np.diff(series)) + 1
        assert (np.diff(np.concatenate([[0], changes])) >= 10).all()
    assert len(np.unique(moved.u_SHU)) > 2 * STARTS


def test_the_true_equations_without_disturbances_make_no_error(moved: Interventions) -> None:
    def knows_all(rows: np.ndarray, u_BHU: np.ndarray, d_BHV: np.ndarray) -> np.ndarray:
        again = intervene(REFERENCE, seed=5, starts=STARTS, history=HISTORY, ahead=AHEAD)
        np.testing.assert_array_equal(again.rows_SLC, rows)
        return again.y_SHY

    np.testing.assert_array_equal(moved.error(knows_all), 0.0)
    one_spread_off = moved.error(lambda rows, u, d: moved.y_SHY + moved.spread_Y)
    np.testing.assert_allclose(one_spread_off, 1.0)


def test_the_same_moves_from_rest_end_where_a_simulator_says(moved: Interventions) -> None:
    # From the measured levels, tank 4 at rest under its pump: off by what the history did, so by little after 40 rows.
    level4 = (0.3 * 3.33 * moved.rows_SLC[0, -8:, 0].mean() / 0.057) ** 2 / (2 * 981.0)
    x0 = [*moved.rows_SLC[0, -1, 2:5], level4]
    simulator = Simulator(REFERENCE, seed=0, noise=False, x0=x0, u0=moved.u_SHU[0, 0])
    y = [simulator.tick(u, d, REFERENCE.w0).y for u, d in zip(moved.u_SHU[0], moved.d_SHV[0], strict=True)]
    np.testing.assert_allclose(y, moved.y_SHY[0], atol=0.3)
