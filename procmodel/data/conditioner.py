"""From a historian's samples to a dataset: the whole of `procmodel ingest` but the file it ends in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from procmodel import __version__
from procmodel.data.conditioning import Accumulator, Cells, Rule, quantile
from procmodel.data.dataset import Dataset, Stretch, microseconds, moment
from procmodel.data.samples import Campaign, Historian, Quality, Query, ReadReport
from procmodel.errors import DatasetError
from procmodel.plant import Plant, Role
from procmodel.plant.units import parse_duration

WHOLE = "record"  # name of the only stretch of a source without campaigns


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
        accept_uncertain: Take uncertain samples as good. OPC UA Part 13 takes them as bad (`TreatUncertainAsBad`).

    Raises:
        DatasetError: Nothing lies in the asked range, or an MV or CV has no good sample there.
    """
    step = round(plant.sample_time * 1e6)
    spans = _spans(historian.campaigns(), start, end, step)
    rules = [_rule(plant, name) for name in plant.columns]
    reader = _Reader(plant, spans, [Accumulator(plant.columns, rules, step, s.start, s.end) for s in spans])
    query = Query(
        tags=tuple(plant.columns),
        start=None if spans[0].start is None else moment(spans[0].start),
        # One more microsecond: a sample exactly at the end closes the line that leads to it.
        end=None if spans[-1].end is None else moment(spans[-1].end + 1),
    )
    for batch in historian.read(query):
        reader.eat(batch, accept_uncertain)
        if progress is not None:
            progress(reader.samples, reader.expected())
    if progress is not None:
        progress(reader.samples, reader.samples)
    return reader.dataset(historian.report)


@dataclass(frozen=True, kw_only=True)
class _Span:
    """Time without a hole, [us]; None is open. Campaigns that touch share one."""

    start: int | None
    end: int | None
    campaigns: tuple[tuple[str, int, int], ...] = ()  # name, start, end


def _rule(plant: Plant, name: str) -> Rule:
    tag = plant.tags[name]
    return Rule(step=tag.is_step, max_gap=None if tag.max_gap is None else parse_duration(tag.max_gap))


