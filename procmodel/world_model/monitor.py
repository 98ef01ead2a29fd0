"""Monitor: whether the plant still does what it did on normal rows, told by several control charts at once.

A chart is Hotelling's T2 of one signal, raw or smoothed: a fast one sees a jump, a slow one a small shift that stays
(multivariate EWMA, Lowry et al. 1992, Technometrics 34(1)). The signals are what a world model gives for nothing: its
errors one row ahead and its latent (`surprise.errors_ahead`, `surprise.latents`). Each chart is divided by its own
limit, and the largest counts.

Shapes: T rows, K size of a signal, S signals, F smoothings, Q = S * F charts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.signal import lfilter

from procmodel.errors import DatasetError
from procmodel.world_model.surprise import SHRINK

Array = np.ndarray
Signals = Sequence[Array]
"""Arrays [T, K] over the same rows, each with its own K; NaN where a value is not known."""

SHARES = (1.0, 0.3, 0.1)
"""Share of the newest row in the running mean of each chart: one row, some 6 rows, some 20 rows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Chart:
    """T2 of a signal that was smoothed by a running mean.

    Attributes:
        mean: [K] of the smoothed signal on normal rows.
        precision: [K, K], inverse of its covariance.
        share: Of the newest row in the running mean; 1 smooths nothing.
    """

    mean: Array
    precision: Array
    share: float

    @classmethod
    def fit(cls, runs: Sequence[Array], share: float, shrink: float = SHRINK) -> Self:
        """From a signal on normal rows, run by run [T, K]; the first rows of each only fill the running mean.

        Raises:
            DatasetError: There are not more rows than the signal has components.
        """
        start = np.nanmean(np.concatenate(list(runs)), axis=0)
        lead = round(1 / share) - 1
        smooth = np.concatenate([smoothed(run, share, start)[lead:] for run in runs])
        if len(smooth) <= smooth.shape[1]:
            raise DatasetError(
                f"{len(smooth)} normal rows cannot say how {smooth.shape[1]} values vary together; more rows than "
                "values are needed. Give a longer record of normal operation."
            )
        covariance = np.atleast_2d(np.cov(smooth.T))
        covariance = (1 - shrink) * covariance + shrink * np.diag(np.maximum(covariance.diagonal(), 1e-12))
        return cls(mean=smooth.mean(axis=0), precision=np.linalg.inv(covariance), share=share)

    def __call__(self, signal_TK: Array) -> Array:
        """T2 of each row, [T]; about K where all is normal."""
        off = smoothed(signal_TK, self.share, self.mean) - self.mean
        return np.asarray(np.einsum("tk,kj,tj->t", off, self.precision, off))


def smoothed(signal_TK: Array, share: float, start_K: Array) -> Array:
    """Running mean `m[t] = (1 - share) m[t-1] + share x[t]` from `start_K` on; a gap takes the value before it."""
    known = np.isfinite(signal_TK)
    at = np.maximum.accumulate(np.where(known, np.arange(len(signal_TK))[:, None], -1), axis=0)
    filled = np.where(at >= 0, np.take_along_axis(signal_TK, np.maximum(at, 0), axis=0), start_K)
    if share >= 1:
        return np.asarray(filled)
    return np.asarray(lfilter([share], [1, share - 1], filled, axis=0, zi=(1 - share) * start_K[None])[0])


def fit_charts(
    runs: Sequence[Signals], shares: Sequence[float] = SHARES, shrink: float = SHRINK
) -> tuple[tuple[Chart, ...], ...]:
    """Charts of every signal, [S][F], from normal runs."""
    return tuple(
        tuple(Chart.fit([run[s] for run in runs], share, shrink) for share in shares) for s in range(len(runs[0]))
    )


def chart_values(charts: Sequence[Sequence[Chart]], signals: Signals) -> Array:
    """T2 of all charts, [Q, T]."""
    return np.stack([chart(x) for of_one, x in zip(charts, signals, strict=True) for chart in of_one])


@dataclass(frozen=True, kw_only=True, eq=False)
class Monitor:
    """All charts with their limits.

    Attributes:
        charts: [S][F].
        limits: [Q], each chart's own limit.
        alarm: Limit of the largest ratio of a chart to its limit.
    """

    charts: tuple[tuple[Chart, ...], ...]
    limits: Array
    alarm: float

    @classmethod
    def of(cls, charts: tuple[tuple[Chart, ...], ...], held_QT: Array, false_alarms: float = 0.01) -> Self:
        """Limits from the charts' values on normal rows that no chart and no model was fitted on.

        Args:
            false_alarms: Share of such rows that may be called abnormal [-].
        """
        limits = np.quantile(held_QT, 1 - false_alarms, axis=1)
        return cls(charts=charts, limits=limits, alarm=float(np.quantile(_worst(held_QT, limits), 1 - false_alarms)))

    def scores(self, signals: Signals) -> Array:
        """[T], above 1 where the rows are called abnormal."""
        return _worst(chart_values(self.charts, signals), self.limits) / self.alarm


def _worst(values_QT: Array, limits_Q: Array) -> Array:
    return np.asarray((values_QT / limits_Q[:, None]).max(axis=0))
