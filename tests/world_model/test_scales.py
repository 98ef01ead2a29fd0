"""A root where a plant bends near an end of its range, and a straight scale everywhere else."""

from __future__ import annotations

import numpy as np
import pytest

from procmodel.data.window import Scaler, bent, unbent
from procmodel.errors import DatasetError
from procmodel.world_model.linear import fit_arx
from procmodel.world_model.scales import fit_scales

ROWS = 6000
NONE = (np.nan, np.nan)


def orifice(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pressure lost at an orifice, the square of a flow that follows its valve; its root is what is linear [kPa, %]."""
    rng = np.random.default_rng(seed)
    valve = np.repeat(rng.uniform(40.0, 160.0, size=rows // 10 + 1), 10)[:rows]
    flow = np.empty(rows)
    for t in range(rows):
        flow[t] = 0.8 * (flow[t - 1] if t else 1.0) + 0.2 * valve[t] / 100.0 + 0.02 * rng.normal()
    return (flow**2)[:, None], valve[:, None]


def scaled(record: tuple[np.ndarray, np.ndarray]) -> tuple[Scaler, list[tuple[np.ndarray, np.ndarray]]]:
    scaler = Scaler.fit(np.concatenate(record, axis=1))
    return scaler, [(scaler.scale(record[0], (0,)), scaler.scale(record[1], (1,)))]


def ends(scaler: Scaler, *ranges: tuple[float, float]) -> np.ndarray:
    cvs = len(ranges)
    return (np.array(ranges) - scaler.centre[:cvs, None]) / scaler.spread[:cvs, None]


def test_the_pressure_lost_at_an_orifice_is_learned_as_the_root_of_it() -> None:
    scaler, runs = scaled(orifice(ROWS, 0))
    found = fit_scales(runs, ends(scaler, (0.0, 20.0)), 30)
    assert found[0] == pytest.approx(scaler.spread[0] / (2.0 * scaler.centre[0]))


def test_what_is_left_to_a_high_end_counts_as_what_lies_above_a_low_one() -> None:
    pressure, valve = orifice(ROWS, 0)
    scaler, runs = scaled((100.0 - pressure, valve))
    found = fit_scales(runs, ends(scaler, (0.0, 100.0)), 30)
    assert found[0] == pytest.approx(-scaler.spread[0] / (2.0 * (100.0 - scaler.centre[0])))


def test_far_beyond_the_record_a_root_foretells_where_the_pressure_will_be() -> None:
    """At rest it is the square of the valve's share: known without any model."""
    scaler, runs = scaled(orifice(ROWS, 0))
    bend = fit_scales(runs, ends(scaler, (0.0, 20.0)), 30)
    valve = (np.array([30.0, 200.0, 300.0]) - scaler.centre[1]) / scaler.spread[1]
    history = np.zeros((3, 6, 1)), np.zeros((3, 6, 1))
    ahead = np.tile(valve[:, None, None], (1, 200, 1))
    straight = fit_arx(runs, 6).forecast(*history, ahead)[:, -1, 0]
    rooted = unbent(fit_arx([(bent(y, bend), v) for y, v in runs], 6).forecast(*history, ahead)[:, -1, 0], bend)
    off = [np.abs(z * scaler.spread[0] + scaler.centre[0] - [0.09, 4.0, 9.0]) for z in (straight, rooted)]
    assert (off[1] < 0.05 * np.array([1.0, 4.0, 9.0])).all()
    assert (off[0] > 4 * off[1]).all()


@pytest.mark.parametrize("seed", range(4))
def test_a_plant_that_is_straight_stays_straight(seed: int) -> None:
    """However near to the end it comes."""
    rng = np.random.default_rng(seed)
    y, v = np.zeros((ROWS, 2)), rng.normal(size=(ROWS, 1)).repeat(20, axis=0)[:ROWS]
    for t in range(1, ROWS):
        y[t] = 0.9 * y[t - 1] + 0.1 * v[t] + 0.1 * rng.normal(size=2)
    y[:, 1] -= 0.5 * y[:, 0]
    scaler = Scaler.fit(np.concatenate([y, v], axis=1))
    runs = [(scaler.scale(y, (0, 1)), scaler.scale(v, (2,)))]
    low, high = (float(np.quantile(y, q)) for q in (0.0, 1.0))
    assert (fit_scales(runs, ends(scaler, (low, high), (low - 0.1, high + 0.1)), 10) == 0.0).all()


def test_far_from_both_ends_nothing_is_asked_of_the_record() -> None:
    pressure, valve = orifice(ROWS, 0)
    scaler, runs = scaled((pressure + 50.0, valve))
    assert (fit_scales(runs, ends(scaler, (0.0, 100.0)), 30) == 0.0).all()
    assert (fit_scales(runs, ends(scaler, NONE), 30) == 0.0).all()


def test_gaps_and_stretches_change_nothing_about_it() -> None:
    scaler, [(y, v)] = scaled(orifice(ROWS, 0))
    y = y.copy()
    y[500:520] = np.nan
    runs = [(y[:2500], v[:2500]), (y[2500:], v[2500:])]
    np.testing.assert_array_equal(
        fit_scales(runs, ends(scaler, (0.0, 20.0)), 30), fit_scales([(y, v)], ends(scaler, (0.0, 20.0)), 30)
    )


def test_a_record_that_is_too_short_is_told() -> None:
    scaler, [(y, v)] = scaled(orifice(200, 0))
    with pytest.raises(DatasetError, match="Only"):
        fit_scales([(y[::9][:20], v[::9][:20])], ends(scaler, (0.0, 20.0)), 30)
