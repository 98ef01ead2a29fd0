"""Of several states that are as consistent, the one whose free runs over held-back rows miss least is taken."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from bent_plants import bent_record

from procmodel.data.dataset import Dataset, Stretch
from procmodel.plant import Plant
from procmodel.training import prepare as prepare_module
from procmodel.training.prepare import Runs, chosen_state, linear_states, prepare, settles
from procmodel.world_model import prediction_error
from procmodel.world_model.held_back import free_run_error
from procmodel.world_model.linear import LinearState, fit_arx

LAGS, HORIZON = 20, 60


def slow_plant(rows: int, seed: int) -> Runs:
    """A pressure that hardly settles and a level that integrates, under feedback, beside weather that wanders."""
    rng = np.random.default_rng(seed)
    y, v, weather = np.zeros((rows, 2)), np.zeros((rows, 2)), np.zeros(2)
    steps = np.repeat(rng.normal(size=(rows // 30 + 1, 2)), 30, axis=0)[:rows]
    x = np.zeros(2)
    for t in range(1, rows):
        weather = 0.99 * weather + 0.02 * rng.normal(size=2)
        v[t] = steps[t] - 0.4 * y[t - 1]
        x = np.array([0.998, 0.9995]) * x + 0.02 * (v[t] + 0.3 * v[t, ::-1]) + 0.05 * weather
        y[t] = x + 0.02 * rng.normal(size=2)
    return [(y, v)]


def test_free_runs_of_the_state_taken_miss_least_of_all_that_were_tried() -> None:
    runs, held = slow_plant(8_000, 0), slow_plant(3_000, 1)
    linear, products = chosen_state(runs, held, LAGS, HORIZON)
    taken = free_run_error(linear, products, held, HORIZON)
    tried = [free_run_error(each, None, held, HORIZON) for each in linear_states(runs, LAGS, HORIZON)]
    assert taken is not None
    assert all(error is not None and taken <= error for error in tried)


def test_on_a_plant_that_hardly_settles_it_is_as_good_as_the_arx() -> None:
    """On moves that answer nothing, without weather and noise: what is left is the model's own error."""
    runs, held = slow_plant(8_000, 0), slow_plant(3_000, 1)
    linear, _ = chosen_state(runs, held, LAGS, HORIZON)
    arx, length, ahead = fit_arx(runs, LAGS), len(linear.encoder), 120
    rng, x = np.random.default_rng(9), np.zeros(2)
    v = np.repeat(rng.normal(size=(20, 2)), 20, axis=0)[: length + ahead]
    y = np.zeros((len(v), 2))
    for t in range(len(v)):
        x = np.array([0.998, 0.9995]) * x + 0.02 * (v[t] + 0.3 * v[t, ::-1])
        y[t] = x
    free = np.einsum("lc,lcn->n", np.concatenate([v, y], axis=1)[:length], linear.encoder) + linear.encoder_bias
    for t in range(length, length + ahead):
        free = linear.A @ free + linear.B @ v[t] + linear.bias
    mine = np.abs(linear.C @ free + linear.offset - y[-1])
    theirs = np.abs(arx.forecast(y[None, :length], v[None, :length], v[None, length:])[0, -1] - y[-1])
    assert mine.mean() < 1.3 * theirs.mean() + 0.05 * np.abs(y).max()


def test_where_no_free_run_can_be_made_a_state_is_found_all_the_same() -> None:
    linear, _ = chosen_state(slow_plant(3_000, 0), slow_plant(30, 1), LAGS, HORIZON)
    assert np.isfinite(linear.A).all()


