"""Backtest on a recorded export: what would have been advised, what the operator did, and who says what it was worth.

A log shows what happened, not what would have. So the worth is told by models that had no part in the advice
(`evaluators.py`), each following it in closed loop on the record's own disturbances (`replay.py`), and beside them by
the recorded cost where the operator did in much the same state what was advised (`matching.py`). The interval holds
both the spread over stretches of time and that over the judging models.

Shapes: T rows, N episodes, E rows of each, K ticks in it, J judging models, C tags, U MVs, Y CVs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from procmodel.control.horizon import span
from procmodel.control.objective import StageCost, setpoints_of
from procmodel.control.optimizer import Optimizer
from procmodel.control.workers import Workers
from procmodel.data.dataset import Dataset, Stretch
from procmodel.data.window import Columns, Scaler
from procmodel.evaluation.backtest_words import CAVEAT
from procmodel.evaluation.evaluators import Evaluator
from procmodel.evaluation.matching import Moments, matched_costs
from procmodel.evaluation.plain import plain
from procmodel.evaluation.replay import Advised, advise_over, episode_at, episode_starts
from procmodel.metrics import BlockInterval, block_interval, excess
from procmodel.plant import Plant
from procmodel.runtime.loop import Advisor

Array = np.ndarray
TICKS, FEWEST, MOST = 150, 8, 24
"""Ticks that are judged on a record, and the number of episodes at least and at most."""
_SHARE_OF_MOVE, _SHARE_OF_SPAN = 0.5, 0.01
_NUMBERS = re.compile(r"[-+]?\d[\d.,e]*")
_ALONE = 800
"""Plans up to which processes of their own cost more than they save."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Backtest:
    """Advice over a record.

    Attributes:
        starts: First row of each episode, [N].
        times: Start of each tick's row, [N * K] datetime64.
        made, advised: [N, K, U] mean MVs of the operator in the interval after a tick, and of the advice; NaN: a hold.
        tolerance: [U] up to which the two count as the same [unit].
        unit: Of the cost.
        recorded: [N] mean cost of each episode as it was; NaN where the plant file names no task.
        followed: [J, N] as each judge has it.
        judges: J.
        matched: [N, K] recorded cost after the tick's matches; `own` after the tick itself.
        beyond: Share of rows beyond CV limits by rank, as recorded and by judge [-].
        holds: Reasons with their number, at the recorded ticks.
        held: Share of ticks held while it is followed, by judge, [J] [-]. Holds because of a move that somebody else
            made belong to the record, not to these.
        left_out: Judges that were not asked, with the reason.
    """

    plant: Plant
    rows: int
    interval: int
    step: float
    starts: Array
    times: Array
    made: Array
    advised: Array
    tolerance: Array
    unit: str
    recorded: Array
    followed: Array
    judges: tuple[Evaluator, ...]
    matched: Array
    own: Array
    beyond: dict[str, dict[int, float]]
    holds: dict[str, int]
    held: Array
    left_out: tuple[str, ...] = ()

    @property
    def agrees(self) -> Array:
        """Whether advised and made MV are the same within the tolerance, [N, K, U]; a hold agrees with nothing."""
        return np.asarray(np.abs(self.advised - self.made) <= self.tolerance)

    @property
    def benefit(self) -> Array:
        """Recorded cost less that under the advice, [J, N]."""
        return np.asarray(self.recorded - self.followed)

    @property
    def has_task(self) -> bool:
        return bool(np.isfinite(self.recorded).all())

    def worth(self, method: str | None = None) -> BlockInterval | None:
        """Mean benefit with its interval, of all judges or those of a method; None where nobody judges."""
        mine = [j for j, judge in enumerate(self.judges) if method in (None, judge.method)]
        if not mine or not self.has_task or len(self.starts) < 2:
            return None
        return block_interval(self.benefit[mine])

    def by_matching(self) -> BlockInterval | None:
        """Cost after the ticks where advice and operator differ, less that after their matches."""
        differs = ~self.agrees.all(axis=2) & np.isfinite(self.advised).all(axis=2)
        gain = (self.own - self.matched)[differs & np.isfinite(self.matched)]
        return block_interval(gain) if len(gain) >= FEWEST else None

    def to_dict(self) -> dict[str, Any]:
        agrees, all_agree = self.agrees, self.agrees.all(axis=2)
        advised = np.isfinite(self.advised).all(axis=2)
        differ = ~all_agree & advised
        tags = [self.plant.tags[name] for name in self.plant.mvs]
        return {
            "caveat": CAVEAT,
            "episodes": len(self.starts),
            "rows": self.rows,
            "interval_rows": self.interval,
            "step_s": self.step,
            "ticks": int(advised.size),
            "holds": int((~advised).sum()),
            "hold_reasons": self.holds,
            "held_while_followed": float(self.held.mean()) if len(self.held) else None,
            "agreement": {
                "share": float(all_agree.mean()),
                "by_mv": {
                    name: {"share": float(agrees[:, :, u].mean()), "tolerance": float(self.tolerance[u]),
                           "unit": tag.unit}
                    for u, (name, tag) in enumerate(zip(self.plant.mvs, tags, strict=True))
                },
                "cost_where_agreed": _mean(self.own[all_agree]),
                "cost_where_not": _mean(self.own[differ]),
                "ticks_agreed": int(all_agree.sum()),
            },
            "cost_unit": self.unit,
            "cost_recorded": _mean(self.recorded),
            "benefit": _interval(self.worth()),
            "judges": [self._judge(j) for j in range(len(self.judges))],
            "matching": {
                "benefit": _interval(self.by_matching()),
                "ticks": int((differ & np.isfinite(self.matched)).sum()),
                "of": int(differ.sum()),
            },
            "beyond_limits": {who: {str(rank): share for rank, share in by.items()} for who, by in self.beyond.items()},
            "left_out": list(self.left_out),
        }  # fmt: skip

    def _judge(self, j: int) -> dict[str, Any]:
        judge = self.judges[j]
        interval = block_interval(self.benefit[j]) if self.has_task and len(self.starts) > 1 else None
        return {
            "name": judge.name,
            "method": judge.method,
            "error_over_spread": plain(judge.error),
            "benefit": _interval(interval),
        }


