"""Gates: each fails on its own, says why, and what cannot be told blocks nothing."""

from __future__ import annotations

from typing import Any

import pytest

from procmodel.evaluation.comparison import compare, key_figures
from procmodel.evaluation.gates import gates_of, verdict


def evaluation(
    error: float = 0.2, *, benefit: tuple[float, float] | None = (2.0, 6.0), holds: int = 0
) -> dict[str, Any]:
    low, high = benefit or (0.0, 0.0)
    return {
        "gains": {"gate": {"passed": True, "checked": 2, "reasons": []}},
        "health": {"rows": 1000, "surprised_share": 0.001},
        "open_loop": {"Y": {"model": {"1": {"over_std": 0.1}, "30": {"over_std": error}}}},
        "backtest": {
            "cost_recorded": 100.0, "cost_unit": "CHF/h", "held_while_followed": holds / 100,
            "agreement": {"share": 0.5},
            "benefit": {"mean": 0.5 * (low + high), "low": low, "high": high} if benefit else None,
        },
        "provenance": {"data": "d", "model": f"m{error}"},
    }  # fmt: skip


def failed(mine: dict[str, Any], champion: dict[str, Any] | None = None) -> set[str]:
    return {gate.name for gate in gates_of(mine, champion) if gate.passed is False}


def test_a_sound_first_model_passes_and_what_is_not_known_is_said() -> None:
    gates = gates_of(evaluation(), None)
    assert not [gate for gate in gates if gate.passed is False]
    assert verdict(gates) == "champion: every gate passed that can be told (not known: open loop)"


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("gain signs", {"gains": {"gate": {"passed": False, "checked": 1, "reasons": ["M -> Y: wrong"]}}}),
        ("surprise", {"health": {"rows": 1000, "surprised_share": 0.05}}),
        ("closed loop", {"backtest": evaluation(benefit=(-9.0, -1.0))["backtest"]}),
        ("holds", {"backtest": evaluation(holds=20)["backtest"]}),
    ],
)
def test_each_gate_fails_on_its_own_and_its_reason_is_told(name: str, changed: dict[str, Any]) -> None:
    mine = {**evaluation(), **changed}
    assert failed(mine) == {name}
    assert verdict(gates_of(mine, None)).startswith(f"not champion: {name}: ")


def test_against_a_champion_forecasts_and_worth_may_not_be_worse() -> None:
    champion = evaluation(0.2, benefit=(4.0, 6.0))
    assert failed(evaluation(0.2, benefit=(4.0, 6.0)), champion) == set()
    assert failed(evaluation(0.3, benefit=(4.0, 6.0)), champion) == {"open loop"}
    assert failed(evaluation(0.2, benefit=(1.0, 3.0)), champion) == {"closed loop"}
    assert failed(evaluation(0.2, benefit=None), champion) == set()


def test_a_forecast_judged_on_other_data_says_so() -> None:
    champion = {**evaluation(0.1), "provenance": {"data": "other"}}
    (reason,) = [gate.reason for gate in gates_of(evaluation(0.3), champion) if gate.name == "open loop"]
    assert reason.endswith("on other data")


def test_two_evaluations_stand_side_by_side_with_the_better_one_named() -> None:
    found = compare(evaluation(0.2), evaluation(0.3, holds=5), name="abc")
    rows = {row["figure"]: row for row in found["table"]}
    assert rows["forecast error of Y after 30 rows"]["better"] == "this"
    assert rows["ticks held while followed"] == {
        "figure": "ticks held while followed",
        "unit": "%",
        "this": 0.0,
        "other": 5.0,
        "better": "this",
    }
    assert rows["benefit on the record"]["better"] is None
    assert found["differs"] == ["model"]


def test_a_figure_that_only_one_has_stands_alone() -> None:
    bare = {"open_loop": {}}
    assert key_figures(bare) == {}
    assert all(row["other"] is None and row["better"] is None for row in compare(evaluation(), bare, name="b")["table"])
