"""Figure of a backtest: who moved what, what each stretch cost, and what following the advice was worth to whom."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from procmodel.evaluation.backtest import Backtest
from procmodel.evaluation.backtest_words import CAVEAT
from procmodel.evaluation.figures.style import (
    ACCENT,
    DIM,
    GREY,
    INK,
    PALE,
    Pen,
    canvas,
    cover,
    drawn,
    duration,
    label,
    pen,
    strip,
)
from procmodel.metrics import BlockInterval
from procmodel.plant.words import many

JUDGES = (
    Pen(color=ACCENT, dash="-", width=1.2, marker="o"),
    Pen(color=INK, dash=(0, (1, 1.2)), width=1.2, marker="^"),
    Pen(color=DIM, dash="-.", width=1.2, marker="v"),
)
"""By method, in the order in which they are first named."""


@drawn
def backtest_figure(found: Backtest) -> Figure:
    """Recorded and advised MVs tick by tick, the cost of each episode, and the benefit with its intervals."""
    plant, methods = found.plant, list(dict.fromkeys(judge.method for judge in found.judges))
    judged = found.has_task and bool(methods)
    count = len(plant.mvs) + judged
    bars = _bars(found, methods) if judged else []
    heights = [1.0] * count + ([0.34 * (len(bars) + 1)] if bars else [])
    figure = canvas(1.15 * sum(heights) + 1.0)
    axes = np.atleast_1d(figure.subplots(len(heights), 1, height_ratios=heights))
    episodes = len(found.starts)
    seconds, unit = duration(found.step, found.rows * episodes)
    length = found.rows * found.step / seconds
    for u, name in enumerate(plant.mvs):
        _moves(axes[u], found, u, length)
        note = f"agree within ±{found.tolerance[u]:.3g}: {100 * found.agrees[:, :, u].mean():.0f} % of ticks"
        strip(axes[u], label(name, plant.tags[name].unit), note)
    if judged:
        _costs(axes[len(plant.mvs)], found, methods, length)
        strip(axes[len(plant.mvs)], f"mean cost of each episode [{found.unit}]", "as recorded, and as judged")
    for each in axes[1:count]:
        each.sharex(axes[0])
    axes[count - 1].set_xlabel(f"judged time, one episode after the other [{unit}]")
    if bars:
        _forest(axes[-1], bars, found.unit)
    shown = [each.get_legend_handles_labels() for each in axes[:count]]
    pairs = {name: handle for handles, names in shown for handle, name in zip(handles, names, strict=True)}
    figure.legend(list(pairs.values()), list(pairs), loc="outside upper left", ncols=5)
    return figure


def _moves(axes: Axes, found: Backtest, u: int, length: float) -> None:
    """One MV: the operator's as steps that break between episodes, the advice as marks; filled where they agree."""
    episodes, ticks = found.made.shape[:2]
    width = length / ticks
    for n in range(episodes):
        edges = n * length + np.arange(ticks + 1) * width
        name = "operator" if n == 0 else None
        axes.stairs(found.made[n, :, u], edges, baseline=None, label=name, **pen("operator").line())
        if n:
            axes.axvline(n * length, color=PALE, linewidth=0.6)
    at = ((np.arange(episodes)[:, None] * length) + (np.arange(ticks) + 0.5) * width).ravel()
    advised, agrees = found.advised[:, :, u].ravel(), found.agrees[:, :, u].ravel()
    for which, face, words in ((agrees, ACCENT, "advice, agrees"), (~agrees, "white", "advice, differs")):
        axes.plot(at[which], advised[which], linestyle="none", marker="o", markersize=3.2, markerfacecolor=face,
                  markeredgecolor=ACCENT, markeredgewidth=0.8, label=words)  # fmt: skip
    held = np.isnan(advised)
    cover(axes, found.made[:, :, u], advised)
    if held.any():
        floor = np.full(int(held.sum()), axes.get_ylim()[0])
        axes.plot(at[held], floor, linestyle="none", marker="x", markersize=4, color=INK, label="hold", clip_on=False)


def _costs(axes: Axes, found: Backtest, methods: list[str], length: float) -> None:
    middle = (np.arange(len(found.starts)) + 0.5) * length
    axes.plot(middle, found.recorded, linestyle="none", label="recorded", marker="s", markersize=4.5,
              markerfacecolor=GREY, markeredgecolor=GREY)  # fmt: skip
    for judge, cost in zip(found.judges, found.followed, strict=True):
        style = _style(methods, judge.method)
        axes.plot(middle, cost, linestyle="none", label=f"followed, by {judge.method}", marker=style.marker,
                  markersize=3.8, markerfacecolor="white", markeredgecolor=style.color)  # fmt: skip
    axes.vlines(middle, found.followed.min(axis=0), found.recorded, color=PALE, linewidth=0.8, zorder=0)
    cover(axes, found.recorded, found.followed)


Bar = tuple[str, BlockInterval, Pen]


def _bars(found: Backtest, methods: list[str]) -> list[Bar]:
    """Benefit by method, by matching and of all judges together, where each can be told."""
    bars: list[Bar] = []
    for method in methods:
        if (interval := found.worth(method)) is not None:
            bars.append((f"by {method}", interval, _style(methods, method)))
    if (matched := found.by_matching()) is not None:
        bars.append(("by matching in the record", matched, pen("operator")))
    if (whole := found.worth()) is not None:
        bars.append(("all judges", whole, pen("advice")))
    return bars


def _forest(axes: Axes, bars: list[Bar], unit: str) -> None:
    for spot, (_, interval, style) in enumerate(reversed(bars)):
        axes.plot([interval.low, interval.high], [spot, spot], color=style.color, linewidth=2.0 if spot == 0 else 1.2)
        axes.plot(interval.mean, spot, marker=style.marker, color=style.color, markersize=6, markerfacecolor="white")
        words = f"{interval.mean:.3g} ({interval.low:.3g} to {interval.high:.3g})"
        axes.annotate(words, (interval.mean, spot), xytext=(0, 5), textcoords="offset points", ha="center", size=7.5)
    axes.axvline(0.0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(bars)), [name for name, *_ in reversed(bars)])
    axes.set_ylim(-0.5, len(bars) - 0.2)
    axes.margins(x=0.08)
    confidence, block = bars[-1][1].confidence, bars[-1][1].block
    axes.set_title(f"benefit: recorded cost less that of following [{unit}]")
    axes.set_title(
        f"{confidence:.0%} block-bootstrap intervals, {many(block, 'episode')} a block", loc="right", color=GREY
    )
    axes.set_xlabel(CAVEAT)


def _style(methods: list[str], method: str) -> Pen:
    return JUDGES[methods.index(method) % len(JUDGES)]
