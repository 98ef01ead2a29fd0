"""How far forecasts have missed of late, beyond what they usually do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procmodel.world_model.correction import BEYOND, BiasFilter, Trust
from procmodel.world_model.unrest import MOST, REACT, RECENT, unrest_of

USUAL = np.array([[0.1, 2.0]] * 30)
KNOWN = BiasFilter(trust=Trust(gain_HY=np.ones((30, 2)), usual_HY=USUAL))


def errors(times: float, rows: int = 60) -> np.ndarray:
    """Errors of so many times the usual ones at every lag and row, with both signs."""
    signs = np.where(np.arange(rows) % 2 == 0, 1.0, -1.0)[:, None]
    return np.broadcast_to(times * signs * USUAL[0], (31, rows, 2)).copy()


@given(times=st.floats(0.0, 20.0))
def test_errors_up_to_twice_the_usual_ones_are_no_unrest_and_larger_ones_count_up_to_a_bound(times: float) -> None:
    assert unrest_of(errors(times), KNOWN) == pytest.approx(min(max(times / BEYOND, 1.0), MOST))


def test_all_cvs_count_at_once_each_by_its_own_usual_error() -> None:
    one_off = errors(1.0)
    one_off[:, :, 0] *= 5.0
    assert unrest_of(one_off, KNOWN) == pytest.approx(np.sqrt((25.0 + 1.0) / 2.0) / BEYOND)


def test_only_the_newest_rows_and_the_nearest_forecasts_count() -> None:
    late, far, both = errors(0.0), errors(0.0), errors(0.0)
    late[:, RECENT:], far[REACT + 1 :], far[0] = 100.0, 100.0, 100.0
    assert unrest_of(late, KNOWN) == unrest_of(far, KNOWN) == 1.0
    both[REACT, RECENT - 1] = 100.0 * USUAL[0]
    assert unrest_of(both, KNOWN) == pytest.approx(min(np.sqrt(100.0**2 / (REACT * RECENT)) / BEYOND, MOST))


def test_what_is_not_known_says_nothing() -> None:
    with_gaps = errors(3.0)
    with_gaps[::2] = np.nan
    assert unrest_of(with_gaps, KNOWN) == pytest.approx(1.5)
    assert unrest_of(np.full((31, 60, 2), np.nan), KNOWN) == 1.0
    assert unrest_of(errors(9.0), BiasFilter()) == 1.0
    never_off = BiasFilter(trust=Trust(gain_HY=np.ones((30, 2)), usual_HY=np.zeros((30, 2))))
    assert unrest_of(errors(9.0), never_off) == 1.0


def test_a_short_history_and_a_short_horizon_are_judged_by_what_there_is() -> None:
    assert unrest_of(errors(3.0)[:4, :2], KNOWN) == pytest.approx(1.5)
    near = BiasFilter(trust=Trust(gain_HY=np.ones((3, 2)), usual_HY=USUAL[:3]))
    assert unrest_of(errors(3.0), near) == pytest.approx(1.5)
