"""Figures of the record: what the historian held, and what the grid made of it. A gap stays a gap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

import matplotlib.dates as mdates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from procmodel.data.dataset import Dataset
from procmodel.evaluation.figures.style import (
    ACCENT,
    GREY,
    INK,
    PALE,
    Array,
    canvas,
    cover,
    drawn,
    label,
    runs,
    shade_gaps,
    shade_limits,
    strip,
)
from procmodel.evaluation.raw import RawSamples
from procmodel.plant import Plant, Role

BINS = 450  # what a page can show; more only makes the file larger


def zone(plant: Plant) -> tuple[tzinfo, str]:
    """Time zone for people, and its name."""
    if plant.history is not None and plant.history.timezone:
        return ZoneInfo(plant.history.timezone), plant.history.timezone
    return UTC, "UTC"


def time_axis(axes: Axes, plant: Plant) -> None:
    """Dates in the plant's own time, written short."""
    tz, name = zone(plant)
    locator = mdates.AutoDateLocator(tz=tz, minticks=4, maxticks=10)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator, tz=tz))
    axes.set_xlabel(f"time [{name}]")


@dataclass(frozen=True, kw_only=True, eq=False)
class Envelope:
    """A long series in few bins: `edges` [N + 1] [d]; `low`, `mean`, `high`, `bad` [N], NaN where a bin is empty."""

    edges: Array
    low: Array
    mean: Array
    high: Array
    bad: Array


def envelope(values_T: Array, good_T: Array, edges_T1: Array, bins: int) -> Envelope:
    """Smallest, mean and largest value of each bin, and the share of it that was bad [-]; `edges_T1` are the rows'."""
    cuts = np.unique(np.linspace(0, len(values_T), min(bins, len(values_T)) + 1).round().astype(int))
    starts, sizes = cuts[:-1], np.diff(cuts)
    known = np.isfinite(values_T)
    count = np.add.reduceat(known.astype(float), starts)
    some = count > 0
    filled = np.where(known, values_T, 0.0)
    mean = np.where(some, np.add.reduceat(filled, starts) / np.maximum(count, 1), np.nan)
    low = np.where(some, np.minimum.reduceat(np.where(known, values_T, np.inf), starts), np.nan)
    high = np.where(some, np.maximum.reduceat(np.where(known, values_T, -np.inf), starts), np.nan)
    bad = 1.0 - np.add.reduceat(np.clip(np.nan_to_num(good_T), 0.0, 1.0), starts) / sizes
    return Envelope(edges=edges_T1[cuts], low=low, mean=mean, high=high, bad=bad)


@drawn
def history_overview(dataset: Dataset, plant: Plant, most: int = 12) -> Figure:
    """Every tag over the whole record: mean and range per bin, limits, gaps hatched, share of bad time below."""
    names = list(plant.columns)[:most]
    figure = canvas(0.78 * len(names) + 0.16 * len(names) + 1.0)
    heights = [1.0] * len(names) + [0.14 * len(names) + 0.1]
    axes = figure.subplots(len(names) + 1, 1, sharex=True, gridspec_kw={"height_ratios": heights})
    for at, name in enumerate(names):
        tag = plant.tags[name]
        strip(axes[at], label(name, tag.unit), f"{tag.role} · {tag.description}")
        parts = _parts(dataset, at)
        for part in parts:
            _band(axes[at], part, ACCENT if tag.role is Role.CV else INK)
        cover(axes[at], *(p.low for p in parts), *(p.high for p in parts))
        if tag.role is Role.CV:
            low, high = tag.limits.low, tag.limits.high
            shade_limits(axes[at], low.at if low else None, high.at if high else None)
        for part in parts:
            shade_gaps(axes[at], part.edges, np.isnan(part.mean))
        axes[at].tick_params(axis="x", length=0)
    _bad_share(axes[-1], dataset, names)
    axes[-1].set_xlim(min(p.edges[0] for p in parts), max(p.edges[-1] for p in parts))
    time_axis(axes[-1], plant)
    return figure


