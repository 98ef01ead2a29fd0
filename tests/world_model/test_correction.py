"""What past errors are worth, and the doubt that is left, against processes whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from procmodel.world_model.correction import (
    BEYOND,
    PERSISTENT,
    BiasFilter,
    LastingTrust,
    Trust,
    _lasting,
    corrected,
    correction,
    doubt_of,
    lasting_errors,
    reading_noise,
    seen_errors,
    trust_of,
)

ROWS, AHEAD = 20_000, 12


def of_a_walk(share: float, seed: int = 0) -> np.ndarray:
    """What forecasts miss [W, H, 1] of noise, and of a random walk that their model follows but for a share of it."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(0.0, 0.1, ROWS + AHEAD))
    issued = np.arange(ROWS)[:, None]
    landed = issued + np.arange(1, AHEAD + 1)
    missed = walk[landed] - (1.0 - share) * walk[issued]
    return np.asarray(missed + rng.normal(0.0, 1.0, ROWS + AHEAD)[landed])[..., None]


def test_seen_errors_are_those_of_forecasts_that_have_landed() -> None:
    """The sums over all forecasts against plain loops, with gaps."""
    rng = np.random.default_rng(3)
    miss, bias = rng.normal(size=(30, 5, 2)), BiasFilter(memory=3, decay=0.5)
    miss[rng.random(miss.shape) < 0.2] = np.nan
    found = seen_errors(miss, bias)
    for w in range(30):
        for k in range(1, 6):
            for y in range(2):
                past = {j: miss[w - k - j, k - 1, y] for j in range(3) if w - k - j >= 0}
                good = {j: value for j, value in past.items() if np.isfinite(value)}
                expected = np.average(list(good.values()), weights=[0.5**j for j in good]) if good else np.nan
                assert found[w, k - 1, y] == pytest.approx(expected, nan_ok=True)


def test_lasting_errors_are_those_of_forecasts_that_have_landed() -> None:
    """Mean and standard deviation over all forecasts against plain loops, with gaps and a short beginning."""
    rng, memory = np.random.default_rng(3), 9
    miss = rng.normal(size=(40, 5, 2))
    miss[rng.random(miss.shape) < 0.3] = np.nan
    found = lasting_errors(miss, memory)
    for w, k, y in np.ndindex(miss.shape):
        past = [(j, miss[w - k - 1 - j, k, y]) for j in range(memory) if w - k - 1 - j >= 0]
        good = [(j, value) for j, value in past if np.isfinite(value)]
        values, span = [value for _, value in good], good[-1][0] + 1 if good else 0
        mean, sigma = (np.mean(values) * span / memory, np.std(values)) if good else (np.nan, np.nan)
        assert found.mean[w, k, y] == pytest.approx(mean, nan_ok=True)
        assert found.sigma[w, k, y] == pytest.approx(sigma, nan_ok=True, abs=1e-7)


def little_trust(memory: int = 20) -> Trust:
    """Nothing that is as usual comes again."""
    nothing, one = np.zeros((3, 1)), np.ones((3, 1))
    return Trust(
        gain_HY=nothing, usual_HY=one, lasting=LastingTrust(memory=memory, gain_HY=nothing, ratio_HY=0.5 * one)
    )


@pytest.mark.parametrize("size", [1e-3, 0.5, -1.0, 30.0])
def test_an_error_that_stands_still_is_believed_whole_whatever_its_size(size: float) -> None:
    bias = BiasFilter(trust=little_trust())
    assert bias.reach == 20
    np.testing.assert_allclose(correction(np.full((6, 20, 1), size), bias), size)


def test_a_short_history_is_not_taken_for_a_lasting_error_and_gaps_do_not_hide_one() -> None:
    errors = np.full((6, 20, 1), 0.5)
    errors[:, 4:] = np.nan
    np.testing.assert_allclose(correction(errors, BiasFilter(trust=little_trust())), 0.5 * 4 / 20)
    errors = np.full((6, 20, 1), 0.5)
    errors[:, 1:-1:2] = np.nan
    np.testing.assert_allclose(correction(errors, BiasFilter(trust=little_trust())), 0.5)


def test_a_mean_no_steadier_than_usual_is_not_believed_and_a_firm_one_nearly_whole() -> None:
    swing = np.tile([1.0, -1.0], 10)[None, :, None].repeat(6, axis=0)
    bias = BiasFilter(trust=little_trust())
    np.testing.assert_allclose(correction(0.9 + swing, bias), 0.0)  # below twice half of the standard deviation
    # The newest four weigh 0.2 towards +1 of the swing, and pass as usual.
    np.testing.assert_allclose(correction(3.0 + swing, bias), 3.0 * (1 - 1 / 9))


