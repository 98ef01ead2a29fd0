"""Raw data and results that OPC UA Part 13 (Aggregates) publishes in Annex A.

Sources: version 1.04, A.1, A.2.2, A.4.2 and A.5.2 (reference.opcfoundation.org/v104/Core/docs/Part13); for
Interpolative and TimeAverage the tables of version 1.05, for which its Annex A points to
opcfoundation.org/UA/schemas/1.05/AggregateExamples.csv; for TimeAverage2 of Historian 3 issue 6227 of
mantis.opcfoundation.org, fixed in 1.05. Seconds count from 12:00:00, a row stands every 5 s; None is "BadNoData".
"""

from __future__ import annotations

from dataclasses import dataclass

GOOD, UNCERTAIN, BAD = 0, 1, 2
EVERY, END = 5, 100
_VALUES = ((2, 10), (25, 20), (28, 25), (39, 30), (48, 40), (52, 50), (72, 60), (83, 70), (86, 80), (90, 90))


@dataclass(frozen=True, kw_only=True)
class Example:
    """A historian of Annex A.1: samples (time [s], value, quality), and how they are to be read."""

    samples: tuple[tuple[float, float, int], ...]
    stepped: bool = False
    uncertain_is_bad: bool = False
    sloped_extrapolation: bool = False


def _irregular(values: tuple[tuple[int, int], ...]) -> tuple[tuple[float, float, int], ...]:
    """With the bad samples at 12:00:00 and 12:00:42, and the uncertain one at 12:01:17, of Historians 2, 3 and 5."""
    samples = [(float(t), float(v), GOOD) for t, v in values]
    return tuple(sorted([*samples, (0.0, 0.0, BAD), (42.0, 0.0, BAD), (77.0, 70.0, UNCERTAIN)]))


EXAMPLES = {
    1: Example(samples=tuple((10.0 * i, 10.0 * i, {0: BAD, 4: BAD, 7: UNCERTAIN}.get(i, GOOD)) for i in range(10))),
    2: Example(samples=_irregular(_VALUES), uncertain_is_bad=True, sloped_extrapolation=True),
    3: Example(samples=_irregular(_VALUES), stepped=True, uncertain_is_bad=True),
    5: Example(
        samples=_irregular(
            ((2, 10), (25, 20), (28, 10), (39, 30), (48, 30), (52, 50), (72, 30), (83, 70), (86, 80), (90, 70))
        )
    ),
}

INTERPOLATIVE = {
    1: (None, None, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 85, 90, 90),
    2: (
        None, 11.304, 13.478, 15.652, 17.826, 20, 25.909, 28.182, 31.111, 36.667, 45, 51.5, 54, 56.5, 59, 62.727,
        67.273, 76.667, 90, 102.5,
    ),
    3: (None, 10, 10, 10, 10, 20, 25, 25, 30, 30, 40, 50, 50, 50, 50, 60, 60, 70, 90, 90),
    5: (
        None, 11.3043, 13.4783, 15.6522, 17.8261, 20, 13.6364, 22.7273, 30, 30, 40, 47, 42, 37, 32, 54, 70, 76.6667,
        70, 70,
    ),
}  # fmt: skip

_SLOPED = (
    10.652, 12.391, 14.565, 16.739, 18.913, 23.682, 27.045, 29.384, 33.889, 40, 49.45, 52.75, 55.25, 57.75, 60.618, 65,
    70.515, 83.667,
)  # fmt: skip
TIME_AVERAGE = {  # slopes even where the historian steps (5.4.3.6)
    1: (
        None, None, 12.5, 17.5, 22.5, 27.5, 32.5, 37.5, 42.5, 47.5, 52.5, 57.5, 62.5, 67.5, 72.5, 77.5, 82.5, 87.5,
        90, None,
    ),
    2: (*_SLOPED, 96.25, None),
    3: (*_SLOPED, 90, None),
    5: (
        10.6522, 12.3913, 14.5652, 16.7391, 18.913, 13.7273, 18.1818, 27.0909, 30, 32, 47.1, 44.5, 39.5, 34.5, 37.6,
        66.8, 71.3333, 75.6667, 70, None,
    ),
}  # fmt: skip

TIME_AVERAGE_2 = {
    1: (
        None, None, 12.5, 17.5, 22.5, 27.5, 30, 30, None, None, 52.5, 57.5, 62.5, 67.5, 72.5, 77.5, 82.5, 87.5, 90,
        None,
    ),
    # The rows from 12:01:15 on were not to be had.
    2: (10.652, 12.391, 14.565, 16.739, 18.913, 23.682, 27.046, 29.273, 30, 42.5, 49.45, 52.75, 55.25, 57.75, 59.8),
    # The rows from 12:01:20 on were not to be had. Version 1.04 has no value ("Bad, Calculated") at 12:00:40, 12:00:45
    # and 12:01:15, where half of the time or more is bad.
    3: (10, 10, 10, 10, 10, 22, 25, 26, 30, 40, 46, 50, 50, 50, 56, 60),
}  # fmt: skip
