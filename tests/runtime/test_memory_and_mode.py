"""What the loop remembers, and how far it may go."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from procmodel.advice import Action, Advice, Mode, Move
from procmodel.runtime import Ceiling, Tick, actual_mode
from procmodel.runtime.memory import Memory

NOW = datetime(2026, 3, 29, 0, 59, tzinfo=UTC)


def tick(wall: float, steady: float | None) -> Tick:
    now = NOW + timedelta(seconds=wall)
    return Tick(rows_RC=np.empty((0, 1)), newest=now, now=now, steady=steady)


def advice(current: float, recommended: float, *, action: Action = Action.MOVE) -> Advice:
    move = Move(
        tag="P", unit="V", current=current, recommended=recommended, delta=recommended - current,
        low=0, high=6, up=0.5, down=0.5,
    )  # fmt: skip
    return Advice(action=action, reason="r", at=NOW, expires=NOW, plant="p", moves=(move,))


def test_a_clock_that_was_set_is_told_from_one_that_runs() -> None:
    memory = Memory()
    steps = [memory.clock_step(tick(*at)) for at in ((0, 100.0), (10, 110.0), (3620, 120.0), (30, 130.0), (40, None))]
    assert steps == [None, 0.0, 3600.0, -3600.0, None]


def test_advice_is_pending_until_the_signal_shows_it_or_somebody_sets_another_value() -> None:
    memory = Memory()
    memory.note(advice(3.0, 3.5), None)
    assert memory.pending() == {"P": (3.5, 3.0)}
    memory.note(advice(3.0, math.nan, action=Action.HOLD), None)  # the signal stands still: followed, or not?
    assert memory.pending() == {"P": (3.5, 3.0)}
    memory.note(advice(3.5, math.nan, action=Action.HOLD), None)
    assert memory.pending() == {}
    memory.note(advice(3.5, 3.2), None)
    memory.note(advice(4.0, math.nan, action=Action.HOLD), None)
    assert memory.pending() == {}


def test_advice_that_nobody_follows_is_forgotten_after_a_while() -> None:
    memory = Memory()
    memory.note(advice(3.0, 3.5), None)
    for _ in range(10):
        memory.note(advice(3.0, math.nan, action=Action.HOLD), None)
    assert memory.pending() == {"P": (3.5, 3.0)}
    memory.note(advice(3.0, math.nan, action=Action.HOLD), None)
    assert memory.pending() == {}


SHADOW = Ceiling(mode=Mode.SIMULATE, why="no surprise limit")


@pytest.mark.parametrize(
    ("asked", "ceilings", "granted"),
    [
        (Mode.ADVISE, (), (Mode.ADVISE, "")),
        (Mode.ADVISE, (SHADOW,), (Mode.SIMULATE, "no surprise limit")),
        (Mode.ADVISE, (SHADOW, Ceiling(mode=Mode.OFF, why="damaged")), (Mode.OFF, "damaged")),
        (Mode.OFF, (SHADOW,), (Mode.OFF, "")),
        (Mode.SIMULATE, (SHADOW,), (Mode.SIMULATE, "")),
    ],
)
def test_the_actual_mode_is_never_above_what_health_allows(
    asked: Mode, ceilings: tuple[Ceiling, ...], granted: tuple[Mode, str]
) -> None:
    assert actual_mode(asked, ceilings) == granted


def test_the_order_of_modes_is_that_of_how_far_they_go() -> None:
    both = (replace(SHADOW, mode=Mode.OFF), SHADOW)
    assert actual_mode(Mode.ADVISE, both)[0] is Mode.OFF
