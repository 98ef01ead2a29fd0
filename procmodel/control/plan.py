"""Plan: the optimizer's outcome. Shapes: H horizon steps, U MVs, Y CVs. Engineering units."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np


class Status(StrEnum):
    """How a solve ended. Only `usable` ones may be shown as a move; anything else is a hold."""

    CONVERGED = "converged"
    FEASIBLE = "feasible at deadline"
    SHIFTED = "previous plan, shifted and verified"
    HOLD = "hold"

    @property
    def usable(self) -> bool:
        return self is not Status.HOLD


@dataclass(frozen=True, kw_only=True)
class GiveUp:
    """A soft limit that the plan cannot keep.

    Attributes:
        tag: The CV, calculated value or constraint head.
        side: "low" or "high".
        limit, amount: The limit and the largest excess over the horizon [unit].
        rank: Of the limit.
        because: What stands in the way of keeping it, in words; "" where that is not known.
        scenario: In which it is given up by so much; "" where the plan has but one.
    """

    tag: str
    side: str
    limit: float
    amount: float
    rank: int
    because: str = ""
    scenario: str = ""


@dataclass(frozen=True, kw_only=True)
class Calculation:
    """What is calculated from tags along a plan, and kept within limits as a CV is.

    Attributes:
        unit: As the plant file says.
        now: From the newest measured values [unit]; NaN where one of them is not known.
        predicted, unmoved: [H] under the plan, and if nothing is moved [unit].
    """

    unit: str
    now: float
    predicted: np.ndarray
    unmoved: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One scenario of a plan over several: what would be done and come if it came true.

    Attributes:
        name: Of the scenario.
        moves: [H, U]; the first rows are those of the plan.
        predicted: [H, Y].
    """

    name: str
    moves: np.ndarray
    predicted: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Above:
    """The slow layer's plan that a plan follows.

    Attributes:
        plan: On slow rows, from where the plant stood when it was made.
        age: Fast rows since then.
        ends, rest: What it asks of this plan: CVs at the end of the horizon, and MVs [unit].
    """

    plan: Plan
    age: int
    ends: dict[str, float]
    rest: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Where the plant should come to rest.

    Attributes:
        u, y: By MV and CV [unit].
        cost: Of it, in the objective's own unit.
        give_ups: CV limits that no rest can keep, rank 1 first.
        stayed: Whether the last targets were kept because leaving them would earn too little.
        by_gains: Why the plan's linear gains stood in for the model's equilibrium; "" where they did not.
        before: Targets of one advice ago, by MV and CV [unit]; empty where there were none.
    """

    u: dict[str, float]
    y: dict[str, float]
    cost: float
    give_ups: tuple[GiveUp, ...] = ()
    stayed: bool = False
    by_gains: str = ""
    before: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do over the horizon and what would come of it.

    Attributes:
        status: How the solve ended; `reason` says it in words.
        mvs, cvs, heads: Names, in column order.
        moves: [H, U] planned MV values; row 0 is to be made now.
        predicted: [H, Y] CVs under the plan, bias included.
        unmoved: [H, Y] CVs if nothing is moved.
        margins: [H, G] lower bounds of the constraint margins under the plan (allowance deducted).
        calculated: By name, what `advice.constraints` calculates.
        steady_gain: [Y, U] last row of dY/dU for a held move: the dynamic matrix's end.
        give_ups: Soft limits exceeded, rank 1 first.
        active: Limits that decide the plan, in words.
        cost: Objective of the plan; `cost_unmoved` that of no move.
        seconds: By stage.
        iterations: SQP iterations made.
        latents: [H, D] of the plan, scaled; None in a hold.
        cost_shares: What the cost is made of; the parts add up to it.
        limits: Soft limits in force, by tag and side [unit]; a ramp goes on from them.
        funnels: By how much a funnel holds limits open in each row, by tag and side, [H] [unit].
        branches: Of a plan over several scenarios. `moves` and all that is predicted beside them are of the first one;
            cost, give-ups and active limits are of all.
        above: The slow layer's plan that this one follows; None where it stands alone.
        targets: Where the plant should come to rest by the target layer; None where there is none.
    """

    status: Status
    reason: str
    mvs: tuple[str, ...]
    cvs: tuple[str, ...]
    heads: tuple[str, ...] = ()
    moves: np.ndarray
    predicted: np.ndarray
    unmoved: np.ndarray
    margins: np.ndarray
    calculated: dict[str, Calculation] = field(default_factory=dict)
    steady_gain: np.ndarray
    give_ups: tuple[GiveUp, ...] = ()
    active: tuple[str, ...] = ()
    cost: float = float("nan")
    cost_unmoved: float = float("nan")
    seconds: dict[str, float] = field(default_factory=dict)
    iterations: int = 0
    latents: np.ndarray | None = None
    cost_shares: dict[str, float] = field(default_factory=dict)
    limits: dict[tuple[str, str], float] = field(default_factory=dict)
    funnels: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    branches: tuple[Branch, ...] = ()
    above: Above | None = None
    targets: Targets | None = None
