"""Figures of merit: pure functions of arrays. A gap is NaN and counts for nothing."""

from procmodel.metrics.bootstrap import BlockInterval, block_interval, block_length
from procmodel.metrics.calibration import conformal_quantile, coverage
from procmodel.metrics.closed_loop import LimitTrace, LoopFigures, RatioInterval, excess, loop_figures, ratio_interval
from procmodel.metrics.forecast import persistence_rmse, rmse
from procmodel.metrics.gain import GainFigures, judge_gains
from procmodel.metrics.step_response import StepFigures, step_figures

__all__ = [
    "BlockInterval",
    "GainFigures",
    "LimitTrace",
    "LoopFigures",
    "RatioInterval",
    "StepFigures",
    "block_interval",
    "block_length",
    "conformal_quantile",
    "coverage",
    "excess",
    "judge_gains",
    "loop_figures",
    "persistence_rmse",
    "ratio_interval",
    "rmse",
    "step_figures",
]
