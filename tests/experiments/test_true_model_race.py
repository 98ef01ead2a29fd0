"""What the race keeps of an episode, and that it goes on from there."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from experiments import true_model_race as race
from procmodel.errors import ProcmodelError
from procmodel.evaluation.controllers import HoldControl
from procmodel.evaluation.trial import ClosedLoop
from procmodel.simulation import reference_plant

ROWS, WARMUP = 12, 20


def trials(folder: Path, seeds: tuple[int, ...], until: float = float("inf")) -> ClosedLoop:
    return race._trials(reference_plant("quadruple-tank"), [HoldControl()], seeds, ROWS, WARMUP, folder, until)


def test_an_episode_that_is_kept_is_read_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[ClosedLoop] = []
    run = race.run_trials

    def watched(*args: object, **options: object) -> ClosedLoop:
        seen.append(run(*args, **options))  # type: ignore[arg-type]
        return seen[-1]

    monkeypatch.setattr(race, "run_trials", watched)
    trials(tmp_path, (7,))
    again = trials(tmp_path, (7,))
    assert len(seen) == 1
    (true,), (read,) = seen[0].trials["hold"], again.trials["hold"]
    for field in dataclasses.fields(true):
        if field.name not in ("figures", "holds", "controller", "seed"):
            np.testing.assert_array_equal(getattr(read, field.name), getattr(true, field.name))
    assert (read.controller, read.seed, read.holds) == (true.controller, true.seed, true.holds)
    assert again.to_dict() == seen[0].to_dict()


def test_when_the_time_is_over_what_is_done_stays(tmp_path: Path) -> None:
    trials(tmp_path, (7,))
    with pytest.raises(ProcmodelError, match="1 of 2 episodes are over"):
        trials(tmp_path, (7, 8), until=0.0)
    assert [file.name for file in tmp_path.iterdir()] == ["7.json"]
