"""What could be known of a plant? Forecasts by the true equations over the histories that every model is judged on.

`experiments.gains` judges models by the error of free runs over random steps, with noise in the history and unmeasured
disturbances off. Part of that error nobody can avoid: sensors are noisy, and whoever knows the weather must allow for
it. Two forecasters here know the equations, the noise and how the weather wanders. One filters with the equations; the
other with what they are near the mean of the histories, as the best linear model would. Between the first and ARX lies
what identification leaves, between the first and the second what only a bent model can find.

Extended Kalman filter on the states and the unmeasured disturbances, each of these a first-order process with the
variance and memory of a long weather (Anderson and Moore 1979, "Optimal Filtering", section 8.2). The averages of a row
are seen at its end. The column is left out: the Jacobians of its 82 states take hours.

Shapes: T rows, H rows ahead, X states, W unmeasured disturbances, S = X + W, V inputs held during a row, Y CVs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from experiments import gains
from experiments.contract import Outcome, chosen_of, run_experiment
from procmodel.data.window import Columns
from procmodel.evaluation.interventions import Interventions, intervene
from procmodel.simulation import ReferencePlant
from procmodel.simulation.reference import steady_state
from procmodel.simulation.simulator import runge_kutta_row

Array = np.ndarray
Advance = Callable[[Array, Array], tuple[Array, Array]]
"""`(state with disturbances [S], inputs [V]) -> (the same one row later, CVs averaged over the row [Y])`."""
PLANTS = ("evaporator", "quadruple-tank", "van-de-vusse", "drum-boiler", "gas-turbine")
WEATHER, LAG = 200_000, 10
"""Rows from which the weather's variance and memory are taken, and the rows between which memory is measured."""
HISTORY, SHORT = 100, 16
"""Rows of history that the filters read."""
NUDGE = 1e-5
"""Of a state's size, for derivatives."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """A plant with its weather as first-order processes.

    Attributes:
        keeps_W: Share of a disturbance's distance from its mean that is left a row later.
        variance_W: Of the disturbances. size_S: Of states and disturbances, for nudges and first doubts.
    """

    reference: ReferencePlant
    keeps_W: Array
    variance_W: Array
    size_S: Array

    @classmethod
    def of(cls, reference: ReferencePlant) -> Known:
        away = reference.disturbances(WEATHER, 77).w - np.asarray(reference.w0)
        variance = (away**2).mean(axis=0)
        keeps = np.clip((away[LAG:] * away[:-LAG]).mean(axis=0) / variance, 1e-3, 1.0 - 1e-6) ** (1.0 / LAG)
        size = np.concatenate([np.maximum(np.abs(reference.x0), 1e-3), np.sqrt(variance)])
        return cls(reference=reference, keeps_W=keeps, variance_W=variance, size_S=size)

    def advance(self) -> Advance:
        """By the equations."""
        plant, mean_W = self.reference, np.asarray(self.reference.w0, dtype=float)
        states, mvs = len(plant.x0), len(plant.u0)
        row = partial(runge_kutta_row, plant) if plant.row is None else plant.row()

        def go(at_S: Array, v_V: Array) -> tuple[Array, Array]:
            w_W = at_S[states:]
            x, y = row(at_S[:states].tolist(), v_V[:mvs].tolist(), v_V[mvs:].tolist(), w_W.tolist())
            return np.concatenate([x, mean_W + self.keeps_W * (w_W - mean_W)]), np.array(y)

        return go

    def straight(self, u_U: Array, d_V: Array) -> Advance:
        """What the equations are near the rest under these inputs."""
        go, mean_W = self.advance(), np.asarray(self.reference.w0, dtype=float)
        at, v = np.concatenate([steady_state(self.reference, u_U, d_V), mean_W]), np.concatenate([u_U, d_V])
        ahead, y = go(at, v)
        by_state, by_input = (
            jacobian(lambda s: go(s, v), at, self.size_S),
            jacobian(lambda i: go(at, i), v, np.maximum(np.abs(v), 1e-3)),
        )
        return lambda s, i: (
            ahead + by_state[0] @ (s - at) + by_input[0] @ (i - v),
            y + by_state[1] @ (s - at) + by_input[1] @ (i - v),
        )


def jacobian(function: Callable[[Array], tuple[Array, Array]], at: Array, size: Array) -> tuple[Array, Array]:
    """Derivatives of both results, each [result, at], by one-sided differences."""
    base, columns = function(at), []
    for i, nudge in enumerate(NUDGE * size):
        moved = at.copy()
        moved[i] += nudge
        columns.append([(new - old) / nudge for new, old in zip(function(moved), base, strict=True)])
    first, second = zip(*columns, strict=True)
    return np.stack(first, axis=1), np.stack(second, axis=1)


def filtered(known: Known, go: Advance, y_TY: Array, v_TV: Array, noise_Y: Array) -> Array:
    """State and disturbances [S] after a history, from the published rest and much doubt about it."""
    states = len(known.reference.x0)
    at = np.concatenate([known.reference.x0, known.reference.w0]).astype(float)
    doubt = np.diag(np.concatenate([(0.2 * known.size_S[:states]) ** 2, known.variance_W]))
    wander = np.concatenate([(1e-6 * known.size_S[:states]) ** 2, known.variance_W * (1.0 - known.keeps_W**2)])
    sensors = np.diag(np.maximum(noise_Y, 1e-9) ** 2)
    for y, v in zip(y_TY, v_TV, strict=True):
        ahead, seen = go(at, v)
        by_state, by_seen = jacobian(lambda s, v=v: go(s, v), at, known.size_S)  # type: ignore[misc]
        of_seen, both = by_seen @ doubt @ by_seen.T + sensors, by_state @ doubt @ by_seen.T
        gain = np.linalg.solve(of_seen, both.T).T
        at = ahead + gain @ (y - seen)
        doubt = by_state @ doubt @ by_state.T - gain @ of_seen @ gain.T + np.diag(wander)
        doubt = 0.5 * (doubt + doubt.T)
    return at


def error(known: Known, go: Advance, moved: Interventions, rows: int) -> Array:
    """Error of the last row over each CV's spread [Y], as `Interventions.error`."""
    columns = Columns.of(known.reference.plant)
    noise_Y, inputs = np.asarray(known.reference.noise)[list(columns.cv)], [*columns.mv, *columns.dv]
    missed = []
    for rows_LC, u_HU, d_HV, y_HY in zip(moved.rows_SLC, moved.u_SHU, moved.d_SHV, moved.y_SHY, strict=True):
        seen = rows_LC[-rows:]
        at, y = filtered(known, go, seen[:, columns.cv], seen[:, inputs], noise_Y), np.zeros(len(columns.cv))
        for v in np.concatenate([u_HU, d_HV], axis=1):
            at, y = go(at, v)
        missed.append(y - y_HY[-1])
    return np.asarray(np.sqrt(np.mean(np.square(missed), axis=0)) / moved.spread_Y)


