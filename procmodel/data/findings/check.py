"""The check of a record: every detector on every tag it fits, and what each found in a sentence."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np

from procmodel.data.dataset import Dataset, Stretch, moment
from procmodel.data.excitation import Answer, Excitation, excitation_audit, response_audit
from procmodel.data.findings.archive import HONEST, Spacing, deviation, honest_step, movement_memory
from procmodel.data.findings.clocks import clock_shifts
from procmodel.data.findings.conversions import conversions, unit_changes
from procmodel.data.findings.drift import drifts
from procmodel.data.findings.flat import saturated, stuck
from procmodel.data.findings.raw import Raw
from procmodel.data.findings.spikes import spikes
from procmodel.data.health import TagHealth, tag_health
from procmodel.data.split import split
from procmodel.errors import DatasetError
from procmodel.plant import Kind, Plant, Role
from procmodel.plant.words import many

GAP_ROWS = 10
_ROWS = 25  # that the audits need in one piece: their lags, twice


class Fault(StrEnum):
    """What may be wrong with a record."""

    GAP = "gap"
    STUCK = "stuck"
    SPIKE = "spike"
    SATURATED = "saturated"
    DRIFT = "drift"
    CLOCK = "clock shift"
    UNIT = "unit change"
    REPEATED = "repeated stamps"
    COMPRESSED = "compressed"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One fault of one tag.

    Attributes:
        text: What was seen, in a sentence.
        start, end: When; None where it concerns the whole record.
    """

    fault: Fault
    tag: str
    text: str
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Archive:
    """What the archive left of one tag.

    Attributes:
        interval: Median time between good samples [s].
        invented: Share of time in rows without a sample [-].
        honest: Finest grid in which at most a fifth is invented [s]; infinite: none that was tried.
        deviation: Upper bound of the deviation that the archive tolerated [unit].
        memory: Lag-1 autocorrelation of the grid's differences [-].
    """

    interval: float
    invented: float
    honest: float
    deviation: float
    memory: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Check:
    """All that a check says.

    Attributes:
        archive: By tag that runs linearly.
        excitation, response: None where the record is too short or has too many gaps; `reason` says so.
    """

    dataset: Dataset
    health: tuple[TagHealth, ...]
    findings: tuple[Finding, ...]
    archive: Mapping[str, Archive]
    excitation: Mapping[str, Excitation] | None
    response: Mapping[tuple[str, str], Answer] | None
    reason: str = ""


def check(plant: Plant, dataset: Dataset, raw: Mapping[str, Raw]) -> Check:
    """Look at a record with every detector.

    Args:
        raw: Good samples of every tag.
    """
    health = tuple(tag_health(dataset, plant))
    archive = {name: _archive(plant, dataset, name, raw[name]) for name in _linear(plant) if len(raw[name].times) > 1}
    found: list[Finding] = []
    for name in dataset.columns:
        found += _of_samples(plant, name, raw[name])
        for stretch in dataset.stretches:
            found += _of_rows(plant, dataset, name, stretch)
    for stretch in dataset.stretches:
        found += _between_tags(plant, dataset, stretch)
    found += _compressed(archive, dataset.step)
    order = list(Fault)
    found.sort(key=lambda each: (order.index(each.fault), dataset.columns.index(each.tag)))
    try:
        parts = split(dataset, plant, gap_rows=_ROWS)
        excitation, response, reason = (
            excitation_audit(dataset, plant, parts),
            response_audit(dataset, plant, parts),
            "",
        )
    except DatasetError as error:
        excitation, response, reason = None, None, str(error)
    return Check(
        dataset=dataset, health=health, findings=tuple(found), archive=archive, excitation=excitation,
        response=response, reason=reason,
    )  # fmt: skip


def _linear(plant: Plant) -> list[str]:
    """Tags that a straight line runs through: measurements that do not step."""
    return [name for name, tag in plant.tags.items() if not tag.is_step and tag.kind is Kind.MEASUREMENT]


def _of_samples(plant: Plant, name: str, raw: Raw) -> Iterator[Finding]:
    """Faults of single samples."""
    tag = plant.tags[name]
    if raw.repeated:
        yield Finding(fault=Fault.REPEATED, tag=name, text=f"{many(raw.repeated, 'sample')} with the stamp before")
    if name not in _linear(plant):
        return
    at = spikes(raw.values)
    if len(at):
        # One spike of two samples is one.
        groups = np.split(at, np.flatnonzero(np.diff(at) > 2) + 1)
        worst = max(groups, key=lambda g: float(np.abs(raw.values[g] - np.median(raw.values)).max()))
        yield Finding(
            fault=Fault.SPIKE,
            tag=name,
            text=f"{many(len(groups), 'spike')}, the farthest to {raw.values[worst[0]]:.4g} {tag.unit}",
            start=moment(int(raw.times[worst[0]])),
            end=moment(int(raw.times[worst[-1]])),
        )
    for change in unit_changes(raw.values, conversions(tag.unit)):
        before, after = raw.values[change.at - 1], raw.values[change.at]
        yield Finding(
            fault=Fault.UNIT,
            tag=name,
            text=f"from {before:.4g} to {after:.4g}, as if by {change.conversion.name}",
            start=moment(int(raw.times[change.at])),
        )


