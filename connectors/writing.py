"""Writing setpoints to a plant: a class of its own that nothing here makes, and that refuses unless told three times.

A value is written only where all of this holds: `enabled` is set, the tag is on the allow-list with limits and a
largest move, the plant file knows it as an MV, the value lies within both limits, and it is no further from the value
that the plant holds now than the move allows. One value that fails refuses all of them. Unless `dry_run` is switched
off, all is checked and nothing is written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from procmodel.errors import GateError, PlantFileError
from procmodel.plant import Role, Tag
from procmodel.plant.units import affine


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """What may be written to one tag [unit of the tag].

    Attributes:
        low, high: Bounds of the value.
        max_move: Largest distance from the value that the plant holds.
    """

    low: float
    high: float
    max_move: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise PlantFileError(f"Allowed: low={self.low} must be below high={self.high}, both finite.")
        if not (math.isfinite(self.max_move) and self.max_move > 0):
            raise PlantFileError(f"Allowed: max_move={self.max_move} must be finite and above zero.")


@dataclass(frozen=True, kw_only=True)
class WriteRules:
    """What may be written; as it stands: nothing.

    Attributes:
        enabled: Whether anything may.
        allow: By tag.
        dry_run: Check all, write nothing.
    """

    enabled: bool = False
    allow: Mapping[str, Allowed] = field(default_factory=dict)
    dry_run: bool = True


@dataclass(frozen=True, kw_only=True)
class Written:
    """One value that passed, and whether it was written [unit of the tag]."""

    tag: str
    before: float
    value: float
    dry_run: bool


class Target(Protocol):
    """A plant that can be written to, in its own units."""

    def value(self, tag: str) -> float | None:
        """What the plant holds now; None where that is no good number."""
        ...

    def write(self, tag: str, value: float) -> None:
        """Writes one value, or raises."""
        ...


class PlantWriter:
    """Writes to a plant what the rules allow.

    Args:
        target: The plant.
        tags: The plant's tags.
        rules: What may be written.
    """

    def __init__(self, target: Target, tags: Mapping[str, Tag], rules: WriteRules) -> None:
        self._target, self._tags, self._rules = target, tags, rules

    def write(self, values: Mapping[str, float]) -> list[Written]:
        """Write values [unit of the tag], all of them or none.

        Raises:
            GateError: one of them may not be written; then none was.
        """
        checked = [self._checked(tag, value) for tag, value in values.items()]
        if not self._rules.dry_run:
            for each in checked:
                gain, offset = self._scale(each.tag)
                self._target.write(each.tag, (each.value - offset) / gain)
        return checked

    def _checked(self, tag: str, value: float) -> Written:
        rules = self._rules
        if not rules.enabled:
            raise self._refused(tag, value, "writing is not enabled; set WriteRules.enabled if that is meant")
        if tag not in rules.allow:
            raise self._refused(tag, value, "the tag is not on the allow-list (WriteRules.allow)")
        if tag not in self._tags or self._tags[tag].role is not Role.MV:
            raise self._refused(tag, value, "the plant file knows no such MV")
        allowed, limits = rules.allow[tag], self._tags[tag].limits
        low = max(allowed.low, limits.low.at if limits.low else -math.inf)
        high = min(allowed.high, limits.high.at if limits.high else math.inf)
        if not low <= value <= high:  # NaN is not within
            raise self._refused(tag, value, f"it has to lie between {low:g} and {high:g}")
        raw = self._target.value(tag)
        if raw is None or not math.isfinite(raw):
            raise self._refused(tag, value, "the plant holds no good value there now, so the move is not known")
        gain, offset = self._scale(tag)
        before = gain * raw + offset
        if abs(value - before) > allowed.max_move:
            raise self._refused(tag, value, f"it is more than {allowed.max_move:g} from {before:g}, which holds now")
        return Written(tag=tag, before=before, value=value, dry_run=rules.dry_run)

    def _scale(self, tag: str) -> tuple[float, float]:
        known = self._tags[tag]
        return affine(known.source_unit, known.unit) if known.source_unit else (1.0, 0.0)

    def _refused(self, tag: str, value: float, why: str) -> GateError:
        return GateError(f"{tag!r} = {value:g} was not written: {why}. Nothing was written.")