def _parts(dataset: Dataset, column: int) -> list[Envelope]:
    """One envelope per stretch: nothing is drawn across the border of two."""
    return [
        envelope(
            dataset.values[s.start : s.stop, column],
            dataset.good_fraction[s.start : s.stop, column],
            _edges(dataset, s.start, s.stop),
            max(8, round(BINS * (s.stop - s.start) / max(dataset.rows, 1))),
        )
        for s in dataset.stretches
        if s.stop > s.start
    ]


def _edges(dataset: Dataset, start: int, stop: int) -> Array:
    """Borders of the rows `[start, stop)`, one more than rows, as matplotlib counts days."""
    first = float(mdates.date2num(dataset.times()[start]))
    return first + np.arange(stop - start + 1) * dataset.step / 86400.0


def _band(axes: Axes, part: Envelope, color: str) -> None:
    middle = 0.5 * (part.edges[:-1] + part.edges[1:])
    axes.fill_between(middle, part.low, part.high, color=color, alpha=0.22, linewidth=0)
    axes.plot(middle, part.mean, color=color, linewidth=0.8)


def _bad_share(axes: Axes, dataset: Dataset, names: Sequence[str]) -> None:
    """One line per tag: from white (all of the bin good) to black (none of it)."""
    for at in range(len(names)):
        for part in _parts(dataset, at):
            x = part.edges
            for shade, low, high in ((PALE, 0.02, 0.25), (GREY, 0.25, 0.75), (INK, 0.75, 1.01)):
                spans = [(x[a], x[b] - x[a]) for a, b in runs((part.bad > low) & (part.bad <= high))]
                axes.broken_barh(spans, (at - 0.4, 0.8), facecolors=shade, linewidth=0)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names, fontsize=6.5)
    axes.set_title("bad share of time [-]")
    axes.set_title("pale: 2 to 25 %   grey: to 75 %   black: above", loc="right", color=GREY)
    axes.tick_params(axis="y", length=0)


@drawn
def conditioning(
    raw: dict[str, RawSamples], dataset: Dataset, plant: Plant, start: np.datetime64, end: np.datetime64
) -> Figure:
    """Raw samples beside the grid that was made of them, for a short span of time.

    Args:
        raw: By tag, the tags to show.
        start, end: What to show, UTC.
    """
    figure = canvas(1.35 * len(raw) + 0.7)
    rows = figure.subplots(len(raw), 1, sharex=True, squeeze=False)[:, 0]
    times = dataset.times()
    inside = np.flatnonzero((times >= start) & (times < end))
    edges = _edges(dataset, inside[0], inside[-1] + 1)
    for axes, (name, samples) in zip(rows, raw.items(), strict=True):
        values = dataset.values[inside, dataset.columns.index(name)]
        seen = (samples.time >= start) & (samples.time < end)
        good, bad, when = seen & samples.good, seen & ~samples.good, mdates.date2num(samples.time)
        axes.stairs(values, edges, color=ACCENT, linewidth=1.5, baseline=None, label="grid: average of the good part")
        axes.plot(
            when[good], samples.value[good], linestyle="none", marker="o", markersize=2.8, markerfacecolor="white",
            markeredgecolor=INK, markeredgewidth=0.6, label="good sample",
        )  # fmt: skip
        cover(axes, values, samples.value[good], pad=0.15)
        floor = np.full(int(bad.sum()), axes.get_ylim()[0])
        (crosses,) = axes.plot(
            when[bad], floor, linestyle="none", marker="x", markersize=5, color=INK, clip_on=False,
            label="bad sample (on the axis)",
        )  # fmt: skip
        crosses.set_in_layout(False)  # where there is none, its empty box would pull the layout to the corner
        shade_gaps(axes, edges, np.isnan(values))
        tag = plant.tags[name]
        strip(axes, label(name, tag.unit), f"{tag.description}; {good.sum()} good and {bad.sum()} bad samples")
    time_axis(rows[-1], plant)
    handles, names = rows[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=3)
    return figure
