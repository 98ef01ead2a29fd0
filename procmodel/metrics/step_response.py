"""What an engineer reads off a step response: gain, dead time, settling time, inverse response."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class StepFigures:
    """One MV-CV pair.

    Attributes:
        gain: Final change per unit of step [unit of the CV / unit of the MV].
        dead_time: Time until the curve has come 5 % of its way and stays on that side [s]; NaN without an answer.
        settling_time: Time from the step after which it stays within 5 % of its end [s]; NaN if that is not so over
            the last fifth of the horizon: then the gain, too, is only what the horizon shows.
        inverse: Largest excursion against the final direction, as a share of the final change [-]; 0 without one.
        overshoot: Largest excursion beyond the end, as a share of the final change [-].
    """

    gain: float
    dead_time: float
    settling_time: float
    inverse: float
    overshoot: float


def step_figures(response_H: np.ndarray, step: float, sample_time: float, band: float = 0.05) -> StepFigures:
    """Read a response that starts from rest.

    Args:
        response_H: Deviation from rest at 1, 2, ... H sample times after the step [unit of the CV].
        step: Size of the step in the MV [unit of the MV], not zero.
        sample_time: [s].
        band: Share of the final change that counts as having left, and as having arrived.
    """
    curve = np.concatenate([[0.0], response_H])
    time = np.arange(len(curve)) * sample_time
    tail = max(1, len(response_H) // 20)  # the end is a mean, so that noise in its last point does not set it
    end = float(curve[-tail:].mean())
    if not np.isfinite(curve).all() or abs(end) <= 1e-12 * max(1e-300, float(np.abs(curve).max())) or end == 0.0:
        nan = float("nan")
        return StepFigures(gain=end / step, dead_time=nan, settling_time=nan, inverse=0.0, overshoot=0.0)
    share = curve / end
    outside = np.flatnonzero(np.abs(share - 1.0) > band)
    last_out = int(outside[-1]) if len(outside) else 0
    # A ramp, too, lies within 5 % of its end at its end: it must have stayed there over the last fifth.
    settled = last_out <= 0.8 * (len(curve) - 1)
    return StepFigures(
        gain=end / step,
        dead_time=_crossing(share, time, band, int(np.flatnonzero(share <= band)[-1])),
        settling_time=_arrival(share, time, band, last_out) if settled else float("nan"),
        inverse=max(0.0, -float(share.min())),
        overshoot=max(0.0, float(share.max()) - 1.0),
    )


def _crossing(share: np.ndarray, time: np.ndarray, level: float, before: int) -> float:
    """When the curve passes a level between sample `before` and the next, on the straight line between."""
    if before + 1 >= len(share):
        return float(time[-1])
    rise = share[before + 1] - share[before]
    return float(time[before] + (time[before + 1] - time[before]) * (level - share[before]) / rise)


def _arrival(share: np.ndarray, time: np.ndarray, band: float, last_out: int) -> float:
    """When the curve enters the band for good."""
    edge = 1.0 - band if share[last_out] < 1.0 else 1.0 + band
    return _crossing(share, time, edge, last_out)
