"""Figures of a model: how far it strays, what it answers to a step, how a long free run compares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from procmodel.evaluation.figures.style import (
    ACCENT,
    ACCENT_PALE,
    GREY,
    INK,
    PALE,
    Array,
    canvas,
    cover,
    drawn,
    duration,
    label,
    pen,
    strip,
)
from procmodel.evaluation.free_run import FreeRun
from procmodel.evaluation.gains import Gains
from procmodel.evaluation.open_loop import BAND, OpenLoop
from procmodel.evaluation.step_response import StepResponse


@drawn
def open_loop_fan(result: OpenLoop, history: int = 30) -> Figure:
    """Per CV: free-running forecasts with the band of their error against what was measured.

    Args:
        history: Rows shown before each forecast.
    """
    examples = len(result.measured)
    figure = canvas(1.5 * len(result.cvs) + 0.8)
    grid = figure.subplots(len(result.cvs), examples, sharex=True, sharey="row", squeeze=False)
    seconds, unit = duration(result.step, result.rows)
    past = min(history, result.before.shape[1])
    before = -np.arange(past)[::-1] * result.step / seconds
    ahead = np.arange(1, result.rows + 1) * result.step / seconds
    for i, cv in enumerate(result.cvs):
        for k, axes in enumerate(grid[i]):
            low, high = result.forecast[k, :, i] + result.band[:, :, i]
            axes.fill_between(
                ahead,
                low,
                high,
                color=ACCENT_PALE,
                linewidth=0,
                label=f"{100 * (BAND[1] - BAND[0]):.0f} % of past errors",
            )
            axes.plot(before, result.before[k, -past:, i], color=INK, linewidth=1.0)
            axes.plot(ahead, result.measured[k, :, i], color=INK, linewidth=1.0, label="measured")
            axes.plot(ahead, result.forecast[k, :, i], label="forecast", **pen("model").line())
            axes.axvline(0.0, color=GREY, linewidth=0.7)
            strip(axes, label(cv, result.units[i]) if k == 0 else "", f"example {k + 1}" if i == 0 else "")
    for axes in grid[-1]:
        axes.set_xlabel(f"time from the last row seen [{unit}]")
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=3)
    return figure


@drawn
def error_growth(result: OpenLoop) -> Figure:
    """Per CV: error against the rows ahead, for every forecaster; the CV's own spread as the line to stay below."""
    columns = min(4, len(result.cvs))
    rows = -(-len(result.cvs) // columns)
    figure = canvas(1.9 * rows + 0.5)
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False).ravel()
    seconds, unit = duration(result.step, result.rows)
    ahead = np.arange(1, result.rows + 1) * result.step / seconds
    marks = max(1, result.rows // 6)
    for i, axes in enumerate(grid):
        if i >= len(result.cvs):
            axes.set_axis_off()
            continue
        for n, (name, rms) in enumerate(result.rms.items()):
            style = pen(name)
            axes.plot(
                ahead, rms[:, i], label=name, marker=style.marker, markersize=3.2, markevery=(marks // 2 + n, marks),
                zorder=3 - 0.1 * n, **style.line(),
            )  # fmt: skip
        axes.axhline(result.spread[i], color=INK, linewidth=0.6, linestyle=":", label="spread of what was measured")
        strip(axes, f"error of {label(result.cvs[i], result.units[i])}")
        axes.set_ylim(0, None)
        axes.set_xlabel(f"time ahead [{unit}]")
    handles, names = grid[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=5)
    return figure


@drawn
def step_response_matrix(gains: Gains, others: Sequence[StepResponse] = ()) -> Figure:
    """Rows CVs, columns MVs: the model's answer to a unit step, with the spread over operating points.

    Args:
        others: Shown beside it: the truth, a linear model.
    """
    model, plant = gains.model, gains.model.plant
    figure = canvas(1.45 * len(plant.cvs) + 0.9, width=max(6.4, min(9.6, 3.4 * len(plant.mvs) + 1.2)))
    grid = figure.subplots(len(plant.cvs), len(plant.mvs), sharex=True, squeeze=False)
    seconds, unit = duration(model.step, model.rows)
    time = np.arange(model.rows + 1) * model.step / seconds
    verdicts = {(row["mv"], row["cv"]): row for row in gains.table()}
    for u, mv in enumerate(plant.mvs):
        for y, cv in enumerate(plant.cvs):
            axes = grid[y, u]
            axes.axhline(0.0, color=PALE, linewidth=0.7)
            spread = _from_rest(model.by_point[:, :, y, u].T)
            axes.fill_between(time, spread.min(axis=1), spread.max(axis=1), color=ACCENT_PALE, linewidth=0)
            for n, response in enumerate([model, *others]):
                style = pen(response.source)
                curve = _from_rest(response.curves[:, y, u])
                marks = (len(curve) // 8 * (n + 1) // 2, max(1, len(curve) // 4))
                axes.plot(time[: len(curve)], curve, label=response.source, marker=style.marker, markersize=3,
                          markevery=marks, **style.line())  # fmt: skip
            strip(axes, f"{cv} [{_ratio_unit(plant.tags[cv].unit, plant.tags[mv].unit)}]")
            _verdict(axes, verdicts[mv, cv])
        grid[-1, u].set_xlabel(f"time after a step of {mv} [{unit}]")
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=4)
    return figure


def _ratio_unit(cv: str, mv: str) -> str:
    return f"{cv} per {mv}"


def _from_rest(curve: Array) -> Array:
    """The curve with the moment of the step in front, where nothing has answered yet."""
    return np.concatenate([np.zeros((1, *curve.shape[1:])), curve])


def _verdict(axes: Axes, row: dict[str, object]) -> None:
    """Tick or cross in words and shape: by the declared sign, and by the truth where it is known."""
    words = []
    if row["declared"] is not None:
        words.append(f"declared {str(row['declared']).replace('-', '−')} {'✓' if row['passed'] else '✗'}")
    if row["right"] is not None:
        words.append(f"truth {'✓' if row['right'] else '✗'}")
    failed = row["passed"] is False or row["right"] is False
    axes.set_title(" · ".join(words), loc="right", color=INK if failed else GREY, weight="bold" if failed else "normal")


@drawn
def free_run_figure(results: Sequence[FreeRun]) -> Figure:
    """Whole campaigns from their first samples: recorded, predicted, and the error below on the same scale."""
    figure = canvas(2.5 * len(results) + 0.4)
    heights = [1.0, 0.45] * len(results)
    grid = figure.subplots(2 * len(results), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    for k, result in enumerate(results):
        seconds, unit = duration(float(result.times[-1]), 1)
        time, (above, below) = result.times / seconds, grid[2 * k : 2 * k + 2, 0]
        above.plot(time, result.recorded, color=INK, linewidth=0.8, label="recorded")
        above.plot(time, result.predicted, label="free run", **(pen("model").line() | {"linewidth": 1.0}))
        strip(above, f"{result.campaign}: {label(result.cv, result.unit)}", f"RMSE {result.rmse:.4g} {result.unit}")
        cover(above, result.recorded, result.predicted)
        above.tick_params(axis="x", labelbottom=False)
        error = result.predicted - result.recorded
        below.axhline(0.0, color=GREY, linewidth=0.6)
        below.plot(time, error, color=ACCENT, linewidth=0.7)
        strip(below, f"free run minus recorded [{result.unit}]")
        cover(below, error)
        below.set_xlabel(f"time [{unit}]")
        above.sharex(below)
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=2)
    return figure
