"""A gap of a CV holds what the model expects of the moves that were made in it, and not the last value before it."""

from __future__ import annotations

import numpy as np
from test_surprise import SCALER, TAGS, Knows, record

from procmodel.world_model.gaps import expected_in_gaps
from procmodel.world_model.surprise import surprise

CVS = list(TAGS.cv)


def test_a_model_that_is_right_fills_a_gap_with_what_was_lost() -> None:
    whole = record(60)
    holey = whole.copy()
    holey[40:50, 1] = np.nan
    holey[45:60, 2] = np.nan
    np.testing.assert_allclose(expected_in_gaps(Knows(), SCALER, TAGS, holey), whole, atol=1e-9)


def test_a_whole_history_is_left_alone_and_what_was_given_is_not_changed() -> None:
    whole = record(60)
    np.testing.assert_array_equal(expected_in_gaps(Knows(), SCALER, TAGS, whole), whole)
    holey = whole.copy()
    holey[-1, 1] = np.nan
    expected_in_gaps(Knows(), SCALER, TAGS, holey)
    assert np.isnan(holey[-1, 1])


def test_the_beginning_and_gaps_of_moves_stay() -> None:
    holey = record(60)
    holey[0, 1] = holey[30, 0] = holey[59, 3] = np.nan
    np.testing.assert_array_equal(np.isnan(expected_in_gaps(Knows(), SCALER, TAGS, holey)), np.isnan(holey))


def test_the_first_rows_behind_a_gap_are_no_surprise() -> None:
    whole = record(60)
    holey = whole.copy()
    holey[40:58, 1] = np.nan
    seen = expected_in_gaps(Knows(), SCALER, TAGS, holey)
    told = surprise(Knows(), SCALER, TAGS, holey, seen_RC=seen)
    assert told is not None
    assert told < 1e-20
    alone = surprise(Knows(), SCALER, TAGS, whole[:-6] * np.nan, seen_RC=whole[:-6])
    assert alone is None  # what was filled in is not judged
