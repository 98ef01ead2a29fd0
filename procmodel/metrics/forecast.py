"""Errors of a free run, per horizon step and CV. Shapes: N forecasts, H horizon steps, Y CVs; NaN is a gap."""

from __future__ import annotations

import numpy as np


def rmse(forecast_NHY: np.ndarray, truth_NHY: np.ndarray, std_Y: np.ndarray | None = None) -> np.ndarray:
    """Root mean square error over forecasts, [H, Y] [unit]; divided by `std_Y` where given [-].

    What is not known on either side does not count; NaN where nothing is known.
    """
    square = (forecast_NHY - truth_NHY) ** 2
    known = np.isfinite(square)
    count = known.sum(axis=0)
    total = np.where(known, square, 0.0).sum(axis=0)
    error_HY = np.where(count > 0, np.sqrt(total / np.maximum(count, 1)), np.nan)
    return np.asarray(error_HY if std_Y is None else error_HY / std_Y)


def persistence_rmse(last_NY: np.ndarray, truth_NHY: np.ndarray, std_Y: np.ndarray | None = None) -> np.ndarray:
    """Error of the forecast "it stays as it was last seen", [H, Y]: the least that a model must beat."""
    return rmse(np.broadcast_to(last_NY[:, None], truth_NHY.shape), truth_NHY, std_Y)
