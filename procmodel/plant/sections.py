"""The sections of the plant file beside its tags: where the record is, what is known, and how to learn and advise."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import BeforeValidator, Field, field_validator, model_validator

from procmodel.errors import PlantFileError
from procmodel.plant.duration import Duration
from procmodel.plant.recording import Summary
from procmodel.plant.tag import Frozen, MisfitError, WrittenLimits, in_order, nearest
from procmodel.plant.units import check_unit

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


class Calculated(Frozen):
    """What is calculated from tags and kept within limits, row by row of the plan; for example a heat duty.

    Attributes:
        expression: Over MVs, CVs and DVs, in the words of `objective`, for example "FI1.PV * (TI2.PV - TI1.PV)".
        unit: Of its value.
        limits: Soft and ranked, as a CV's [unit].
        description: For people.
    """

    expression: str
    unit: str
    limits: WrittenLimits
    description: str = ""

    @model_validator(mode="after")
    def _has_limits_in_order(self) -> Self:
        if self.limits.low is None and self.limits.high is None:
            raise MisfitError("limits", "limits: got none, needs low, high or both. Give it one, or remove it.")
        in_order(self.limits, self.unit)
        return self

    @model_validator(mode="after")
    def _unit_known(self) -> Self:
        try:
            check_unit(self.unit)
        except PlantFileError as error:
            raise MisfitError("unit", str(error)) from error
        return self


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
        scales: "auto": CVs that come near an end of their range as roots where the record asks for it; or "straight".
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
        strategy: "ddp", processes that exchange gradients; "single", one process; "auto": ddp for several of them.
        devices: Processes on each machine, one per GPU; "auto": as many as were started.
        nodes: Machines; "auto" likewise.
    """

    window: Duration | None = None
    rollout: Literal["auto"] | Duration = "auto"
    scales: Literal["auto", "straight"] = "auto"
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
    strategy: Literal["auto", "single", "ddp"] = "auto"
    devices: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = "auto"
    nodes: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"

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
    def _shares_its_batches_out(self) -> Self:
        wish = {"devices": self.devices, "nodes": self.nodes}
        several = [f"training.{key}: {many}" for key, many in wish.items() if many not in ("auto", 1)]
        if several and self.strategy == "single":
            raise MisfitError(
                ("strategy",),
                f"training.strategy: got single with {several[0]}. Write strategy: auto, or leave that out.",
            )
        processes = math.prod(many for many in wish.values() if many != "auto")
        if self.batch % processes:
            raise MisfitError(
                ("batch",),
                f"training.batch: got {self.batch}, which {processes} processes cannot share. Make it a multiple.",
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
        constraints: By name, what is calculated from tags and kept within limits.
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
        confidence: Share of forecasts whose error stays within the distance that is kept from CV limits.
        member_spread: Also keep the spread of the members' forecasts as distance from CV limits.
    """

    objective: str | None = None
    constraints: dict[str, Calculated] = Field(default_factory=dict)
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
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.9
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
