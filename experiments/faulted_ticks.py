"""Does advice stay safe, and does every hold give its right reason, while tags, clocks, solver and model fail?

The quadruple tank runs in closed loop on the advice of its learned model, through the loop, the optimizer and the guard
that a control room has. Between healthy stretches one fault after the other is switched on. The experiment knows which
one, and so which reasons for a hold are right.

    unsafe_advice      moves outside the MVs' limits, or further than `max_move` from where the MV truly stands
    unexplained_holds  holds while nothing is wrong, and holds whose reason is none of those that fit the fault
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from experiments.contract import Outcome, run_experiment
from experiments.faults import KINDS, Kind, Situation, StoppableSolver, UnreliableModel
from experiments.learned import Learned, learned
from procmodel.advice import Advice
from procmodel.advisor import advisor_of, optimizer_of
from procmodel.runtime import Tick, run
from procmodel.simulation import Simulator

SEED = 11
START = datetime(2026, 1, 5, tzinfo=UTC)
HEALTHY, SETTLED = 14, 6
"""Ticks before each fault; rows before the first advice in which nobody touches the pumps."""
TICKS = 2000
_ROUNDING = 1e-6


class FaultyPlant:
    """The tank with its instruments, its operator who follows every advice, and one fault after the other."""

    def __init__(
        self, known: Learned, history: int, ticks: int, solver: StoppableSolver, model: UnreliableModel
    ) -> None:
        reference = known.reference
        self.plant, self._history, self._ticks = known.plant, history, ticks
        self._weather = reference.disturbances(history + ticks + 1, SEED)
        self._setpoints = (reference.task or reference.setpoints)(history + ticks + 1, SEED)
        self._simulator, operator = Simulator(reference, seed=SEED), reference.operator(SEED)
        self._at, self._rng = 0, np.random.default_rng(SEED)
        row = self._simulator.look(self._weather.d[0], self._weather.w[0]).row
        self._rows: list[np.ndarray] = []
        for at in range(history):
            by_operator = operator.act(row, self._setpoints[self._at])
            row = self._step(self._simulator.held if at >= history - SETTLED else by_operator)
            self._rows.append(row)
        self.situation = Situation(plant=known.plant, rng=self._rng, solver=solver, model=model)
        self.records: list[dict[str, Any]] = []

    def __iter__(self) -> Iterator[Tick]:
        for kind, phase, since in schedule(self._ticks):
            self._kind, self._phase = kind, phase
            self.situation.begin(kind if phase == "fault" else None, since)
            now = START + timedelta(seconds=self._at * self.plant.sample_time)
            rows = np.array(self._rows[-self._history :])
            yield self.situation.tick(rows, now, self._asked())

    def _asked(self) -> dict[str, float]:
        wanted = zip(self.plant.cvs, self._setpoints[self._at].tolist(), strict=True)
        return {name: value for name, value in wanted if np.isfinite(value)}

    def show(self, advice: Advice) -> None:
        """Judge the advice, follow it, and let the instruments show what they will."""
        held = self._simulator.held
        self.records.append(
            {
                "kind": self._kind.name,
                "phase": self._phase,
                "move": advice.is_move,
                "reason": advice.reason,
                "unsafe": unsafe(self.plant, advice, held),
                "right": not advice.is_move and self._right(advice.reason),
                "named": bool(advice.give_ups),
                "due": self.situation.due,
            }
        )
        u = held.copy()
        for i, name in enumerate(self.plant.mvs):
            u[i] = advice.setpoints.get(name, held[i])
        u = self.situation.by_hand(u)
        row = self._step(u)
        self._rows.append(self.situation.shown(row))

    def _right(self, reason: str) -> bool:
        patterns = () if self._phase == "healthy" else self._kind.reasons
        return any(re.search(pattern, reason) for pattern in patterns)

    def _step(self, u: np.ndarray) -> np.ndarray:
        w = self._weather.w[self._at]
        if hasattr(self, "situation"):
            w = w + self.situation.push(len(w))
        row = self._simulator.tick(u, self._weather.d[self._at], w).row
        self._at += 1
        return np.asarray(row)


def schedule(ticks: int) -> Iterator[tuple[Kind, str, int]]:
    """Fault, phase and ticks since the phase began; every kind in turn, until all ticks are used up."""
    count = 0
    while True:
        for kind in KINDS:
            for phase, length in (("healthy", HEALTHY), ("fault", kind.ticks), ("after", kind.after)):
                for since in range(length):
                    if count == ticks:
                        return
                    yield kind, phase, since
                    count += 1


def unsafe(plant: Any, advice: Advice, held: np.ndarray) -> str:
    """What is unsafe about a move, seen from where the MVs truly stand; "" where nothing is. Shares no code with the
    guard."""
    for name, truly in zip(plant.mvs, held.tolist(), strict=True):
        if not advice.is_move:
            return ""
        value, tag = advice.setpoints[name], plant.tags[name]
        low, high = tag.limits.low.at, tag.limits.high.at
        if not low - _ROUNDING <= value <= high + _ROUNDING:
            return f"{name} to {value:.4g}, limits {low:g} to {high:g}"
        if not -tag.max_move.down - _ROUNDING <= value - truly <= tag.max_move.up + _ROUNDING:
            return f"{name} from {truly:.4g} to {value:.4g}, at most {tag.max_move.up:g} up"
    return ""


def recoveries(records: list[dict[str, Any]]) -> dict[str, list[int]]:
    """Per kind, ticks from the end of each fault to the first move after it."""
    found: dict[str, list[int]] = {}
    waiting: tuple[str, int] | None = None
    before = "healthy"
    for record in records:
        if record["phase"] == "after" and before == "fault":
            waiting = (record["kind"], 0)
        if waiting is not None:
            if record["move"]:
                found.setdefault(waiting[0], []).append(waiting[1])
                waiting = None
            else:
                waiting = (waiting[0], waiting[1] + 1)
        before = record["phase"]
    return found


def table(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Per kind of fault."""
    back = recoveries(records)
    out: dict[str, dict[str, Any]] = {}
    for kind in KINDS:
        ours = [r for r in records if r["kind"] == kind.name]
        during = [r for r in ours if r["phase"] == "fault"]
        holds = [r for r in ours if not r["move"]]
        out[kind.name] = {
            "ticks": len(during),
            "moves": sum(r["move"] for r in during),
            "holds": sum(not r["move"] for r in during),
            "holds_after": sum(not r["move"] for r in ours if r["phase"] == "after"),
            "moves_where_a_hold_was_due": sum(r["move"] and r["due"] for r in during),
            "give_ups_named": sum(r["named"] for r in during),
            "unsafe": [r["unsafe"] for r in ours if r["unsafe"]],
            "unexplained": [f"{r['phase']}: {r['reason']}" for r in holds if not r["right"]][:6],
            "reasons": dict(Counter(re.sub(r"[-+]?\d[\d.]*", "#", r["reason"])[:110] for r in holds).most_common(6)),
            "recovery_ticks": back.get(kind.name, []),
        }
    return out


