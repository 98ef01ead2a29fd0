"""The excitation audit: how much of each MV moved for reasons of its own.

Moves that answer the plant teach a model the operator's habits, not the plant's gains, so we ask before training.
Shapes: T rows, C tags, N regression rows, F regressors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.split import Parts
from procmodel.errors import DatasetError
from procmodel.plant import Plant

_CHUNK = 20_000


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Whether the moves of one tag answer another: an MV a CV (feedback), or a CV an MV.

    Attributes:
        f: Granger's F statistic of the other's past in predicting the next move, on the fitting rows.
        gain: Part of the next move's variance which that past explains on later rows, beyond the rest [-].
    """

    f: float
    gain: float


@dataclass(frozen=True, kw_only=True)
class Excitation:
    """How one MV moved.

    Attributes:
        own: Share of its moves that is its own: 1 - R2 of the next move predicted from the past [-]; 0 where it never
            moved.
        moved: Share of training rows in which it moved at all [-].
        f: Granger's F statistic of all CVs' past together.
        gain: As `Answer.gain`, of all CVs together.
        answers: By CV, given the past of all other tags.
        moves_answer_cvs: Its recorded moves are feedback; free runs over them teach wrong gains.
    """

    mv: str
    own: float
    moved: float
    f: float
    gain: float
    answers: dict[str, Answer]
    moves_answer_cvs: bool


def excitation_audit(dataset: Dataset, plant: Plant, parts: Parts, lags: int = 10) -> dict[str, Excitation]:
    """How much of each MV moved for reasons of its own, and whether its moves answer the CVs.

    The next move u[t+1] - u[t] is regressed (least squares) on the level at t and the last `lags` differences of every
    CV, DV and MV, fitted on the first two thirds of each training stretch and judged on the last third; with and
    without the CVs (Granger, Econometrica 37, 1969). Moves larger than three typical ones (median of those that are
    not zero) are cut to that for the question of feedback, so that a rare large step does not drown a steady
    controller.

    An MV is said to answer when the CVs' past explains more than 2 % of its next move on rows that were not fitted
    and F is above 5: on long records F alone finds significance in what does not matter.

    Raises:
        DatasetError: Too few training rows without a gap.
    """
    record = _Past.of(dataset, plant, parts, lags)
    return {mv: _excitation(mv, plant, record) for mv in plant.mvs}


def response_audit(dataset: Dataset, plant: Plant, parts: Parts, lags: int = 10) -> dict[tuple[str, str], Answer]:
    """By (MV, CV): how much the MV's past adds to the prediction of the CV's next row, given the past of all tags.

    The same regression the other way round: where F is not above 5, the record does not show that this MV acts on this
    CV within a row, be it that it does not, that it was moved too little, or that noise covers it.

    Raises:
        DatasetError: Too few training rows without a gap.
    """
    record = _Past.of(dataset, plant, parts, lags)
    found = {}
    for cv in plant.cvs:
        moves_T = record.moves(cv)
        regression = record.regression(np.stack([moves_T, moves_T], axis=1), cv)
        found.update({(mv, cv): regression.answer(record.past[mv]) for mv in plant.mvs})
    return {(mv, cv): found[mv, cv] for mv in plant.mvs for cv in plant.cvs}


