"""What a historian leaves out: exception reporting at the interface, swinging door at the archive.

A scan that is left out lies within `2 * exception + door` of the straight line through what was kept: it differs by at
most `exception` from a value that was sent, so does the end of that flat stretch, and the door adds its own deviation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def exception_report(times: Sequence[float], values: Sequence[float], deviation: float, longest: float) -> list[int]:
    """Indices of the scans that the interface sends on: changes above `deviation`, each with the scan before it.

    Args:
        times: Rising.
        longest: A scan is sent at the latest this long after the one before [unit of times].
    """
    if not times:
        return []
    sent = [0]
    for i in range(1, len(times)):
        last = sent[-1]
        if abs(values[i] - values[last]) > deviation or times[i] - times[last] >= longest:
            if i - 1 > last:
                sent.append(i - 1)
            sent.append(i)
    if sent[-1] != len(times) - 1:
        sent.append(len(times) - 1)
    return sent


def swinging_door(times: Sequence[float], values: Sequence[float], deviation: float, longest: float) -> list[int]:
    """Indices of the values that the archive keeps; the others lie within `deviation` of the lines through them.

    From the last kept value a door opens towards each following one (plus and minus `deviation`). The first value seen
    past the closed part of the door makes the one before it be kept (Bristol 1990, US patent 4 669 097).
    """
    if not times:
        return []
    kept, pivot, before = [0], 0, 0
    lowest, highest = -np.inf, np.inf
    for i in range(1, len(times)):
        run = times[i] - times[pivot]
        slope = (values[i] - values[pivot]) / run
        if before > pivot and (slope < lowest or slope > highest or run > longest):
            kept.append(before)
            pivot, lowest, highest = before, -np.inf, np.inf
            run = times[i] - times[pivot]
        lowest = max(lowest, (values[i] - deviation - values[pivot]) / run)
        highest = min(highest, (values[i] + deviation - values[pivot]) / run)
        before = i
    if before > kept[-1]:
        kept.append(before)
    return kept


def archived(times: Sequence[float], values: Sequence[float], deviation: float, longest: float) -> list[int]:
    """Indices that reach the archive; every scan lies within `deviation` of the straight line through them."""
    sent = exception_report(times, values, deviation / 4.0, longest)
    kept = swinging_door([times[i] for i in sent], [values[i] for i in sent], deviation / 2.0, longest)
    return [sent[i] for i in kept]
