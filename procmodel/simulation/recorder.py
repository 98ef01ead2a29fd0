"""The historian that records a reference plant: its raw export, as a site would hand it over.

Long CSV files by local week (`tag,time,value,quality`, local stamps without an offset, in order of time), a copy of the
plant file, and the laboratory's labels. The record holds what exports hold: irregular scans, exception reporting and
swinging door, bad samples, an outage, repeated lines, and the hour that the autumn clock change repeats.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from procmodel.simulation.compression import archived
from procmodel.simulation.operation import OperatedRun, operate
from procmodel.simulation.reference import ReferencePlant, packaged_file
from procmodel.simulation.sensors import Scans, scans
from procmodel.simulation.signals import stream

BAD_WORDS = ("Bad", "I/O Timeout", "No Data")
Interval = tuple[int, int]  # [from, to) in ms from the start of the run
Sample = tuple[int, int, str, str]  # ms from the start, column, value as written, quality


@dataclass(frozen=True, kw_only=True)
class Archive:
    """How the historian is set up.

    Attributes:
        scans_per_row, jitter: Scans per grid row, and the share of their interval by which they may come early or late.
        deviation: How far the archive may differ from the sensor, as a share of the tag's range [-].
        longest: A value is archived at least every so many rows, even if nothing changes.
        bad_every: A tag goes bad once in so many rows on average, for 1 to 6 rows.
        outage: All tags are lost for this long, but never for more than a tenth of the record [s].
        repeated: Share of lines that the export holds twice [-].
        labels: Laboratory samples per constraint head, at most.
    """

    scans_per_row: int = 2
    jitter: float = 0.6
    deviation: float = 0.0005
    longest: int = 12
    bad_every: int = 2500
    outage: float = 3600.0
    repeated: float = 0.001
    labels: int = 40


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """A raw export with the truth behind it.

    Attributes:
        plant_file: Copy of the plant file whose paths lead to `files` and `labels`.
        files: CSV files in order of time.
        labels: CSV `time,margin` by constraint head; each margin is the true one 1 s before a row ends, plus the
            laboratory's error.
        start, end: Of the run, aware, UTC; row t covers `[start + t * step, start + (t + 1) * step)`.
        outage: First and last moment without any tag.
        run: What truly happened.
    """

    plant_file: Path
    files: tuple[Path, ...]
    labels: dict[str, Path]
    start: datetime
    end: datetime
    outage: tuple[datetime, datetime]
    run: OperatedRun


def record(reference: ReferencePlant, *, rows: int, seed: int, folder: Path, archive: Archive | None = None) -> Record:
    """Operate the plant and leave the export in `folder`; the same seed leaves the same bytes.

    Files of an earlier record in the same folder are replaced.
    """
    archive = archive or Archive()
    run = operate(reference, rows=rows, seed=seed)
    outage = _outage(run, archive)
    folder.mkdir(parents=True, exist_ok=True)
    plant_file = folder / "plant.yaml"
    text = packaged_file(f"{reference.name.replace('-', '_')}.yaml") if reference.text is None else reference.text
    plant_file.write_text(text, encoding="utf-8")
    samples = archived_samples(reference, run, seed=seed, archive=archive, outage=outage)
    start, step = run.start, timedelta(seconds=run.step)
    return Record(
        plant_file=plant_file,
        files=_write_weeks(reference, run, samples, folder / "exports"),
        labels={
            head: _write_labels(reference, run, head, seed=seed, most=archive.labels, outage=outage, folder=folder)
            for head in reference.margins
        },
        start=start,
        end=start + rows * step,
        outage=(start + timedelta(milliseconds=outage[0]), start + timedelta(milliseconds=outage[1])),
        run=run,
    )


def archived_samples(
    reference: ReferencePlant, run: OperatedRun, *, seed: int, archive: Archive, outage: Interval
) -> list[Sample]:
    """All lines of the export in order of time, repeated ones included."""
    plant = reference.plant
    signals = scans(reference, run, seed=seed, per_row=archive.scans_per_row, jitter=archive.jitter)
    samples: list[Sample] = []
    for column, name in enumerate(plant.columns):
        rng = stream(seed, "archive", name)
        lost = _lost(rng, run, archive, outage)
        words = [BAD_WORDS[1] if a == outage[0] else str(rng.choice(BAD_WORDS)) for a, _ in lost]
        samples += [(a, column, word, "Bad") for (a, _), word in zip(lost, words, strict=True)]
        if name in plant.mvs:
            kept = _moves(run, run.rows[:, column], lost, archive.longest)
        else:
            tag_range = plant.tags[name].range
            deviation = archive.deviation * ((tag_range[1] - tag_range[0]) if tag_range else 1.0)
            kept = _compressed(signals[name], lost, deviation, 1000.0 * run.step * archive.longest)
        samples += [(time, column, f"{value:.6g}", "Good") for time, value in kept]
    samples.sort(key=lambda sample: sample[:2])
    twice = stream(seed, "archive", "repeated lines").uniform(size=len(samples)) < archive.repeated
    return [sample for sample, again in zip(samples, twice, strict=True) for sample in [sample] * (2 if again else 1)]


def _outage(run: OperatedRun, archive: Archive) -> Interval:
    """At 70 % of the record, clear of the clock change at 40 % or earlier."""
    length = 1000.0 * run.step * len(run.rows)
    first = int(0.7 * length)
    return first, first + int(min(1000.0 * archive.outage, 0.1 * length))


def _lost(rng: np.random.Generator, run: OperatedRun, archive: Archive, outage: Interval) -> list[Interval]:
    """When a tag has no good value: the outage and at least one short failure of its own, none overlapping."""
    rows, row = len(run.rows), 1000.0 * run.step
    lost = [outage]
    for share in rng.uniform(0.02, 0.98, size=1 + rng.poisson(rows / archive.bad_every)):
        first = int(share * rows * row)
        last = min(first + int(rng.uniform(1.0, 6.0) * row), int(0.99 * rows * row))
        if last > first and all(last < a or first > b for a, b in lost):
            lost.append((first, last))
    return sorted(lost)


def _compressed(signal: Scans, lost: list[Interval], deviation: float, longest: float) -> Iterator[tuple[int, float]]:
    """What the archive keeps of the scans between the losses; each stretch keeps its first and last scan."""
    edges = [0, *(edge for interval in lost for edge in interval), int(signal.times[-1]) + 1]
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        part = slice(*np.searchsorted(signal.times, [begin, end]))
        times, values = signal.times[part].tolist(), signal.values[part].tolist()
        for i in archived(times, values, deviation, longest):
            yield times[i], values[i]


def _moves(run: OperatedRun, held: np.ndarray, lost: list[Interval], longest: int) -> Iterator[tuple[int, float]]:
    """Each change of an MV at the moment it is made, a repeat after `longest` rows, and its value after a loss."""
    row = 1000.0 * run.step
    last = 0
    for t, value in enumerate(held):
        if t == 0 or value != held[t - 1] or t - last >= longest:
            last, time = t, round(t * row)
            if not any(a <= time < b for a, b in lost):
                yield time, float(value)
    for _, back in lost:
        if back % row:  # a row's own sample stands at its start
            yield back, float(held[int(back // row)])


def _write_weeks(reference: ReferencePlant, run: OperatedRun, samples: list[Sample], folder: Path) -> tuple[Path, ...]:
    """One file per local ISO week. No week ends inside a repeated hour, so each file can be read by itself."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("[0-9][0-9][0-9][0-9]-W[0-9][0-9].csv"):
        old.unlink()
    names = reference.plant.columns
    local = _local_stamps(run.start, np.array([time for time, *_ in samples], dtype=np.int64), _zone(reference))
    days = (stamp[:10] for stamp in local)
    weeks: dict[str, str] = {}
    lines = [
        (weeks.setdefault(day, _week(day)), names[column], stamp, value, quality)
        for day, stamp, (_, column, value, quality) in zip(days, local, samples, strict=True)
    ]
    files = []
    for week, group in groupby(lines, key=lambda line: line[0]):
        path = folder / f"{week}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("tag", "time", "value", "quality"))
            writer.writerows(line[1:] for line in group)
        files.append(path)
    return tuple(files)


