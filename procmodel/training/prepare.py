"""What every member shares, before any training: parts, audit of the moves, scaler and linear state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from procmodel.data.dataset import Dataset
from procmodel.data.excitation import excitation_audit
from procmodel.data.plant_test import propose_tests
from procmodel.data.split import Parts, split
from procmodel.data.window import Columns, Scaler
from procmodel.data.windows import Windows, scaled_runs
from procmodel.errors import DatasetError
from procmodel.plant import Plant
from procmodel.training.settings import Settings, horizon_rows, rollout_rows, settings, window_rows
from procmodel.world_model.declared import impose_signs
from procmodel.world_model.held_back import WORTH, free_run_error, one_row_error
from procmodel.world_model.linear import LinearState, fit_linear_state
from procmodel.world_model.prediction_error import fit_bent_state, fit_prediction_error_state, memory_beyond
from procmodel.world_model.products import Products, fit_products
from procmodel.world_model.realisation import fit_realised_state
from procmodel.world_model.scales import fit_scales

Runs = Sequence[tuple[np.ndarray, np.ndarray]]
"""Per stretch, CVs [T, Y] and inputs [T, V], scaled, NaN in gaps."""
State = tuple[LinearState, Products | None]
"""A linear state, and the products beside it."""
BEYOND = 0.07
"""Share of a forecast's weights before the window from which the window is too short for least squares [-]."""
UNSETTLED = 0.25
"""Share of an answer that may come after the horizon where products are found together with the state [-]."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What every member shares: scaled windows, parts, the linear state and what stands beside it.

    Attributes:
        products: None where the training rows ask for none, or free runs over validation rows are better without.
        settings: Of the first member; the others differ by their seed.
        audit: By MV, what the excitation audit found, for people.
    """

    scaler: Scaler
    windows: Windows
    parts: Parts
    linear: LinearState
    products: Products | None
    settings: Settings
    audit: dict[str, Any]


def parts_of(dataset: Dataset, plant: Plant) -> Parts:
    """Training, validation and test rows; the gap is the longest that anything reads at once: the window and the
    horizon, or the window and a free run of training where that is longer."""
    ahead = max(horizon_rows(plant), rollout_rows(plant, feedback=False))
    return split(dataset, plant, window_rows(plant) + ahead)


def prepare(dataset: Dataset, plant: Plant, seed: int = 0) -> Prepared:
    """Audit the moves, fit the scaler, the linear state, with the declared signs, and its products on training rows.

    Raises:
        DatasetError: The record is too short, or has too many gaps.
    """
    parts = parts_of(dataset, plant)
    audit = excitation_audit(dataset, plant, parts)
    tests = propose_tests(dataset, plant, parts, audit, horizon_rows(plant))
    chosen = settings(plant, list(audit.values()), seed)
    columns = Columns.of(plant)
    scaler = _scaler(dataset, plant, parts, chosen.rows - 1)
    runs, held = (scaled_runs(dataset, scaler, columns, part) for part in (parts.train, parts.validation))
    linear, products = chosen_state(runs, held, chosen.rows - 1, chosen.horizon, bent=scaler.bend is not None)
    return Prepared(
        scaler=scaler,
        windows=Windows.of(dataset, scaler, columns),
        parts=parts,
        linear=impose_signs(linear, products, runs, np.array(chosen.signs)),
        products=products,
        settings=chosen,
        audit={
            mv: {
                "own": e.own,
                "moved": e.moved,
                "moves_answer_cvs": bool(e.moves_answer_cvs),
                "plant_test": str(tests[mv]) if mv in tests else None,
            }
            for mv, e in audit.items()
        },
    )


def _scaler(dataset: Dataset, plant: Plant, parts: Parts, lags: int) -> Scaler:
    """Of the training rows; a CV's scale is bent where that makes the next row likelier."""
    columns = Columns.of(plant)
    scaler = Scaler.fit(np.concatenate([dataset.values[s.start : s.stop] for s in parts.train]))
    if plant.training.scales == "straight":
        return scaler
    cv = list(columns.cv)
    ends_Y2 = np.array([plant.tags[name].range or (np.nan, np.nan) for name in plant.cvs], dtype=float)
    ends_Y2 = (ends_Y2 - scaler.centre[cv, None]) / scaler.spread[cv, None]
    bend_Y = fit_scales(scaled_runs(dataset, scaler, columns, parts.train), ends_Y2, lags)
    if not bend_Y.any():
        return scaler
    bend = np.zeros(columns.count)
    bend[cv] = bend_Y
    return replace(scaler, bend=bend)