def noisy_level(rows: int, seed: int) -> Runs:
    """A level that integrates, moved by steps and by an answer to its reading, which is noisier than it ever moves."""
    rng = np.random.default_rng(seed)
    steps, x = np.repeat(rng.normal(size=rows // 40 + 1), 40)[:rows], 0.0
    y, v = np.zeros((rows, 1)), np.zeros((rows, 1))
    for t in range(1, rows):
        v[t] = steps[t] - 0.3 * y[t - 1]
        x = 0.998 * x + 0.02 * v[t, 0] + 0.01 * rng.normal()
        y[t] = x + rng.normal()
    return [(y, v)]


def test_where_a_forecast_reaches_back_beyond_the_window_the_state_is_found_over_the_whole_record() -> None:
    runs, held = noisy_level(8_000, 0), noisy_level(4_000, 1)
    linear, _ = chosen_state(runs, held, LAGS, HORIZON)
    pulse = [(linear.C @ np.linalg.matrix_power(linear.A, i) @ linear.B)[0, 0] for i in range(120)]
    true = 0.02 * 0.998 ** np.arange(120)
    assert np.abs(np.cumsum(pulse - true)).max() < 0.15 * true.sum()
    assert len(linear_states(runs, LAGS, HORIZON)) == 4
    assert len(linear_states(slow_plant(8_000, 0), LAGS, HORIZON)) == 2


def curved_plant(rows: int, seed: int, bend: float, pole: float = 0.9) -> Runs:
    """One CV whose answer grows with its level where `bend` is not zero."""
    rng = np.random.default_rng(seed)
    y, v = np.zeros((rows, 1)), np.repeat(rng.normal(size=(rows // 15 + 1, 1)), 15, axis=0)[:rows]
    for t in range(1, rows):
        y[t] = pole * y[t - 1] + 0.1 * v[t] * (1.0 + bend * np.tanh(y[t - 1])) + 0.02 * rng.normal()
    return [(y, v)]


def test_products_are_kept_where_the_plant_curves_and_not_for_a_hair() -> None:
    curved = chosen_state(curved_plant(6_000, 0, 0.6), curved_plant(3_000, 1, 0.6), LAGS, HORIZON)
    straight = chosen_state(curved_plant(6_000, 0, 0.0), curved_plant(3_000, 1, 0.0), LAGS, HORIZON)
    assert curved[1] is not None
    assert straight[1] is None


@pytest.mark.parametrize(("pole", "settles_in_time"), [(0.9, True), (0.995, False)])
def test_on_a_root_only_what_settles_within_the_horizon_gets_products(
    pole: float, settles_in_time: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_error, "ENOUGH", np.inf)  # no state and products that are found together
    runs, held = (curved_plant(rows, seed, 0.6, pole) for rows, seed in ((6_000, 0), (3_000, 1)))
    assert chosen_state(runs, held, LAGS, HORIZON)[1] is not None
    linear, products = chosen_state(runs, held, LAGS, HORIZON, bent=True)
    assert (products is not None) is settles_in_time
    among = linear_states(runs, LAGS, HORIZON, searched=not settles_in_time)
    assert len(among) == (2 if settles_in_time else 4)
    assert settles_in_time or any(np.array_equal(linear.A, each.A) for each in among)


@pytest.mark.parametrize(("power", "roots"), [(2.0, {1: 0.0}), (1.0, {})], ids=["square", "straight"])
def test_a_pressure_that_is_the_square_of_a_flow_is_prepared_on_its_root(power: float, roots: dict[int, float]) -> None:
    rng = np.random.default_rng(0)
    valve, flow = np.repeat(rng.uniform(0.4, 1.6, size=400), 10), np.ones(4000)
    for t in range(1, len(flow)):
        flow[t] = 0.8 * flow[t - 1] + 0.2 * valve[t] + 0.02 * rng.normal()
    values = np.column_stack([valve, flow**power])
    plant = Plant.model_validate(
        {
            "name": "orifice",
            "sample_time": "5 s",
            "tags": {
                "V": {"role": "MV", "unit": "%", "limits": [0, 2]},
                "P": {"role": "CV", "unit": "kPa", "range": [0, 10]},
            },
            "training": {"window": "50 s"},
            "advice": {"horizon": "2 min"},
        }
    )
    record = Dataset(
        columns=("V", "P"), values=values, good_fraction=np.ones_like(values, dtype=np.float32),
        start=datetime(2026, 3, 1, tzinfo=UTC), step=plant.sample_time,
        stretches=(Stretch(name="record", start=0, stop=len(values)),),
    )  # fmt: skip
    found = prepare(record, plant)
    assert found.scaler.roots() == pytest.approx(roots, abs=1e-9)
    assert found.products is None
    wish = plant.training.model_copy(update={"scales": "straight"})
    assert prepare(record, plant.model_copy(update={"training": wish})).scaler.bend is None


def test_products_that_miss_more_of_the_next_row_are_not_kept_whatever_free_runs_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs, held = curved_plant(6_000, 0, 0.6), curved_plant(3_000, 1, 0.6)
    monkeypatch.setattr(prepare_module, "one_row_error", lambda _, products, __: 1.0 if products else 0.0)
    monkeypatch.setattr(prediction_error, "ENOUGH", np.inf)  # no state and products that are found together
    assert chosen_state(runs, held, LAGS, HORIZON)[1] is None


@pytest.mark.parametrize(("pole", "expected"), [(0.95, True), (0.97, True), (0.98, False), (1.0, False)])
def test_a_plant_settles_by_the_horizon_if_little_of_its_answer_comes_later(pole: float, expected: bool) -> None:
    """Of one pole (p^60 - p^300) / (1 - p^60) comes later: 0.05, 0.19, 0.42; an integrator goes on."""
    one = np.ones((1, 1))
    state = LinearState(
        A=pole * one, B=one, C=one, K=one, bias=np.zeros(1), offset=np.zeros(1), encoder=np.zeros((2, 2, 1)),
        encoder_bias=np.zeros(1), values=np.ones(1),
    )  # fmt: skip
    if pole < 1.0:
        assert state.answer(60)[0, 0] == pytest.approx((1.0 - pole**60) / (1.0 - pole))
    assert settles(state, HORIZON) is expected


def test_what_bends_is_found_with_the_state_where_both_judges_together_ask_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs, held = [bent_record(6_000, 0)], [bent_record(4_000, 1)]
    linear, products = chosen_state(runs, held, LAGS, HORIZON)
    assert linear.begin is not None
    assert products is not None
    with monkeypatch.context() as slow:
        slow.setattr(prepare_module, "settles", lambda *_: False)
        assert chosen_state(runs, held, LAGS, HORIZON)[0].begin is None
    monkeypatch.setattr(prepare_module, "one_row_error", lambda state, *_: 0.0 if state.begin is None else 9.0)
    assert chosen_state(runs, held, LAGS, HORIZON)[0].begin is None
