"""Advice as a table for the operator. Every state is said in words; colour only repeats it."""

from __future__ import annotations

import math
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING

from procmodel.advice.advice import Advice, Move, Outlook

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

NOT_A_SAFETY_FUNCTION = "Advice only. The operator decides; this is no safety function."


def render(advice: Advice, console: Console, *, zone: tzinfo = UTC) -> None:
    """Print advice; times are in `zone`."""
    from rich.markup import escape

    at, expires = (stamp.astimezone(zone) for stamp in (advice.at, advice.expires))
    word = "[bold]MOVE[/]" if advice.is_move else "[bold yellow]HOLD[/]"
    mode = f"mode {advice.mode.value}, " if advice.mode.value != "advise" else ""
    if advice.mode is not advice.requested:
        mode = f"mode {advice.mode.value} instead of {advice.requested.value}: {advice.why_mode}; "
    console.print(
        f"{word}  {escape(advice.plant)}  {at:%Y-%m-%d %H:%M:%S %Z}  ({mode}advice {advice.id})", highlight=False
    )
    console.print(escape(advice.reason), highlight=False)
    console.print(_move_table(advice))
    console.print(_outlook_table(advice))
    for line in _further(advice):
        console.print(escape(line), highlight=False)
    if advice.is_move:
        console.print(f"Not to be followed after {expires:%H:%M:%S %Z}.", highlight=False)
    console.print(NOT_A_SAFETY_FUNCTION, style="dim", highlight=False)


def _move_table(advice: Advice) -> Table:
    table = _table("Manipulated", "Unit", "Now", "Set to", "Change", "Limits", "Note")
    for move in advice.moves:
        _add(table, move.tag, move.unit, _n(move.current), _set_to(move), _change(move), _range(move), move.clamp)
    return table


def _set_to(move: Move) -> str:
    return "as it is" if not math.isfinite(move.recommended) else _n(move.recommended)


def _change(move: Move) -> str:
    if not math.isfinite(move.delta):
        return "-"
    return f"{'up' if move.delta > 0 else 'down'} {abs(move.delta):.4g}" if move.delta else "none"


def _outlook_table(advice: Advice) -> Table:
    table = _table(
        "Controlled", "Unit", "Now", "Will be", "Without a move", "From .. to", "Setpoint", "Limits", "Status"
    )
    for cv in (*advice.outlooks, *advice.calculated):
        _add(
            table, cv.tag, cv.unit, _n(cv.measured), _n(cv.end), _n(cv.unmoved_end), f"{_n(cv.least)} .. {_n(cv.most)}",
            _n(cv.setpoint), _range(cv), cv.status,
        )  # fmt: skip
    for margin in advice.margins:
        status = "unknown" if not math.isfinite(margin.least) else "kept" if margin.least >= 0 else "not kept"
        _add(
            table,
            f"{margin.name} (margin)",
            margin.unit,
            "-",
            "-",
            "-",
            f"at least {_n(margin.least)}",
            "-",
            "above 0",
            status,
        )
    return table


def _table(*titles: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        numbers = title in ("Now", "Set to", "Change", "Will be", "Without a move", "From .. to", "Setpoint")
        table.add_column(title, justify="right" if numbers else "left", overflow="fold")
    return table


def _add(table: Table, *cells: str) -> None:
    """A row of plain text: a tag may be called [a]."""
    from rich.text import Text

    table.add_row(*(Text(cell) for cell in cells))


def _further(advice: Advice) -> list[str]:
    units = {cv.tag: cv.unit for cv in (*advice.outlooks, *advice.calculated)}
    units |= {margin.name: margin.unit for margin in advice.margins}
    lines = [
        f"Gives up {g.tag} {g.side} {_n(g.limit)} (rank {g.rank}) by {_n(g.amount)} {units.get(g.tag, '')}".rstrip()
        + (f" in scenario {g.scenario}" if g.scenario else "")
        + (f" because {g.because}" if g.because else "")
        for g in advice.give_ups
    ]
    lines += [f"Limit: {words}" for words in advice.active]
    lines += advice.rest.lines if advice.rest is not None else []
    lines += [f"Note: {words}" for words in advice.notes]
    lines += [f"Why: {words}" for words in advice.explanation]
    health = [f"data {advice.data_age:.0f} s old" if math.isfinite(advice.data_age) else "no data"]
    if advice.solve:
        health.append(f"optimizer {advice.solve}")
    if math.isfinite(advice.surprise):
        limit = f" of {advice.surprise_limit:.2g}" if math.isfinite(advice.surprise_limit) else ""
        health.append(f"surprise {advice.surprise:.2g}{limit}")
    if advice.model:
        health.append(f"model {advice.model}")
    return [*lines, "; ".join(health)]


def _n(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "-"


def _range(of: Move | Outlook) -> str:
    if not (math.isfinite(of.low) or math.isfinite(of.high)):
        return "none"
    if not math.isfinite(of.low):
        return f"below {_n(of.high)}"
    return f"{_n(of.low)} to {_n(of.high)}" if math.isfinite(of.high) else f"above {_n(of.low)}"