def _week(day: str) -> str:
    year, week, _ = datetime.fromisoformat(day).isocalendar()
    return f"{year:04d}-W{week:02d}"


def _zone(reference: ReferencePlant) -> ZoneInfo:
    history = reference.plant.history
    return ZoneInfo(history.timezone if history and history.timezone else "UTC")


def _local_stamps(start: datetime, times: np.ndarray, zone: ZoneInfo) -> list[str]:
    """Local wall-clock stamps without an offset, to the millisecond; the repeated hour comes twice."""
    utc = np.int64(round(start.timestamp() * 1000)) + times
    quarters, which = np.unique(utc // 900_000, return_inverse=True)  # offsets change on quarters of an hour
    offsets = []
    for quarter in quarters.tolist():
        offset = datetime.fromtimestamp(quarter * 900, tz=UTC).astimezone(zone).utcoffset()
        offsets.append(0 if offset is None else round(offset.total_seconds() * 1000))
    local = (utc + np.array(offsets, dtype=np.int64)[which]).astype("datetime64[ms]")
    return [f"{stamp[:10]} {stamp[11:]}" for stamp in np.datetime_as_string(local, unit="ms").tolist()]


def _write_labels(
    reference: ReferencePlant, run: OperatedRun, head: str, *, seed: int, most: int, outage: Interval, folder: Path
) -> Path:
    """Laboratory samples at random rows, stamped with their offset 1 s before the row ends."""
    rng = stream(seed, "laboratory", head)
    stamps = 1000.0 * run.step * np.arange(1, len(run.rows) + 1) - 1000.0
    rows = np.flatnonzero((stamps < outage[0]) | (stamps >= outage[1]))[1:]
    chosen = np.sort(rng.choice(rows, size=min(most, len(rows)), replace=False))
    column = list(reference.margins).index(head)
    late = 1.0 / run.step
    true = (1.0 - late) * run.margins[chosen, column] + late * run.margins[chosen - 1, column]
    found = true + reference.lab_error[head] * rng.standard_normal(len(chosen))
    path = folder / f"labels_{head}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("time", "margin"))
        for row, margin in zip(chosen.tolist(), found.tolist(), strict=True):
            moment = run.start + timedelta(milliseconds=float(stamps[row]))
            writer.writerow((moment.astimezone(_zone(reference)).isoformat(), f"{margin:.3f}"))
    return path
