"""Claims: figures that a command sets itself a bound for, and whether it met them.

One contract for every command and experiment: each claim has a name, a value, a sense, a bound and `met`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from procmodel.evaluation.plain import plain

Sense = Literal["<=", "<", ">=", ">"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One figure with its bound.

    Attributes:
        claim: Name.
        value: What was found; None where it could not be found, which never meets a bound.
        sense: How the value must stand to the bound.
        bound: What it is held against.
    """

    claim: str
    value: float | None
    sense: Sense
    bound: float

    @property
    def met(self) -> bool:
        """Whether the value stands as the sense asks; no value, or one that is not a number, never does."""
        if self.value is None or math.isnan(self.value):
            return False
        return {
            "<=": self.value <= self.bound,
            "<": self.value < self.bound,
            ">=": self.value >= self.bound,
            ">": self.value > self.bound,
        }[self.sense]

    def to_dict(self) -> dict[str, Any]:
        """As printed under `claims`."""
        return {
            "claim": self.claim,
            "value": None if self.value is None else plain(self.value),
            "sense": self.sense,
            "bound": self.bound,
            "met": self.met,
        }


BOUNDS: Mapping[str, Mapping[str, tuple[Sense, float]]] = {
    "demo:evaporator": {
        "gains_right_share": (">=", 1.0),
        "cost_over_oracle": ("<=", 1.10),
        "cost_over_operator": ("<", 1.0),
        # Share of ticks beyond a rank-1 limit, above what the oracle shows.
        "rank_1_violation_above_oracle": ("<=", 0.01),
    },
    "demo:quadruple-tank": {"cost_over_oracle": ("<=", 1.05)},
    "evaluate:micro_gas_turbine": {"rmse_ex_4": ("<=", 208.0), "rmse_ex_22": ("<=", 194.0)},
}
"""By experiment and claim: the sense and the bound that the project has set itself."""


def claims_of(experiment: str, values: Mapping[str, float | None]) -> list[Claim]:
    """The claims of an experiment with the values that it found.

    Args:
        experiment: A key of `BOUNDS`; one that is not there claims nothing.
        values: By claim name; a claim without a value is listed with None and not met, further values are left out.
    """
    bounds = BOUNDS.get(experiment, {})
    return [
        Claim(claim=name, value=values.get(name), sense=sense, bound=bound) for name, (sense, bound) in bounds.items()
    ]


def demo_values(gains: Mapping[str, Any], closed_loop: Mapping[str, Any]) -> dict[str, float | None]:
    """Values of the demo's claims from its `gains` and `closed_loop` results.

    Args:
        gains: With `right` and `pairs`.
        closed_loop: Per controller `cost` and `violation` by rank; entries without a cost are passed over.
    """
    values: dict[str, float | None] = {}
    if gains.get("pairs"):
        values["gains_right_share"] = gains["right"] / gains["pairs"]
    controllers = {name: each for name, each in closed_loop.items() if "cost" in each}
    cost = {name: each["cost"] for name, each in controllers.items()}
    if "advice" not in cost:
        return values
    for other in ("oracle", "operator"):
        # A ratio says nothing of costs that are not above zero (an economic objective can be a profit).
        if other in cost:
            values[f"cost_over_{other}"] = cost["advice"] / cost[other] if cost[other] > 0 else None
    if "oracle" in cost:
        share = {name: _share(each, "1") for name, each in controllers.items()}
        values["rank_1_violation_above_oracle"] = share["advice"] - share["oracle"]
    return values


def _share(controller: Mapping[str, Any], rank: str) -> float:
    """Share of ticks beyond a limit of this rank; 0 where the plant has no such limit."""
    return float(controller.get("violation", {}).get(rank, {}).get("share", 0.0))
