"""The record's own answer: what it cost where the operator did, in much the same state, much what was advised.

No model is asked. What differs between the two moments and is not measured stays in the answer: evidence beside the
models', no proof.

Shapes: T rows, N moments, S candidates, F features, E rows ahead, U MVs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.window import Columns, Scaler

Array = np.ndarray
CALIPER = 0.5
"""Root mean square distance of two states, in spreads of the tags, up to which they count as much the same [-]."""
LEAST, MOST = 3, 8
"""Matches that a moment needs, and that are averaged at most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Rows after which a move can be made, with what was made and what came of it.

    Attributes:
        row: [S] last row seen.
        state: [S, F] levels of MVs, CVs and DVs, and how far the CVs went in the interval before, scaled.
        made: [S, U] mean of the MVs over the next interval less their level [unit].
        cost: [S] mean cost of the E rows after it.
    """

    row: Array
    state: Array
    made: Array
    cost: Array

    @classmethod
    def of(
        cls, dataset: Dataset, columns: Columns, scaler: Scaler, stretches: Sequence[Stretch], cost_T: Array, *,
        interval: int, rows: int,
    ) -> Moments:  # fmt: skip
        """Every row of the stretches with a whole state and a whole future.

        Args:
            cost_T: Of each row, NaN where it is not known.
            interval, rows: Rows from one advice to the next, and E.
        """
        values = dataset.values
        at = np.concatenate([np.arange(s.start + interval, s.stop - rows) for s in stretches])
        levels = scaler.scale(values)[:, [*columns.mv, *columns.cv, *columns.dv]]
        scaled = scaler.scale(values)[:, list(columns.cv)]
        state = np.concatenate([levels[at], scaled[at] - scaled[at - interval]], axis=1)
        u = values[:, list(columns.mv)]
        made = u[at[:, None] + np.arange(1, interval + 1)].mean(axis=1) - u[at]
        sums = np.concatenate([[0.0], np.cumsum(np.nan_to_num(cost_T))])
        unknown = np.concatenate([[0], np.cumsum(~np.isfinite(cost_T))])
        cost = (sums[at + 1 + rows] - sums[at + 1]) / rows
        good = np.isfinite(state).all(axis=1) & np.isfinite(made).all(axis=1)
        good &= unknown[at + 1 + rows] == unknown[at + 1]
        return cls(row=at[good], state=state[good], made=made[good], cost=cost[good])

    def at(self, rows_N: Array) -> Array:
        """Places of these rows among the moments, [N]; -1 where a row is none."""
        place = np.searchsorted(self.row, rows_N)
        place = np.minimum(place, len(self.row) - 1)
        return np.where(self.row[place] == rows_N, place, -1)


def matched_costs(moments: Moments, rows_N: Array, moved_NU: Array, tolerance_U: Array, *, apart: int) -> Array:
    """Mean cost after the recorded moments that lie nearest and where the made move was the given one, [N].

    Args:
        rows_N: Moments asked for, by last row seen.
        moved_NU: The move of each [unit].
        tolerance_U: How far the made move may be from it [unit].
        apart: Rows that a match has to lie from the moment itself.

    Returns:
        NaN where fewer than `LEAST` recorded moments are near enough.
    """
    found = np.full(len(rows_N), np.nan)
    if not len(moments.row):
        return found
    for n, place in enumerate(moments.at(rows_N)):
        if place < 0:
            continue
        alike = (np.abs(moments.made - moved_NU[n]) <= tolerance_U).all(axis=1)
        alike &= np.abs(moments.row - rows_N[n]) >= apart
        which = np.flatnonzero(alike)
        distance = np.sqrt(np.mean((moments.state[which] - moments.state[place]) ** 2, axis=1))
        nearest = np.argsort(distance, kind="stable")[:MOST]
        near = which[nearest[distance[nearest] <= CALIPER]]
        if len(near) >= LEAST:
            found[n] = moments.cost[near].mean()
    return found
