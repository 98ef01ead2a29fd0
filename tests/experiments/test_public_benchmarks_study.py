"""The protocols of the public sets, on records that were made up here."""

from __future__ import annotations

import numpy as np
import pytest

from experiments import public_benchmarks, recordings
from experiments.public_benchmarks import tanks, tanks_errors
from procmodel.errors import DatasetError


def made_up_tanks(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two tanks that drain by the root of their level, sampled as the rig is: the level answers the voltage before."""
    rng = np.random.default_rng(seed)
    u = np.repeat(rng.uniform(1.5, 5.0, size=64), 16)
    upper, lower, y = 4.0, 5.0, np.empty(1024)
    for k in range(1024):
        y[k] = lower
        upper = max(upper + 0.15 * u[k] - 0.25 * np.sqrt(upper), 0.01)
        lower = min(max(lower + 0.25 * np.sqrt(upper) - 0.2 * np.sqrt(lower), 0.01), 10.0)
    return u, y + 0.01 * rng.normal(size=1024)


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_benchmarks, "cascaded_tanks", lambda: (made_up_tanks(0), made_up_tanks(1)))


def test_a_row_of_the_tanks_holds_a_level_and_the_voltage_before_it(rig: None) -> None:
    plant, dataset = tanks()
    u, y = made_up_tanks(1)
    np.testing.assert_array_equal(dataset.values[1025:, 0], u[:-1])
    np.testing.assert_array_equal(dataset.values[1024:, 1], y)
    assert [s.name for s in dataset.stretches] == ["estimation", "test"]
    assert plant.split.test == ["test"]


def test_no_row_of_the_test_half_is_trained_on_and_errors_are_in_volts(rig: None) -> None:
    found = tanks_errors(quick=True)
    assert found["training_rows"] < 1024
    assert found["unit"] == "V"
    error = found["errors"]["test"]
    assert error["mean"] == pytest.approx(error["by_seed"][0])
    # A level that is said to stay where it is misses by more; one that is known to the noise misses by 0.01 V.
    assert 0.01 < error["mean"] < made_up_tanks(1)[1].std()


def test_a_missing_recording_says_which_and_where_it_belongs(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROCMODEL_DATA", str(tmp_path))
    with pytest.raises(DatasetError, match=r"No folder 'cascaded_tanks' in .*experiments/README\.md"):
        recordings.cascaded_tanks()