def one_plant(name: str, study: gains.Study) -> dict[str, Any]:
    """Both who know, and ARX and N4SID from the record of the study of gains."""
    gains.tell(f"{name}: record")
    found = gains.ground(name, study.seeds[0], study)
    columns, reference = Columns.of(found.plant), found.reference
    moved = intervene(reference, seed=study.seeds[0] + 1000, starts=study.starts, history=HISTORY, ahead=gains.AHEAD)
    assert np.array_equal(moved.y_SHY, found.moved.y_SHY), "the same interventions, with more history"
    known, means = Known.of(reference), moved.rows_SLC.mean(axis=(0, 1))
    gains.tell(f"{name}: filters")
    straight = known.straight(means[list(columns.mv)], means[list(columns.dv)])
    table = {
        f"equations, {HISTORY} rows": error(known, known.advance(), moved, HISTORY),
        f"equations, {SHORT} rows": error(known, known.advance(), moved, SHORT),
        f"linear at the mean, {HISTORY} rows": error(known, straight, moved, HISTORY),
        **{who: found.moved.error(model) for who, model in gains.linear_models(found).items()},
    }
    return {
        "plant": name,
        "weather_rows": (-1.0 / np.log(known.keeps_W)).tolist(),
        "error_120": {who: float(each.mean()) for who, each in table.items()},
        "error_120_by_cv": table,
    }


def study_of(plants: Sequence[str], study: gains.Study) -> Outcome:
    runs = [one_plant(name, study) for name in plants]
    lines = [f"{run['plant']:<16} {who:<32} {value:>8.4f}" for run in runs for who, value in run["error_120"].items()]
    return Outcome(values={}, results={"rows": study.rows, "runs": runs}, seeds=study.seeds, lines=lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--plants", default="")
    chosen, rest = parser.parse_known_args(argv)

    def known_plant(quick: bool) -> Outcome:
        """What noise and weather leave to know, by the true equations; --plants a,b chooses."""
        plants = chosen_of("--plants", chosen.plants, PLANTS)
        return study_of(plants[:1], gains.QUICK) if quick else study_of(plants, gains.Study())

    return run_experiment("known_plant", known_plant, rest)


if __name__ == "__main__":
    sys.exit(main())