def test_forecasts_that_are_off_for_long_are_put_right_and_others_left_alone() -> None:
    """Against a trust that knows no lasting errors: with a constant error added to held-back noise, and without."""
    noise = of_a_walk(0.0)
    trust = trust_of([noise], BiasFilter())
    assert trust.lasting is not None
    assert trust.lasting.memory == PERSISTENT
    np.testing.assert_allclose(trust.lasting.ratio_HY[0], 1 / np.sqrt(PERSISTENT), rtol=0.15)  # white noise
    later = of_a_walk(0.0, seed=1)
    bias, short = BiasFilter(trust=trust), BiasFilter(trust=Trust(gain_HY=trust.gain_HY, usual_HY=trust.usual_HY))
    for off, most in ((0.0, 1.01), (1.0, 0.85)):
        with_lasting, without = (np.sqrt(np.nanmean(corrected(later + off, each) ** 2)) for each in (bias, short))
        assert with_lasting < most * without
    assert abs(np.nanmean(corrected(later + 1.0, bias))) < 0.1


def test_what_the_state_follows_already_is_not_believed_twice() -> None:
    """A model that knows the walk errs anew each time; one that does not has the same error again."""
    knows, ignores = (trust_of([of_a_walk(share)], BiasFilter()) for share in (0.0, 1.0))
    assert knows.gain_HY.max() < 0.1
    assert ignores.gain_HY.min() > 0.9
    bias = BiasFilter(trust=knows)
    with_trust, without = (np.nanstd(corrected(of_a_walk(0.0, seed=1), each)) for each in (bias, BiasFilter()))
    assert with_trust < 0.95 * without


def test_an_error_far_beyond_the_usual_is_believed_nearly_whole_and_a_usual_one_by_its_gain() -> None:
    bias = BiasFilter(trust=Trust(gain_HY=np.full((2, 1), 0.3), usual_HY=np.full((2, 1), 0.5)))
    for error, believed in ((0.0, 0.0), (0.5, 0.15), (-0.5, -0.15), (10.0, 10.0 * (1 - (BEYOND * 0.05) ** 2))):
        errors = np.full((6, 4, 1), error)  # five rows ahead; the second one's trust stands for later ones
        np.testing.assert_allclose(correction(errors, bias), believed)


def test_without_any_error_on_record_a_new_one_is_believed_whole() -> None:
    bias = BiasFilter(trust=trust_of([np.zeros((50, 3, 2))], BiasFilter()))
    np.testing.assert_allclose(correction(np.full((4, 4, 2), 0.2), bias), 0.2)


def test_doubt_is_one_sided_by_the_worse_side_and_never_falls() -> None:
    missed = np.random.default_rng(4).normal(0.0, [2.0, 1.0], (50_000, 2))[..., None]
    missed[:, 1] = np.abs(missed[:, 1])  # of |N(0, 1)| 90 % lie below 1.645
    found = doubt_of(missed, np.zeros(1), 0.9)
    np.testing.assert_allclose(found[:, 0], [2 * 1.2816, 2 * 1.2816], rtol=0.02)
    np.testing.assert_allclose(doubt_of(missed[:, 1:], np.zeros(1), 0.9)[0, 0], 1.645, rtol=0.02)


def test_noise_of_the_reading_that_judges_is_no_doubt_about_the_plant() -> None:
    rng = np.random.default_rng(5)
    missed = (rng.normal(0.0, 3.0, 50_000) + rng.normal(0.0, 4.0, 50_000))[:, None, None]
    np.testing.assert_allclose(doubt_of(missed, np.array([4.0]), 0.9), 3.0 * 1.2816, rtol=0.03)
    assert doubt_of(missed, np.array([40.0]), 0.9) == 0.0


def test_noise_is_told_from_a_walk_and_from_what_is_smooth() -> None:
    rng = np.random.default_rng(6)
    t = np.arange(40_000)
    plain = np.stack([np.cumsum(rng.normal(0.0, 0.3, len(t))), np.sin(t / 20.0), np.full(len(t), 7.0)], axis=1)
    noise = np.array([1.0, 0.5, 0.2])
    read = plain + rng.normal(size=plain.shape) * noise
    read[rng.random(read.shape) < 0.05] = np.nan
    np.testing.assert_allclose(reading_noise([read[:15_000], read[15_000:]]), noise, rtol=0.03)
    assert reading_noise([plain])[1] == 0.0
    assert reading_noise([np.full((10, 1), np.nan)]) == 0.0


def test_a_long_memory_skips_gaps_and_counts_from_the_oldest_error() -> None:
    rng = np.random.default_rng(6)
    errors = rng.normal(size=(2, 5, 9, 3))
    errors[rng.uniform(size=errors.shape) < 0.3] = np.nan
    errors[1, 2, :, 1] = np.nan
    errors[0, :, 6:] = np.inf
    found = _lasting(errors, 8)
    for at in np.ndindex(2, 5, 3):
        seen = errors[at[0], at[1], :8, at[2]]
        good = np.flatnonzero(np.isfinite(seen))
        if not len(good):
            assert np.isnan(found.mean[at])
            continue
        assert found.mean[at] == pytest.approx(seen[good].mean() * (good[-1] + 1) / 8, abs=1e-12)
        assert found.sigma[at] == pytest.approx(seen[good].std(), abs=1e-7)
