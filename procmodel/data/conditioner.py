"""From a historian's samples to a dataset: the whole of `procmodel ingest` but the file it ends in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from procmodel import __version__
from procmodel.data.blocks import Blocks, part_of
from procmodel.data.conditioning import Accumulator, Cells, quantile
from procmodel.data.dataset import Dataset, Stretch, moment
from procmodel.data.rules import NO_BOUND, rule_of
from procmodel.data.samples import Historian, Quality, Query, ReadReport
from procmodel.data.spans import Span, range_text, spans_of
from procmodel.errors import DatasetError
from procmodel.plant import Plant, Role


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
    worst = Quality.UNCERTAIN if accept_uncertain or plant.conditioning.accept_uncertain else Quality.GOOD
    reader = _Reader(plant, spans, [Accumulator(plant.columns, rules, step, s.start, s.end) for s in spans], worst)
    query = Query(
        tags=tuple(plant.columns),
        start=None if spans[0].start is None else moment(spans[0].start),
        # One more microsecond: a sample exactly at the end closes the line that leads to it.
        end=None if spans[-1].end is None else moment(spans[-1].end + 1),
    )
    for batch in historian.read(query):
        reader.eat(batch)
        if progress is not None:
            progress(reader.samples, reader.expected())
    if progress is not None:
        progress(reader.samples, reader.samples)
    return reader.dataset(historian.report)


class _Reader:
    """Deals samples out to the spans and puts the dataset together."""

    def __init__(self, plant: Plant, spans: list[Span], accumulators: list[Accumulator], worst: Quality) -> None:
        self.samples = 0
        self._plant, self._spans, self._accumulators, self._worst = plant, spans, accumulators, worst
        self._column = {name: c for c, name in enumerate(plant.columns)}
        self._blocks = Blocks(self._column)
        self._ends = np.array([s.end for s in spans if s.end is not None], dtype=np.int64)

    def eat(self, batch: pa.RecordBatch) -> None:
        self.samples += batch.num_rows
        if not batch.num_rows:
            return
        block = self._blocks.of(batch)
        if len(self._spans) == 1:
            self._accumulators[0].take(block, self._worst)
            return
        # A sample after one span's end and up to the next one's is carried into the next.
        span_N = np.searchsorted(self._ends, block.times_N, side="left")
        for s in np.unique(span_N):
            if s < len(self._spans):
                self._accumulators[s].take(part_of(block, span_N == s), self._worst)

    def _count(self, what: str) -> np.ndarray:
        """Samples of each tag in all spans, [C]: those `seen`, `good`, or `outside` their range."""
        return np.asarray(np.sum([a.tags_C[what] for a in self._accumulators], axis=0))

    def expected(self) -> int:
        """Samples there will be, by how far each tag has come in the asked range; 0 where that is open."""
        start, end = self._spans[0].start, self._spans[-1].end
        if start is None or end is None or not self.samples:
            return 0
        newest_C = np.max([a.tags_C["newest"] for a in self._accumulators], axis=0)
        share = float(np.clip((newest_C.astype(np.float64) - start) / (end - start), 0.0, 1.0).mean())
        return max(self.samples, round(self.samples / share)) if share > 0 else 0

    def dataset(self, report: ReadReport) -> Dataset:
        """Finish every span and lay their rows end to end."""
        self._refuse_without_samples(report)
        intervals_CB = np.sum([a.intervals_CB for a in self._accumulators], axis=0)
        step = round(self._plant.sample_time * 1e6)
        parts: list[tuple[str, int, Cells]] = []
        empty: list[str] = []
        for span, accumulator in zip(self._spans, self._accumulators, strict=True):
            gaps_C = accumulator.bridged(intervals_CB)
            for name, cells in span.stretches(accumulator.finish(gaps_C), step):
                rows = self._worth(cells)
                if rows.start < rows.stop:
                    parts.append((name, cells.first_row + rows.start, cells.cut(rows.start, rows.stop)))
                else:
                    empty.append(name)
        values = np.concatenate([c.values for _, _, c in parts]) if parts else np.empty((0, len(self._column)))
        self._refuse_never_good(values, report)
        stretches, row = [], 0
        for name, first, cells in parts:
            stop = row + len(cells.values)
            stretches.append(Stretch(name=name, start=row, stop=stop, began=moment(first * step)))
            row = stop
        began = stretches[0].began
        assert began is not None
        return Dataset(
            columns=tuple(self._plant.columns),
            values=values,
            good_fraction=np.concatenate([c.good_fraction for _, _, c in parts]),
            start=began,
            step=step / 1e6,
            stretches=tuple(stretches),
            manifest=self._manifest(report, intervals_CB, gaps_C, empty),
        )

    def _worth(self, cells: Cells) -> slice:
        """Rows from the first to the last in which an MV or CV is good."""
        led = [c for name, c in self._column.items() if self._plant.tags[name].role in (Role.MV, Role.CV)]
        rows = np.flatnonzero((cells.good_fraction[:, led] > 0).any(axis=1))
        return slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)

    def _refuse_without_samples(self, report: ReadReport) -> None:
        if self._count("seen").any():
            return
        start, end = self._spans[0].start, self._spans[-1].end
        held = (
            f"The source runs from {report.first.isoformat()} to {report.last.isoformat()}."
            if report.first and report.last
            else "The source holds no sample of these tags."
        )
        asked = range_text(None if start is None else moment(start), None if end is None else moment(end))
        raise DatasetError(
            f"Plant {self._plant.name!r}: no sample lies in the asked range, {asked}. {held} "
            "Ask for a range that overlaps it, or check the time zone and the tag names in the plant file."
        )

    def _refuse_never_good(self, values: np.ndarray, report: ReadReport) -> None:
        dead = np.isnan(values).all(axis=0) if len(values) else np.ones(len(self._column), dtype=bool)
        seen_C, good_C, outside_C = (self._count(what) for what in ("seen", "good", "outside"))
        for name, c in self._column.items():
            tag = self._plant.tags[name]
            if not dead[c] or tag.role not in (Role.MV, Role.CV):
                continue
            if not seen_C[c]:
                fault = "has no sample in the asked range"
            elif outside_C[c] == seen_C[c]:
                low, high = tag.range or (-np.inf, np.inf)
                fault = f"has {seen_C[c]:,} samples, all outside its range [{low:g}, {high:g}] {tag.unit}"
            elif not good_C[c]:
                words = ", ".join(f"{word!r}" for word in list(report.words)[:5])
                fault = f"has {seen_C[c]:,} samples, none of them good" + (f" (words read: {words})" if words else "")
            else:
                fault = f"has {good_C[c]:,} good samples, all too far apart to draw a line between them"
            raise DatasetError(
                f"{tag.role} {name!r} {fault}. A model needs every MV and CV: correct the tag's name, unit, range or "
                "max_gap in the plant file, or take it out."
            )

    def _manifest(
        self, report: ReadReport, intervals_CB: np.ndarray, gaps_C: np.ndarray, empty: list[str]
    ) -> dict[str, Any]:
        seen_C, good_C, outside_C = (self._count(what) for what in ("seen", "good", "outside"))
        sampling = {
            name: {
                "samples": int(seen_C[c]),
                "not_good": int(seen_C[c] - good_C[c]),
                "out_of_range": int(outside_C[c]),
                "median_interval_s": quantile(intervals_CB[c], 0.5) / 1e6,
                "max_gap_s": None if gaps_C[c] == NO_BOUND else int(gaps_C[c]) / 1e6,
            }
            for name, c in self._column.items()
        }
        facts = {
            key: value.isoformat() if isinstance(value, datetime) else value
            for key, value in dataclasses.asdict(report).items()
        }
        return {
            "plant": self._plant.name,
            "fingerprint": self._plant.fingerprint,
            "tags": list(self._plant.columns),
            "sources": dict(report.sources),
            "report": facts,
            "sampling": sampling,
            "empty_campaigns": empty,
            "procmodel": __version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
