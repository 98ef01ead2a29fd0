"""Surprise is nothing where the model is right, and grows with what a sensor is off."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from latent_fakes import COLUMNS, ROWS, trained
from scipy.stats import multivariate_normal
from torch import Tensor

import procmodel.world_model.surprise as surprise_module
from procmodel.data.window import Columns, Scaler, Window
from procmodel.world_model.surprise import MEMORY, PACE, error_covariance, evidence, surprise, surprises

TAGS = Columns(mv=(0,), cv=(1, 2), dv=(3,), count=4)
SCALER = Scaler(centre=np.array([40.0, 300.0, 5.0, -7.0]), spread=np.array([4.0, 20.0, 0.5, 3.0]))


TO_MV, TO_DV = (torch.tensor([gain], dtype=torch.float64) for gain in ([0.5, -0.2], [0.1, 0.3]))


class Knows:
    """The plant's own equations: `y+ = 0.8 y + G u+ + H d+`, scaled; the latent is the last row's CVs."""

    rows, latent_size = 2, 2

    def encode(self, window: Window) -> Tensor:
        assert bool(window.mask[:, -1, [1, 2]].all()), "these tests show it whole rows only"
        return window.values[:, -1, [1, 2]]

    def step(self, z_BD: Tensor, u_BU: Tensor, d_BV: Tensor) -> Tensor:
        return 0.8 * z_BD + u_BU @ TO_MV + d_BV @ TO_DV

    def read_out(self, z_BD: Tensor) -> Tensor:
        return z_BD


def record(rows: int = 60) -> np.ndarray:
    """What the equations make of random moves, noise-free, engineering units."""
    rng = np.random.default_rng(0)
    scaled = np.zeros((rows, 4))
    scaled[:, 0], scaled[:, 3] = rng.normal(size=rows), rng.normal(size=rows)
    for t in range(1, rows):
        scaled[t, 1:3] = 0.8 * scaled[t - 1, 1:3] + np.array([0.5, -0.2]) * scaled[t, 0]
        scaled[t, 1:3] += np.array([0.1, 0.3]) * scaled[t, 3]
    return SCALER.unscale(scaled)


def test_a_model_that_is_right_is_never_surprised() -> None:
    found = surprises(Knows(), SCALER, TAGS, record())
    assert found.shape == (58,)
    assert found.max() < 1e-20


def test_a_shifted_sensor_surprises_when_it_shifts() -> None:
    rows = record()
    rows[30:, 1] += 2 * SCALER.spread[1]
    found = surprises(Knows(), SCALER, TAGS, rows)
    assert found[:28].max() < 1e-20
    assert found[28] == pytest.approx(2.0**2 / 2)  # two spreads on one of two CVs
    # From then on the model starts from the shifted value: what is left is the shift less 0.8 of it.
    np.testing.assert_allclose(found[29:], 0.4**2 / 2)


def test_a_cv_in_a_gap_is_not_judged() -> None:
    rows = record(31)
    rows[30] += 3 * SCALER.spread
    rows[30, 2] = np.nan
    assert surprises(Knows(), SCALER, TAGS, rows)[-1] == pytest.approx((3 - 3 * 0.5 - 3 * 0.1) ** 2)
    rows[30, 1] = np.nan
    assert math.isnan(surprises(Knows(), SCALER, TAGS, rows)[-1])


def test_a_move_in_a_gap_is_taken_as_held() -> None:
    rows = record()
    rows[30:34, 0] = rows[29, 0]
    rows[30:34, 3] = rows[29, 3]
    shown = rows.copy()
    shown[30:34, [0, 3]] = np.nan
    held, gap = (surprises(Knows(), SCALER, TAGS, r) for r in (rows, shown))
    np.testing.assert_array_equal(held, gap)


def test_a_disturbance_that_was_never_recorded_is_at_its_mean_and_not_at_zero() -> None:
    rows = record()
    mean, missing = rows.copy(), rows.copy()
    mean[:, 3], missing[:, 3] = SCALER.centre[3], np.nan
    np.testing.assert_array_equal(*(surprises(Knows(), SCALER, TAGS, r) for r in (mean, missing)))


def test_a_long_record_is_judged_in_pieces_that_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rng = trained().requires_grad_(False), np.random.default_rng(1)
    rows = rng.normal(size=(40, COLUMNS.count))
    rows[rng.random(rows.shape) < 0.2] = np.nan
    scaler = Scaler(centre=np.zeros(6), spread=np.ones(6))
    whole = surprises(model, scaler, COLUMNS, rows)
    monkeypatch.setattr(surprise_module, "_AT_ONCE", 7)
    np.testing.assert_allclose(surprises(model, scaler, COLUMNS, rows), whole, rtol=1e-12)
    assert whole.shape == (40 - ROWS,)


def test_the_newest_rows_are_averaged_as_far_as_they_can_be_judged() -> None:
    rows = record()
    rows[57, 1] += SCALER.spread[1]
    every = surprises(Knows(), SCALER, TAGS, rows)
    assert surprise(Knows(), SCALER, TAGS, rows) == pytest.approx(every[-MEMORY:].mean())
    assert surprise(Knows(), SCALER, TAGS, rows[:4]) == pytest.approx(every[:2].mean(), abs=1e-20)


def test_where_nothing_can_be_judged_there_is_no_surprise() -> None:
    assert surprise(Knows(), SCALER, TAGS, record()[:2]) is None
    rows = np.full((ROWS + 2, COLUMNS.count), np.nan)
    rows[:ROWS] = 0.0
    assert surprise(trained(), Scaler(centre=np.zeros(6), spread=np.ones(6)), COLUMNS, rows) is None


def test_errors_that_break_the_pattern_surprise_more_than_those_that_keep_it() -> None:
    rng = np.random.default_rng(2)
    together = rng.normal(size=(5000, 1)) + 0.1 * rng.normal(size=(5000, 2))  # two CVs that always miss together
    covariance = error_covariance(together)
    rows = record()
    along, against = rows.copy(), rows.copy()
    along[30, [1, 2]] += SCALER.spread[[1, 2]]
    against[30, [1, 2]] += SCALER.spread[[1, 2]] * np.array([1.0, -1.0])
    plain = [surprises(Knows(), SCALER, TAGS, some)[28] for some in (along, against)]
    weighed = [surprises(Knows(), SCALER, TAGS, some, covariance)[28] for some in (along, against)]
    assert plain == pytest.approx([1.0, 1.0])
    assert weighed[0] < 1.0
    assert weighed[1] > 5.0


def test_weighed_by_their_own_covariance_normal_errors_are_about_one_and_a_gap_changes_nothing() -> None:
    errors = np.random.default_rng(3).normal(size=(4000, 2)) @ np.array([[2.0, 0.1], [0.0, 0.3]])
    covariance = error_covariance(errors)
    solved = np.linalg.solve(covariance, errors.T).T
    assert (errors * solved).mean() == pytest.approx(1.0, rel=0.05)
    rows = record(31)
    rows[30] += 3 * SCALER.spread
    rows[30, 2] = np.nan  # what is left is judged by its own variance
    off = 3 - 3 * 0.5 - 3 * 0.1
    assert surprises(Knows(), SCALER, TAGS, rows, covariance)[-1] == pytest.approx(off**2 / covariance[0, 0])


def test_a_covariance_of_errors_with_gaps_can_be_solved_with() -> None:
    errors = np.random.default_rng(4).normal(size=(30, 3))
    errors[:20, 0], errors[10:, 1], errors[:, 2] = np.nan, np.nan, np.nan
    covariance = error_covariance(errors)
    assert np.linalg.eigvalsh(covariance).min() > 0
    assert covariance[2, 2] == pytest.approx(1.0, rel=1e-4)
    assert np.linalg.eigvalsh(error_covariance(np.zeros((5, 2)))).min() > 0


def test_evidence_is_the_logarithm_of_the_ratio_of_two_gaussian_likelihoods() -> None:
    rows, covariance = record(33), np.array([[0.04, 0.01], [0.01, 0.09]])
    other = rows.copy()
    other[-1, 0] += 2.0 * SCALER.spread[0]  # the CVs would have come out by 2 G higher
    found = evidence(Knows(), SCALER, TAGS, rows, other, covariance)
    told = [multivariate_normal(np.zeros(2), covariance).logpdf(error) for error in ([0.0, 0.0], [-1.0, 0.4])]
    assert found == pytest.approx(told[0] - told[1])
    assert evidence(Knows(), SCALER, TAGS, other, rows, covariance) == pytest.approx(-found)


def test_where_no_cv_is_good_nothing_speaks_for_either_history() -> None:
    rows = record(33)
    other = rows.copy()
    other[-1, 0] += 2.0 * SCALER.spread[0]
    for each in (rows, other):
        each[-1, [1, 2]] = np.nan
    assert evidence(Knows(), SCALER, TAGS, rows[-3:], other[-3:]) == 0.0
    assert evidence(Knows(), SCALER, TAGS, rows[-2:], other[-2:]) == 0.0  # too short to tell


def moving_fast(share: float) -> np.ndarray:
    """A plant at rest that a step of the MV drives far in the newest row; the CVs go that share of the way."""
    rows = np.tile(SCALER.centre, (31, 1))
    rows[30, 0] += 40.0 * SCALER.spread[0]  # the CVs are expected to go by 20 and by -8 spreads
    rows[30, [1, 2]] += share * np.array([20.0, -8.0]) * SCALER.spread[[1, 2]]
    return rows


@pytest.mark.parametrize("share", [0.9, 1.0, 1.2])
def test_a_share_of_a_large_change_is_a_usual_error_with_a_pace(share: float) -> None:
    sigma = np.array([0.1, 0.2])
    covariance, miss = np.diag(sigma**2), (share - 1.0) * np.array([20.0, -8.0])
    without = surprises(Knows(), SCALER, TAGS, moving_fast(share), covariance)[-1]
    found = surprises(Knows(), SCALER, TAGS, moving_fast(share), covariance, pace=0.15)[-1]
    assert without == pytest.approx((miss**2 / sigma**2).mean(), abs=1e-9)
    change = min(share, 1.0) * np.array([20.0, -8.0])
    assert found == pytest.approx((miss**2 / (sigma**2 + (0.15 * change) ** 2)).mean(), abs=1e-9)


def test_a_plant_that_does_not_answer_or_moves_by_itself_is_as_surprising_as_without_a_pace() -> None:
    covariance = np.diag(np.array([0.1, 0.2]) ** 2)
    by_itself = np.tile(SCALER.centre, (31, 1))
    by_itself[30, [1, 2]] += np.array([20.0, -8.0]) * SCALER.spread[[1, 2]]
    for rows in (moving_fast(0.0), by_itself):
        plain = surprises(Knows(), SCALER, TAGS, rows, covariance)[-1]
        assert plain == pytest.approx((200.0**2 + 40.0**2) / 2)
        assert surprises(Knows(), SCALER, TAGS, rows, covariance, pace=PACE)[-1] == pytest.approx(plain)


def test_where_nothing_moves_a_pace_changes_nothing_nor_without_a_covariance() -> None:
    at_rest, covariance = np.tile(SCALER.centre, (31, 1)), np.diag([0.01, 0.04])
    at_rest[30, 1] += 3.0 * SCALER.spread[1]  # no move asked for it
    plain = surprises(Knows(), SCALER, TAGS, at_rest, covariance)
    np.testing.assert_allclose(surprises(Knows(), SCALER, TAGS, at_rest, covariance, pace=PACE), plain)
    moved = moving_fast(0.9)
    np.testing.assert_array_equal(
        surprises(Knows(), SCALER, TAGS, moved, pace=PACE), surprises(Knows(), SCALER, TAGS, moved)
    )
