"""From a historian's samples to a dataset: the whole of `procmodel ingest` but the file it ends in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import numpy as np

from procmodel.data.conditioning import Accumulator, Cells
from procmodel.data.dataset import Dataset, Stretch, moment
from procmodel.data.reader import Reader, query_of, worst_good
from procmodel.data.rules import rule_of
from procmodel.data.samples import Historian, ReadReport
from procmodel.data.spans import Span, spans_of
from procmodel.plant import Plant


def condition(
    plant: Plant,
    historian: Historian,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    progress: Callable[[int, int], None] | None = None,
    accept_uncertain: bool = False,
) -> Dataset:
    """Read the record of a plant onto its grid, whose rows start at multiples of the sample time since 1970 (UTC).

    The source is read once, from the first campaign to the end of the last; what lies between two campaigns takes no
    rows. A value is carried from one campaign into the next only where they touch (no more than a row apart): what was
    held at the end of one test run says nothing about the next.

    Args:
        start, end: What is asked for, aware; outward to whole rows. None: all there is.
        progress: Called with samples read so far and an estimate of all of them (0 where the range is open).
        accept_uncertain: Take uncertain samples as good, as the plant file may say too. OPC UA Part 13 takes them as
            bad (`TreatUncertainAsBad`).

    Raises:
        DatasetError: Nothing lies in the asked range, or an MV or CV has no good sample there.
    """
    step = round(plant.sample_time * 1e6)
    spans = spans_of(historian.campaigns(), start, end, step)
    rules = [rule_of(plant, name) for name in plant.columns]
    accumulators = [Accumulator(plant.columns, rules, step, s.start, s.end) for s in spans]
    reader = Reader(plant, spans, accumulators, worst_good(plant, accept_uncertain))
    for batch in historian.read(query_of(plant, spans)):
        reader.eat(batch)
        if progress is not None:
            progress(reader.samples, reader.expected())
    if progress is not None:
        progress(reader.samples, reader.samples)
    return _dataset(plant, spans, accumulators, reader, historian.report)


def _dataset(
    plant: Plant, spans: list[Span], accumulators: list[Accumulator], reader: Reader, report: ReadReport
) -> Dataset:
    """Finish every span and lay their rows end to end."""
    reader.refuse_without_samples(report)
    intervals_CB = np.sum([a.intervals_CB for a in accumulators], axis=0)
    step = round(plant.sample_time * 1e6)
    parts: list[tuple[str, Cells]] = []
    empty: list[str] = []
    for span, accumulator in zip(spans, accumulators, strict=True):
        gaps_C = accumulator.bridged(intervals_CB)
        for name, cells in span.stretches(accumulator.finish(gaps_C), step):
            rows = reader.worth(cells)
            if rows.start < rows.stop:
                parts.append((name, cells.cut(rows.start, rows.stop)))
            else:
                empty.append(name)
    alive_C = np.zeros(len(plant.columns), dtype=bool)
    for _, cells in parts:
        alive_C |= np.isfinite(cells.values).any(axis=0)
    reader.refuse_never_good(alive_C, report)
    edges = np.cumsum([0, *(cells.rows for _, cells in parts)]).tolist()
    stretches = tuple(
        Stretch(name=name, start=a, stop=b, began=moment(cells.first_row * step))
        for (name, cells), a, b in zip(parts, edges[:-1], edges[1:], strict=True)
    )
    return Dataset(
        columns=tuple(plant.columns),
        values=np.concatenate([cells.values for _, cells in parts]),
        good_fraction=np.concatenate([cells.good_fraction for _, cells in parts]),
        start=moment(parts[0][1].first_row * step),
        step=step / 1e6,
        stretches=stretches,
        manifest=reader.manifest(report, intervals_CB, gaps_C, empty),
        aged=tuple(name for name, rule in zip(plant.columns, accumulators[0].rules, strict=True) if rule.aged),
        ages=np.concatenate([cells.ages for _, cells in parts]),
    )