def faulted_ticks(quick: bool) -> Outcome:
    """Closed loop under one fault after the other: unsafe advice, holds without the right reason, recovery."""
    known = learned("quadruple-tank", rows=16_000)
    return judged(known, 300 if quick else TICKS)


def judged(known: Learned, ticks: int) -> Outcome:
    """The outcome of so many ticks."""
    solver, optimizer = StoppableSolver(), optimizer_of(known.plant, known.artifact)
    model = UnreliableModel(known.artifact.model)
    solver.take_over(optimizer)
    model.take_over(optimizer)
    advisor = advisor_of(known.plant, known.artifact, optimizer)
    world = FaultyPlant(known, optimizer.rows_wanted, ticks, solver, model)
    tally = run(advisor, world, world, ticks=ticks)
    print(f"{tally.moves} moves, {tally.holds} holds", file=sys.stderr)
    records, by_kind = world.records, table(world.records)
    bad = [r for r in records if r["unsafe"]]
    unexplained = [r for r in records if not r["move"] and not r["right"]]
    due = sum(r["move"] and r["due"] for r in records)
    healthy = [r for r in records if r["phase"] == "healthy"]
    lines = [f"{len(records)} ticks, {len(KINDS)} kinds of fault, {tally.moves} moves, {tally.holds} holds"]
    for name, each in by_kind.items():
        lines.append(
            f"  {name:<28} {each['ticks']:4d} ticks  {each['holds']:4d} holds  {each['holds_after']:3d} after  "
            f"recovery {each['recovery_ticks']}"
        )
    return Outcome(
        values={"unsafe_advice": len(bad), "unexplained_holds": len(unexplained)},
        results={
            "ticks": len(records),
            "kinds": len(KINDS),
            "moves": tally.moves,
            "holds": tally.holds,
            "healthy_ticks": len(healthy),
            "healthy_holds": sum(not r["move"] for r in healthy),
            "moves_where_a_hold_was_due": due,
            "by_kind": by_kind,
        },
        seeds=[SEED],
        lines=lines,
    )


if __name__ == "__main__":
    sys.exit(run_experiment("faulted_ticks", faulted_ticks))
