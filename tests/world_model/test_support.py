"""Known ground: distances against a cloud whose shape is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from procmodel.world_model.support import Support

CLOUD = np.random.default_rng(0).normal(size=(4000, 3)) * [5.0, 0.2, 1.0] + [10.0, 0.0, -3.0]


def test_a_typical_latent_is_at_distance_one_whatever_the_directions_are_worth() -> None:
    support = Support.of(CLOUD)
    assert np.sqrt(np.mean(support.distances(CLOUD) ** 2)) == pytest.approx(1.0, abs=1e-9)
    # Three spreads along one of three directions, wide or narrow.
    for spread in np.eye(3) * [5.0, 0.2, 1.0]:
        assert support.distances(np.array([[10.0, 0.0, -3.0] + 3 * spread]))[0] == pytest.approx(np.sqrt(3), rel=0.05)


def test_the_limit_leaves_room_beyond_the_record_and_no_more() -> None:
    support = Support.of(CLOUD)
    assert (support.distances(CLOUD) < support.limit).all()
    assert support.distance(np.array([[10.0, 0.0, -3.0], [10.0, 8.0, -3.0]])) > support.limit  # 40 spreads
    assert support.distance(CLOUD[:5]) == support.distances(CLOUD[:5]).max()


def test_a_direction_that_never_moves_does_not_count_and_no_number_is_no_distance() -> None:
    flat = np.concatenate([CLOUD, np.ones((4000, 1))], axis=1)
    support = Support.of(flat)
    assert support.whiten_KD.shape == (3, 4)
    assert np.isnan(support.distance(np.array([[np.nan, 0.0, 0.0, 1.0]])))
    back = Support.from_dict(json.loads(json.dumps(support.to_dict())))
    np.testing.assert_array_equal(back.distances(flat[:9]), support.distances(flat[:9]))