def chosen_state(runs: Runs, held: Runs, lags: int, horizon: int, *, bent: bool = False) -> State:
    """The linear state, with or without products, whose free runs over held-back rows miss least.

    Each is as consistent under feedback as the others; a regressed state is taken where too few free runs can be made.
    Where the record bends, a state and products that were found together may take its place.

    Args:
        bent: Whether the scale of a CV is a root. What goes on after the horizon is then left to straight states,
            one by prediction errors among them: far from the record a root makes much of what piles up, and no row
            judges it. On the distillation column products made a gain of 84 one of 455.
    """

    def error(state: State) -> float:
        found = free_run_error(*state, held, horizon)
        return found if found is not None and np.isfinite(found) else np.inf

    def improves(new: State, on: State) -> bool:
        """Both ways: over free runs, and in the next row, which feedback does not mislead."""
        mine = error(new)
        return np.isfinite(mine) and mine <= (1.0 - WORTH) * error(on) and not _misses_more(new, on, held)

    def small() -> LinearState:
        return fit_linear_state(runs, lags, _few(runs, lags))

    straight = bent and not settles(small(), horizon)
    states = linear_states(runs, lags, horizon, searched=straight)
    pairs = [(linear, None if straight else fit_products(linear, runs)) for linear in states]
    tried: list[State] = [(linear, None) for linear, _ in pairs]
    tried += [pair for pair in pairs if pair[1] is not None and improves(pair, (pair[0], None))]
    best = min(tried, key=error)
    if not np.isfinite(error(best)):
        return pairs[0]
    if all(products is None for _, products in pairs):
        return best
    start = small()
    if settles(start, horizon):
        with suppress(DatasetError):  # too short for so many numbers, or too many gaps to run along it
            found = fit_bent_state(start, runs)
            missed = _both(found, held, horizon)
            if np.isfinite(missed) and missed <= (1.0 - WORTH) * _both(best, held, horizon):
                return found
    return best


def settles(linear: LinearState, horizon: int) -> bool:
    """Whether answers to moves have come to rest by the horizon, give or take `UNSETTLED` of them.

    Where they have not, what products that are found with the state make of the rest lies beyond the rows that judge
    them: on the distillation column they take a third off the error over 120 rows, and advice in closed loop costs
    more.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # one that runs away has not
        soon, late = linear.answer(horizon), linear.answer(5 * horizon)
        return bool(np.linalg.norm(late - soon) <= UNSETTLED * np.linalg.norm(soon))


def _both(state: State, held: Runs, horizon: int) -> float:
    """Error of free runs times that of the next row, as mean squares, the latter's geometric mean over CVs.

    Beside a state that least squares found, products have to lower both. A state of another kind may be a few per cent
    worse in one where it is much better in the other.
    """
    free, row = free_run_error(*state, held, horizon), one_row_error(*state, held)
    if free is None or row is None or not np.isfinite(free + row):
        return np.inf
    return free * float(np.exp(row / len(state[0].C)))


def _misses_more(one: State, other: State, held: Runs) -> bool:
    """Whether one misses more of the next row than the other in rows held back."""
    mine, theirs = one_row_error(*one, held), one_row_error(*other, held)
    return mine is not None and theirs is not None and mine > theirs


def _most(runs: Runs, lags: int) -> int:
    """States at most."""
    cvs: int = runs[0][0].shape[1]
    return min(4 * cvs, 12, lags * cvs)


def _few(runs: Runs, lags: int) -> int:
    """States of a filter along the whole record: two per CV and two besides."""
    cvs: int = runs[0][0].shape[1]
    return min(2 * cvs + 2, _most(runs, lags))


def linear_states(runs: Runs, lags: int, horizon: int, *, searched: bool = False) -> list[LinearState]:
    """States down to 0.3 % of the strongest, at most four per CV and twelve in all: more fit noise.

    Where the next row takes much from before the window, or it is asked for, two more with two states per CV and two
    besides, found over the whole record: what lags cut off there is put down to inputs.
    """
    cvs = runs[0][0].shape[1]
    most = _most(runs, lags)

    def regressed(order: int) -> LinearState:
        return fit_linear_state(runs, lags, order)

    def realised(order: int) -> LinearState:
        return fit_realised_state(runs, lags, order, max(horizon, lags, 2))

    def of_order(fit: Callable[[int], LinearState]) -> LinearState:
        full = fit(most)
        order = int(np.clip((full.values > 3e-3 * full.values[0]).sum(), min(2 * cvs, most), most))
        return full if order == most else fit(order)

    found = [of_order(regressed), of_order(realised)]
    if searched or memory_beyond(found[1], lags + 1) > BEYOND:
        with suppress(DatasetError):  # too many gaps to run along the record
            for fit in (regressed, realised):  # the search ends in the valley where it begins
                found.append(fit_prediction_error_state(fit(_few(runs, lags)), runs))
    return found