def _excitation(mv: str, plant: Plant, record: _Past) -> Excitation:
    moves_T = record.moves(mv)
    # On training rows only: what is held back for the test must not set what counts as a typical move.
    known_N = moves_T[record.training_T & np.isfinite(moves_T)]
    real_N = known_N[np.abs(known_N) > 1e-9]
    bound = 3 * float(np.median(np.abs(real_N))) if len(real_N) else 0.0
    regression = record.regression(np.stack([moves_T, np.clip(moves_T, -bound, bound)], axis=1), mv)
    together = regression.answer(np.concatenate([record.past[cv] for cv in plant.cvs]))
    return Excitation(
        mv=mv,
        own=float(np.clip(regression.unexplained(), 0.0, 1.0)) if len(real_N) else 0.0,
        moved=len(real_N) / max(1, len(known_N)),
        f=together.f,
        gain=together.gain,
        answers={cv: regression.answer(record.past[cv]) for cv in plant.cvs},
        moves_answer_cvs=together.gain > 0.02 and together.f > 5.0,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Past:
    """What both audits regress on.

    Attributes:
        seen_TC: MVs, DVs and CVs, standardised on the training rows.
        past: Regressors of each tag.
        training_T: Rows whose move to the next row lies within a training stretch.
        fit, judge: The first two thirds of each training stretch, and the last.
    """

    names: tuple[str, ...]
    seen_TC: np.ndarray
    past: dict[str, np.ndarray]
    training_T: np.ndarray
    fit: tuple[Stretch, ...]
    judge: tuple[Stretch, ...]
    lags: int

    @classmethod
    def of(cls, dataset: Dataset, plant: Plant, parts: Parts, lags: int) -> _Past:
        names = (*plant.mvs, *plant.dvs, *plant.cvs)
        training_T = np.zeros(dataset.rows, dtype=bool)
        for s in parts.train:
            training_T[s.start : s.stop - 1] = True
        width = lags + 1
        return cls(
            names=names,
            seen_TC=_standardised(dataset.values[:, [dataset.columns.index(name) for name in names]], parts.train),
            past={name: np.arange(i * width, (i + 1) * width) for i, name in enumerate(names)},
            training_T=training_T,
            fit=tuple(Stretch(name=s.name, start=s.start, stop=s.start + 2 * s.rows // 3) for s in parts.train),
            judge=tuple(Stretch(name=s.name, start=s.start + 2 * s.rows // 3, stop=s.stop) for s in parts.train),
            lags=lags,
        )

    def moves(self, name: str) -> np.ndarray:
        """Moves of a tag, `[t]` from row t to row t + 1; NaN in the last."""
        return np.append(np.diff(self.seen_TC[:, self.names.index(name)]), np.nan)

    def regression(self, targets_T2: np.ndarray, name: str) -> _Regression:
        fitted, judged = (_Moments.of(self.seen_TC, targets_T2, part, self.lags) for part in (self.fit, self.judge))
        count = len(fitted.xx)
        if fitted.rows < 2 * count or judged.rows < count:
            raise DatasetError(
                f"The excitation audit of {name!r} needs {2 * count} training rows without a gap in any tag over "
                f"{self.lags + 2} rows, and has {fitted.rows}. Record more, or see with 'procmodel check' which tags "
                "have gaps."
            )
        full, residual = fitted.solve(np.arange(count))
        return _Regression(fitted=fitted, judged=judged, full=full, residual=residual)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Regression:
    """Moves on all regressors: coefficients `full` [F, 2] and residual sums of squares [2]."""

    fitted: _Moments
    judged: _Moments
    full: np.ndarray
    residual: np.ndarray

    def unexplained(self) -> float:
        """1 - R2 of the moves as they are, on later rows."""
        return self.judged.unexplained(np.arange(len(self.full)), self.full[:, 0], 0)

    def answer(self, without: np.ndarray) -> Answer:
        """What is lost without some regressors, of the moves as cut."""
        everything = np.arange(len(self.full))
        rest = np.setdiff1d(everything, without)
        restricted, residual_without = self.fitted.solve(rest)
        noise = max(self.residual[1] / (self.fitted.rows - len(everything)), 1e-300)
        f = (residual_without[1] - self.residual[1]) / len(without) / noise
        left = self.judged.unexplained(rest, restricted[:, 1], 1)
        gain = left - self.judged.unexplained(everything, self.full[:, 1], 1)
        return Answer(f=max(0.0, float(f)), gain=float(gain))


@dataclass(frozen=True, kw_only=True)
class _Moments:
    """Sums of a regression: all that least squares on any subset of the regressors needs.

    Attributes:
        xx: [F, F]; the last regressor is the constant.
        xy: [F, 2], for the moves as they are and as cut.
        yy: [2], about zero; `ys` the sums.
    """

    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray
    ys: np.ndarray
    rows: int

    @classmethod
    def of(cls, seen_TC: np.ndarray, targets_T2: np.ndarray, stretches: Sequence[Stretch], lags: int) -> _Moments:
        count = seen_TC.shape[1] * (lags + 1) + 1
        xx, xy = np.zeros((count, count)), np.zeros((count, 2))
        yy, ys, rows = np.zeros(2), np.zeros(2), 0
        for s in stretches:
            for first in range(s.start + lags, s.stop - 1, _CHUNK):  # the last row's move lies outside
                at_N = np.arange(first, min(first + _CHUNK, s.stop - 1))
                x_NF, y_N2 = _regressors(seen_TC, at_N, lags), targets_T2[at_N]
                whole = np.isfinite(x_NF).all(axis=1) & np.isfinite(y_N2).all(axis=1)
                x_NF, y_N2 = x_NF[whole], y_N2[whole]
                xx += x_NF.T @ x_NF
                xy += x_NF.T @ y_N2
                yy += (y_N2**2).sum(axis=0)
                ys += y_N2.sum(axis=0)
                rows += len(x_NF)
        return cls(xx=xx, xy=xy, yy=yy, ys=ys, rows=rows)

    def solve(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients [f, 2] and residual sums of squares [2] of least squares on some regressors."""
        a, b = self.xx[np.ix_(features, features)], self.xy[features]
        # Regressors of size 1 and moves that repeat each other: the tiny ridge picks one of equal answers.
        ridge = 1e-10 * max(1.0, float(np.trace(a)) / len(a))
        coefficients = np.linalg.solve(a + ridge * np.eye(len(a)), b)
        return coefficients, self._squares(features, coefficients)

    def unexplained(self, features: np.ndarray, coefficients: np.ndarray, target: int) -> float:
        """1 - R2 of these coefficients on these rows; 1 where nothing moved."""
        both = np.stack([coefficients, coefficients], axis=1)
        total = self.yy[target] - self.ys[target] ** 2 / max(1, self.rows)
        return float(self._squares(features, both)[target] / total) if total > 1e-12 * self.rows else 1.0

    def _squares(self, features: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
        a, b = self.xx[np.ix_(features, features)], self.xy[features]
        explained = 2 * (coefficients * b).sum(axis=0) - (coefficients * (a @ coefficients)).sum(axis=0)
        return np.asarray(np.maximum(self.yy - explained, 0.0))


def _regressors(seen_TC: np.ndarray, at_N: np.ndarray, lags: int) -> np.ndarray:
    """Level and past differences of every tag, then the constant, [N, F]."""
    history_NLC = seen_TC[at_N[:, None] - np.arange(lags + 1)]  # newest first
    differences = history_NLC[:, :-1] - history_NLC[:, 1:]
    per_tag = np.concatenate([history_NLC[:, :1], differences], axis=1)
    flat = per_tag.transpose(0, 2, 1).reshape(len(at_N), -1)
    return np.concatenate([flat, np.ones((len(at_N), 1))], axis=1)


def _standardised(values_TC: np.ndarray, stretches: Sequence[Stretch]) -> np.ndarray:
    """Zero mean and unit spread on the training rows; a tag that is never good there, or never moves, becomes 0.

    Such a tag can say nothing, and must not make every row a row with a gap.
    """
    rows = np.concatenate([np.arange(s.start, s.stop) for s in stretches])
    training = values_TC[rows]
    known = np.isfinite(training)
    count = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, training, 0.0).sum(axis=0) / count
    spread = np.sqrt((np.where(known, training - centre, 0.0) ** 2).sum(axis=0) / count)
    alive = spread > 1e-9 * np.maximum(np.abs(centre), 1.0)
    return np.where(alive, (values_TC - centre) / np.where(alive, spread, 1.0), 0.0)
