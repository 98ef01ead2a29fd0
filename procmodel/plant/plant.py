"""The plant: its tags and what the engineer knows of it."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import BeforeValidator, Field, ValidationInfo, field_serializer, field_validator, model_validator

from procmodel.errors import PlantFileError
from procmodel.plant.recording import Kind, Summary
from procmodel.plant.tag import Frozen, MisfitError, Role, Tag, nearest
from procmodel.plant.units import parse_duration

FROM_FILE = {"from_file": True}
"""Validation context of what a person wrote: a duration has to carry its unit there."""


def _seconds(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except PlantFileError as error:
            raise MisfitError((), str(error)) from error
    if info.context == FROM_FILE and value:
        raise MisfitError((), f"got {value!r}, needs a duration with its unit, such as 5 s, 2 min or 1 h.")
    return value


DURATION_PATTERN = r"^\s*[0-9.]+([eE][+-]?[0-9]+)?\s*[A-Za-z]+\s*$"
DurationText = Annotated[str, Field(pattern=DURATION_PATTERN, examples=["5 s", "2 min", "1 h"])]
Duration = Annotated[
    float, Field(ge=0, allow_inf_nan=False), BeforeValidator(_seconds, json_schema_input_type=DurationText)
]
"""Seconds; written with its unit ("5 s", "2 min", "1 h")."""


_WrittenSign = Literal["+", "-", 1, -1] | None


def _sign(value: Any) -> Any:
    return {1: "+", -1: "-"}.get(value, value) if isinstance(value, int) and not isinstance(value, bool) else value


class History(Frozen):
    """Where the record is read from.

    Attributes:
        kind: Name of a connector (entry point group `procmodel.historians`).
        path: File pattern(s), relative to the plant file; `${NAME:-default}` is read from the environment.
        timezone: Zone of stamps that carry none. Without it such stamps are an error.
        options: The connector's own settings, checked by it.
    """

    kind: str
    path: str | list[str] | None = None
    timezone: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str | None) -> str | None:
        try:
            if name is not None:
                ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise MisfitError((), f"unknown time zone {name!r}; {nearest(str(name), available_timezones())}") from error
        return name


class Gain(Frozen):
    """What the engineer is sure of about one MV-CV pair; checked before a model may advise.

    Attributes:
        sign: "+" or "-", the sign of the steady-state answer of the CV to the MV; absent: only the dead time is known.
        dead_time: Time before the CV can answer [s].
    """

    sign: Annotated[Literal["+", "-"] | None, BeforeValidator(_sign, json_schema_input_type=_WrittenSign)] = None
    dead_time: Duration = 0.0


class Constraint(Frozen):
    """A margin that no sensor measures, learned from labelled samples; advice keeps it above zero.

    Attributes:
        labels: CSV with columns `time` and `margin` (positive is safe), relative to the plant file.
        confidence: Share of cases in which the true margin is to lie above the calibrated lower bound; of a logistic or
            hinge head, share of unsafe cases that are to be told [-].
        kind: regression (a measured margin), or logistic or hinge (only whether it was safe: the sign of `margin`, or a
            column `event`, 1 where it happened).
        rank: As for a limit.
        unit: Unit of the margin.
    """

    labels: str
    kind: Literal["regression", "logistic", "hinge"] = "regression"
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.9
    rank: Annotated[int, Field(ge=1, le=9)] = 2
    unit: str = "1"
    description: str = ""


class Conditioning(Frozen):
    """How the record is put on the grid.

    Attributes:
        summary: What a cell tells of the tags that do not say it themselves.
        causal: Every value holds until the next sample, so that no cell looks at a sample that came later. Straight
            lines between the corners of a compressed record know where they lead.
        accept_uncertain: Take uncertain samples as good; OPC UA takes them as bad.
    """

    summary: Summary = Summary.TIME_AVERAGE
    causal: bool = False
    accept_uncertain: bool = False


class Split(Frozen):
    """What is held back from training.

    Attributes:
        test: Names of the campaigns kept for the test, or the share of each campaign's end [-].
        validation: Share of what is left, from its end, that stops training and calibrates doubt [-].
    """

    test: list[str] | Annotated[float, Field(ge=0, lt=0.8)] = 0.15
    validation: Annotated[float, Field(gt=0, lt=0.5)] = 0.15


class Training(Frozen):
    """How the world model is trained.

    Attributes:
        window: Length of the past that the encoder sees.
        rollout: Length of a free run in training; "auto" decides by the excitation audit.
        latent: Size of the learned part of the latent.
        hidden: Width of the hidden layers.
        epochs, batches: Training length: epochs of so many batches.
        batch: Windows per batch.
        sigreg: Strength of the anti-collapse term; 0 leaves it out.
        shrink: How much what the network adds to the linear answer is held small; "auto": 10 where moves answer the
            plant and free runs are one row long, else 0. A short record asks for 0.1 to 1 [-].
        anti_collapse: Which term keeps the latent from collapsing.
        target: What the prediction is to meet: the encoder's latents with their gradient ("shared") or without
            ("stop_gradient"), or those of an encoder that follows it ("ema").
        compare: Prediction and target by mean square, or by contrast within the batch.
        inverse: Weight of guessing the move from the latents about it; straight: of the bend of the latents' path.
        encoder: "joint", or "masked": trained first, on masked windows, then frozen.
        read_out: "joint", or "frozen": trained last, on the frozen latent.
        members: Models trained from different seeds.
        precision: Of the networks' products on a GPU; "auto": bfloat16 for wide ones. The linear state, the
            anti-collapse term and all sums are in single precision.
    """

    window: Duration | None = None
    rollout: Literal["auto"] | Duration = "auto"
    latent: Annotated[int, Field(ge=1, le=1024)] = 16
    hidden: Annotated[int, Field(ge=4, le=4096)] = 64
    epochs: Annotated[int, Field(ge=1)] = 10
    batches: Annotated[int, Field(ge=1)] = 100
    batch: Annotated[int, Field(ge=8)] = 128
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    sigreg: Annotated[float, Field(ge=0)] = 0.1
    shrink: Literal["auto"] | Annotated[float, Field(ge=0)] = "auto"
    anti_collapse: Literal["sigreg", "staircase", "subspaces", "vicreg", "coding_rate"] = "sigreg"
    target: Literal["shared", "stop_gradient", "ema"] = "shared"
    compare: Literal["square", "contrast"] = "square"
    inverse: Annotated[float, Field(ge=0)] = 0.0
    straight: Annotated[float, Field(ge=0)] = 0.0
    encoder: Literal["joint", "masked"] = "joint"
    read_out: Literal["joint", "frozen"] = "joint"
    members: Annotated[int, Field(ge=1, le=20)] = 1
    precision: Literal["auto", "single", "bfloat16"] = "auto"

    @model_validator(mode="after")
    def _does_not_collapse(self) -> Self:
        if self.sigreg == 0 and self.target == "shared" and self.compare == "square":
            raise MisfitError(
                ("sigreg",),
                "training.sigreg: got 0 with target 'shared', for which a constant latent is the best one. Give it a "
                "weight (0.1 is usual), or choose training.target 'stop_gradient' or 'ema', or compare 'contrast'.",
            )
        return self

    @model_validator(mode="after")
    def _has_epochs_for_its_stages(self) -> Self:
        stages = 1 + (self.encoder == "masked") + (self.read_out == "frozen")
        if self.epochs < stages:
            raise MisfitError(
                ("epochs",),
                f"training.epochs: got {self.epochs}, needs at least {stages}: encoder {self.encoder!r} with read_out "
                f"{self.read_out!r} trains in {stages} stages that share the epochs. Raise training.epochs.",
            )
        return self


class Advising(Frozen):
    """How the optimizer plans and when the guard holds.

    Attributes:
        objective: Economic cost per hour over tag names, for example "600 * FI100.PV - 20 * FI2.PV"; absent: prices
            and setpoints.
        every: Time from one advice to the next; absent: the sample time.
        horizon: How far the optimizer looks ahead; absent: 60 samples.
        blocks: Number of moves per MV within the horizon.
        move_weight: Move suppression, relative to the CVs' weights [-].
        max_age: The newest sample may not be older than this; absent: 5 sample times.
        expires: The advice may not be followed after this time; absent: `every`.
        mode: off, simulate or advise: the most that is asked for; health may allow less.
        target_layer: First find where the plant should rest, then steer there.
        scenarios: What one plan is to stand up to: `members` of the ensemble, `futures` of the announced DVs (`low`
            and `high` beside the expected one).
        shared_moves: Moves that are the same in all scenarios: the first, or all of them.
        member_spread: Also keep the spread of the members' forecasts as distance from CV limits.
    """

    objective: str | None = None
    every: Duration | None = None
    horizon: Duration | None = None
    blocks: Annotated[int, Field(ge=1, le=60)] = 8
    move_weight: Annotated[float, Field(ge=0)] = 0.1
    max_age: Duration | None = None
    expires: Duration | None = None
    mode: Literal["off", "simulate", "advise"] = "advise"
    target_layer: bool = False
    scenarios: list[Literal["members", "futures"]] = Field(default_factory=list)
    shared_moves: Literal["first", "all"] = "first"
    member_spread: bool = False


class Slow(Frozen):
    """A slow layer above the advice, for what is decided over many horizons: a store to be filled while it is cheap.

    Attributes:
        row: Length of a slow row; a whole number of advices, and no longer than the advice's horizon.
        horizon: How far the slow layer looks; absent: 24 slow rows.
        window: Past that the slow model reads; absent: 12 slow rows.
        blocks: Moves per MV within it.
        latents: Leading components of the fast latent that the slow model reads beside the means.
        targets: CVs whose values are handed down; absent: all.
    """

    row: Annotated[Duration, Field(gt=0)]
    horizon: Duration | None = None
    window: Duration | None = None
    blocks: Annotated[int, Field(ge=1, le=60)] = 12
    latents: Annotated[int, Field(ge=0, le=64)] = 4
    targets: list[str] | None = None


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
    def _futures_are_announced(self) -> Self:
        if "futures" in self.advice.scenarios and not any(tag.announced for tag in self.tags.values()):
            text = "advice: scenarios names futures, but no DV has announced. Give one its file, or remove futures."
            raise MisfitError(("advice", "scenarios"), text)
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
