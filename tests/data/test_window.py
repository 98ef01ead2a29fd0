"""Scaled values stand for values in engineering units, on straight scales and on roots."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procmodel.data.window import Scaler

PURITY = Scaler(centre=np.array([98.9, 5.0]), spread=np.array([0.25, 2.0]), bend=np.array([-0.25 / (2 * 1.1), 0.0]))
"""Of a product that is nearly pure, as the root of what is left to 100 %, and of a straight tag."""
values = st.floats(-1e4, 1e4)
bends = st.one_of(st.just(0.0), st.floats(1e-3, 1.0), st.floats(-1.0, -1e-3))


@given(values, st.floats(1e-3, 1e3), bends)
def test_every_value_comes_back_from_its_scale(value: float, spread: float, bend: float) -> None:
    scaler = Scaler(centre=np.array([3.0]), spread=np.array([spread]), bend=np.array([bend]))
    back = scaler.unscale(scaler.scale(np.array([value])))
    np.testing.assert_allclose(back, [value], rtol=1e-7, atol=1e-7 * spread)


@given(values, values, bends)
def test_more_is_more_on_every_scale(one: float, other: float, bend: float) -> None:
    scaler = Scaler(centre=np.zeros(1), spread=np.ones(1), bend=np.array([bend]))
    low, high = sorted((one, other))
    assert (scaler.scale(np.array([low])) <= scaler.scale(np.array([high]))).all()
    assert (scaler.slope(np.array([one]), (0,)) > 0.0).all()


def test_a_root_is_that_of_the_distance_from_its_end() -> None:
    purity = np.array([75.0, 90.0, 98.9, 99.7, 99.9])
    root = -np.sqrt(100.0 - purity)
    expected = (root + np.sqrt(1.1)) * 2.0 * np.sqrt(1.1) / 0.25  # value and slope at the centre as on a straight scale
    np.testing.assert_allclose(PURITY.scale(purity[:, None], (0,))[:, 0], expected, rtol=1e-12, atol=1e-12)
    assert PURITY.roots() == {0: pytest.approx(100.0)}


def test_next_to_the_end_and_beyond_it_a_root_goes_on_straight() -> None:
    purity = np.array([[99.96], [99.98], [100.0], [100.02]])  # the centre's distance over 16 is 0.069
    steps = np.diff(PURITY.scale(purity, (0,))[:, 0])
    np.testing.assert_allclose(steps, 4 * 0.02 / 0.25, rtol=1e-9)


def test_straight_tags_are_scaled_to_the_bit_as_without_roots() -> None:
    rows = np.random.default_rng(0).normal(98, 5, size=(1000, 2))
    np.testing.assert_array_equal(PURITY.scale(rows)[:, 1], PURITY.straight.scale(rows)[:, 1])
    assert PURITY.straight.roots() == {}


@pytest.mark.parametrize("scaler", [PURITY, PURITY.straight], ids=["roots", "straight"])
def test_slope_and_curve_are_the_derivatives_of_the_unit(scaler: Scaler) -> None:
    scaled, step = np.random.default_rng(1).normal(size=(200, 2)) * 4, 1e-3
    below, at, above = (scaler.unscale(scaled + move) for move in (-step, 0.0, step))
    smooth = np.abs(1.0 + PURITY.bend * scaled - 0.25) > 2e-3  # type: ignore[operator]
    np.testing.assert_allclose(scaler.slope(scaled, (0, 1)), (above - below) / (2 * step), rtol=1e-3)
    found = scaler.curve(scaled, (0, 1))
    np.testing.assert_allclose(found[smooth], ((above - 2 * at + below) / step**2)[smooth], atol=1e-6)