def backtest(
    make: Callable[[], Advisor],
    optimizer: Optimizer,
    plant: Plant,
    scaler: Scaler,
    dataset: Dataset,
    stretches: Sequence[Stretch],
    judges: Sequence[Evaluator],
    *,
    left_out: Sequence[str] = (),
    ticks: int | None = None,
    workers: int | None = None,
) -> Backtest | None:
    """Advise at the ticks of episodes over the stretches, and let every judge say what following would have brought.

    An episode is as long as the optimizer looks ahead, and starts from what was recorded; so a judge's error adds up
    over one horizon and no longer.

    Args:
        make: Builds the advisor whose advice it is; picklable.
        optimizer: Such as the advisor's; its task is what is judged.
        stretches: Rows that the model has not learned from.
        ticks: About so many, or `TICKS`; there are `FEWEST` to `MOST` episodes in any case.
        workers: None decides by the number of plans.

    Returns:
        None where the stretches hold no two episodes without a gap.
    """
    columns, horizon, history = Columns.of(plant), optimizer.horizon, optimizer.rows_wanted
    rows, interval = horizon.steps, horizon.interval
    most = int(np.clip((ticks or TICKS) // len(horizon.ticks), FEWEST, MOST))
    starts = episode_starts(dataset, columns, stretches, history=optimizer.rows_enough, rows=rows, most=most)
    if len(starts) < 2:
        return None
    plain_ones = [episode_at(dataset, int(start), rows, history, interval) for start in starts]
    asked = [replace(each, judge=judge) for judge in (None, *judges) for each in plain_ones]
    count = len(asked) * len(horizon.ticks)
    with Workers(make, workers=workers or (1 if count <= _ALONE else None)) as pool:
        found = list(pool.each(advise_over, asked))
    said = [found[i * len(starts) : (i + 1) * len(starts)] for i in range(1 + len(judges))]
    cost, unit = _task(optimizer.cost, plant, columns)
    cost_T = cost(dataset.values)
    at = starts[:, None] + horizon.ticks  # [N, K] first row after each tick
    u_TU = dataset.values[:, list(columns.mv)]
    made = np.stack([u_TU[np.minimum(at + k, (starts + rows - 1)[:, None])] for k in range(interval)]).mean(axis=0)
    advised = np.stack([each.moves for each in said[0]])
    tolerance = tolerances(plant, scaler)
    everywhere = Moments.of(dataset, columns, scaler, dataset.stretches, cost_T, interval=interval, rows=rows)
    matched = matched_costs(
        everywhere, (at - 1).ravel(), (advised - u_TU[at - 1]).reshape(-1, len(tolerance)), tolerance, apart=rows
    ).reshape(at.shape)
    places = everywhere.at((at - 1).ravel()).reshape(at.shape)
    return Backtest(
        plant=plant,
        rows=rows,
        interval=interval,
        step=dataset.step,
        starts=starts,
        times=dataset.times()[at.ravel()],
        made=made,
        advised=advised,
        tolerance=tolerance,
        unit=unit,
        recorded=np.array([cost_T[start : start + rows].mean() for start in starts]),
        followed=np.array([[cost(each.rows).mean() for each in by_judge] for by_judge in said[1:]]),
        judges=tuple(judges),
        matched=matched,
        own=np.where(places >= 0, everywhere.cost[places], np.nan),
        beyond=_beyond(plant, columns, ["recorded", *(judge.name for judge in judges)], said),
        holds=dict(Counter(_NUMBERS.sub("#", why) for each in said[0] for why in each.holds.values())),
        held=np.array([np.isnan([each.moves for each in by_judge]).any(axis=2).mean() for by_judge in said[1:]]),
        left_out=tuple(left_out),
    )


def tolerances(plant: Plant, scaler: Scaler) -> Array:
    """Up to where an advised and a made MV count as the same, [U] [unit]: half the largest move that one advice
    may make, or where the plant file names none, 1 % of the MV's span."""
    found = []
    for name in plant.mvs:
        tag, spread = plant.tags[name], float(scaler.spread[plant.columns.index(name)])
        move = min(tag.max_move.up, tag.max_move.down) if tag.max_move else None
        found.append(_SHARE_OF_MOVE * move if move else _SHARE_OF_SPAN * span(tag, spread))
    return np.array(found)


def _task(cost: StageCost, plant: Plant, columns: Columns) -> tuple[Callable[[Array], Array], str]:
    """Cost of rows [T, C] by row, NaN without a task or in a gap, and its unit."""
    setpoint_Y = setpoints_of(plant, None)
    nothing = cost.economic is None and not np.isfinite(setpoint_Y).any()
    wanted = [*columns.cv, *columns.mv, *columns.dv]

    def of(rows_TC: Array) -> Array:
        if nothing:
            return np.full(len(rows_TC), np.nan)
        y, u, d = (rows_TC[:, list(part)] for part in (columns.cv, columns.mv, columns.dv))
        return np.where(np.isfinite(rows_TC[:, wanted]).all(axis=1), cost.task(y, u, d, setpoint_Y), np.nan)

    return of, "currency/h" if cost.economic else "-"


def _beyond(
    plant: Plant, columns: Columns, names: Sequence[str], said: Sequence[Sequence[Advised]]
) -> dict[str, dict[int, float]]:
    """Share of rows in which any CV is beyond a limit of a rank, by who says it."""
    found: dict[str, dict[int, float]] = {}
    for who, each in zip(names, said, strict=True):
        rows_MC = np.concatenate([one.rows for one in each])
        broken: dict[int, Array] = {}
        for name, column in zip(plant.cvs, columns.cv, strict=True):
            limits = plant.tags[name].limits
            for low, high, limit in ((True, False, limits.low), (False, True, limits.high)):
                if limit is not None:
                    over = excess(rows_MC[:, column], limit.at if low else None, limit.at if high else None) > 0
                    broken[limit.rank] = broken.get(limit.rank, np.zeros(len(over), dtype=np.bool_)) | over
        found[who] = {rank: float(flags.mean()) for rank, flags in sorted(broken.items())}
    return found


def _mean(values: Array) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _interval(found: BlockInterval | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "mean": found.mean,
        "low": found.low,
        "high": found.high,
        "confidence": found.confidence,
        "block": found.block,
        "count": found.count,
    }
