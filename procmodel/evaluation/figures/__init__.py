"""Figures for the report: SVG text, greyscale-safe, every axis with its name and unit, gaps left as gaps."""

from procmodel.evaluation.figures.forecasts import error_growth, free_run_figure, open_loop_fan, step_response_matrix
from procmodel.evaluation.figures.loops import closed_loop_trends, cost_bars
from procmodel.evaluation.figures.now import advice_figure
from procmodel.evaluation.figures.record import conditioning, history_overview

__all__ = [
    "advice_figure",
    "closed_loop_trends",
    "conditioning",
    "cost_bars",
    "error_growth",
    "free_run_figure",
    "history_overview",
    "open_loop_fan",
    "step_response_matrix",
]
