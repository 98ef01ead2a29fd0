"""The innovations state that foresees each next row best, found over the whole record in place of a window.

Least squares over lagged rows (`linear.py`) forgets what lies before its window. Where a CV is measured with much noise
and hardly settles, as a drum level is, the best forecast of its next row averages over more rows than that, and the
part that is cut off is put down to inputs. Here a state of few numbers runs along the record as a filter,

    x[t|t-1] = A x[t-1] + B v[t] + bias + W phi,    e[t] = y[t] - C x[t|t-1] - offset,    x[t] = x[t|t-1] + K e[t],

and all its numbers are those whose innovations e have the smallest log determinant of their covariance: the prediction
error method (Ljung 1999, "System Identification", 2nd ed., sections 7.2 and 13.4), consistent under feedback as least
squares on single rows is. phi are products of CVs and inputs (`bends.py`), or none: what least squares finds of them
beside a state that was found straight is less than what the two are together. Innovations of missing CVs are zero;
where an input is missing the filter begins anew.

Shapes: T rows, L rows of a window, Y CVs, V inputs, N states. Scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from procmodel.errors import DatasetError
from procmodel.world_model.bends import all_pairs, with_cvs_first
from procmodel.world_model.filter_search import (
    BURN,
    Filter,
    Pieces,
    covariance,
    cut,
    innovations,
    most_rows,
    plain,
    search,
)
from procmodel.world_model.linear import LinearState, affine, whole_spans
from procmodel.world_model.products import Products

Array = np.ndarray
RIDGE = 0.001
"""On what products add to a state, per row: enough for the arithmetic. Thirty times as much bends too little."""
ENOUGH = 50
"""Innovations for each number of a filter with products; with fewer it fits noise."""
WORTHWHILE = 400
"""Numbers of a filter with products at most; the search for more (four CVs and five inputs) takes minutes."""
LONGEST = 10_000
"""Rows over which a predictor's weights are summed at most."""
EVERY = 3
"""One window in so many is read for the map from windows to states: neighbours say nearly the same."""


def fit_prediction_error_state(start: LinearState, runs: Sequence[tuple[Array, Array]]) -> LinearState:
    """The state of `start`'s order whose filter foresees the next row best.

    Args:
        start: Where the search begins, and the length of its windows.
        runs: Per stretch, CVs [T, Y] and inputs [T, V], scaled, NaN in gaps.

    Raises:
        DatasetError: Too few whole rows, or too few of them in a row.
    """
    begin = plain(start)
    pieces = _enough(begin, runs, 2.0)
    found = search(begin, pieces)
    encoder, bias = _window_map(_followed(found, runs), len(start.encoder))
    return replace(found.linear, encoder=encoder, encoder_bias=bias)


def fit_bent_state(start: LinearState, runs: Sequence[tuple[Array, Array]]) -> tuple[LinearState, Products]:
    """The state of `start`'s order, with products of CVs and inputs, whose filter foresees the next row best.

    The state of a window is found by the filter itself, since no linear map of its rows bends: `begin` of it is the map
    from the window's first row.

    Args and errors as for `fit_prediction_error_state`; it takes `ENOUGH` innovations a number, and
    `WORTHWHILE` numbers at most.
    """
    linear = with_cvs_first(start)
    bends = all_pairs(linear, runs)
    begin = Filter(linear=linear, bends=bends, weights=np.zeros((len(linear.A), len(bends.first))), ridge=RIDGE)
    if begin.size > WORTHWHILE:
        raise DatasetError(f"Products of {len(linear.C)} CVs and {linear.B.shape[1]} inputs are too many to search.")
    pieces = _enough(begin, runs, ENOUGH / len(linear.C))
    found = search(begin, pieces)
    before, after = (covariance(innovations(each, pieces), pieces) for each in (begin, found))
    gain = 1.0 - float(np.trace(np.linalg.solve(before, after))) / len(before)
    followed = _followed(found, runs)
    (encoder, bias), (begin_map, begin_bias) = (_window_map(followed, length) for length in (len(start.encoder), 1))
    return (
        replace(found.linear, encoder=encoder, encoder_bias=bias, begin=begin_map[0], begin_bias=begin_bias),
        bends.products(found.weights, gain, len(linear.C), RIDGE),
    )


