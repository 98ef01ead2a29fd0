"""Backtest: what a judging model makes of other moves is what the plant would have done, and words never claim more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from evaluation_fakes import FirstOrderWorld

from procmodel.control.optimizer import Optimizer
from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.split import Parts
from procmodel.data.window import Columns, Scaler
from procmodel.evaluation.backtest import Backtest, backtest, tolerances
from procmodel.evaluation.backtest_words import CAVEAT, backtest_headline
from procmodel.evaluation.evaluators import Evaluator, evaluators
from procmodel.evaluation.figures.backtest import backtest_figure
from procmodel.evaluation.matching import Moments, matched_costs
from procmodel.evaluation.replay import advise_over, episode_at, episode_starts
from procmodel.evaluation.report import Verdict
from procmodel.plant import Plant

GAIN, KEEP, NOISE = 2.0, 0.9, 0.05
PLANT = Plant.model_validate(
    {
        "name": "lag",
        "sample_time": "10 s",
        "tags": {
            "M": {"role": "MV", "unit": "%", "limits": [-9, 9], "max_move": 1.0, "price": "1 CHF/%"},
            "Y": {"role": "CV", "unit": "degC", "setpoint": 0.0, "range": [-10, 10], "limits": {"high": {"at": 3}}},
        },
        "advice": {"horizon": "100 s", "every": "20 s", "blocks": 2},
    }
)
TRACKING = PLANT.model_copy(
    update={"tags": {**PLANT.tags, "M": PLANT.tags["M"].model_copy(update={"price": None})}}
)  # fmt: skip
COLUMNS, UNIT = Columns.of(PLANT), Scaler(centre=np.zeros(2), spread=np.ones(2))
WORLD = FirstOrderWorld(
    gain=torch.tensor([[GAIN]], dtype=torch.float64),
    keep=torch.tensor([KEEP], dtype=torch.float64),
    columns=COLUMNS,
    rows=3,
)
JUDGE = Evaluator(name="the plant itself", method="truth", model=WORLD, scaler=UNIT, error=0.0)


def run(u_T: np.ndarray, seed: int, y0: float = 0.0) -> np.ndarray:
    """The plant [T, C] under these moves, with an unmeasured disturbance drawn from the seed."""
    rng, y, out, push = np.random.default_rng(seed), y0, [], 0.0
    for u in u_T:
        push = 0.95 * push + NOISE * rng.normal()
        y = KEEP * y + (1 - KEEP) * GAIN * u + push
        out.append((u, y))
    return np.array(out)


def recorded(rows: int = 400, seed: int = 0) -> Dataset:
    """Moves that wander about, a hundredth of them each row."""
    rng = np.random.default_rng(100 + seed)
    u = np.repeat(rng.normal(size=rows // 10 + 1), 10)[:rows]
    values = run(u, seed)
    return Dataset(
        columns=("M", "Y"), values=values, good_fraction=np.ones_like(values, dtype=np.float32),
        start=datetime(2026, 3, 1, tzinfo=UTC), step=10.0, stretches=(Stretch(name="record", start=0, stop=rows),),
    )  # fmt: skip


@dataclass
class Steer:
    """Advice in proportion to the newest CV; a hold where it is above a bound."""

    plant: Plant = PLANT
    bound: float = np.inf

    def advise(self, rows_RC: np.ndarray, **_: Any) -> tuple[Any, None]:
        newest = float(rows_RC[-1, 1])
        if newest > self.bound:
            return SimpleNamespace(is_move=False, reason="too warm", setpoints={}), None
        return SimpleNamespace(is_move=True, setpoints={"M": -0.5 * newest}), None


def test_following_on_the_right_model_is_what_the_plant_would_have_done_in_the_same_weather() -> None:
    dataset, start, rows = recorded(), 100, 60
    episode = replace(episode_at(dataset, start, rows, 20, 2), judge=JUDGE)
    followed = advise_over(Steer(), episode)  # type: ignore[arg-type]
    u = dataset.values[:, 0].copy()
    for tick in range(0, rows, 2):  # the true plant, from the start, under the same policy
        u[start + tick : start + tick + 2] = -0.5 * run(u, 0)[start + tick - 1, 1]
    np.testing.assert_allclose(followed.rows, run(u, 0)[start : start + rows], atol=1e-9)


def test_advice_that_nobody_judges_leaves_the_record_as_it_was_and_a_hold_moves_nothing() -> None:
    dataset = recorded()
    episode = episode_at(dataset, 100, 20, 20, 2)
    seen = advise_over(Steer(bound=0.0), episode)  # type: ignore[arg-type]
    np.testing.assert_array_equal(seen.rows, dataset.values[100:120])
    held = np.isnan(seen.moves[:, 0])
    np.testing.assert_array_equal(held, dataset.values[99:119:2, 1] > 0.0)
    assert set(seen.holds) == set(np.flatnonzero(held))
    unmoved = advise_over(Steer(bound=-np.inf), replace(episode, judge=JUDGE))  # type: ignore[arg-type]
    np.testing.assert_allclose(unmoved.rows[:, 0], dataset.values[99, 0])


def test_an_episode_never_crosses_a_gap_or_the_end_of_a_stretch() -> None:
    dataset = recorded(200)
    dataset.values[95, 1] = np.nan
    found = episode_starts(dataset, COLUMNS, dataset.stretches, history=20, rows=30, most=99)
    assert found.tolist() == [20, 50, 96, 126, 156]
    assert len(episode_starts(dataset, COLUMNS, dataset.stretches, history=20, rows=30, most=3)) == 3


def test_a_match_is_a_moment_in_the_same_state_after_which_the_move_was_made() -> None:
    values = np.zeros((120, 2))
    values[:, 1] = np.tile([0.0, 0.0, 0.0, 5.0, 5.0, 5.0], 20)
    values[41:43, 0] = 1.0
    dataset = replace(recorded(120), values=values)
    cost_T = np.arange(120.0)
    moments = Moments.of(dataset, COLUMNS, UNIT, dataset.stretches, cost_T, interval=2, rows=3)
    moved = np.zeros((1, 1))
    found = matched_costs(moments, np.array([60]), moved, np.array([0.1]), apart=3)
    still = [row for row in moments.row if not values[row : row + 3, 0].any() and abs(row - 60) >= 3]
    alike = [row for row in still if row % 6 in (0, 1)]  # the CV stands at 0 and came from 5 two rows before
    assert found[0] == pytest.approx(np.mean([row + 2.0 for row in sorted(alike)[:8]]))
    assert np.isnan(matched_costs(moments, np.array([60]), moved + 3.0, np.array([0.1]), apart=3)[0])


def parts(dataset: Dataset) -> Parts:
    third = dataset.rows // 3
    cut = [Stretch(name="record", start=i * third, stop=(i + 1) * third) for i in range(3)]
    return Parts(train=(cut[0],), validation=(cut[1],), test=(cut[2],))


def test_judges_find_what_a_move_does_over_the_horizon_from_rows_of_their_own() -> None:
    dataset, horizon = recorded(3000), 10
    found, left_out = evaluators(dataset, PLANT, parts(dataset), UNIT, rows=6, horizon=horizon)
    assert {judge.method for judge in found} == {"state space", "N4SID"}
    assert left_out == []
    for judge in found:
        z = torch.zeros((2, judge.model.latent_size), dtype=torch.float64)
        for _ in range(horizon):  # a unit step, and none
            z = judge.model.step(z, torch.tensor([[1.0], [0.0]]).double(), torch.zeros((2, 0)).double())
        y = judge.model.read_out(z)
        assert float(y[0] - y[1]) == pytest.approx(GAIN * (1 - KEEP**horizon), rel=0.25), judge.name


def judged(plant: Plant) -> Backtest:
    dataset = recorded(400)
    optimizer = Optimizer(plant=plant, model=WORLD, scaler=UNIT)
    found = backtest(
        lambda: Steer(plant),  # type: ignore[arg-type, return-value]
        optimizer, plant, UNIT, dataset, dataset.stretches, [JUDGE, replace(JUDGE, name="again")], workers=1,
    )  # fmt: skip
    assert found is not None
    return found


def test_the_benefit_is_the_recorded_cost_less_that_of_the_truth_and_stands_in_plain_numbers() -> None:
    found = judged(TRACKING)
    told = found.to_dict()
    assert told["caveat"] == CAVEAT
    assert told["cost_unit"] == "-"
    assert told["cost_recorded"] == pytest.approx(
        np.mean([(recorded(400).values[s : s + 10, 1] ** 2).mean() / 20**2 for s in found.starts])
    )
    assert 0 < told["benefit"]["low"] <= told["benefit"]["mean"] <= told["benefit"]["high"]
    assert told["agreement"]["by_mv"]["M"]["tolerance"] == 0.5  # half of max_move
    assert told["ticks"] == len(found.starts) * 5
    assert 0 <= told["agreement"]["share"] <= 1


def test_the_tolerance_without_a_largest_move_is_a_share_of_the_span() -> None:
    tag = PLANT.tags["M"].model_copy(update={"max_move": None})
    free = PLANT.model_copy(update={"tags": {**PLANT.tags, "M": tag}})
    assert tolerances(free, UNIT).tolist() == [pytest.approx(0.01 * 18)]


def test_the_figure_names_units_and_carries_the_caveat() -> None:
    svg = backtest_figure(judged(TRACKING))
    for words in ("M [%]", "benefit", CAVEAT, "judged time, one episode after the other", "operator"):
        assert words in svg


@pytest.mark.parametrize(
    ("low", "high", "verdict", "words"),
    [
        (4.0, 9.0, Verdict.DOUBT, "Probably 4 to 9 CHF/h, 4.0"),
        (-1.0, 9.0, Verdict.PLAIN, "Not known"),
        (-9.0, -4.0, Verdict.NO, "Probably a loss: 4.0"),
    ],
)
def test_a_record_alone_never_gives_more_than_a_probable_worth(
    low: float, high: float, verdict: Verdict, words: str
) -> None:
    told = {
        **judged(TRACKING).to_dict(), "cost_recorded": 100.0, "cost_unit": "CHF/h",
        "benefit": {"low": low, "high": high, "mean": 0.5 * (low + high), "block": 1},
    }  # fmt: skip
    headline = backtest_headline(told)
    assert headline.verdict is verdict
    assert words in headline.answer
    assert CAVEAT in headline.detail
