"""`procmodel demo --json`, much reduced: everything that is promised is in it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from procmodel.commands import demo as demo_module
from procmodel.simulation import Record, reference_plant

Command = Callable[..., CompletedProcess[str]]
NAME = "evaporator"


@pytest.fixture(scope="module")
def results(command: Command, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of a short record, a short training and a single short trial: the figures mean nothing, their presence does."""
    whole_record, whole_trials = demo_module.record, demo_module.run_trials

    def short_record(*args: Any, **kwargs: Any) -> Record:
        made = whole_record(*args, **{**kwargs, "rows": 5000})
        text = made.plant_file.read_text(encoding="utf-8")
        assert "\ntraining:" not in text
        made.plant_file.write_text(text + "\ntraining: {epochs: 1, batches: 30}\n", encoding="utf-8")
        return made

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(demo_module, "record", short_record)
        patched.setattr(demo_module, "run_trials", lambda *a, **k: whole_trials(*a, **{**k, "rows": 6}))
        patched.setattr(demo_module, "TRIAL_SEEDS", (101,))
        out = tmp_path_factory.mktemp("demo")
        done = command("demo", "--plant", NAME, "--quick", "--json", "--out", out)
    assert done.returncode == 0, done.stderr

    def no_constant(word: str) -> Any:
        raise AssertionError(f"{word} is no JSON")

    found: dict[str, Any] = json.loads(done.stdout, parse_constant=no_constant)
    return found


@pytest.mark.slow
def test_every_cv_is_forecast_by_model_persistence_and_arx(results: dict[str, Any]) -> None:
    plant = reference_plant(NAME).plant
    assert results["plant"] == plant.name
    assert set(results["open_loop"]) == set(plant.cvs)
    for cv, entry in results["open_loop"].items():
        assert entry["unit"] == plant.tags[cv].unit
        for who in ("model", "persistence", "arx"):
            assert set(entry[who]) == {"1", "30", "120"}
            for after in entry[who].values():
                engineering = [value for key, value in after.items() if key != "over_std"]
                assert engineering
                assert all(value > 0 and math.isfinite(value) for value in (*engineering, after["over_std"]))


@pytest.mark.slow
def test_every_gain_is_set_beside_the_truth(results: dict[str, Any]) -> None:
    plant, gains = reference_plant(NAME).plant, results["gains"]
    assert gains["pairs"] == len(plant.mvs) * len(plant.cvs)
    assert 0 <= gains["right"] <= gains["pairs"]
    found = {(pair["mv"], pair["cv"]): pair for pair in gains["table"]}
    assert set(found) == {(mv, cv) for mv in plant.mvs for cv in plant.cvs}
    for pair in found.values():
        for who in ("model", "truth"):
            sign, value = pair[who]["sign"], pair[who]["value"]
            assert sign in ("0", "+" if value > 0 else "-")
    assert any(pair["truth"]["sign"] == "-" for pair in found.values())


@pytest.mark.slow
def test_advice_operator_and_oracle_are_judged_over_the_same_seeds(results: dict[str, Any]) -> None:
    loop = results["closed_loop"]
    assert loop["trial"]["seeds"] == results["seeds"]["trials"] == [101]
    for who in ("advice", "operator", "oracle"):
        assert math.isfinite(loop[who]["cost"])
        assert {"1"} <= set(loop[who]["violation"])
        assert 0 <= loop[who]["holds"] <= loop[who]["decisions"]


@pytest.mark.slow
def test_the_advice_is_a_hold_with_a_reason_or_a_move_within_limits(results: dict[str, Any]) -> None:
    plant, advice = reference_plant(NAME).plant, results["advice"]
    assert advice["action"] in ("move", "hold")
    assert len(advice["reason"]) > 10
    assert {move["tag"] for move in advice["moves"]} == set(plant.mvs)
    for move in advice["moves"] if advice["action"] == "move" else ():
        assert move["low"] <= move["recommended"] <= move["high"]
        assert -move["down"] - 1e-9 <= move["delta"] <= move["up"] + 1e-9


@pytest.mark.slow
def test_every_stage_is_timed_and_the_report_holds_every_figure(results: dict[str, Any]) -> None:
    assert set(results["seconds"]) == {"record", "ingest", "train", "evaluate", "closed_loop", "advice"}
    assert all(seconds > 0 for seconds in results["seconds"].values())
    assert results["claims"] == []  # a quick demo claims nothing
    html = Path(results["report"]).read_text(encoding="utf-8")
    assert html.count("<svg") >= 8
    for link in ('src="http', "src='http", '<link rel="stylesheet" href="http'):
        assert link not in html
