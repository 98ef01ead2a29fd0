"""Gauss-Newton search for the filter whose innovations have the smallest log determinant of their covariance.

The record is cut into pieces that run side by side, each with rows in which the filter finds its state first; the
sensitivities of the filter to its numbers are exact and follow it row by row.

Shapes: T rows, M pieces, Y CVs, V inputs, N states, F products, P parameters. Scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from procmodel.world_model.bends import Bends
from procmodel.world_model.linear import LinearState, whole_spans

Array = np.ndarray
BURN = 60
"""Rows in which the filter finds its state before its innovations count."""
PIECE, SHORTEST = 400, 100
"""Rows of a piece that count, and of those of a short record, whose pieces would be few."""
ABREAST = 12
"""Pieces that a short record is cut into where they hold `SHORTEST` rows: a row of all takes as long as one of few."""
STEPS = 12
"""Gauss-Newton steps at most."""
SMALL = 1e-5
"""A step that lowers the log determinant by less is the last."""
MOST = 60_000
"""Rows that are run along at most, in pieces evenly over the record: more take time and change little."""
WORK = 1e11
"""Multiplications of a Gauss-Newton step at most, about two seconds; with many CVs fewer rows are run along."""


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """The record cut into overlapping pieces: CVs [M, T, Y] (zero where missing), where they are good and where their
    innovations count [M, T, Y], and inputs [M, T, V]."""

    y: Array
    good: Array
    counts: Array
    v: Array

    @property
    def rows(self) -> int:
        """Whole rows that count."""
        return int(self.counts.all(axis=2).sum())


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A linear state, and how much of each product is added to its next one [N, F]; without products F is 0.

    Attributes:
        ridge: On the weights, per row that counts.
    """

    linear: LinearState
    bends: Bends | None = None
    weights: Array
    ridge: float = 0.0

    @property
    def size(self) -> int:
        """P."""
        return sum(part.size for part in self.parts())

    def parts(self) -> list[Array]:
        return [*(getattr(self.linear, name) for name in _NAMES), self.weights]

    def moved(self, step: Array) -> Filter:
        """By a step in all parameters, [P]."""
        parts = self.parts()
        cuts = np.cumsum([part.size for part in parts])[:-1]
        *new, weights = [
            part + change.reshape(part.shape) for part, change in zip(parts, np.split(step, cuts), strict=True)
        ]
        return replace(self, linear=replace(self.linear, **dict(zip(_NAMES, new, strict=True))), weights=weights)

    def first_state(self, y_MY: Array) -> Array:
        """The smallest state that explains the first row."""
        return np.asarray((y_MY - self.linear.offset) @ np.linalg.pinv(self.linear.C).T)

    def ahead(self, x_MN: Array, v_MV: Array) -> Array:
        """The state one row later, before its CVs are known."""
        found: Array = x_MN @ self.linear.A.T + v_MV @ self.linear.B.T + self.linear.bias
        return found + self.bends.values(self.bends.bounded(x_MN, v_MV)) @ self.weights.T if self.bends else found

    def along(self, y_MTY: Array, good_MTY: Array, v_MTV: Array) -> tuple[Array, Array]:
        """States [M, T, N] and innovations [M, T, Y] along every piece; those of missing CVs are zero."""
        model = self.linear
        x, e = np.empty((*y_MTY.shape[:2], len(model.A))), np.zeros_like(y_MTY)
        x[:, 0] = self.first_state(y_MTY[:, 0])
        for t in range(1, y_MTY.shape[1]):
            ahead = self.ahead(x[:, t - 1], v_MTV[:, t])
            e[:, t] = np.where(good_MTY[:, t], y_MTY[:, t] - ahead @ model.C.T - model.offset, 0.0)
            x[:, t] = ahead + e[:, t] @ model.K.T
        return x, e


_NAMES = ("A", "B", "bias", "K", "C", "offset")


def plain(linear: LinearState) -> Filter:
    """A filter without products."""
    return Filter(linear=linear, weights=np.zeros((len(linear.A), 0)))


def most_rows(model: Filter) -> int:
    """Rows that are worth their time."""
    return min(MOST, max(PIECE, int(WORK / (len(model.linear.C) * model.size**2))))


