"""What the study of objectives says of figures that are given to it, and that it goes on where it was stopped."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from experiments import objectives
from experiments.objective_models import BASELINES, DEFAULT, MAKERS, OBJECTIVES
from experiments.objectives import NO_LINEAR_STATE, QUICK, Grounds, Study, outcome, study_of


def run(plant: str, name: str, seed: int, error: float | None, *, collapsed: bool | None = None) -> dict[str, Any]:
    latent = {} if collapsed is None else {"effective_rank": 3.0, "of": 16, "collapsed": collapsed}
    by_step = {"1": 0.1, "30": 0.2, "120": error}
    return {"plant": plant, "name": name, "seed": seed, "moved": by_step, "recorded": by_step, **latent}


def test_the_claim_is_the_median_over_plants_of_the_default_over_each_plants_best_baseline() -> None:
    done = [
        *(run(plant, DEFAULT, seed, 0.2 + 0.1 * seed, collapsed=seed == 1) for plant in "abc" for seed in (0, 1)),
        *(run(plant, "staircase", 0, 0.01, collapsed=False) for plant in "abc"),  # an objective is no baseline
        *(run("a", name, 0, error) for name, error in (("raw", 0.5), ("arx", 0.9), ("n4sid", None))),
        *(run("b", name, 0, error) for name, error in (("raw", 0.5), ("arx", 0.25))),
        *(run("c", name, 0, error) for name, error in (("raw", 0.2), ("arx", 0.3))),
    ]
    found = outcome(done, dataclasses.replace(Study(), plants=("a", "b", "c")))
    ratios = found.results["default_over_best_baseline_120"]
    assert {plant: each["best"] for plant, each in ratios.items()} == {"a": "raw", "b": "arx", "c": "raw"}
    assert [each["ratio"] for each in ratios.values()] == pytest.approx([0.5, 1.0, 1.25])
    assert found.values["default_over_best_baseline_120"] == pytest.approx(1.0)
    assert found.results["not_within_bound_on"] == ["b", "c"]
    alone = found.results["default_over_best_without_linear_state_120"]
    assert alone["c"] == {"ratio": pytest.approx(0.25 / 0.3), "best": "arx"}
    assert len(found.results["table"]) == 3 * 2 + 3 + 2 + 2
    (row,) = [each for each in found.results["table"] if (each["plant"], each["name"]) == ("a", DEFAULT)]
    assert (row["collapsed"], row["seeds"], row["moved_std_120"]) == (1, 2, pytest.approx(0.05))
    assert len(found.lines) == 1 + len(found.results["table"]) + 3


def test_a_default_that_runs_to_infinity_is_never_within_the_bound() -> None:
    done = [run("a", DEFAULT, 0, None, collapsed=False), run("a", "arx", 0, 0.3)]
    found = outcome(done, dataclasses.replace(Study(), plants=("a",)))
    assert found.values["default_over_best_baseline_120"] == float("inf")
    assert found.results["not_within_bound_on"] == ["a"]


def test_every_baseline_without_a_linear_state_is_a_baseline() -> None:
    assert set(NO_LINEAR_STATE) < set(BASELINES)
    assert not set(OBJECTIVES) & set(BASELINES)


def test_a_run_that_is_cut_is_short_everywhere_and_tells_of_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, str, str]] = []

    def of(name: str, plant: str, seed: int, grounds: Grounds) -> dict[str, Any]:
        if len(asked) == 7:
            raise KeyboardInterrupt
        asked.append((seed, name, plant))
        return run(plant, name, seed, 0.3, collapsed=False)

    monkeypatch.setattr(objectives, "one_training", of)
    found = study_of(Study(plants=("a", "b"), names=(DEFAULT, "arx", "raw")))
    assert asked == [(seed, name, plant) for seed in (0, 1) for name in (DEFAULT, "arx", "raw") for plant in "ab"][:7]
    assert found.results["trainings"] == 7


@pytest.mark.parametrize("option", ["--plants", "--only"])
def test_a_name_that_there_is_not_is_refused_with_those_there_are(option: str) -> None:
    with pytest.raises(SystemExit, match=rf"{option} got nonsense; there are .*(arx|evaporator)"):
        objectives.main([option, "nonsense", "--quick"])


def test_finished_trainings_are_taken_up_and_every_kind_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (DEFAULT, "generative", "raw-alone", "gru", "arx", "n4sid", "persistence")
    study = dataclasses.replace(QUICK, names=names, rows=2500, batches=1, starts=2, home=tmp_path)
    found = study_of(study)
    errors = {each["name"]: each["moved"]["120"] for each in found.results["table"]}
    assert set(errors) == set(names)
    assert errors["arx"] < errors["persistence"]
    monkeypatch.setattr(objectives, "ground", None)  # would fail if it were asked for
    again = study_of(study)
    assert again.results["runs"] == found.results["runs"]
    assert set(names) < set(MAKERS)
