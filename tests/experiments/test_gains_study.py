"""The claims of the study of gains, from runs that are made up."""

from __future__ import annotations

from typing import Any

import pytest

from experiments import gains
from experiments.gains import DECLARED, OURS, Study, study_of, summary


def run(plant: str, *, right: int, declared: int, error: float, ratio: float) -> dict[str, Any]:
    return {
        "plant": plant,
        "models": {OURS: {"right": right, "pairs": 4, "gain_error": error}, DECLARED: {"right": declared, "pairs": 4}},
        "error_over_best_linear_120": ratio,
    }


def test_signs_count_by_pair_and_errors_by_plant() -> None:
    runs = [
        run("a", right=4, declared=4, error=0.10, ratio=0.5),
        run("a", right=2, declared=4, error=0.30, ratio=0.7),
        run("b", right=4, declared=3, error=0.04, ratio=0.9),
        run("c", right=4, declared=4, error=0.06, ratio=2.0),
    ]
    found = summary(runs)
    assert found["sign_share_undeclared"] == pytest.approx(14 / 16)
    assert found["sign_share_declared"] == pytest.approx(15 / 16)
    assert found["mean_gain_error_undeclared"] == pytest.approx((0.20 + 0.04 + 0.06) / 3)
    assert found["interventional_error_over_best_linear_120"] == pytest.approx(0.9)  # of 0.6, 0.9 and 2.0


def test_a_plant_run_anew_takes_its_place_among_the_stored_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [
        {**run(name, right=4, declared=4, error=0.1, ratio=0.5), "seed": 0} for name in ("evaporator", "gas-turbine")
    ]
    anew = {**run("drum-boiler", right=3, declared=4, error=0.4, ratio=0.8), "seed": 0}
    monkeypatch.setattr(gains, "one_plant", lambda name, seed, study: anew)
    monkeypatch.setattr(gains, "lines", lambda runs: [])
    found = study_of(Study(plants=("drum-boiler",)), kept)
    assert [each["plant"] for each in found.results["runs"]] == ["evaporator", "drum-boiler", "gas-turbine"]
    assert found.values["sign_share_undeclared"] == pytest.approx(11 / 12)
    assert found.results["study"]["plants"] == ["evaporator", "drum-boiler", "gas-turbine"]
