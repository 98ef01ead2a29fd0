"""Claims and the report's figures of the record."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from procmodel.data.dataset import Dataset, Stretch
from procmodel.evaluation.claims import BOUNDS, Claim, claims_of, demo_values
from procmodel.evaluation.plain import plain
from procmodel.evaluation.record_facts import record_facts
from procmodel.plant import Plant


@given(value=st.floats(allow_nan=False), bound=st.floats(allow_nan=False))
def test_a_claim_is_met_as_its_sense_says(value: float, bound: float) -> None:
    met = {s: Claim(claim="c", value=value, sense=s, bound=bound).met for s in ("<=", "<", ">=", ">")}  # type: ignore[arg-type]
    assert met["<="] is not met[">"]
    assert met[">="] is not met["<"]
    assert (met["<="] and met[">="]) is (value == bound)


@pytest.mark.parametrize("value", [None, math.nan])
@pytest.mark.parametrize("sense", ["<=", "<", ">=", ">"])
def test_what_was_not_found_is_never_met(value: float | None, sense: str) -> None:
    claim = Claim(claim="c", value=value, sense=sense, bound=0.0)  # type: ignore[arg-type]
    assert json.loads(json.dumps(claim.to_dict(), allow_nan=False)) == {
        "claim": "c", "value": None, "sense": sense, "bound": 0.0, "met": False,
    }  # fmt: skip


def test_every_claim_of_an_experiment_is_listed_and_no_other() -> None:
    claims = claims_of("demo:quadruple-tank", {"cost_over_oracle": 1.04, "something_else": 3.0})
    assert [(c.claim, c.met) for c in claims] == [("cost_over_oracle", True)]
    assert [c.value for c in claims_of("evaluate:micro_gas_turbine", {"rmse_ex_4": 100.0})] == [100.0, None]
    assert claims_of("something new", {"a": 1.0}) == []


def test_the_demos_values_come_from_its_gains_and_its_trials() -> None:
    def loop(cost: float, share: float) -> dict[str, object]:
        return {"cost": cost, "violation": {"1": {"share": share}}}

    values = demo_values(
        {"right": 7, "pairs": 8},
        {"advice": loop(105, 0.03), "operator": loop(120, 0.2), "oracle": loop(100, 0.01), "trial": {"rows": 3}},
    )
    assert values["gains_right_share"] == 7 / 8
    assert values["cost_over_oracle"] == 1.05
    assert values["cost_over_operator"] == 105 / 120
    assert values["rank_1_violation_above_oracle"] == pytest.approx(0.02)
    assert set(values) == set(BOUNDS["demo:evaporator"])


def test_a_ratio_to_a_cost_that_is_no_cost_is_not_known() -> None:
    profit = {"advice": {"cost": -5.0}, "oracle": {"cost": -6.0}}
    assert demo_values({}, profit)["cost_over_oracle"] is None


def test_numbers_that_json_does_not_know_are_null() -> None:
    assert [plain(v) for v in (math.nan, math.inf, -math.inf, 1.5)] == [None, None, None, 1.5]


def test_the_record_is_told_with_its_gaps(small_plant: Plant) -> None:
    values = np.tile([1.0, 2.0, 3.0, 4.0, 5.0], (20, 1))
    values[5:8, 2] = np.nan
    values[:, 4] = np.nan
    good = np.isfinite(values).astype(np.float32)
    dataset = Dataset(
        columns=tuple(small_plant.columns), values=values, good_fraction=good, start=datetime(2026, 1, 1, tzinfo=UTC),
        step=10.0, stretches=(Stretch(name="a", start=0, stop=6), Stretch(name="b", start=6, stop=20)),
    )  # fmt: skip
    facts = json.loads(json.dumps(record_facts(dataset, small_plant), allow_nan=False))
    assert facts["first"] == "2026-01-01T00:00:00Z"
    level = facts["tags"]["LI1.PV"]
    assert (level["gaps"], level["longest_gap_s"]) == (2, 20.0)  # the border of the stretches parts the gap
    assert level["good_percent"] == pytest.approx(85.0)
    assert facts["tags"]["FI9.PV"]["least"] is None
