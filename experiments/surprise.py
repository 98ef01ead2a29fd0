"""Tennessee Eastman faults: does the world model notice them, trained and calibrated on 500 normal rows alone?

The rows of `d00` are cut into five blocks. A model and its charts are fitted on four of them and shown the fifth, in
turn, so that every limit comes from normal rows that no fit has seen; the model that judges is fitted on all of them.
Size of the history, number of states and ridge are those with the least error one row ahead on the blocks left out.
The network stays at its start, which is zero: 500 rows do not carry one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np

from experiments.contract import Outcome, run_experiment
from experiments.recordings import tennessee_eastman
from procmodel.data.window import Columns, Scaler
from procmodel.world_model.latent_model import LatentModel, ModelConfig
from procmodel.world_model.linear import fit_linear_state
from procmodel.world_model.monitor import Monitor, chart_values, fit_charts
from procmodel.world_model.surprise import errors_ahead, latents, surprises

Array = np.ndarray
TAGS = Columns(mv=(), cv=tuple(range(52)), dv=(), count=52)
"""All tags are CVs here, the valves too: their controllers move them, and what a fault does it may do to them."""
BLOCKS, FAULT_ROW, ROWS_A_DAY, FALSE_ALARMS = 5, 160, 480, 0.01
COMPONENTS = 31
SLIGHT = (3, 9, 15)
"""Faults that hardly show in any tag; the literature often leaves them out."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is chosen on normal rows."""

    lags: int
    order: int
    ridge: float