def _spans(campaigns: Sequence[Campaign], start: datetime | None, end: datetime | None, step: int) -> list[_Span]:
    """What to read, in order of time: the campaigns cut to the asked range, those that touch in one span."""
    lo = None if start is None else microseconds(start) // step * step
    hi = None if end is None else -(-microseconds(end) // step) * step
    if not campaigns:
        return [_Span(start=lo, end=hi)]
    spans: list[_Span] = []
    before: Campaign | None = None
    for campaign in campaigns:
        if before is not None and campaign.start < before.end:
            raise DatasetError(
                f"Campaign {campaign.name!r} starts at {campaign.start.isoformat()}, before {before.name!r} ends at "
                f"{before.end.isoformat()}. Campaigns must follow each other in time; mend the history source."
            )
        before = campaign
        first, last = microseconds(campaign.start), microseconds(campaign.end)
        first, last = first if lo is None else max(first, lo), last if hi is None else min(last, hi)
        if first >= last:
            continue
        entry = (campaign.name, first, last)
        touched = spans[-1] if spans else None
        if touched is not None and touched.end is not None and first - touched.end <= step:
            spans[-1] = _Span(start=touched.start, end=last, campaigns=(*touched.campaigns, entry))
        else:
            spans.append(_Span(start=first, end=last, campaigns=(entry,)))
    if not spans:
        known = ", ".join(f"{c.name!r} {c.start.isoformat()} to {c.end.isoformat()}" for c in campaigns)
        raise DatasetError(f"No campaign lies in the asked range {_asked(start, end)}. The source holds {known}.")
    return spans


def _asked(start: datetime | None, end: datetime | None) -> str:
    return f"{start.isoformat() if start else 'its beginning'} to {end.isoformat() if end else 'its end'}"


class _Reader:
    """Deals samples out to the spans and puts the dataset together."""

    def __init__(self, plant: Plant, spans: list[_Span], accumulators: list[Accumulator]) -> None:
        self.samples = 0
        self._plant, self._spans, self._accumulators = plant, spans, accumulators
        self._column = {name: c for c, name in enumerate(plant.columns)}
        self._ends = np.array([s.end for s in spans if s.end is not None], dtype=np.int64)
        ranges = [plant.tags[name].range or (-np.inf, np.inf) for name in plant.columns]
        self._low_C, self._high_C = np.array(ranges).T
        self._seen_C, self._good_C, self._outside_C = (np.zeros(len(ranges), dtype=np.int64) for _ in range(3))
        self._newest_C = np.full(len(ranges), np.iinfo(np.int64).min)

    def eat(self, batch: pa.RecordBatch, accept_uncertain: bool) -> None:
        codes, times, values, good = self._columns(batch, accept_uncertain)
        self.samples += len(codes)
        if not len(codes):
            return
        ours = codes >= 0
        np.maximum.at(self._newest_C, codes[ours], times[ours])
        if len(self._spans) == 1:
            self._accumulators[0].add(codes, times, values, good)
            return
        # A sample after one span's end and up to the next one's is carried into the next.
        span_N = np.searchsorted(self._ends, times, side="left")
        for s in np.unique(span_N):
            if s < len(self._spans):
                at = span_N == s
                self._accumulators[s].add(codes[at], times[at], values[at], good[at])

    def _columns(self, batch: pa.RecordBatch, accept_uncertain: bool) -> tuple[np.ndarray, ...]:
        """Column number, time [us], value and goodness of each sample of a batch."""
        tag = batch.column("tag")
        if not pa.types.is_dictionary(tag.type):
            tag = tag.dictionary_encode()
        codes_D = np.array([self._column.get(name, -1) for name in tag.dictionary.to_pylist()], dtype=np.int64)
        codes = codes_D[tag.indices.to_numpy(zero_copy_only=False)] if len(codes_D) else np.zeros(0, dtype=np.int64)
        times = np.array(
            batch.column("time").cast(pa.int64()).to_numpy(zero_copy_only=False)
        )  # Arrow's own is read-only
        values = batch.column("value").to_numpy(zero_copy_only=False).astype(np.float64)
        worst = Quality.UNCERTAIN if accept_uncertain else Quality.GOOD
        quality = batch.column("quality").fill_null(int(Quality.BAD)).to_numpy(zero_copy_only=False)
        inside = (values >= self._low_C[codes]) & (values <= self._high_C[codes])  # NaN is not inside
        good = (quality <= worst) & np.isfinite(values) & inside
        ours = codes >= 0
        count = len(self._seen_C)
        self._seen_C += np.bincount(codes[ours], minlength=count)
        self._good_C += np.bincount(codes[ours & good], minlength=count)
        self._outside_C += np.bincount(
            codes[ours & (quality <= worst) & np.isfinite(values) & ~inside], minlength=count
        )
        return codes, times, np.where(good, values, 0.0), good

    def expected(self) -> int:
        """Samples there will be, by how far each tag has come in the asked range; 0 where that is open."""
        start, end = self._spans[0].start, self._spans[-1].end
        if start is None or end is None or not self.samples:
            return 0
        share = float(np.clip((self._newest_C.astype(np.float64) - start) / (end - start), 0.0, 1.0).mean())
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
            for name, cells in _stretches(span, accumulator.finish(gaps_C), step):
                rows = self._worth(cells)
                if rows.start < rows.stop:
                    parts.append((name, cells.first_row + rows.start, _cut(cells, rows)))
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
        if self._seen_C.any():
            return
        start, end = self._spans[0].start, self._spans[-1].end
        held = (
            f"The source runs from {report.first.isoformat()} to {report.last.isoformat()}."
            if report.first and report.last
            else "The source holds no sample of these tags."
        )
        asked = _asked(None if start is None else moment(start), None if end is None else moment(end))
        raise DatasetError(
            f"Plant {self._plant.name!r}: no sample lies in the asked range, {asked}. {held} "
            "Ask for a range that overlaps it, or check the time zone and the tag names in the plant file."
        )

    def _refuse_never_good(self, values: np.ndarray, report: ReadReport) -> None:
        dead = np.isnan(values).all(axis=0) if len(values) else np.ones(len(self._column), dtype=bool)
        for name, c in self._column.items():
            tag = self._plant.tags[name]
            if not dead[c] or tag.role not in (Role.MV, Role.CV):
                continue
            if not self._seen_C[c]:
                fault = "has no sample in the asked range"
            elif self._outside_C[c] == self._seen_C[c]:
                low, high = tag.range or (-np.inf, np.inf)
                fault = f"has {self._seen_C[c]:,} samples, all outside its range [{low:g}, {high:g}] {tag.unit}"
            elif not self._good_C[c]:
                words = ", ".join(f"{word!r}" for word in list(report.words)[:5])
                fault = f"has {self._seen_C[c]:,} samples, none of them good" + (
                    f" (words read: {words})" if words else ""
                )
            else:
                fault = f"has {self._good_C[c]:,} good samples, all too far apart to draw a line between them"
            raise DatasetError(
                f"{tag.role} {name!r} {fault}. A model needs every MV and CV: correct the tag's name, unit, range or "
                "max_gap in the plant file, or take it out."
            )

    def _manifest(
        self, report: ReadReport, intervals_CB: np.ndarray, gaps_C: np.ndarray, empty: list[str]
    ) -> dict[str, Any]:
        no_bound = np.iinfo(np.int64).max
        sampling = {
            name: {
                "samples": int(self._seen_C[c]),
                "not_good": int(self._seen_C[c] - self._good_C[c]),
                "out_of_range": int(self._outside_C[c]),
                "median_interval_s": quantile(intervals_CB[c], 0.5) / 1e6,
                "max_gap_s": None if gaps_C[c] == no_bound else int(gaps_C[c]) / 1e6,
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


def _cut(cells: Cells, rows: slice) -> Cells:
    return Cells(
        values=cells.values[rows], good_fraction=cells.good_fraction[rows], first_row=cells.first_row + rows.start
    )


def _stretches(span: _Span, cells: Cells, step: int) -> list[tuple[str, Cells]]:
    """The campaigns of a span, row by row; a row across a border belongs to the earlier one."""
    if not span.campaigns:
        return [(WHOLE, cells)]
    found, row = [], cells.first_row
    for name, first, last in span.campaigns:
        begin, stop = max(row, first // step), -(-last // step)
        found.append((name, _cut(cells, slice(begin - cells.first_row, stop - cells.first_row))))
        row = stop
    return found
