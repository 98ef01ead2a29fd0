"""Figures of closed-loop trials: who did what on the same day, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from procmodel.evaluation.figures.style import (
    GREY,
    INK,
    PALE,
    Array,
    canvas,
    cover,
    drawn,
    duration,
    label,
    limit_words,
    pen,
    runs,
    shade_limits,
    strip,
)
from procmodel.evaluation.trial import ClosedLoop, Trial

ORDER = ("operator", "oracle", "hold", "advice")
"""Drawn in this order: the advice on top."""


@drawn
def closed_loop_trends(result: ClosedLoop, seed: int | None = None, show: Sequence[str] = ORDER) -> Figure:
    """One seed: every CV with its limits and setpoint, the hidden margins, and the MVs, for each controller.

    Args:
        seed: Which one; None shows the first.
        show: Controllers, in drawing order.
    """
    plant, reference = result.reference.plant, result.reference
    at = 0 if seed is None else result.seeds.index(seed)
    trials = [result.trials[name][at] for name in show if name in result.trials]
    count = len(plant.cvs) + len(reference.margins) + len(plant.mvs) + 1
    figure = canvas(0.98 * count + 0.8)
    rows = iter(figure.subplots(count, 1, sharex=True))
    seconds, unit = duration(plant.sample_time, result.rows)
    edges = np.arange(result.rows + 1) * plant.sample_time / seconds
    for y, name in enumerate(plant.cvs):
        tag, axes = plant.tags[name], next(rows)
        low, high = tag.limits.low, tag.limits.high
        target = trials[0].setpoints[:, y]
        _lines(axes, edges, [(t, t.y[:, y]) for t in trials])
        axes.plot(0.5 * (edges[1:] + edges[:-1]), target, color=INK, linewidth=0.8, linestyle="-")
        near = [b.at for b in (low, high) if b and _close(b.at, [t.y[:, y] for t in trials])]
        cover(axes, *(t.y[:, y] for t in trials), target, np.array(near))
        bounds = (low.at if low else None, high.at if high else None)
        shade_limits(axes, *bounds)
        asked = "thin line: setpoint" if np.isfinite(target).any() else ""
        strip(axes, label(name, tag.unit), "; ".join(w for w in (tag.description, limit_words(*bounds), asked) if w))
    for g, name in enumerate(reference.margins):
        axes, declared = next(rows), plant.constraints.get(name)
        _lines(axes, edges, [(t, t.margins[:, g]) for t in trials])
        near = [0.0] if _close(0.0, [t.margins[:, g] for t in trials]) else []
        cover(axes, *(t.margins[:, g] for t in trials), np.array(near))
        shade_limits(axes, 0.0, None)
        strip(
            axes, label(name, declared.unit if declared else "-"), "true margin, which nobody measures; above 0 is safe"
        )
    for u, name in enumerate(plant.mvs):
        axes = next(rows)
        for trial in trials:
            axes.stairs(trial.u[:, u], edges, baseline=None, label=trial.controller, **pen(trial.controller).line())
        cover(axes, *(t.u[:, u] for t in trials))
        strip(axes, label(name, plant.tags[name].unit), f"MV · {plant.tags[name].description}")
        _mark_holds(axes, edges, trials)
    axes = next(rows)
    _saved(axes, edges, trials, result.cost_unit, plant.sample_time)
    axes.set_xlabel(f"time [{unit}]")
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=4)
    return figure


def _lines(axes: Axes, edges: Array, series: Sequence[tuple[Trial, Array]]) -> None:
    middle = 0.5 * (edges[1:] + edges[:-1])
    for trial, values in series:
        axes.plot(middle, values, label=trial.controller, **pen(trial.controller).line())


def _close(at: float, values: Sequence[Array]) -> bool:
    """Whether a limit is near enough to what happened to be worth the room it takes."""
    low, high = min(float(v.min()) for v in values), max(float(v.max()) for v in values)
    room = 1.0 * (high - low)
    return low - room <= at <= high + room


def _mark_holds(axes: Axes, edges: Array, trials: Sequence[Trial]) -> None:
    """A thick bar along the bottom where the advice held."""
    for trial in trials:
        for start, stop in runs(trial.held):
            axes.axvspan(edges[start], edges[stop], ymax=0.05, color=INK, linewidth=0)


def _saved(axes: Axes, edges: Array, trials: Sequence[Trial], unit: str, sample_time: float) -> None:
    """Cost so far, less the operator's: below zero is a gain."""
    base = next((t for t in trials if t.controller == "operator"), trials[0])
    hours, money = (sample_time / 3600.0, unit.removesuffix("/h")) if unit.endswith("/h") else (1.0, unit)
    for trial in trials:
        so_far = np.concatenate([[0.0], np.cumsum(trial.cost - base.cost)]) * hours
        axes.plot(edges, so_far, **pen(trial.controller).line())
    shown = [trial for trial in trials if trial.controller != "hold"] or trials  # moving nothing may cost any amount
    cover(axes, *(np.cumsum(trial.cost - base.cost) * hours for trial in shown))
    strip(axes, f"cost so far, less the {base.controller}'s [{money}]", "below zero: cheaper")


