"""What the study of objectives says of figures that are given to it, and that it goes on where it was stopped."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments import objectives
from experiments.objective_models import BASELINES, DEFAULT, MAKERS, OBJECTIVES
from experiments.objectives import CLAIM, PARTS, QUICK, Grounds, Study, ground, outcome, study_of
from procmodel.evaluation.baselines import ModelForecast
from procmodel.world_model.latent_model import LatentModel
from procmodel.world_model.products import Products


def run(plant: str, name: str, seed: int, error: float | None, *, collapsed: bool | None = None) -> dict[str, Any]:
    latent = {} if collapsed is None else {"effective_rank": 3.0, "of": 16, "collapsed": collapsed}
    by_step = {"1": 0.1, "30": 0.2, "120": error}
    facts = {"plant": plant, "name": name, "seed": seed, "cpu_seconds": 2.0}
    return {**facts, "moved": by_step, "recorded": by_step, **latent}


def runs(plant: str, seed: int, *, default: float | None, raw: float = 0.01, **known: float | None) -> list[Any]:
    """All rows of one plant from one seed; a baseline that is not named errs by 9, and `raw` is none."""
    return [
        run(plant, DEFAULT, seed, default, collapsed=seed == 1),
        *(run(plant, name, seed, raw, collapsed=False) for name in OBJECTIVES if name != DEFAULT),
        *(run(plant, name, seed, known.get(name, 9.0)) for name in BASELINES),
    ]


ABC = dataclasses.replace(Study(), plants=("a", "b", "c"), seeds=(0, 1))


def test_the_claim_is_the_median_over_plants_of_the_default_over_each_plants_best_baseline() -> None:
    done = [
        each
        for seed in (0, 1)
        for each in (
            *runs("a", seed, default=0.2 + 0.1 * seed, gru=0.5, arx=0.9, n4sid=None),
            *runs("b", seed, default=0.25, gru=0.5, arx=0.25),
            *runs("c", seed, default=0.25, raw=0.25, gru=0.2, arx=0.3),
        )
    ]
    found = outcome(done, ABC)
    ratios = found.results[CLAIM]
    assert {plant: each["best"] for plant, each in ratios.items()} == {"a": "gru", "b": "arx", "c": "gru"}
    assert [each["ratio"] for each in ratios.values()] == pytest.approx([0.5, 1.0, 1.25])
    assert found.values[CLAIM] == pytest.approx(1.0)
    assert found.results["not_within_bound_on"] == ["b", "c"]
    parts = found.results["default_over_best_of_its_parts_120"]
    assert parts["c"] == {"ratio": pytest.approx(1.0), "best": "raw", "seeds": 2}
    (row,) = [each for each in found.results["table"] if (each["plant"], each["name"]) == ("a", DEFAULT)]
    assert (row["collapsed"], row["seeds"], row["moved_std_120"]) == (1, 2, pytest.approx(0.05))
    assert len(found.lines) == 1 + 3 * len(MAKERS) + 3
    assert found.results["cpu_seconds"] == 2 * len(done)


def test_a_default_that_runs_to_infinity_is_never_within_the_bound() -> None:
    found = outcome(runs("a", 0, default=None, arx=0.3), dataclasses.replace(ABC, plants=("a",)))
    assert found.values[CLAIM] is None
    assert found.results["not_within_bound_on"] == ["a"]


def test_only_seeds_of_which_every_row_is_done_are_compared_and_some_rows_claim_nothing() -> None:
    one = dataclasses.replace(ABC, plants=("a",))
    whole, begun = runs("a", 0, default=0.2, arx=0.4), runs("a", 1, default=7.0)[:3]
    assert outcome([*whole, *begun], one).values[CLAIM] == pytest.approx(0.5)
    assert outcome(begun, one).values[CLAIM] is None
    some = outcome(whole, dataclasses.replace(one, names=(DEFAULT, "arx")))
    assert some.values[CLAIM] is None
    assert some.results[CLAIM]["a"]["ratio"] == pytest.approx(0.5)


def test_what_has_the_state_or_the_scales_of_the_default_is_no_baseline() -> None:
    assert set(PARTS) < set(OBJECTIVES)
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
def test_a_name_that_there_is_not_is_refused_with_those_there_are(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert objectives.main([option, "nonsense", "--quick"]) == 2
    assert re.search(rf"^objectives: {option} got nonsense; there are .*(arx|evaporator)", capsys.readouterr().err)


def test_finished_trainings_are_taken_up_and_every_kind_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (DEFAULT, "generative", "generative-alone", "gru", "arx", "n4sid", "persistence")
    study = dataclasses.replace(QUICK, names=names, rows=2500, batches=1, starts=2, home=tmp_path)
    found = study_of(study)
    errors = {each["name"]: each["moved"]["120"] for each in found.results["table"]}
    assert set(errors) == set(names)
    assert errors["arx"] < errors["persistence"]
    monkeypatch.setattr(objectives, "ground", None)  # would fail if it were asked for
    again = study_of(study)
    assert again.results["runs"] == found.results["runs"]
    assert set(names) < set(MAKERS)


@pytest.mark.parametrize("name", ["raw-alone", "generative-alone"])
def test_a_network_alone_has_nothing_of_the_linear_state_products_included(name: str, tmp_path: Path) -> None:
    task = ground("evaporator", 0, dataclasses.replace(QUICK, rows=2500, batches=1, starts=2, home=tmp_path)).task
    inputs, states = len(task.columns.mv) + len(task.columns.dv), len(task.prepared.linear.A)
    many = states + inputs
    found = Products(
        centre=np.zeros(many), rate=np.ones(many), quadratic=np.zeros((states, many, many)),
        slope=np.ones((states, many)), rest=np.zeros(states), gain=0.1, leading=2, ridge=1.0,
    )  # fmt: skip
    curved = dataclasses.replace(task, prepared=dataclasses.replace(task.prepared, products=found))
    alone = MAKERS[name](curved, 0).forecaster
    assert isinstance(alone, ModelForecast)
    assert isinstance(alone.model, LatentModel)
    assert alone.model.config.state == 0
