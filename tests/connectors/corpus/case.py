"""A case of the corpus, and the truth that most of them write down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

ZURICH = ZoneInfo("Europe/Zurich")
GOOD, UNCERTAIN, BAD = 0, 1, 2
Truth = Mapping[str, Sequence[tuple[datetime, float | str]]]
"""By tag: moments in UTC with a number, or with the word that stands in its place."""


@dataclass(frozen=True)
class Expected:
    """One sample as a reader has to hand it over."""

    time: datetime
    value: float | None
    quality: int = GOOD
    state: str | None = None


@dataclass(frozen=True, kw_only=True)
class Case:
    """An export, how its plant file describes it, and what it holds.

    Attributes:
        files: Content by name.
        kind, path, timezone, options: As in `history` of a plant file.
        expected: By tag, in order of time.
        report: What the read report has to say, by field.
        answers: What a person tells `procmodel init` besides the zone, by key of the plant file.
        unasked: Whether the shape of the export can be told from the export alone, but for the answers.
    """

    name: str
    files: Mapping[str, bytes]
    expected: Mapping[str, Sequence[Expected]]
    kind: str = "csv"
    path: str = "*"
    timezone: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, Any] = field(default_factory=dict)
    unasked: bool = True


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def minutes(start: datetime, values: Iterable[float | str], every: float = 1.0) -> list[tuple[datetime, float | str]]:
    """Values that follow each other."""
    return [(start + timedelta(minutes=every * number), value) for number, value in enumerate(values)]


def expected(truth: Truth) -> dict[str, list[Expected]]:
    """Numbers are good; a word in the place of a number is a bad sample with that state."""
    return {
        tag: [
            Expected(time, value) if not isinstance(value, str) else Expected(time, None, BAD, value)
            for time, value in sorted(samples, key=lambda sample: sample[0])
        ]
        for tag, samples in truth.items()
    }


def rows_of(truth: Truth) -> list[tuple[datetime, str, float | str]]:
    """Time, tag and value in order of time."""
    found = [(time, tag, value) for tag, samples in truth.items() for time, value in samples]
    return sorted(found, key=lambda row: (row[0], row[1]))


def grid_of(truth: Truth) -> list[tuple[datetime, list[float | str]]]:
    """A row per moment with what each tag says then; "" where it says nothing."""
    moments = sorted({time for samples in truth.values() for time, _ in samples})
    held = {tag: dict(samples) for tag, samples in truth.items()}
    return [(moment, [held[tag].get(moment, "") for tag in truth]) for moment in moments]


def number(value: float | str, decimal: str = ".", group: str = "") -> str:
    """A number as written on site; words stay as they are."""
    if isinstance(value, str):
        return value
    whole, point, part = repr(float(value)).removesuffix(".0").partition(".")
    sign, digits = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    if group:
        digits = f"{int(digits):,}".replace(",", group)
    return sign + digits + (decimal + part if point else "")


def lines(rows: Iterable[Iterable[str]], delimiter: str = ",", end: str = "\n") -> str:
    return "".join(delimiter.join(row) + end for row in rows)


def local(moment: datetime, written: str = "%Y-%m-%d %H:%M:%S") -> str:
    """On the clocks of Zurich."""
    return moment.astimezone(ZURICH).strftime(written)


def utc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


MORNING = at("2024-05-13T06:00:00")
AUTUMN = at("2024-10-26T23:00:00")  # 01:00 in Zurich, two hours before the first pass through 02:00 to 03:00 ends
SPRING = at("2024-03-31T00:00:00")  # 01:00 in Zurich, an hour before 02:00 becomes 03:00

PLANT: Truth = {
    "TI101.PV": minutes(MORNING, [81.25, 81.5, -3.75, "I/O Timeout", 82.0, 1234.5]),
    "FIC101.SP": minutes(MORNING, [1200.0, 1200.0, 1250.0], every=2.0),
    "PI 7.PV": minutes(MORNING + timedelta(seconds=20), [0.953, 1.0125, "Bad", 0.5]),
}
NUMBERS: Truth = {
    "TI101.PV": minutes(MORNING, [81.25, 1234.5, -3.75, 1234567.25]),
    "FIC101.SP": minutes(MORNING, [1200.0, 1200.5, 1250.0, 980.0]),
}
"""Without words, with thousands."""