@drawn
def cost_bars(result: ClosedLoop) -> Figure:
    """Mean cost per controller with a dot per seed, and the share of rows beyond each rank of limits."""
    names: list[str] = [name for name in ("hold", "operator", "advice", "oracle") if name in result.trials]
    names += [name for name in result.trials if name not in names]
    ranks = sorted({rank for trials in result.trials.values() for t in trials for rank in t.figures.violated})
    figure = canvas(0.42 * len(names) + 1.1)
    axes = figure.subplots(1, 1 + max(1, len(ranks)), width_ratios=[2.2] + [1.0] * max(1, len(ranks)), sharey=True)
    spots = np.arange(len(names))[::-1]
    costs = np.array([result.cost(name) for name in names])
    low, high = float(costs.min()), float(costs.max())
    # Bars that start at zero hide a few per cent of a large bill; where they would, dots and means say it instead.
    zoomed = low > 0 and (high - low) < 0.3 * high
    # A controller that is many times dearer than the rest would press the others flat.
    tenfold = low > 0 and high > 20 * low
    for spot, name, cost in zip(spots, names, costs, strict=True):
        style = pen(name)
        if not (zoomed or tenfold):
            axes[0].barh(spot, cost.mean(), height=0.55, color=style.color, alpha=0.25, edgecolor=style.color)
        axes[0].plot(cost, np.full(len(cost), spot), linestyle="none", marker=style.marker, markersize=3.5,
                     markerfacecolor="white", markeredgecolor=style.color)  # fmt: skip
        axes[0].plot([cost.mean()] * 2, [spot - 0.3, spot + 0.3], color=style.color, linewidth=2.4)
        axes[0].annotate(f"{cost.mean():,.4g}", (cost.mean(), spot + 0.3), xytext=(0, 1.5), textcoords="offset points",
                         ha="center", va="bottom", fontsize=7.5)  # fmt: skip
    if tenfold:
        axes[0].set_xscale("log")
    if zoomed or tenfold:
        axes[0].plot(costs, np.repeat(spots[:, None], costs.shape[1], axis=1), color=PALE, linewidth=0.6, zorder=0)
        axes[0].margins(x=0.06)
    axes[0].set_yticks(spots, names)
    axes[0].set_ylim(-0.6, len(names) - 0.2)
    axes[0].set_title(f"mean cost [{result.cost_unit}]")
    note = "logarithmic axis" if tenfold else "axis does not start at 0" if zoomed else ""
    axes[0].set_title(note, loc="right", color=GREY)
    _violations(axes[1:], result, names, spots, ranks)
    return figure


def _violations(
    axes: Sequence[Axes], result: ClosedLoop, names: Sequence[str], spots: Array, ranks: Sequence[int]
) -> None:
    """Per rank: share of rows beyond a limit, a bar for the mean and a dot per seed."""
    if not ranks:
        axes[0].set_axis_off()
    for each, rank in zip(axes, ranks, strict=False):
        most = 1.0
        for spot, name in zip(spots, names, strict=True):
            share = 100 * np.array([trial.figures.violated[rank] for trial in result.trials[name]])
            style, most = pen(name), max(most, float(share.max()))
            each.barh(spot, share.mean(), height=0.55, color=style.color, alpha=0.25, edgecolor=style.color)
            each.plot(share, np.full(len(share), spot), linestyle="none", marker=style.marker, markersize=3.5,
                      markerfacecolor="white", markeredgecolor=style.color, clip_on=False)  # fmt: skip
        each.set_xlim(0, 1.05 * most)
        each.set_title(f"rank-{rank} limits exceeded [% of time]")