def _of_rows(plant: Plant, dataset: Dataset, name: str, stretch: Stretch) -> Iterator[Finding]:
    """Faults that one tag shows on the grid."""
    tag, times = plant.tags[name], dataset.times()
    values_T = dataset.values[stretch.start : stretch.stop, dataset.columns.index(name)]

    def span(a: int, b: int) -> dict[str, datetime]:
        start = int(times[stretch.start + a].astype(np.int64))
        return {"start": moment(start), "end": moment(start + round((b - a) * dataset.step * 1e6))}

    missing = np.flatnonzero(np.diff(np.concatenate([[0], np.isnan(values_T).astype(np.int8), [0]])))
    gaps = [(int(a), int(b)) for a, b in zip(missing[::2], missing[1::2], strict=True) if b - a >= GAP_ROWS]
    if gaps:
        a, b = max(gaps, key=lambda gap: gap[1] - gap[0])
        text = f"{many(len(gaps), 'gap')} of {GAP_ROWS} rows or more, the longest of {b - a} rows"
        yield Finding(fault=Fault.GAP, tag=name, text=text, **span(a, b))
    if tag.is_step or tag.kind is not Kind.MEASUREMENT:
        return
    low, high = tag.range or (None, None)
    ends = saturated(values_T, low, high)
    for side, runs in zip(("low", "high"), ends, strict=True):
        if runs:
            a, b = max(runs, key=lambda run: run[1] - run[0])
            rows = sum(d - c for c, d in runs)
            long = f"{many(rows, 'row')} in {many(len(runs), 'run')}"
            text = f"stands at the {side} end, {values_T[a]:.4g} {tag.unit}, for {long}"
            yield Finding(fault=Fault.SATURATED, tag=name, text=text, **span(a, b))
    for a, b in stuck(values_T):
        if not any(c <= a and b <= d for runs in ends for c, d in runs):
            text = f"repeats {values_T[a]:.6g} {tag.unit} to the last bit for {b - a} rows"
            yield Finding(fault=Fault.STUCK, tag=name, text=text, **span(a, b))


def _between_tags(plant: Plant, dataset: Dataset, stretch: Stretch) -> Iterator[Finding]:
    """Faults that only other tags tell of."""
    values_TC = dataset.values[stretch.start : stretch.stop]
    began, step = int(dataset.times()[stretch.start].astype(np.int64)), dataset.step
    for drift in drifts(values_TC):
        name = dataset.columns[drift.column]
        if plant.tags[name].role is Role.MV:
            continue  # a setpoint is where somebody put it
        text = (
            f"leaves what the other tags say by {drift.change:+.4g} {plant.tags[name].unit} over the record "
            f"({drift.sure:.0f} standard errors; they explain {drift.explained:.0%} of it)"
        )
        yield Finding(fault=Fault.DRIFT, tag=name, text=text)
    for shift in clock_shifts(values_TC, step):
        partners = ", ".join(dataset.columns[c] for c in shift.partners)
        late = "late" if shift.rows > 0 else "early"
        yield Finding(
            fault=Fault.CLOCK,
            tag=dataset.columns[shift.column],
            text=f"stamps run {abs(shift.rows) * step:g} s {late} from about then on, as {partners} tell",
            start=moment(began + round(shift.at * step * 1e6)),
        )


def _archive(plant: Plant, dataset: Dataset, name: str, raw: Raw) -> Archive:
    spacing = Spacing()
    spacing.add(np.diff(raw.times))
    longest = dataset.manifest.get("sampling", {}).get(name, {}).get("max_gap_s") or np.inf
    return Archive(
        interval=spacing.median(),
        invented=spacing.invented(dataset.step, longest),
        honest=honest_step(spacing, dataset.step, longest),
        deviation=deviation(raw.times, raw.values),
        memory=movement_memory(dataset.values[:, dataset.columns.index(name)]),
    )


def _compressed(archive: Mapping[str, Archive], step: float) -> Iterator[Finding]:
    for name, each in archive.items():
        if each.invented > HONEST:
            honest = f"{each.honest:g} s" if np.isfinite(each.honest) else "coarser than any that was tried"
            text = (
                f"{each.invented:.0%} of the time lies in rows without a sample, on lines that know the next one; "
                f"a grid that is honest for it is {honest}, not {step:g} s"
            )
            yield Finding(fault=Fault.COMPRESSED, tag=name, text=text)


def to_dict(found: Check) -> dict[str, object]:
    """The check as plain values."""
    return {
        "findings": [
            {
                "fault": str(each.fault),
                "tag": each.tag,
                "text": each.text,
                "start": each.start.isoformat() if each.start else None,
                "end": each.end.isoformat() if each.end else None,
            }
            for each in found.findings
        ],
        "tags": {each.name: dataclasses.asdict(each) for each in found.health},
        "archive": {name: dataclasses.asdict(each) for name, each in found.archive.items()},
        "excitation": None
        if found.excitation is None
        else {
            mv: {"own": e.own, "moved": e.moved, "moves_answer_cvs": e.moves_answer_cvs}
            for mv, e in found.excitation.items()
        },
        "response": None
        if found.response is None
        else {f"{mv} -> {cv}": dataclasses.asdict(answer) for (mv, cv), answer in found.response.items()},
        "reason": found.reason,
    }