def _enough(model: Filter, runs: Sequence[tuple[Array, Array]], each: float) -> Pieces:
    """The record in pieces, if it has so many rows for each number."""
    pieces = cut(runs, most_rows(model))
    if pieces.rows < each * model.size:
        raise DatasetError(
            f"Only {pieces.rows} rows with all tags follow {BURN} others without a gap in MVs and DVs: too few for a "
            f"state of {len(model.linear.A)}. Read a longer record, or raise max_gap of the tags with gaps."
        )
    return pieces


def memory_beyond(linear: LinearState, rows: int) -> float:
    """Share of what a forecast of the next row takes from the CVs that it takes from before the last `rows` rows.

    By the sums of the predictor's absolute weights, of the CV that takes most [-]; 1 where it never forgets.
    """
    forget, pulse = linear.A - linear.A @ linear.K @ linear.C, linear.A @ linear.K
    slowest = float(np.abs(np.linalg.eigvals(forget)).max())
    if slowest >= 1.0:
        return 1.0
    last = rows + int(np.ceil(np.log(1e-6) / np.log(max(slowest, 1e-3))))
    weights = np.empty((min(last, rows + LONGEST), len(linear.C)))
    for i in range(len(weights)):
        weights[i] = np.abs(linear.C @ pulse).sum(axis=1)
        pulse = forget @ pulse
    return float((weights[rows:].sum(axis=0) / np.maximum(weights.sum(axis=0), 1e-12)).max())


def _followed(model: Filter, runs: Sequence[tuple[Array, Array]]) -> list[tuple[Array, Array]]:
    """Per span without a gap in its inputs, its rows [T, V + Y] and the filter's state after each [T, N]."""
    spans = [(y[begin:stop], v[begin:stop]) for y, v in runs for begin, stop in whole_spans(v) if stop - begin > BURN]
    return [(np.concatenate([v, y], axis=1), filtered(model, y, v)) for y, v in spans]


def _window_map(followed: Sequence[tuple[Array, Array]], length: int) -> tuple[Array, Array]:
    """The linear map from the rows of a window to the filter's state that misses it least, as `encoder` and its bias.

    A window is too short for a filter that remembers long: one that begins with it has not found its state by its end.
    """
    width = followed[0][0].shape[1] if followed else 1
    windows, states = [], []
    for rows_TC, x_TN in followed:
        if len(rows_TC) < BURN + length:
            continue
        rows_TCL = np.lib.stride_tricks.sliding_window_view(rows_TC, length, axis=0)
        at = np.arange(BURN, len(rows_TCL), EVERY)
        at = at[np.isfinite(rows_TCL[at]).all(axis=(1, 2))]
        windows.append(rows_TCL[at].transpose(0, 2, 1).reshape(-1, length * width))
        states.append(x_TN[at + length - 1])
    if not windows or sum(map(len, windows)) < 2 * length * width:
        raise DatasetError(
            f"Gaps leave too few windows of {length} whole rows. Read a longer record, raise max_gap of the tags with "
            "gaps, or shorten training.window."
        )
    encoder, bias = affine(np.concatenate(windows), np.concatenate(states), 1e-6)
    return encoder.T.reshape(length, width, -1), bias


def filtered(model: Filter, y: Array, v: Array) -> Array:
    """The filter's state after each row of a run in which every input is known, [T, N]; CVs may be missing."""
    good = np.isfinite(y)
    x_MTN, _ = model.along(np.where(good, y, 0.0)[None], good[None], v[None])
    return np.asarray(x_MTN[0])
