"""The plants that speed is measured on, and the floor under it."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.advice_latency import _floor
from experiments.latency_sizes import LARGE, SIZES, SMALL, Rig, plant_of, rig, ticks


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
def test_sizes_are_those_that_are_claimed(size: object) -> None:
    assert (LARGE.state + LARGE.latent, LARGE.hidden, LARGE.steps, LARGE.blocks) == (64, 256, 60, 10)
    assert (LARGE.mvs, LARGE.cvs) == (5, 8)
    plant = plant_of(size)  # type: ignore[arg-type]
    assert all(plant.tags[name].limits.low and plant.tags[name].limits.high for name in plant.cvs)


@pytest.fixture(scope="module")
def small() -> Rig:
    return rig(SMALL)


def test_the_small_size_has_seventeen_thousand_parameters(small: Rig) -> None:
    assert 16_000 < small.parameters < 18_000


def test_the_floor_counts_each_tangent_that_has_begun(small: Rig) -> None:
    """10 rows in 5 blocks of 2 MVs: blocks begin at known rows, a tangent costs the network's weights twice."""
    horizon = small.make().horizon
    weights = (16 + 2) * 112 + 112 * 112 + (112 + 16 + 2) * 16
    begun = sum(2 * (1 + sum(end <= row for end in horizon.ends)) for row in range(10))
    rest = 2 * 10 * 5 * 10**2 + 2 * 10 * 3 * 16 * 10 + 10**3 / 3
    assert _floor(small)["operations"] == pytest.approx(2 * weights * begun + rest)


def test_a_move_that_is_put_is_in_the_next_rows(small: Rig) -> None:
    loop = ticks(small, 3)
    _, _, put = next(loop)
    put(np.array([0.25, -0.5]))
    rows, setpoints, _ = next(loop)
    np.testing.assert_array_equal(rows[-1, :2], [0.25, -0.5])
    assert set(setpoints) == {"CV0", "CV1"}
