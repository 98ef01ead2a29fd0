"""Advice over a record: what would have been advised at each tick, and what a model says would have come of following.

Following is a closed loop on the record's own disturbances: with a model that judges, the CVs become

    y = y_recorded + y_model(moves of the advice) - y_model(recorded moves),

both forecasts from the same start, so that whatever else moved the plant then, measured or not, moves it again, and a
constant error of the model cancels. The advice sees these CVs, answers them, and so on. DVs and other tags stay as
recorded.

Shapes: T rows of the record, R rows of history, E rows of an episode, K ticks in it, C tags, U MVs, Y CVs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import numpy as np

from procmodel.control.bias import filled
from procmodel.control.plan import Plan
from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.window import Columns
from procmodel.runtime.loop import Advisor

Array = np.ndarray


Answer = Callable[[Array, Array], Array]
"""`(recorded row [C], MVs held in it [U]) -> what would have been recorded [C]`, asked row by row."""


class Judge(Protocol):
    """Who says what would have come of other moves than the recorded ones."""

    def follow(self, columns: Columns, before_RC: Array) -> Answer:
        """Its answers from the end of a history on, NaN in gaps, newest row last."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Episode:
    """A stretch of the record to advise over.

    Attributes:
        before: [R, C] history, NaN in gaps, newest last.
        ahead: [E, C] recorded rows that follow; no MV, CV or DV is missing in them.
        interval: Rows from one advice to the next.
        step: Of a row [s].
        began: Start of the first row ahead, aware.
        judge: Who says what would have come of following; None: nobody, the record goes on as it did.
    """

    before: Array
    ahead: Array
    interval: int
    step: float
    began: datetime
    judge: Judge | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Advised:
    """What was advised over an episode.

    Attributes:
        moves: [K, U] MVs to hold after each tick; NaN where the advice was a hold.
        holds: Reason by tick.
        rows: [E, C] what would have been recorded, where it was followed; else as recorded.
    """

    moves: Array
    holds: dict[int, str]
    rows: Array


def episode_starts(
    dataset: Dataset, columns: Columns, stretches: Sequence[Stretch], *, history: int, rows: int, most: int
) -> Array:
    """First rows of at most `most` episodes, one after the other, evenly chosen; none has a gap in an MV, CV or DV.

    Args:
        history: Rows that lie before the first episode of a stretch.
        rows: E.
    """
    whole = np.isfinite(dataset.values[:, [*columns.mv, *columns.cv, *columns.dv]]).all(axis=1)
    starts = []
    for stretch in stretches:
        at = stretch.start + history
        while at + rows <= stretch.stop:
            gaps = np.flatnonzero(~whole[at : at + rows])
            if len(gaps):
                at += int(gaps[-1]) + 1
                continue
            starts.append(at)
            at += rows
    chosen = np.linspace(0, len(starts) - 1, min(most, len(starts))).round().astype(int)
    return np.array([starts[i] for i in chosen], dtype=int)


def episode_at(dataset: Dataset, start: int, rows: int, history: int, interval: int) -> Episode:
    """The episode of `rows` rows from row `start` on, with as much history as its stretch has, `history` at most."""
    stretch = next(s for s in dataset.stretches if s.start <= start < s.stop)
    began = dataset.times()[start].astype("datetime64[us]").astype(datetime).replace(tzinfo=UTC)
    return Episode(
        before=dataset.values[max(stretch.start, start - history) : start],
        ahead=dataset.values[start : start + rows],
        interval=interval,
        step=dataset.step,
        began=began,
    )


def advise_over(advisor: Advisor, episode: Episode) -> Advised:
    """The guarded advice at each tick of an episode; followed, where somebody says what comes of it."""
    columns, ticks = Columns.of(advisor.plant), range(0, len(episode.ahead), episode.interval)
    rows, first = np.concatenate([episode.before, episode.ahead]), len(episode.before)
    answer = None if episode.judge is None else episode.judge.follow(columns, rows[:first])
    previous: Plan | None = None
    moves, holds = np.full((len(ticks), len(columns.mv)), np.nan), {}
    for k, tick in enumerate(ticks):
        now = datetime.fromtimestamp(episode.began.timestamp() + tick * episode.step, UTC)
        seen = rows[tick : first + tick]
        advice, plan = advisor.advise(seen, newest=now, now=now, previous=previous)
        previous = plan if advice.is_move else None
        if advice.is_move:
            moves[k] = [advice.setpoints[name] for name in advisor.plant.mvs]
        else:
            holds[k] = advice.reason
        if answer is not None:
            held = moves[k] if advice.is_move else filled(seen)[-1, list(columns.mv)]
            for at in range(first + tick, min(first + tick + episode.interval, len(rows))):
                rows[at] = answer(episode.ahead[at - first], held)
    return Advised(moves=moves, holds=holds, rows=rows[first:])
