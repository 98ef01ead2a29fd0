"""Tags of noise reach the encoder and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from experiments import distractors
from experiments.distractors import KINDS, rows_with, study


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distractors, "ROWS", 700)
    monkeypatch.setattr(distractors, "TEST", 200)


def test_noise_stands_behind_the_plants_own_tags() -> None:
    plain, own = rows_with(0)
    rows, columns = rows_with(30)
    np.testing.assert_array_equal(rows[:, : own.count], plain)
    assert (columns.mv, columns.cv, columns.dv) == (own.mv, own.cv, own.dv)
    assert columns.count == own.count + 30
    following = np.corrcoef(rows[:-1, own.count], rows[1:, own.count])[0, 1]
    assert abs(following) < 0.12  # nothing of a row says what the next one will be


def test_every_kind_is_judged_beside_every_number_of_tags() -> None:
    table = study(True).results["errors"]
    assert [(one["distractors"], one["kind"]) for one in table] == [(n, kind) for n in (0, 20) for kind in KINDS]
    assert all(0 < error < 5 for one in table for error in one["error"].values())
