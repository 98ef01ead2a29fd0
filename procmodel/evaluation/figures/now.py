"""The advice of this moment, drawn: the past, the now line, what is planned and what would come without it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from procmodel.advice.advice import Advice
from procmodel.data.window import Columns
from procmodel.evaluation.figures.style import (
    ACCENT,
    ACCENT_PALE,
    GREY,
    INK,
    Array,
    canvas,
    cover,
    drawn,
    duration,
    label,
    limit_words,
    pen,
    shade_gaps,
    shade_limits,
    strip,
)
from procmodel.plant import Plant


@drawn
def advice_figure(advice: Advice, plant: Plant, rows: Array, band: Array | None = None, past: int = 90) -> Figure:
    """Trends of every CV and MV around now.

    Args:
        advice: A move, or a hold, which is drawn without a plan.
        rows: History that it was made from, [R, C], NaN in gaps; the newest row ends now.
        band: Quantiles of measured minus forecast per row ahead, [2, H, Y] as in `OpenLoop.band`.
        past: Rows of history shown.
    """
    columns, rows = Columns.of(plant), rows[-past:]
    ahead = max([len(o.predicted) for o in advice.outlooks] + [len(m.planned) for m in advice.moves] + [1])
    seconds, unit = duration(plant.sample_time, ahead)
    edges = np.arange(-len(rows), ahead + 1) * plant.sample_time / seconds
    then, later = edges[: len(rows) + 1], edges[len(rows) :]
    figure = canvas(1.25 * (len(advice.outlooks) + len(advice.moves)) + 0.8)
    axes = figure.subplots(len(advice.outlooks) + len(advice.moves), 1, sharex=True, squeeze=False)[:, 0]
    for y, outlook in enumerate(advice.outlooks):
        _cv(axes[y], outlook, rows[:, columns.cv[y]], then, later, None if band is None else band[:, :, y])
        bounds = (_given(outlook.low), _given(outlook.high))
        words = (
            "CV · " + plant.tags[outlook.tag].description,
            limit_words(*bounds),
            outlook.status if bounds != (None, None) else "",
        )
        strip(axes[y], label(outlook.tag, outlook.unit), "; ".join(w for w in words if w))
    for u, move in enumerate(advice.moves):
        _mv(axes[len(advice.outlooks) + u], move, rows[:, columns.mv[u]], then, later, advice.is_move)
    for each in axes:
        each.axvline(0.0, color=INK, linewidth=1.0)
    axes[0].annotate("now", (0.0, 1.0), xycoords=("data", "axes fraction"), xytext=(3, -2), textcoords="offset points",
                     va="top", fontsize=7.5)  # fmt: skip
    axes[-1].set_xlabel(f"time from now [{unit}]")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=5)
    return figure


def _cv(axes: Axes, outlook: Any, past: Array, then: Array, later: Array, band: Array | None) -> None:
    middle = 0.5 * (then[1:] + then[:-1])
    axes.plot(middle, past, color=INK, linewidth=1.1, label="measured")
    predicted, unmoved = np.array(outlook.predicted), np.array(outlook.unmoved)
    ahead = 0.5 * (later[1:] + later[:-1])[: len(predicted)]
    shown: list[Array | float | None] = [past, predicted, unmoved]
    if len(predicted):
        if band is not None:
            reach = band[:, np.minimum(np.arange(len(predicted)), band.shape[1] - 1)]
            axes.fill_between(ahead, *(predicted + reach), color=ACCENT_PALE, linewidth=0, label="90 % of past errors")
            shown += list(predicted + reach)
        axes.plot(ahead[: len(unmoved)], unmoved, label="if nothing is moved", **pen("operator").line())
        axes.plot(ahead, predicted, label="with the advice", **pen("advice").line())
    target = None if math.isnan(outlook.setpoint) else outlook.setpoint
    if target is not None:
        axes.axhline(target, color=GREY, linewidth=0.8, linestyle=":", label="setpoint")
    low, high = _given(outlook.low), _given(outlook.high)
    cover(axes, *shown, target, *(v for v in (low, high) if v is not None and _near(v, shown)))
    shade_limits(axes, low, high)
    shade_gaps(axes, then, np.isnan(past))


def _given(limit: float) -> float | None:
    """Advice writes "no limit" as infinite."""
    return limit if math.isfinite(limit) else None


def _near(limit: float, shown: list[Array | float | None]) -> bool:
    """Whether a limit lies within one more height of what is shown."""
    flat = np.concatenate([np.ravel(np.asarray(v, dtype=float)) for v in shown if v is not None])
    flat = flat[np.isfinite(flat)]
    return bool(flat.size) and bool(flat.min() - np.ptp(flat) <= limit <= flat.max() + np.ptp(flat))


def _mv(axes: Axes, move: Any, past: Array, then: Array, later: Array, moves: bool) -> None:
    axes.stairs(past, then, baseline=None, color=INK, linewidth=1.1)
    planned = np.array(move.planned) if moves else np.empty(0)
    if planned.size:
        axes.stairs(planned, later[: len(planned) + 1], baseline=None, **pen("advice").line())
    axes.plot(later[[0, -1]], [move.current] * 2, **pen("operator").line())
    words = "stays" if not moves else f"now {move.current:.4g}, set {move.recommended:.4g} ({move.delta:+.3g})"
    if moves:
        axes.plot([0.0], [move.recommended], marker="o", markersize=5, color=ACCENT, clip_on=False)
    cover(axes, past, planned, move.current, move.recommended)
    bounds = (_given(move.low), _given(move.high))
    shade_limits(axes, *bounds)
    shade_gaps(axes, then, np.isnan(past))
    notes = (f"MV · {words}", move.clamp, limit_words(*bounds))
    strip(axes, label(move.tag, move.unit), "; ".join(note for note in notes if note))