def cut(runs: Sequence[tuple[Array, Array]], most: int = MOST) -> Pieces:
    """Pieces of runs, per stretch CVs [T, Y] and inputs [T, V], NaN in gaps; where an input is missing one ends."""
    spans = [(y[begin:stop], v[begin:stop]) for y, v in runs for begin, stop in whole_spans(v)]
    size = int(np.clip(sum(len(y) for y, _ in spans) // ABREAST, SHORTEST, PIECE))
    cuts = [
        (y[first : first + BURN + size], v[first : first + BURN + size])
        for y, v in spans
        for first in range(0, len(y) - BURN, size)
    ]
    cuts = cuts[:: -(-len(cuts) * size // most) or 1]
    cvs, inputs = runs[0][0].shape[1], runs[0][1].shape[1]
    y_MTY = np.full((len(cuts), BURN + size, cvs), np.nan)
    v_MTV = np.zeros((len(cuts), BURN + size, inputs))
    for m, (y, v) in enumerate(cuts):
        y_MTY[m, : len(y)], v_MTV[m, : len(v)] = y, v
    good = np.isfinite(y_MTY)
    counts = good & (np.arange(BURN + size) >= BURN)[:, None]
    return Pieces(y=np.where(good, y_MTY, 0.0), good=good, counts=counts, v=v_MTV)


def search(start: Filter, pieces: Pieces) -> Filter:
    """From a start to where no step lowers the log determinant any more."""
    model, damping, rows = start, 1e-3, pieces.rows
    for _ in range(STEPS):
        e = innovations(model, pieces)
        weight = np.linalg.inv(covariance(e, pieces))
        before = _cost(model, e, pieces, weight)
        gram, slope = normal(model, pieces, weight)
        model, after, damping = _lower(model, pieces, weight, gram, slope, before, damping)
        if before - after < SMALL * rows:
            break
    return model


def innovations(model: Filter, pieces: Pieces) -> Array:
    """What the filter misses in each row, [M, T, Y]; zero where a CV is missing."""
    return model.along(pieces.y, pieces.good, pieces.v)[1]


def covariance(e: Array, pieces: Pieces) -> Array:
    """Of the innovations that count, [Y, Y]."""
    rows = e[pieces.counts.all(axis=2)]
    found = rows.T @ rows / max(len(rows), 1)
    return np.asarray(found + 1e-12 * max(np.trace(found), 1e-12) * np.eye(len(found)))


def _cost(model: Filter, e: Array, pieces: Pieces, weight: Array) -> float:
    counted = e * pieces.counts
    found = float(np.einsum("mty,yz,mtz->", counted, weight, counted))
    return found + model.ridge * pieces.rows * float((model.weights**2).sum())


def _lower(
    model: Filter, pieces: Pieces, weight: Array, gram: Array, slope: Array, before: float, damping: float
) -> tuple[Filter, float, float]:
    """A step that lowers the cost, its cost, and the damping to go on with; the model itself where none does."""
    for _ in range(6):
        step = -np.linalg.solve(gram + damping * np.diag(np.diag(gram) + 1e-9 * np.trace(gram) / len(gram)), slope)
        found = model.moved(step)
        with np.errstate(over="ignore", invalid="ignore"):
            after = _cost(found, innovations(found, pieces), pieces, weight)
        if after < before:  # false too where it is no number
            return found, after, max(damping / 10, 1e-8)
        damping *= 10
    return model, before, damping


def normal(model: Filter, pieces: Pieces, weight: Array) -> tuple[Array, Array]:
    """Gauss-Newton's matrix [P, P] and slope [P] of the weighted innovations and the ridge; parameters as in `parts`.

    Single precision is enough for a direction.
    """
    linear, bends, single = model.linear, model.bends, np.float32
    a, b, k, c = linear.A, linear.B, linear.K, linear.C
    n, v_count, cvs = len(a), b.shape[1], len(c)
    at_a, at_b, at_bias, at_k, at_c, at_offset, at_w, size = np.cumsum([0, *(part.size for part in model.parts())])
    f_count = model.weights.shape[1]
    gram, slope = np.zeros((size, size)), np.zeros(size)
    by_MPN = np.zeros((len(pieces.y), size, n), dtype=single)
    ct, kt, weight = c.T.astype(single), k.T.astype(single), weight.astype(single)
    x = model.first_state(pieces.y[:, 0])
    for t in range(1, pieces.y.shape[1]):
        v, good, counts = pieces.v[:, t], pieces.good[:, t], pieces.counts[:, t]
        ahead, turn = model.ahead(x, v), a.T
        if bends:
            h = bends.bounded(x, v)
            turn = turn + np.einsum("nf,mfk->mkn", model.weights, bends.slopes(h, n))
        e = np.where(good, pieces.y[:, t] - ahead @ c.T - linear.offset, 0.0)
        by_MPN = by_MPN @ turn.astype(single)
        _own(by_MPN, at_a, n, n)[:] += x[:, None]
        _own(by_MPN, at_b, n, v_count)[:] += v[:, None]
        _own(by_MPN, at_bias, n, 1)[:] += 1.0
        if bends:
            _own(by_MPN, at_w, n, f_count)[:] += bends.values(h)[:, None]
        miss_MPY = -(by_MPN @ ct)
        _own(miss_MPY, at_c, cvs, n)[:] -= ahead[:, None]
        _own(miss_MPY, at_offset, cvs, 1)[:] -= 1.0
        miss_MPY *= good[:, None, :]
        if counts.any():
            counted = miss_MPY * counts[:, None, :]
            weighted = counted @ weight
            gram += np.tensordot(weighted, counted, axes=([0, 2], [0, 2]))
            slope += np.tensordot(weighted, (e * counts).astype(single), axes=([0, 2], [0, 1]))
        by_MPN += miss_MPY @ kt
        _own(by_MPN, at_k, n, cvs)[:] += e[:, None]
        x = ahead + e @ k.T
    held = np.arange(size) >= at_w
    gram[held, held] += model.ridge * pieces.rows
    slope[at_w:] += model.ridge * pieces.rows * model.weights.ravel()
    return gram, slope


def _own(by_MPX: Array, first: int, rows: int, width: int) -> Array:
    """A view of how each row of a matrix among the parameters changes what is its own, [M, rows, width]."""
    part = by_MPX[:, first : first + rows * width].reshape(len(by_MPX), rows, width, rows)
    return np.asarray(np.einsum("miki->mik", part))
