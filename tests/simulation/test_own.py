"""A simulator of one's own: what it answers is what is recorded, and what does not fit is told at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from procmodel.errors import InputError
from procmodel.evaluation.oracle import Oracle
from procmodel.plant import load_plant
from procmodel.simulation import operate, own_plant, record, steady_state

FILE = """
name: mixer
sample_time: 10 s
history: {kind: csv, path: exports/*.csv, timezone: Europe/Zurich}
tags:
  F1: {role: MV, unit: L/s, limits: [0, 10]}
  A1: {role: CV, unit: "%", range: [0, 20], setpoint: 7}
  T1: {role: DV, unit: degC, range: [0, 50]}
"""


class Mixer:
    """Goes a fifth of the way to the sum of its inputs in each row."""

    def __init__(self) -> None:
        self.value = 8.0

    def step(self, u: Sequence[float], d: Sequence[float]) -> list[float]:
        self.value += 0.2 * (u[0] + d[0] - self.value)
        return [self.value]


class Silent(Mixer):
    def step(self, u: Sequence[float], d: Sequence[float]) -> list[float]:
        return []


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "plant.yaml"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_it_runs_under_its_own_hands_as_its_step_says(file: Path) -> None:
    run = operate(own_plant(file, Mixer, u0=[5.0], d0=[3.0]), rows=400, seed=1, noise=False)
    expected = 8.0
    for t in range(400):
        expected += 0.2 * (run.u[t, 0] + 3.0 - expected)
        assert run.y[t, 0] == pytest.approx(expected)
    assert 8 < np.count_nonzero(np.diff(run.u[:, 0])) < 40
    assert run.u.min() >= 0.0
    assert run.u.max() <= 10.0


def test_every_run_starts_anew(file: Path) -> None:
    mixer = own_plant(file, Mixer, u0=[5.0], d0=[3.0])
    one, two = (operate(mixer, rows=50, seed=2) for _ in range(2))
    np.testing.assert_array_equal(one.rows, two.rows)


def test_its_record_comes_with_its_own_plant_file(file: Path, tmp_path: Path) -> None:
    made = record(own_plant(file, Mixer, u0=[5.0], d0=[3.0]), rows=300, seed=0, folder=tmp_path / "site")
    assert load_plant(made.plant_file).name == "mixer"
    assert len(made.files[0].read_text(encoding="utf-8").splitlines()) > 300


def test_setpoints_are_those_of_its_file_and_disturbances_stay(file: Path) -> None:
    mixer = own_plant(file, Mixer, u0=[5.0], d0=[3.0])
    assert mixer.setpoints(3, 0).tolist() == [[7.0]] * 3
    assert mixer.disturbances(2, 0).d.tolist() == [[3.0], [3.0]]


def test_what_needs_equations_says_that_there_are_none(file: Path) -> None:
    mixer = own_plant(file, Mixer, u0=[5.0], d0=[3.0])
    with pytest.raises(InputError, match="without equations"):
        steady_state(mixer)
    with pytest.raises(InputError, match="no oracle"):
        Oracle(mixer)


def test_a_simulator_that_does_not_fit_its_plant_file_is_refused(file: Path) -> None:
    with pytest.raises(InputError, match="1 MVs and 1 DVs, but u0 holds 2"):
        own_plant(file, Mixer, u0=[5.0, 1.0], d0=[3.0])
    with pytest.raises(InputError, match=r"Silent.step gave \[\].*A1"):
        own_plant(file, Silent, u0=[5.0], d0=[3.0])
