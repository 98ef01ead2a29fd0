"""The referee of `faulted_ticks`: what it calls unsafe, how it counts recovery, and that every kind gets its turn."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.faulted_ticks import HEALTHY, recoveries, schedule, unsafe
from experiments.faults import KINDS, UnreliableModel
from procmodel.advice import Action, Advice, Move
from procmodel.control.cell import Tape
from procmodel.simulation import reference_plant

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def advice(*values: float) -> Advice:
    moves = tuple(
        Move(tag=tag, unit="V", current=3.0, recommended=value, delta=value - 3.0, low=0, high=6, up=0.5, down=0.5)
        for tag, value in zip(("P101.SP", "P102.SP"), values, strict=True)
    )
    return Advice(action=Action.MOVE, reason="r", at=NOW, expires=NOW, plant="quadruple-tank", moves=moves)


@pytest.mark.parametrize(
    ("values", "held", "found"),
    [
        ((3.5, 2.5), (3.0, 3.0), ""),
        ((3.6, 3.0), (3.0, 3.0), "P101.SP from 3 to 3.6"),
        ((3.0, 3.0), (3.0, 3.7), "P102.SP from 3.7 to 3"),  # from where it truly stands, whatever was measured
        ((6.1, 3.0), (6.0, 3.0), "P101.SP to 6.1, limits 0 to 6"),
        ((3.0, -0.2), (3.0, 0.1), "P102.SP to -0.2"),
    ],
)
def test_a_move_is_judged_from_where_the_pump_truly_stands(
    values: tuple[float, float], held: tuple[float, float], found: str
) -> None:
    plant = reference_plant("quadruple-tank").plant
    said = unsafe(plant, advice(*values), np.array(held))
    assert said.startswith(found) if found else said == ""


def test_every_kind_of_fault_gets_its_turn_between_healthy_ticks() -> None:
    whole = sum(HEALTHY + kind.ticks + kind.after for kind in KINDS)
    count = Counter((kind.name, phase) for kind, phase, _ in schedule(whole))
    assert all(count[kind.name, "fault"] == kind.ticks for kind in KINDS)
    assert all(count[kind.name, "healthy"] == HEALTHY for kind in KINDS)
    assert len(KINDS) >= 12
    for kind in KINDS:
        for pattern in kind.reasons:
            re.compile(pattern)


def test_recovery_is_counted_from_the_end_of_the_fault_to_the_first_move() -> None:
    def phase(name: str, moves: list[bool]) -> list[dict[str, object]]:
        return [{"kind": "k", "phase": name, "move": move} for move in moves]

    records = [*phase("healthy", [True]), *phase("fault", [False, False]), *phase("after", [False, False, True, True]),
               *phase("healthy", [True]), *phase("fault", [True]), *phase("after", [True])]  # fmt: skip
    assert recoveries(records) == {"k": [2, 0]}


class Rolls:
    """In an optimizer's place: a forecaster whose cell answers with ones."""

    def __init__(self) -> None:
        self._model = None
        self.forecaster = SimpleNamespace(model=None, _cell=SimpleNamespace(roll=self.roll))

    @staticmethod
    def roll(*given: np.ndarray) -> Tape:
        return Tape(latents_KND=np.ones((1, 2, 3)), layers=())


def test_a_model_that_is_broken_answers_with_no_numbers_where_plans_are_rolled_out() -> None:
    optimizer, model = Rolls(), UnreliableModel(SimpleNamespace())
    model.take_over(optimizer)  # type: ignore[arg-type]
    roll, empty = optimizer.forecaster._cell.roll, np.empty(0)
    assert (roll(empty, empty, empty).latents_KND == 1.0).all()
    model.broken = 1.0
    assert np.isnan(roll(empty, empty, empty).latents_KND).all()
