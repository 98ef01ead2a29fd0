"""Loops and hands on a plant made up here: what they are asked for, they bring about."""

from __future__ import annotations

import numpy as np
import pytest

from procmodel.simulation.crew import Crew, Drive

LOOP = {
    "mv": 0, "cv": 1, "asked": 0, "liked": (4.0, 6.0), "gain": 0.5, "reset_rows": 10.0, "low": 0.0, "high": 10.0,
    "size": 1.0, "band": 0.5,
}  # fmt: skip


def run(crew: Crew, rows: int, setpoint: float = np.nan) -> np.ndarray:
    """A first-order plant that goes to twice its MV: rows of [MV, CV]."""
    held, value, seen = 2.0, 4.0, []
    for _ in range(rows):
        held = float(crew.act(np.array([held, value]), np.array([setpoint]))[0])
        value += 0.2 * (2.0 * held - value)
        seen.append((held, value))
    return np.array(seen)


def drive(**changes) -> Drive:
    return Drive(**{**LOOP, "by_hand": 1e-9, "digits": 4, **changes})


def test_a_loop_brings_its_cv_to_what_is_asked():
    assert run(Crew(0, "made up", [drive()], 1000), 200, 6.0)[-1, 1] == pytest.approx(6.0, abs=1e-3)


def test_without_a_setpoint_each_shift_likes_a_value_of_its_own():
    rests = run(Crew(1, "made up", [drive()], 200), 1200)[150::200, 1]
    assert len(set(np.round(rests, 2))) > 3
    assert (rests > 3.9).all()
    assert (rests < 6.1).all()


def test_loops_and_hands_stay_within_their_stops():
    seen = run(Crew(2, "made up", [drive(by_hand=0.5, spell=30.0, look=2.0, high=2.5)], 300), 2000, 9.0)
    assert seen[:, 0].max() == 2.5
    assert seen[:, 0].min() >= 0.0


def test_a_hand_moves_in_steps_and_towards_what_is_asked_where_it_is_far_off():
    seen = run(Crew(3, "made up", [drive(by_hand=1.0, look=10.0)], 1000), 60, 9.0)
    moves = np.diff(seen[:, 0])
    assert 2 <= np.count_nonzero(moves) <= 15
    assert moves[: np.argmax(seen[:, 1] > 8.5)].min() >= 0.0


def test_the_same_seed_moves_the_same_way():
    one, two = (run(Crew(4, "made up", [drive(by_hand=0.3)], 100), 300) for _ in range(2))
    assert np.array_equal(one, two)
