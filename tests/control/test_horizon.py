"""Blocks that grow, moves that stay inside every hard bound."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from control_fakes import TANKS, make_plant
from hypothesis import given
from hypothesis import strategies as st

from procmodel.control.horizon import Horizon, block_lengths
from procmodel.errors import PlantFileError

CENTRE, SPREAD = np.array([3.0, 3.0]), np.array([0.7, 0.9])


def horizon(**advice: object) -> Horizon:
    return Horizon.of(make_plant(TANKS, **advice), CENTRE, SPREAD)


@given(intervals=st.integers(1, 400), blocks=st.integers(1, 60))
def test_blocks_begin_at_one_interval_never_shrink_and_fill_the_horizon(intervals: int, blocks: int) -> None:
    lengths = block_lengths(intervals, blocks)
    assert sum(lengths) == intervals
    assert len(lengths) == min(blocks, intervals)
    assert all(later >= earlier for earlier, later in itertools.pairwise(lengths))
    assert lengths[0] == 1 or len(lengths) == 1


def test_the_default_is_sixty_rows_in_eight_blocks() -> None:
    h = horizon()
    assert (h.steps, h.interval, h.ends) == (60, 1, (1, 2, 4, 7, 12, 21, 35, 60))


def test_moves_change_only_where_advice_may_change_them() -> None:
    h = horizon(every="15 s", horizon="4 min")
    assert (h.steps, h.interval) == (48, 3)
    bounds = h.bounds(CENTRE, np.zeros(2, dtype=bool))
    moves = h.rows(bounds, np.full((h.blocks, 2), 0.3))
    changed = np.nonzero(np.abs(np.diff(moves[:, 0], prepend=3.0)) > 1e-12)[0]
    assert set(changed) <= set(h.ticks)


def test_a_long_block_spreads_its_change_over_as_many_advices_as_crossing_the_range_takes() -> None:
    h = horizon()
    # 6 V at 0.5 V an advice are twelve advices; the blocks are 1, 1, 2, 3, 5, 9, 14 and 25 intervals long.
    assert h.moves_MU[:, 0].tolist() == [1, 1, 2, 3, 5, 9, 12, 12]
    free = make_plant({name: {**tag, "max_move": None} for name, tag in TANKS.items()})
    assert (Horizon.of(free, CENTRE, SPREAD).moves_MU == 1).all()


@given(
    start=st.tuples(st.floats(-3, 9), st.floats(-3, 9)),
    seed=st.integers(0, 10_000),
    every=st.sampled_from(["5 s", "10 s", "20 s"]),
    frozen=st.tuples(st.booleans(), st.booleans()),
)
def test_no_row_leaves_the_hard_bounds(
    start: tuple[float, float], seed: int, every: str, frozen: tuple[bool, bool]
) -> None:
    """Limits, asymmetric move limits, MVs measured outside their limits, and frozen ones, for any wish."""
    h = horizon(every=every)
    start_U, frozen_U = np.array(start), np.array(frozen)
    bounds = h.bounds(start_U, frozen_U)
    wish = np.random.default_rng(seed).uniform(-4, 10, size=(h.steps, 2))
    moves = h.rows(bounds, h.changes(bounds, wish))
    step = np.diff(moves[h.ticks], prepend=start_U[None], axis=0)
    assert (step <= np.array([0.5, 0.5]) + 1e-9).all()
    assert (step >= -np.array([1.0, 0.5]) - 1e-9).all()
    assert (moves[:, frozen_U] == start_U[frozen_U]).all()
    free = ~frozen_U
    inside = free & (start_U >= 0) & (start_U <= 6)
    assert (moves[:, inside] >= 0).all()
    assert (moves[:, inside] <= 6).all()
    outside = np.maximum(-moves, moves - 6)[:, free]  # an MV outside comes back and goes no further out
    assert (np.diff(np.maximum(outside, 0.0), axis=0) <= 1e-12).all()
    assert (outside[-1] <= 0).all()


def test_an_mv_outside_its_limit_comes_back_as_fast_as_it_may() -> None:
    h = horizon()
    bounds = h.bounds(np.array([7.2, 3.0]), np.zeros(2, dtype=bool))
    moves = h.rows(bounds, h.changes(bounds, np.tile([9.0, 3.0], (h.steps, 1))))
    np.testing.assert_allclose(moves[:4, 0], [6.2, 6.0, 6.0, 6.0])


def test_the_tail_of_a_shifted_plan_holds_the_last_move() -> None:
    h = horizon()
    moves = np.arange(120.0).reshape(60, 2)
    shifted = h.shifted(moves)
    np.testing.assert_array_equal(shifted[:-1], moves[1:])
    np.testing.assert_array_equal(shifted[-1], moves[-1])


def test_an_mv_without_limits_stays_where_it_was_recorded() -> None:
    h = Horizon.of(make_plant({**TANKS, "P2": {"role": "MV", "unit": "V", "limits": {"low": 1}}}), CENTRE, SPREAD)
    assert h.low_U[1] == 1.0
    assert h.high_U[1] == pytest.approx(3.0 + 4 * 0.9)


@pytest.mark.parametrize(
    ("advice", "said"),
    [
        ({"every": "7 s"}, "every is 7 s, which is not a whole number of sample times"),
        ({"horizon": "12 s"}, "horizon is 12 s, which is not"),
        ({"every": "1 min", "horizon": "30 s"}, "shorter than the 12 rows between two advices"),
    ],
)
def test_times_that_do_not_fit_the_grid_are_refused(advice: dict[str, str], said: str) -> None:
    with pytest.raises(PlantFileError, match=said):
        horizon(**advice)
