"""Runs of one value: stuck sensors and saturation. Shapes: T rows of one tag on the grid, NaN in a gap."""

from __future__ import annotations

import numpy as np

Run = tuple[int, int]
"""Rows `[start, stop)`."""

STUCK_ROWS = 60
SATURATED_ROWS = 5
_SURPRISE = 7.0


def runs(flag_T: np.ndarray) -> list[Run]:
    """Runs of True, `[start, stop)`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flag_T.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _levels(values_T: np.ndarray) -> np.ndarray:
    """Starts of the runs of one value, [R + 1] with the end; a gap is a run of its own."""
    same = (values_T[1:] == values_T[:-1]) | (np.isnan(values_T[1:]) & np.isnan(values_T[:-1]))
    return np.concatenate([[0], np.flatnonzero(~same) + 1, [len(values_T)]])


def stuck(values_T: np.ndarray, fewest: int = STUCK_ROWS) -> list[Run]:
    """Stretches in which a sensor repeats itself to the last bit for longer than it is used to.

    A coarse sensor repeats itself every day. If its runs of one value end by chance, their lengths are exponential and
    the longest of N runs is about `mean * ln N`; it exceeds `mean * (ln N + 7)` in one record of a thousand (the tail
    of Gumbel's law, e^-7). A run is called stuck from there on, and never below `fewest`: 60 rows, since a level or a
    room temperature may well rest for some rows.

    Args:
        values_T: Averages on the grid; runs do not cross a gap.
    """
    if not len(values_T):
        return []
    starts = _levels(values_T)
    lengths = np.diff(starts)
    known = np.isfinite(values_T[starts[:-1]])
    if not known.any():
        return []
    longest = np.sort(lengths[known])[::-1]
    # The runs in question must not set their own standard: those at the top are left out until one fits.
    for leave in range(len(longest)):
        rest = longest[leave + 1 :]
        usual = float(rest.mean()) * (np.log(len(rest)) + _SURPRISE) if len(rest) else 0.0
        if longest[leave] < max(fewest, usual):
            break
    else:
        leave = len(longest)
    if not leave:
        return []
    bound = longest[leave - 1]
    return [(int(starts[i]), int(starts[i + 1])) for i in np.flatnonzero(known & (lengths >= bound))]


def saturated(
    values_T: np.ndarray, low: float | None = None, high: float | None = None, fewest: int = SATURATED_ROWS
) -> tuple[list[Run], list[Run]]:
    """Stretches in which a sensor stands at the low or the high end of its range.

    An end that is not known is taken from the record, and then only where the value comes back to it: a signal that
    is cut off meets the very same extreme in at least two separate runs of `fewest` rows, which a signal with noise
    never does.

    Args:
        low, high: Instrument range [unit]; within one millionth of the span counts as the end.
        fewest: Rows in a run; 5, since a peak may touch an end for a moment.

    Returns:
        Runs at the low end, and at the high end.
    """
    known_T = values_T[np.isfinite(values_T)]
    if not len(known_T) or known_T.min() == known_T.max():
        return [], []
    span = (high - low) if low is not None and high is not None else float(np.ptp(known_T))
    found = []
    for end, sign, seen in ((low, -1.0, known_T.min()), (high, 1.0, known_T.max())):
        at = seen if end is None else end
        there = [(a, b) for a, b in runs(sign * (values_T - at) >= -1e-6 * span) if b - a >= fewest]
        found.append(there if end is not None or len(there) >= 2 else [])
    return found[0], found[1]
