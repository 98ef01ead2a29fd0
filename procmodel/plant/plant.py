"""The plant: its tags and what the engineer knows of it."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Self

from pydantic import Field, field_serializer, model_validator

from procmodel.plant.duration import Duration
from procmodel.plant.recording import Kind
from procmodel.plant.sections import Advising, Conditioning, Constraint, Gain, History, Slow, Split, Training
from procmodel.plant.tag import Frozen, MisfitError, Role, Tag, nearest

FEWEST_ROWS, FEWEST_AHEAD = 4, 2
"""Rows of history that a model reads, and rows that a plan looks ahead, at least."""


def _pair(key: Any) -> tuple[str, str]:
    parts = tuple(key.split("->")) if isinstance(key, str) else key
    if not (isinstance(parts, tuple) and len(parts) == 2 and all(isinstance(part, str) for part in parts)):
        raise MisfitError(("gains", str(key)), f"gains: got {key!r}, needs a pair written 'MV -> CV'.")
    return parts[0].strip(), parts[1].strip()


class Plant(Frozen):
    """The tags and what the engineer knows: the plant file, checked.

    Attributes:
        name: Of the plant; names its artifacts.
        sample_time: Grid step [s].
        tags: By tag name, in the order of the file, which is the column order everywhere.
        gains: By (MV, CV).
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    description: str = ""
    sample_time: Annotated[Duration, Field(gt=0)]
    history: History | None = None
    tags: dict[str, Tag]
    gains: dict[tuple[str, str], Gain] = Field(default_factory=dict)
    constraints: dict[str, Constraint] = Field(default_factory=dict)
    conditioning: Conditioning = Conditioning()
    split: Split = Split()
    training: Training = Training()
    advice: Advising = Advising()
    slow: Slow | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        """Tags take their key as name; gains are written "MV -> CV"."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        if isinstance(data.get("tags"), dict):
            data["tags"] = {
                name: {"name": name, **tag} if isinstance(tag, dict) else tag for name, tag in data["tags"].items()
            }
        if isinstance(data.get("gains"), dict):
            data["gains"] = {_pair(key): gain for key, gain in data["gains"].items()}
        return data

    @model_validator(mode="after")
    def _has_what_control_needs(self) -> Self:
        for role, names in ((Role.MV, self.mvs), (Role.CV, self.cvs)):
            if not names:
                raise MisfitError("tags", f"tags: none has role {role}; at least one is needed.")
        return self

    @model_validator(mode="after")
    def _gains_between_known_tags(self) -> Self:
        for mv, cv in self.gains:
            for name, role in ((mv, Role.MV), (cv, Role.CV)):
                if name not in self.tags:
                    text = f"gain '{mv} -> {cv}': unknown tag {name!r}; {nearest(name, self.tags)}"
                    raise MisfitError(("gains", f"{mv} -> {cv}"), text)
                if self.tags[name].role is not role:
                    text = f"gain '{mv} -> {cv}': {name!r} has role {self.tags[name].role}; it is written 'MV -> CV'."
                    raise MisfitError(("gains", f"{mv} -> {cv}"), text)
        return self

    @model_validator(mode="after")
    def _calculated_have_names_of_their_own(self) -> Self:
        for name in self.advice.constraints:
            if name in self.tags or name in self.constraints:
                what = "a tag" if name in self.tags else "a learned constraint"
                text = f"advice.constraints: {name!r} is the name of {what} too. Give it another."
                raise MisfitError(("advice", "constraints", name), text)
        return self

    @model_validator(mode="after")
    def _futures_are_announced(self) -> Self:
        if "futures" in self.advice.scenarios and not any(tag.announced for tag in self.tags.values()):
            text = "advice: scenarios names futures, but no DV has announced. Give one its file, or remove futures."
            raise MisfitError(("advice", "scenarios"), text)
        return self

    @model_validator(mode="after")
    def _spans_have_enough_rows(self) -> Self:
        """Refused, not lengthened: what is learned from another span than the one that was asked for misleads."""
        wish, row = self.training, self.sample_time
        spans: list[tuple[str, str, float | None, float, int]] = [
            ("training", "window", wish.window, row, FEWEST_ROWS),
            ("training", "rollout", None if wish.rollout == "auto" else wish.rollout, row, 1),
            ("advice", "horizon", self.advice.horizon, row, FEWEST_AHEAD),
        ]
        if self.slow is not None:
            spans += [
                ("slow", "window", self.slow.window, self.slow.row, FEWEST_ROWS),
                ("slow", "horizon", self.slow.horizon, self.slow.row, FEWEST_AHEAD),
            ]
        for section, key, length, unit, least in spans:
            if length is not None and round(length / unit) < least:
                rows = "one row" if least == 1 else f"{least} rows of {unit:g} s"
                text = f"{section}.{key}: got {length:g} s, needs at least {least * unit:g} s, {rows}. Lengthen it."
                raise MisfitError((section, key), text)
        return self

    @model_validator(mode="after")
    def _slow_layer_fits(self) -> Self:
        if self.slow is None:
            return self
        for name in self.slow.targets or ():
            if name not in self.cvs:
                text = f"slow: targets names {name!r}, which is no CV; {nearest(name, self.cvs)}"
                raise MisfitError(("slow", "targets"), text)
        every = self.advice.every or self.sample_time
        if self.advice.horizon is not None and self.slow.row > self.advice.horizon:
            text = f"slow: row is {self.slow.row:g} s, beyond advice.horizon ({self.advice.horizon:g} s). Shorten it."
            raise MisfitError(("slow", "row"), text)
        for key, length, unit in (
            ("row", self.slow.row, every),
            ("horizon", self.slow.horizon, self.slow.row),
            ("window", self.slow.window, self.slow.row),
        ):
            if length is not None and (round(length / unit) < 1 or abs(length / unit - round(length / unit)) > 1e-6):
                text = f"slow: {key} is {length:g} s, which is not a whole number of {unit:g} s. Set it to a multiple."
                raise MisfitError(("slow", key), text)
        if any(tag.kind is Kind.ANGLE for tag in self.tags.values()):
            raise MisfitError("slow", "slow: a slow row is a mean, and an angle has none. Leave the slow layer out.")
        return self

    @field_serializer("gains", when_used="json")
    def _written_gains(self, gains: dict[tuple[str, str], Gain]) -> dict[str, Gain]:
        """As in the plant file, so that a stored plant reads back."""
        return {f"{mv} -> {cv}": gain for (mv, cv), gain in gains.items()}

    def of(self, *roles: Role) -> list[str]:
        """Names of the tags with one of these roles, in column order."""
        return [name for name, tag in self.tags.items() if tag.role in roles]

    @property
    def columns(self) -> list[str]:
        """All tag names in column order."""
        return list(self.tags)

    @property
    def mvs(self) -> list[str]:
        return self.of(Role.MV)

    @property
    def cvs(self) -> list[str]:
        return self.of(Role.CV)

    @property
    def dvs(self) -> list[str]:
        return self.of(Role.DV)

    @property
    def max_age(self) -> float:
        """Age of the newest sample above which advice holds [s]."""
        return self.advice.max_age if self.advice.max_age is not None else 5 * self.sample_time

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what a model depends on: name, sample time, what each tag is, and how a cell tells of it."""
        facts: list[Any] = [self.name, self.sample_time]
        facts.append([[t.name, t.role, t.unit, t.is_step] for t in self.tags.values()])
        # Only what is unusual, so that a plant without it keeps the fingerprint that its models are stored under.
        unusual = {
            t.name: [t.kind, t.summary]
            for t in self.tags.values()
            if t.kind is not Kind.MEASUREMENT or t.summary is not None
        }
        if unusual or self.conditioning != Conditioning():
            facts.append([unusual, self.conditioning.model_dump()])
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
