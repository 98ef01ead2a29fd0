"""Split: which rows train, which stop training, which judge; by campaign or by time, never at random."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from procmodel.data.dataset import Dataset, Stretch, moment
from procmodel.errors import DatasetError
from procmodel.plant import Plant
from procmodel.plant.words import many

TRAIN, VALIDATION, TEST = range(3)
_NAMES = ("training", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Stretches of one dataset by use, at least a gap apart wherever they follow each other in time."""

    train: tuple[Stretch, ...]
    validation: tuple[Stretch, ...]
    test: tuple[Stretch, ...]


def split(dataset: Dataset, plant: Plant, gap_rows: int) -> Parts:
    """Part a dataset as `plant.split` says.

    The test part is the named campaigns, or a share from the end of each campaign; the validation part a share of
    what is left, from its ends. A campaign too short to be cut stays whole in the earlier part; where none can be cut,
    the last ones go whole to the later part. The gap is taken from the earlier use (training before validation before
    test), so that no window (history and horizon) of one part shares a row with another.

    Args:
        gap_rows: Rows of history plus horizon, L + K: the least distance between parts and the least useful length.

    Raises:
        DatasetError: A campaign is not known, or a part would be shorter than `gap_rows`.
    """
    rule = plant.split
    if isinstance(rule.test, list):
        rest, test = _by_name(dataset.stretches, rule.test)
    else:
        rest, test = _by_share(dataset.stretches, rule.test, gap_rows)
    train, validation = _by_share(rest, rule.validation, gap_rows)
    labelled = [(s, use) for use, part in enumerate((train, validation, test)) for s in part]
    labelled = _apart(sorted(labelled, key=lambda piece: piece[0].start), dataset, gap_rows)
    parts = [tuple(s for s, use in labelled if use == wanted) for wanted in (TRAIN, VALIDATION, TEST)]
    asked = (True, True, bool(rule.test))
    for name, part, needed in zip(_NAMES, parts, asked, strict=True):
        longest = max((s.rows for s in part), default=0)
        if needed and longest < gap_rows:
            raise DatasetError(
                f"The {name} part would have {many(longest, 'row')} in one piece; {gap_rows} are needed (history and "
                f"horizon, {gap_rows * dataset.step:g} s). The dataset has {many(dataset.rows, 'row')} in "
                f"{many(len(dataset.stretches), 'stretch')}, of which test={rule.test} and "
                f"validation={rule.validation} are held back. Record more, shorten training.window or "
                "training.rollout, or change split in the plant file."
            )
    return Parts(train=parts[TRAIN], validation=parts[VALIDATION], test=parts[TEST])


def _by_name(stretches: tuple[Stretch, ...], names: list[str]) -> tuple[tuple[Stretch, ...], tuple[Stretch, ...]]:
    known = [s.name for s in stretches]
    for name in names:
        if name not in known:
            raise DatasetError(
                f"split.test names campaign {name!r}, which the dataset does not have; known: {', '.join(known)}. "
                "Correct split.test in the plant file."
            )
    return tuple(s for s in stretches if s.name not in names), tuple(s for s in stretches if s.name in names)


def _by_share(
    stretches: tuple[Stretch, ...], share: float, gap_rows: int
) -> tuple[tuple[Stretch, ...], tuple[Stretch, ...]]:
    """(earlier, later): a share of each stretch's end, or, if none is long enough for that, of the last ones whole."""
    if share == 0:
        return stretches, ()
    earlier, later, cut = [], [], False
    for s in stretches:
        tail = round(share * s.rows)
        if tail >= gap_rows and s.rows - tail - gap_rows >= gap_rows:
            earlier.append(dataclasses.replace(s, stop=s.stop - tail - gap_rows))
            later.append(dataclasses.replace(s, start=s.stop - tail))
            cut = True
        else:
            earlier.append(s)
    wanted = share * sum(s.rows for s in stretches)
    while not cut and len(earlier) > 1 and sum(s.rows for s in later) < wanted:
        later.insert(0, earlier.pop())
    return tuple(earlier), tuple(later)


def _apart(pieces: list[tuple[Stretch, int]], dataset: Dataset, gap_rows: int) -> list[tuple[Stretch, int]]:
    """Pieces in order of time, each at least the gap from a neighbour of another use, with the time each begins."""
    times_T = dataset.times().astype(np.int64)
    out = list(pieces)
    for i in range(len(out)):
        for j in range(i + 1, len(out)):  # beyond the next one too: a short piece between may vanish
            (a, use_a), (b, use_b) = out[i], out[j]
            if a.rows <= 0 or b.rows <= 0:
                continue
            between = round((times_T[b.start] - times_T[a.stop - 1]) / (dataset.step * 1e6)) - 1
            if between >= gap_rows:
                break
            if use_a < use_b:
                out[i] = (dataclasses.replace(a, stop=a.stop - (gap_rows - between)), use_a)
            elif use_a > use_b:
                out[j] = (dataclasses.replace(b, start=b.start + (gap_rows - between)), use_b)
    return [(dataclasses.replace(s, began=moment(times_T[s.start])), use) for s, use in out if s.rows > 0]
