"""The search's slope against differences of its own cost, and the pieces of a record."""

from __future__ import annotations

import numpy as np
import pytest
from linear_systems import Innovations

from procmodel.world_model import filter_search
from procmodel.world_model.bends import all_pairs, with_cvs_first
from procmodel.world_model.filter_search import Filter, cut, innovations, normal, plain
from procmodel.world_model.linear import fit_linear_state


def torn_record() -> list[tuple[np.ndarray, np.ndarray]]:
    runs = Innovations().records(1, 700, seed=3, noise=0.2, feedback=0.4)
    runs[0][0][300:310, 1] = np.nan
    return runs


def straight() -> Filter:
    return plain(fit_linear_state(torn_record(), lags=4, order=2))


def bent() -> Filter:
    linear = with_cvs_first(fit_linear_state(torn_record(), lags=4, order=3))
    bends = all_pairs(linear, torn_record())
    weights = 0.05 * np.random.default_rng(0).normal(size=(3, len(bends.first)))
    return Filter(linear=linear, bends=bends, weights=weights, ridge=0.01)


@pytest.mark.parametrize("make", [straight, bent])
def test_the_slope_of_the_search_is_that_of_its_cost(make: object) -> None:
    """One number at a time."""
    model, pieces = make(), cut(torn_record())  # type: ignore[operator]
    weight = np.array([[2.0, 0.3], [0.3, 1.0]])
    _, slope = normal(model, pieces, weight)

    def cost(at: int, step: float) -> float:
        some = model.moved(step * np.eye(model.size)[at])
        return filter_search._cost(some, innovations(some, pieces), pieces, weight)

    measured = [(cost(at, 1e-5) - cost(at, -1e-5)) / 4e-5 for at in range(model.size)]  # the slope is of half the cost
    np.testing.assert_allclose(slope, measured, rtol=2e-3, atol=2e-3 * np.abs(slope).max())


def test_a_step_moves_every_number_by_its_own_part() -> None:
    model = bent()
    moved = model.moved(np.arange(model.size, dtype=float))
    changes = [new - old for new, old in zip(moved.parts(), model.parts(), strict=True)]
    np.testing.assert_allclose(np.concatenate([change.ravel() for change in changes]), np.arange(model.size))


def test_a_long_record_is_thinned_evenly() -> None:
    records = Innovations().records(8, 4_000, seed=0, noise=0.2, feedback=0.6)
    pieces = cut(records, most=12_000)
    assert 10_000 <= pieces.counts.any(axis=2).sum() <= 12_000
    lasts = [np.abs(pieces.y[-1, 100] - y).sum(axis=1).min() for y, _ in records]
    assert int(np.argmin(lasts)) == 7, "the last record has its part"


def test_a_short_record_is_cut_into_shorter_pieces_and_none_of_its_rows_is_lost() -> None:
    runs = Innovations().records(1, 1_200, seed=1, noise=0.2, feedback=0.4)
    pieces = cut(runs)
    assert pieces.y.shape[:2] == (12, filter_search.BURN + 100)
    assert pieces.rows == 1_200 - filter_search.BURN
    assert cut(Innovations().records(1, 9_000, seed=1, noise=0.2, feedback=0.4)).y.shape[1] == filter_search.BURN + 400
