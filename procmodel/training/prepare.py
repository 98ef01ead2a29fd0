"""What every member shares, before any training: parts, audit of the moves, scaler and linear state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from procmodel.data.dataset import Dataset
from procmodel.data.excitation import excitation_audit
from procmodel.data.plant_test import propose_tests
from procmodel.data.split import Parts, split
from procmodel.data.window import Columns, Scaler
from procmodel.data.windows import Windows
from procmodel.plant import Plant
from procmodel.training.settings import Settings, horizon_rows, rollout_rows, settings, window_rows
from procmodel.world_model.declared import impose_signs
from procmodel.world_model.linear import LinearState, fit_linear_state
from procmodel.world_model.products import Products, fit_products, free_run_error
from procmodel.world_model.realisation import fit_realised_state

Runs = Sequence[tuple[np.ndarray, np.ndarray]]
"""Per stretch, CVs [T, Y] and inputs [T, V], scaled, NaN in gaps."""


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
    scaler = Scaler.fit(np.concatenate([dataset.values[s.start : s.stop] for s in parts.train]))
    scaled = scaler.scale(dataset.values)
    inputs = [*columns.mv, *columns.dv]
    runs, held = (
        [(scaled[s.start : s.stop][:, columns.cv], scaled[s.start : s.stop][:, inputs]) for s in part]
        for part in (parts.train, parts.validation)
    )
    linear, products = chosen_state(runs, held, chosen.rows - 1, chosen.horizon)
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


def chosen_state(runs: Runs, held: Runs, lags: int, horizon: int) -> tuple[LinearState, Products | None]:
    """The linear state, with or without products, whose free runs over held-back rows miss least.

    Each is as consistent under feedback as the others; a regressed state is taken where no free run can be made.
    """
    tried: list[tuple[LinearState, Products | None]] = []
    for linear in linear_states(runs, lags, horizon):
        if (products := fit_products(linear, runs)) is not None:
            tried.append((linear, products))
        tried.append((linear, None))
    errors = [(free_run_error(*each, held, horizon), each) for each in tried]
    known = [(error, each) for error, each in errors if error is not None and np.isfinite(error)]
    return min(known, key=lambda found: found[0])[1] if known else tried[0]


def linear_states(runs: Runs, lags: int, horizon: int) -> list[LinearState]:
    """States down to 0.3 % of the strongest, at most four per CV and twelve in all: more fit noise."""
    cvs = runs[0][0].shape[1]
    most = min(4 * cvs, 12, lags * cvs)

    def of_order(fit: Callable[[int], LinearState]) -> LinearState:
        full = fit(most)
        order = int(np.clip((full.values > 3e-3 * full.values[0]).sum(), min(2 * cvs, most), most))
        return full if order == most else fit(order)

    return [
        of_order(lambda order: fit_linear_state(runs, lags, order)),
        of_order(lambda order: fit_realised_state(runs, lags, order, max(horizon, lags, 2))),
    ]
