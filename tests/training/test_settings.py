"""Every default filled in, as rows of the grid; an explicit wish wins over what the audit says."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from training_plants import tiny_plant

from procmodel.training.settings import horizon_rows, settings, window_rows


@dataclass(frozen=True)
class Audited:
    mv: str
    moves_answer_cvs: bool


FREE = [Audited("M1", False), Audited("M2", False)]
ONE_ANSWERS = [Audited("M1", False), Audited("M2", True)]


def test_free_moves_are_run_over_for_thirty_rows() -> None:
    found = settings(tiny_plant(), FREE)
    assert found.rollout == 30
    assert not found.feedback
    assert found.weights.anchor == found.weights.shrink == 0


def test_one_mv_that_answers_is_enough_for_single_steps_beside_the_linear_state() -> None:
    found = settings(tiny_plant(), ONE_ANSWERS)
    assert found.rollout == 1
    assert found.feedback
    assert found.weights.anchor > 0
    assert found.weights.shrink > 0


@pytest.mark.parametrize("audit", [FREE, ONE_ANSWERS])
@pytest.mark.parametrize(("wish", "rows"), [("50 s", 10), ("5 s", 1), ("2 min", 24)])
def test_an_explicit_wish_for_the_free_run_wins(audit: list[Audited], wish: str, rows: int) -> None:
    found = settings(tiny_plant(rollout=wish), audit)
    assert found.rollout == rows
    guarded = audit is ONE_ANSWERS and rows == 1  # over longer runs the engineer takes the gains into his own hands
    assert (found.weights.anchor > 0) == guarded


def test_durations_become_rows_and_absent_ones_their_defaults() -> None:
    found = settings(tiny_plant(), FREE, seed=3)
    assert (found.rows, found.horizon, found.seed) == (8, 10, 3)
    plain = tiny_plant(window=None, advice={})
    assert (window_rows(plain), horizon_rows(plain)) == (31, 60)
    short = tiny_plant(window="20 s", advice={"horizon": "10 s"})
    assert (window_rows(short), horizon_rows(short)) == (4, 2)


def test_the_plants_weight_of_sigreg_is_scaled_and_zero_stays_zero() -> None:
    assert settings(tiny_plant(sigreg=0.2), FREE).weights.sigreg == pytest.approx(0.02)
    assert settings(tiny_plant(sigreg=0, target="stop_gradient"), FREE).weights.sigreg == 0


@pytest.mark.parametrize("audit", [FREE, ONE_ANSWERS])
def test_a_stated_shrink_wins_over_what_the_audit_says(audit: list[Audited]) -> None:
    assert settings(tiny_plant(shrink=0.3), audit).weights.shrink == 0.3
    assert settings(tiny_plant(shrink=0), audit).weights.shrink == 0


def test_settings_are_plain_json() -> None:
    found = settings(tiny_plant(), FREE).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert found["weights"]["read_out"] == 10.0


def test_declared_signs_are_told_by_pair_and_none_where_none_is_declared() -> None:
    plant = tiny_plant()
    found = settings(plant, FREE)
    for (mv, cv), gain in plant.gains.items():
        assert found.signs[plant.mvs.index(mv)][plant.cvs.index(cv)] == {"+": 1.0, "-": -1.0, None: 0.0}[gain.sign]
    bare = settings(plant.model_copy(update={"gains": {}}), FREE)
    assert not any(any(row) for row in bare.signs)


def test_the_plants_objective_is_the_trainings() -> None:
    wish = {"anti_collapse": "vicreg", "target": "ema", "compare": "contrast", "inverse": 0.2, "straight": 0.3}
    found = settings(tiny_plant(**wish, encoder="masked", read_out="frozen", epochs=3), FREE)
    weights = found.weights
    assert (weights.term, weights.target, weights.compare) == ("vicreg", "ema", "contrast")
    assert (weights.inverse, weights.straight) == (0.2, 0.3)
    assert (found.encoder, found.read_out) == ("masked", "frozen")
    assert found.length == found.rows + found.rollout + 1  # a bend takes a third window
    assert settings(tiny_plant(), FREE).length == found.rows + found.rollout
