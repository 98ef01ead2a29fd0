"""Rows held back are missed by what a model cannot know, one row ahead and over free runs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from linear_systems import Innovations

from procmodel.world_model.held_back import free_run_error, one_row_error
from procmodel.world_model.linear import LinearState, fit_linear_state

NOISE = 0.2


@pytest.fixture(scope="module")
def found() -> LinearState:
    records = Innovations().records(20, 4_000, seed=0, noise=NOISE, feedback=0.6)
    return fit_linear_state(records, lags=12, order=2)


def test_a_model_that_is_right_misses_the_next_row_by_its_innovations(found: LinearState) -> None:
    held = Innovations().records(40, 2_000, seed=5, noise=NOISE, feedback=0.6)
    error = one_row_error(found, None, held)
    assert error is not None
    assert error == pytest.approx(2 * np.log(NOISE**2), abs=0.03)


def test_inputs_that_act_the_other_way_are_missed_in_the_next_row(found: LinearState) -> None:
    held = Innovations().records(4, 2_000, seed=5, noise=NOISE, feedback=0.6)
    wrong = dataclasses.replace(found, B=-found.B)
    errors = [one_row_error(state, None, held) for state in (found, wrong)]
    assert errors[0] is not None
    assert errors[1] is not None
    assert errors[0] < errors[1]


def test_a_shift_of_the_origin_is_missed_in_full(found: LinearState) -> None:
    """One CV off by a constant: the determinant of `S + b b'` is that of `S` times `1 + b' S^-1 b`."""
    held = Innovations().records(4, 2_000, seed=5, noise=NOISE, feedback=0.6)
    off = dataclasses.replace(found, offset=found.offset + np.array([0.5, 0.0]))
    plain, shifted = one_row_error(found, None, held), one_row_error(off, None, held)
    assert plain is not None
    assert shifted is not None
    assert shifted - plain == pytest.approx(np.log(1.0 + 0.25 / NOISE**2), abs=0.1)


def test_where_no_window_is_whole_nothing_is_said(found: LinearState) -> None:
    ((y, v),) = Innovations().records(1, 200, seed=5, noise=NOISE, feedback=0.6)
    y[::10] = np.nan
    assert one_row_error(found, None, [(y, v)]) is None
    assert free_run_error(found, None, [(y, v)], horizon=5) is None
    assert one_row_error(found, None, [(y[:12], v[:12])]) is None


def test_a_handful_of_free_runs_says_nothing(found: LinearState) -> None:
    """Windows of 13 rows and a horizon of 5, one in ten rows: ten fit into 108 rows, nine into 107."""
    ((y, v),) = Innovations().records(1, 108, seed=5, noise=NOISE, feedback=0.6)
    assert free_run_error(found, None, [(y, v)], horizon=5) is not None
    assert free_run_error(found, None, [(y[:-1], v[:-1])], horizon=5) is None
