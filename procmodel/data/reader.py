"""From a historian's batches to accumulators, with what is counted and refused on the way. Shapes: C tags, B bins."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from procmodel import __version__
from procmodel.data.blocks import Blocks, part_of
from procmodel.data.conditioning import Accumulator, Cells
from procmodel.data.dataset import moment
from procmodel.data.intervals import quantile
from procmodel.data.rules import NO_BOUND
from procmodel.data.samples import Quality, Query, ReadReport
from procmodel.data.spans import Span, range_text
from procmodel.errors import DatasetError
from procmodel.plant import Plant, Role
from procmodel.plant.words import many


def query_of(plant: Plant, spans: Sequence[Span]) -> Query:
    """What is asked of a historian for these spans."""
    return Query(
        tags=tuple(plant.columns),
        start=None if spans[0].start is None else moment(spans[0].start),
        # One more microsecond: a sample exactly at the end closes the line that leads to it.
        end=None if spans[-1].end is None else moment(spans[-1].end + 1),
    )


def worst_good(plant: Plant, accept_uncertain: bool = False) -> Quality:
    """The worst quality that counts as good."""
    return Quality.UNCERTAIN if accept_uncertain or plant.conditioning.accept_uncertain else Quality.GOOD


class Reader:
    """Deals samples out to spans of time, and says what it met.

    Args:
        accumulators: One for each span.
        worst: Samples of a quality worse than it are bad.
    """

    def __init__(
        self, plant: Plant, spans: Sequence[Span], accumulators: Sequence[Accumulator], worst: Quality
    ) -> None:
        self.samples = 0
        self._plant, self._spans, self._accumulators, self._worst = plant, spans, accumulators, worst
        self._column = {name: c for c, name in enumerate(plant.columns)}
        self._blocks = Blocks(self._column)
        self._ends = np.array([s.end for s in spans if s.end is not None], dtype=np.int64)

    def eat(self, batch: pa.RecordBatch) -> None:
        """Samples in order of arrival."""
        self.samples += batch.num_rows
        if not batch.num_rows:
            return
        block = self._blocks.of(batch)
        if len(self._spans) == 1 and (not len(self._ends) or block.times_N.max() <= self._ends[0]):
            self._accumulators[0].take(block, self._worst)
            return
        # A sample after one span's end and up to the next one's is carried into the next; after the last nobody asked.
        span_N = np.searchsorted(self._ends, block.times_N, side="left")
        for s in np.unique(span_N):
            if s < len(self._spans):
                self._accumulators[s].take(part_of(block, span_N == s), self._worst)

    def count(self, what: str) -> np.ndarray:
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

    def worth(self, cells: Cells) -> slice:
        """Rows from the first to the last in which an MV or CV is good."""
        led = [c for name, c in self._column.items() if self._plant.tags[name].role in (Role.MV, Role.CV)]
        rows = np.flatnonzero((cells.good_fraction[:, led] > 0).any(axis=1))
        return slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)

    def refuse_without_samples(self, report: ReadReport) -> None:
        """Raise a `DatasetError` where nothing was read."""
        if self.count("seen").any():
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

    def refuse_never_good(self, alive_C: np.ndarray, report: ReadReport) -> None:
        """Every MV and CV needs a value somewhere.

        Args:
            alive_C: Whether a tag has one.

        Raises:
            DatasetError: One has none; the message says why.
        """
        seen_C, good_C, outside_C = (self.count(what) for what in ("seen", "good", "outside"))
        for name, c in self._column.items():
            tag = self._plant.tags[name]
            if alive_C[c] or tag.role not in (Role.MV, Role.CV):
                continue
            if not seen_C[c]:
                fault = "has no sample in the asked range"
            elif outside_C[c] == seen_C[c]:
                low, high = tag.range or (-np.inf, np.inf)
                fault = f"has {many(seen_C[c], 'sample')}, all outside its range [{low:g}, {high:g}] {tag.unit}"
            elif not good_C[c]:
                words = ", ".join(f"{word!r}" for word in list(report.words)[:5])
                fault = f"has {many(seen_C[c], 'sample')}, none of them good" + (
                    f" (words read: {words})" if words else ""
                )
            else:
                fault = f"has {many(good_C[c], 'good sample')}, all too far apart to draw a line between them"
            raise DatasetError(
                f"{tag.role} {name!r} {fault}. A model needs every MV and CV: correct the tag's name, unit, range or "
                "max_gap in the plant file, or take it out."
            )

    def manifest(
        self, report: ReadReport, intervals_CB: np.ndarray, gaps_C: np.ndarray, empty: list[str]
    ) -> dict[str, Any]:
        """What a dataset keeps of where it came from.

        Args:
            intervals_CB: Of all spans.
            gaps_C: Longest intervals bridged [us].
            empty: Campaigns without a row.
        """
        seen_C, good_C, outside_C = (self.count(what) for what in ("seen", "good", "outside"))
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
