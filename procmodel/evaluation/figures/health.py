"""Figures of a check: what was found, seen close up; what the archive left; which MV shows in which CV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import matplotlib.dates as mdates
import numpy as np
from matplotlib.figure import Figure

from procmodel.data.dataset import Dataset, microseconds
from procmodel.data.excitation import Answer
from procmodel.data.findings.archive import HONEST
from procmodel.data.findings.check import Archive, Finding
from procmodel.evaluation.figures.record import envelope, time_axis
from procmodel.evaluation.figures.style import ACCENT, GREY, INK, PALE, canvas, cover, drawn, label, shade_gaps, strip
from procmodel.plant import Plant

_ROWS_AROUND = 120
_BINS = 600


@drawn
def close_ups(findings: Sequence[Finding], dataset: Dataset, plant: Plant) -> Figure:
    """Each finding that has a time, on the grid with some rows around it; what was found is between the lines."""
    figure = canvas(1.3 * len(findings) + 0.4)
    rows = figure.subplots(len(findings), 1, squeeze=False)[:, 0]
    for axes, finding in zip(rows, findings, strict=True):
        assert finding.start is not None
        first, last = finding.start, finding.end or finding.start
        around = timedelta(seconds=max(_ROWS_AROUND * dataset.step, (last - first).total_seconds() / 2))
        times = dataset.times().astype(np.int64)
        inside = np.flatnonzero((times >= microseconds(first - around)) & (times <= microseconds(last + around)))
        values_T = dataset.values[inside, dataset.columns.index(finding.tag)]
        edges = mdates.date2num(dataset.times()[inside])
        edges = np.append(edges, edges[-1] + dataset.step / 86400.0)
        part = envelope(values_T, np.isfinite(values_T).astype(float), edges, _BINS)
        middle = 0.5 * (part.edges[:-1] + part.edges[1:])
        axes.fill_between(middle, part.low, part.high, color=ACCENT, alpha=0.25, linewidth=0)
        axes.plot(middle, part.mean, color=ACCENT, linewidth=1.0)
        cover(axes, part.low, part.high)
        shade_gaps(axes, part.edges, np.isnan(part.mean))
        for moment in {first, last}:
            axes.axvline(float(mdates.date2num(moment)), color=INK, linewidth=0.8, linestyle=(0, (3, 2)))
        strip(axes, label(finding.tag, plant.tags[finding.tag].unit), f"{finding.fault}: {finding.text}"[:110])
        time_axis(axes, plant)
        axes.set_xlabel("")
    return figure


@drawn
def archive_left(archive: Mapping[str, Archive], step: float) -> Figure:
    """Per tag, the share of time in rows without a sample, beside the share up to which a grid is called honest."""
    names = list(archive)
    figure = canvas(0.24 * len(names) + 0.9)
    axes = figure.subplots()
    shares = [100 * archive[name].invented for name in names]
    colors = [INK if share > 100 * HONEST else PALE for share in shares]
    axes.barh(range(len(names)), shares, color=colors, height=0.6)
    axes.axvline(100 * HONEST, color=ACCENT, linewidth=1.0, linestyle=(0, (3, 2)))
    for at, name in enumerate(names):
        honest = archive[name].honest
        words = f"sampled every {archive[name].interval:.3g} s; honest from {honest:g} s on"
        axes.annotate(words, (shares[at], at), xytext=(4, 0), textcoords="offset points", va="center", color=GREY)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, max(100.0, *shares))
    axes.set_xlabel(f"time in rows of {step:g} s without a sample [%]")
    return figure


@drawn
def answers(response: Mapping[tuple[str, str], Answer]) -> Figure:
    """Per MV-CV pair, how surely the MV's past shows in the CV's next row: Granger's F, on a logarithmic shade."""
    mvs, cvs = list(dict.fromkeys(mv for mv, _ in response)), list(dict.fromkeys(cv for _, cv in response))
    figure = canvas(0.36 * len(mvs) + 1.0, width=1.4 * len(cvs) + 2.4)
    axes = figure.subplots()
    shade = np.array([[np.log10(max(response[mv, cv].f, 1.0)) for cv in cvs] for mv in mvs])
    axes.imshow(shade, cmap="Greys", vmin=0.0, vmax=4.0, aspect="auto")
    for i, mv in enumerate(mvs):
        for j, cv in enumerate(cvs):
            color = "white" if shade[i, j] > 2.2 else INK
            sure = response[mv, cv].f > 5.0
            text = f"{response[mv, cv].f:,.0f}" if sure else "not shown"
            axes.annotate(text, (j, i), ha="center", va="center", color=color)
    axes.set_xticks(range(len(cvs)), cvs)
    axes.set_yticks(range(len(mvs)), mvs)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(length=0)
    return figure
