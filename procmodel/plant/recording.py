"""What a recorded number is, and what one cell of the grid is to tell of it."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What the recorded numbers of a tag mean."""

    MEASUREMENT = "measurement"
    ANGLE = "angle"  # goes round: 359 deg and 1 deg are 2 deg apart
    TOTALIZER = "totalizer"  # a counter that only rises; the tag is its rate
    LABORATORY = "laboratory"  # rare samples that hold, each with its age


class Summary(StrEnum):
    """What one cell of the grid tells of a tag; names of OPC UA Part 13 in brackets."""

    TIME_AVERAGE = "time_average"  # mean of the good part (TimeAverage2)
    BRIDGED_AVERAGE = "bridged_average"  # bad samples are passed over (TimeAverage)
    INTERPOLATED = "interpolated"  # at the cell's start, bad samples passed over (Interpolative)
    PREVIOUS = "previous"  # newest value at the cell's start; looks at nothing later
    LAST = "last"  # newest value in the cell, or held from before it
    SAMPLE_MEAN = "sample_mean"  # plain mean of the cell's own samples (Average); the time average where it has none
    MINIMUM = "minimum"  # with the values at both edges (Minimum2)
    MAXIMUM = "maximum"  # likewise (Maximum2)
