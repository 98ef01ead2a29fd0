"""A test is proposed where the record does not show what an MV does: within limits, and as long as noise demands."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.excitation import excitation_audit
from procmodel.data.plant_test import MOST_STEPS, PlantTest, propose_tests, wander
from procmodel.data.split import Parts
from procmodel.plant import Plant

ROWS, HOLD = 12_000, 100
PLANT = Plant.model_validate(
    {
        "name": "two-valves",
        "sample_time": "10 s",
        "tags": {
            "V1": {"role": "MV", "unit": "%", "limits": [0, 100]},
            "V2": {"role": "MV", "unit": "%", "limits": [0, 50]},
            "T1": {"role": "CV", "unit": "degC"},
        },
    }
)


def proposed(noise: np.ndarray, second: np.ndarray, *, asked: bool = False) -> dict[str, PlantTest]:
    """V1 is stepped by hand and moves T1; V2 is what it is given, and does nothing."""
    first = np.repeat(np.random.default_rng(1).uniform(40, 60, size=ROWS // 50), 50)
    answer = np.zeros(ROWS)
    for t in range(1, ROWS):
        answer[t] = 0.9 * answer[t - 1] + 0.02 * (first[t] - 50.0)
    values = np.stack([first, second, answer + noise], axis=1)
    dataset = Dataset(
        columns=tuple(PLANT.columns), values=values, good_fraction=np.ones_like(values, dtype=np.float32),
        start=datetime(2026, 3, 1, tzinfo=UTC), step=10.0, stretches=(Stretch(name="all", start=0, stop=ROWS),),
    )  # fmt: skip
    parts = Parts(train=dataset.stretches, validation=(), test=())
    return propose_tests(dataset, PLANT, parts, excitation_audit(dataset, PLANT, parts), HOLD, asked=asked)


@pytest.fixture(scope="module")
def white() -> np.ndarray:
    return 30.0 * np.random.default_rng(0).normal(size=ROWS)


def test_an_mv_that_never_moved_gets_a_test_within_its_limits_and_one_that_did_gets_none(white: np.ndarray) -> None:
    found = proposed(0.01 * white, np.full(ROWS, 50.0))  # V2 stands at its upper limit
    assert set(found) == {"V2"}
    test = found["V2"]
    assert test.cvs == ("T1",)
    assert 0 <= test.low < test.high == 50.0
    assert test.hold == HOLD * 10.0
    assert "V2" in str(test)
    assert "see what it does to T1" in str(test)


def test_who_asks_for_tests_gets_one_of_each_mv(white: np.ndarray) -> None:
    found = proposed(0.01 * white, np.full(ROWS, 50.0), asked=True)
    assert set(found) == {"V1", "V2"}
    assert found["V2"] == proposed(0.01 * white, np.full(ROWS, 50.0))["V2"]


def test_size_and_number_of_steps_are_those_of_their_formula_for_white_noise(white: np.ndarray) -> None:
    # All but all of T1 is noise: wander = spread * sqrt(2 / H), so 8 / (H size^2) steps, 8 at a tenth of the travel,
    # 32 at a twentieth, which is too many.
    test = proposed(10 * white, np.full(ROWS, 20.0))["V2"]
    assert test.high - test.low == pytest.approx(5.0)
    assert (test.low + test.high) / 2 == pytest.approx(20.0)
    assert test.steps == pytest.approx(8, abs=4)  # the wander of one record is known to 15 %
    assert test.enough
    assert test.duration == pytest.approx((test.steps + 1) * HOLD * 10.0)


def test_where_no_test_of_that_length_would_do_it_says_so(white: np.ndarray) -> None:
    drift = np.cumsum(white)  # a CV that wanders by itself far beyond what any step does
    test = proposed(drift, np.full(ROWS, 20.0))["V2"]
    assert test.steps == MOST_STEPS or test.enough
    slow = np.repeat(30.0 * np.random.default_rng(2).normal(size=ROWS // HOLD), HOLD)
    doubtful = proposed(slow, np.full(ROWS, 20.0))["V2"]
    assert not doubtful.enough
    assert doubtful.steps == MOST_STEPS
    assert "may stay hidden" in str(doubtful)


def test_wander_is_that_of_means_over_two_periods_of_one_stretch(white: np.ndarray) -> None:
    values = white[:, None]
    dataset = Dataset(
        columns=("T1",), values=values, good_fraction=np.ones_like(values, dtype=np.float32),
        start=datetime(2026, 3, 1, tzinfo=UTC), step=10.0, stretches=(Stretch(name="all", start=0, stop=ROWS),),
    )  # fmt: skip
    assert wander(dataset, dataset.stretches, "T1", HOLD) == pytest.approx(30.0 * np.sqrt(2 / HOLD), rel=0.15)
    short = [Stretch(name=str(i), start=i, stop=i + 2 * HOLD - 1) for i in range(0, 1000, 300)]
    assert wander(dataset, short, "T1", HOLD) == np.inf