CHOICES = [Choice(lags=p, order=n, ridge=r) for p, n, r in product((1, 2, 3), (10, 20, 30), (0.01, 0.1, 1.0))]


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A world model of normal rows."""

    model: LatentModel
    scaler: Scaler

    @classmethod
    def fit(cls, runs: Sequence[Array], choice: Choice) -> Expected:
        scaler = Scaler.fit(np.concatenate(runs))
        pairs = [(scaler.scale(run), np.empty((len(run), 0))) for run in runs]
        linear = fit_linear_state(pairs, choice.lags, choice.order, choice.ridge)
        sizes = ModelConfig(
            columns=TAGS, rows=choice.lags + 1, lags=choice.lags, state=choice.order, latent=1, hidden=4
        )
        model = LatentModel(sizes).double().requires_grad_(False)
        model.start_from(linear)
        return cls(model=model, scaler=scaler)

    def errors(self, rows: Array) -> Array:
        return errors_ahead(self.model, self.scaler, TAGS, rows)

    def signals(self, rows: Array) -> list[Array]:
        """Errors one row ahead and the linear state, of the same rows."""
        states = latents(self.model, self.scaler, rows)[1:, : self.model.config.state]
        return [self.errors(rows), states]


def blocks_left_out(normal: Array) -> list[tuple[list[Array], Array]]:
    """(the other blocks, the block)."""
    edges = np.linspace(0, len(normal), BLOCKS + 1).astype(int)
    return [([part for part in (normal[:a], normal[b:]) if len(part)], normal[a:b]) for a, b in pairwise(edges)]


def choose(normal: Array, choices: Sequence[Choice]) -> tuple[Choice, list[dict[str, Any]]]:
    """The choice with the least mean square error one row ahead on blocks left out, and those of all."""
    table = []
    for choice in choices:
        errors = [Expected.fit(others, choice).errors(block) for others, block in blocks_left_out(normal)]
        table.append({**vars(choice), "error": float(np.mean(np.concatenate(errors) ** 2))})
    return choices[int(np.argmin([row["error"] for row in table]))], table


def monitor_of(normal: Array, choice: Choice) -> tuple[Expected, Monitor]:
    held = []
    for others, block in blocks_left_out(normal):
        expected = Expected.fit(others, choice)
        held.append(chart_values(fit_charts([expected.signals(run) for run in others]), expected.signals(block)))
    expected = Expected.fit([normal], choice)
    charts = fit_charts([expected.signals(normal)])
    return expected, Monitor.of(charts, np.concatenate(held, axis=1), FALSE_ALARMS)


def pca(runs: Sequence[Array]) -> Callable[[Array], Array]:
    """T2 and SPE of principal components, [2, T] of rows."""
    rows = np.concatenate(runs)
    mean, spread = rows.mean(axis=0), rows.std(axis=0, ddof=1)
    values, vectors = np.linalg.eigh(np.cov(((rows - mean) / spread).T))
    values, vectors = values[::-1][:COMPONENTS], vectors[:, ::-1][:, :COMPONENTS]

    def charts(x: Array) -> Array:
        scaled = (x - mean) / spread
        scores = scaled @ vectors
        return np.stack([(scores**2 / values).sum(axis=1), ((scaled - scores @ vectors.T) ** 2).sum(axis=1)])

    return charts


def pca_scores(normal: Array, records: Sequence[Array], limits_from: Array | None) -> list[Array]:
    """Largest of T2 and SPE over their limits, by record: limits from a record, or from blocks left out."""
    charts = pca([normal])
    if limits_from is None:
        held = np.concatenate([pca(others)(block) for others, block in blocks_left_out(normal)], axis=1)
    else:
        held = charts(limits_from)
    limits = np.quantile(held, 1 - FALSE_ALARMS, axis=1)
    alarm = 1.0
    if limits_from is None:  # as the model's: 1 % in all. The published protocol allows 1 % to each of the two.
        alarm = float(np.quantile((held / limits[:, None]).max(axis=0), 1 - FALSE_ALARMS))
    return [(charts(record) / limits[:, None]).max(axis=0) / alarm for record in records]


def error_scores(expected: Expected, normal: Array, choice: Choice, records: Sequence[Array]) -> list[Array]:
    """Mean square error of five rows over its limit: surprise without charts."""

    def five(model: Expected, rows: Array) -> Array:
        return np.convolve(surprises(model.model, model.scaler, TAGS, rows), np.ones(5) / 5)[
            : len(rows) - choice.lags - 1
        ]

    held = np.concatenate([five(Expected.fit(others, choice), block) for others, block in blocks_left_out(normal)])
    limit = np.quantile(held, 1 - FALSE_ALARMS)
    return [five(expected, record) / limit for record in records]


def judged(scores: Sequence[Array]) -> dict[str, Any]:
    """Detection of each fault by one way of scoring; the first record is normal, scores may lack the first rows."""
    quiet, faulty = scores[0], scores[1:]
    cut = [len(score) - (960 - FAULT_ROW) for score in faulty]
    alarms = [score[at:] > 1 for score, at in zip(faulty, cut, strict=True)]
    by_fault = [float(a.mean()) for a in alarms]
    fair = float(np.quantile(quiet, 1 - FALSE_ALARMS))
    fairly = [float((score[at:] > fair).mean()) for score, at in zip(faulty, cut, strict=True)]
    return {
        "mean_detection": float(np.mean(by_fault)),
        "mean_detection_without_3_9_15": _without_slight(by_fault),
        "false_alarms_normal_file": float((quiet > 1).mean()),
        "false_alarms_before_the_faults": float(
            np.mean([(s[:at] > 1).mean() for s, at in zip(faulty, cut, strict=True)])
        ),
        "false_alarm_episodes_per_day": float(_episodes(quiet > 1) * ROWS_A_DAY / len(quiet)),
        "mean_detection_at_1_percent_on_normal_file": float(np.mean(fairly)),
        "the_same_without_3_9_15": _without_slight(fairly),
        "detection_by_fault": [round(d, 3) for d in by_fault],
        "minutes_to_three_alarms_in_a_row": [_delay(a) for a in alarms],
    }


def _without_slight(by_fault: Sequence[float]) -> float:
    return float(np.mean([d for fault, d in enumerate(by_fault, start=1) if fault not in SLIGHT]))


def _episodes(alarms: Array) -> int:
    return int((np.diff(np.concatenate([[0], alarms.astype(int)])) == 1).sum())


def _delay(alarms: Array) -> int | None:
    """Minutes from the fault to the end of the first three alarms in a row; None where there never are three."""
    three = alarms[:-2] & alarms[1:-1] & alarms[2:]
    return 3 * (int(np.argmax(three)) + 3) if three.any() else None


def study(quick: bool) -> Outcome:
    """Tennessee Eastman faults found by a world model of normal rows, beside PCA T2 and SPE."""
    normal, records = tennessee_eastman()
    choices = CHOICES[12:14] if quick else CHOICES
    choice, table = choose(normal, choices)
    expected, monitor = monitor_of(normal, choice)
    ways = {
        "model": judged([monitor.scores(expected.signals(record)) for record in records]),
        "model, mean square error of 5 rows": judged(error_scores(expected, normal, choice, records)),
        "PCA, limits from blocks left out": judged(pca_scores(normal, records, None)),
        "PCA, limits have seen the normal test file": judged(pca_scores(normal, records, records[0])),
    }
    return Outcome(
        values={"tep_mean_detection": ways["model"]["mean_detection"]},
        results={"ways": ways, "chosen": vars(choice), "errors_on_blocks_left_out": table},
        seeds=[],
        lines=[
            f"{'':44} {'detection':>9} {'w/o 3 9 15':>10} {'false alarms':>12} {'at 1 % there':>12}",
            *(
                f"{name:44} {way['mean_detection']:9.3f} {way['mean_detection_without_3_9_15']:10.3f} "
                f"{way['false_alarms_normal_file']:12.3f} {way['mean_detection_at_1_percent_on_normal_file']:12.3f}"
                for name, way in ways.items()
            ),
        ],
    )


if __name__ == "__main__":
    sys.exit(run_experiment("surprise", study))
