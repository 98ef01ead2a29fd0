"""One historian signal and what the engineer knows about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from procmodel.errors import PlantFileError
from procmodel.plant.recording import Kind, Summary
from procmodel.plant.units import affine, check_unit, circle, parse_duration, parse_price, rate_gain

Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class MisfitError(ValueError):
    """A value that does not fit, with the key it is about (seen from the object checked), so that its line is found."""

    def __init__(self, at: str | tuple[str, ...], message: str) -> None:
        super().__init__(message)
        self.at = (at,) if isinstance(at, str) else at


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: the one that was perhaps meant, or all that are known."""
    names = list(known)
    folded = {each.casefold(): each for each in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    return f"did you mean {folded[near[0]]!r}?" if near else f"known: {', '.join(names[:20]) or 'none'}."


class Frozen(BaseModel):
    """Checked once where it is made, and trusted afterwards; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        for key in data if isinstance(data, dict) else ():
            if key not in cls.model_fields:
                raise MisfitError(str(key), f"unknown key {key!r}; {nearest(str(key), cls.model_fields)}")
        return data


class Role(StrEnum):
    """What a tag is to the controller."""

    MV = "MV"  # manipulated variable: advice moves it
    CV = "CV"  # controlled or constrained variable: predicted
    DV = "DV"  # measured disturbance: known, not moved
    AUX = "AUX"  # seen by the encoder only


class Status(StrEnum):
    """How far a tag takes part in control; the plant file's may be changed for a tick.

    An MV that is wound up low (its valve closed, its slave controller saturated) has status "low": it may only be moved
    up. A CV with status "low" is held by its low limit alone.
    """

    ON = "on"
    DROP = "drop"  # MV: stays where it is, and need not be believed. CV: neither steered nor limited
    FEED_FORWARD = "feed-forward"  # MV: stays where it is, and what others do to it is a measured disturbance
    LOW = "low"
    HIGH = "high"
    CRITICAL = "critical"  # on; and without a believable sample of it there is no advice at all


class Limit(Frozen):
    """A bound on a tag.

    Attributes:
        at: The bound [unit of the tag].
        rank: 1 is given up last. Ignored for an MV, whose limits are hard.
    """

    at: Finite
    rank: Annotated[int, Field(ge=1, le=9)] = 2


def _limit(value: Any) -> Any:
    return {"at": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


class Limits(Frozen):
    """Low and high bound of a tag; either may be absent."""

    low: Annotated[Limit | None, BeforeValidator(_limit, json_schema_input_type=float | Limit | None)] = None
    high: Annotated[Limit | None, BeforeValidator(_limit, json_schema_input_type=float | Limit | None)] = None


def _limits(value: Any) -> Any:
    if isinstance(value, list | tuple):
        if len(value) != 2:
            raise MisfitError((), f"got {list(value)}, needs [low, high] or {{low: ..., high: ...}}.")
        return {"low": value[0], "high": value[1]}
    return value


class MaxMove(Frozen):
    """Largest change of an MV from one advice to the next [unit of the tag]."""

    up: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    down: Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _max_move(value: Any) -> Any:
    return {"up": value, "down": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


def _written_duration(value: Any) -> Any:
    try:
        if value is not None:
            parse_duration(str(value))
    except PlantFileError as error:
        raise MisfitError((), str(error)) from error
    return value


def in_order(limits: Limits, unit: str) -> None:
    """Refuses limits that cross."""
    low, high = limits.low, limits.high
    if low and high and low.at >= high.at:
        text = f"limits crossed: low {low.at:g} must be below high {high.at:g} [{unit}]. Correct the limits."
        raise MisfitError("limits", text)


_Above0 = Annotated[float, Field(gt=0)]
_Pair = tuple[float | None, float | None]
WrittenLimits = Annotated[Limits, BeforeValidator(_limits, json_schema_input_type=Limits | _Pair)]


class Tag(Frozen):
    """One historian signal.

    Attributes:
        name: As the historian spells it.
        role: MV, CV, DV or AUX.
        unit: Engineering unit used everywhere inside procmodel, for example "degC".
        source_unit: Unit of the recorded values where it differs from `unit`; they are converted on reading.
        description: For people.
        range: Instrument range (low, high) [unit]; values outside are bad.
        limits: Hard for an MV, soft and ranked for a CV [unit].
        max_move: Largest change per advice, MV only [unit].
        rest_at: Ideal resting value, MV only [unit]; the optimizer drifts there when nothing else decides.
        price: Cost per unit of the tag and hour, as "0.02 CHF/V"; enters the economic objective.
        setpoint: Target, CV only [unit].
        weight: Importance of the setpoint relative to the other CVs' [-].
        step: The value holds between samples (a setpoint, a state); otherwise it runs linearly between them.
            Absent: MVs step, all others run linearly.
        max_gap: Longest time between two good samples that is still bridged, for example "10 min".
        kind: measurement, angle (goes round), totalizer (a counter of `source_unit`, of which the tag is the rate) or
            laboratory (rare samples that hold, each with its age).
        summary: What a cell of the grid tells: time_average, bridged_average, interpolated, previous, last,
            sample_mean, minimum or maximum. Absent: the plant's, which is time_average unless it says otherwise.
        rollover: Totalizer only: where the counter starts again from zero [source_unit].
        status: How far it takes part in control, unless a tick says otherwise.
        valid: Validity limits (low, high) [unit]: a sample outside is not believed when advice is made, and nobody may
            set a setpoint or a limit there.
        funnel: CV: time in which its limits close from where it stands to where they are, for example "10 min".
        ramp: CV: how fast a changed limit is followed [unit/min]; absent: at once.
        announced: DV: CSV `time,value[,low,high]` of what is known to come, relative to the plant file.
    """

    name: str
    role: Role
    unit: str
    source_unit: str | None = None
    description: str = ""
    range: tuple[Finite, Finite] | None = None
    limits: WrittenLimits = Limits()
    max_move: Annotated[MaxMove | None, BeforeValidator(_max_move, json_schema_input_type=MaxMove | _Above0)] = None
    rest_at: Finite | None = None
    price: str | None = None
    setpoint: Finite | None = None
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    step: bool | None = None
    max_gap: Annotated[str | None, BeforeValidator(_written_duration)] = None
    kind: Kind = Kind.MEASUREMENT
    summary: Summary | None = None
    rollover: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    status: Status = Status.ON
    valid: tuple[Finite, Finite] | None = None
    funnel: Annotated[str | None, BeforeValidator(_written_duration)] = None
    ramp: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    announced: str | None = None

    @property
    def is_critical(self) -> bool:
        return self.status is Status.CRITICAL

    @property
    def is_step(self) -> bool:
        """Whether a value holds until the next sample."""
        return self.role is Role.MV or self.kind is Kind.LABORATORY if self.step is None else self.step

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.rollover is not None and self.kind is not Kind.TOTALIZER:
            raise MisfitError("rollover", f"rollover belongs to kind totalizer; this tag is a {self.kind}. Remove it.")
        if self.kind is Kind.TOTALIZER and self.source_unit is None:
            text = "a totalizer needs source_unit, the unit of its counter, such as m3 for a rate in m3/h. Add it."
            raise MisfitError("kind", text)
        if self.kind is Kind.LABORATORY and self.step is False:
            raise MisfitError("step", "a laboratory value holds until the next one. Remove step, or the kind.")
        if self.kind is Kind.ANGLE and self.summary in (Summary.MINIMUM, Summary.MAXIMUM, Summary.SAMPLE_MEAN):
            raise MisfitError("summary", f"an angle goes round and has no {self.summary}. Choose another summary.")
        if self.kind is Kind.TOTALIZER and self.summary is Summary.SAMPLE_MEAN:
            raise MisfitError("summary", "a totalizer's rate lies between its samples. Choose another summary.")
        return self

    @model_validator(mode="after")
    def _fits_its_role(self) -> Self:
        for key, value, role in (
            ("max_move", self.max_move, Role.MV),
            ("rest_at", self.rest_at, Role.MV),
            ("setpoint", self.setpoint, Role.CV),
            ("funnel", self.funnel, Role.CV),
            ("ramp", self.ramp, Role.CV),
            ("announced", self.announced, Role.DV),
        ):
            if value is not None and self.role is not role:
                raise MisfitError(key, f"{key} belongs to role {role}; this tag has role {self.role}. Remove it.")
        return self

    @model_validator(mode="after")
    def _status_fits_its_role(self) -> Self:
        allowed = {Role.MV: set(Status), Role.CV: set(Status) - {Status.FEED_FORWARD}}
        known = allowed.get(self.role, {Status.ON, Status.CRITICAL})
        if self.status not in known:
            words = ", ".join(each for each in Status if each in known)
            raise MisfitError("status", f"status {self.status} does not fit a {self.role}; it may be {words}.")
        return self

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        low, high = self.limits.low, self.limits.high
        in_order(self.limits, self.unit)
        if self.range is not None and self.range[0] >= self.range[1]:
            raise MisfitError(
                "range", f"range [{self.range[0]:g}, {self.range[1]:g}] must rise [{self.unit}]. Correct it."
            )
        if self.valid is not None and self.valid[0] >= self.valid[1]:
            raise MisfitError(
                "valid", f"valid [{self.valid[0]:g}, {self.valid[1]:g}] must rise [{self.unit}]. Correct it."
            )
        if self.rest_at is not None and ((low and self.rest_at < low.at) or (high and self.rest_at > high.at)):
            raise MisfitError(
                "rest_at", f"rest_at {self.rest_at:g} must lie within the limits [{self.unit}]. Correct it."
            )
        return self

    @model_validator(mode="after")
    def _units_known(self) -> Self:
        for key, check in (
            ("unit", lambda: check_unit(self.unit)),
            ("source_unit", self._source_unit_fits),
            ("unit", lambda: self.kind is Kind.ANGLE and circle(self.unit)),
            ("price", lambda: self.price is not None and parse_price(self.price, self.unit)),
        ):
            try:
                check()
            except PlantFileError as error:
                raise MisfitError(key, str(error)) from error
        return self

    def _source_unit_fits(self) -> None:
        if self.source_unit is not None:
            (rate_gain if self.kind is Kind.TOTALIZER else affine)(self.source_unit, self.unit)
