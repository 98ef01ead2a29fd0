"""Gates: what a model has to show before it may be the champion, each with its reason in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from procmodel.evaluation.report import percent

WORSE = 1.02
"""Up to so many times the champion's forecast error counts as not worse: seeds alone make that much [-]."""
SURPRISED, HELD = 0.02, 0.10
"""Share of unseen normal rows that may surprise the model, and of ticks at which it may hold [-]."""

Results = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One gate.

    Attributes:
        passed: None where it cannot be told; that blocks nothing, and is said.
    """

    name: str
    passed: bool | None
    reason: str

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "passed": self.passed, "reason": self.reason}


def gates_of(results: Results, champion: Results | None) -> tuple[Gate, ...]:
    """All gates of an evaluation, against that of the present champion where there is one."""
    return (
        _signs(results["gains"]["gate"]),
        _surprise(results.get("health")),
        _open_loop(results, champion),
        _closed_loop(results.get("backtest"), (champion or {}).get("backtest")),
        _holds(results.get("backtest")),
    )


def verdict(gates: tuple[Gate, ...]) -> str:
    """Why the alias moves, or why it stays, in one sentence."""
    failed = [f"{gate.name}: {gate.reason}" for gate in gates if gate.passed is False]
    if failed:
        return f"not champion: {'; '.join(failed)}"
    unknown = [gate.name for gate in gates if gate.passed is None]
    return "champion: every gate passed" + (f" that can be told (not known: {', '.join(unknown)})" if unknown else "")


def _signs(gate: Results) -> Gate:
    reason = f"{gate['checked']} declared signs hold" if gate["passed"] else "; ".join(gate["reasons"])
    return Gate(name="gain signs", passed=bool(gate["passed"]), reason=reason)


def _surprise(health: Results | None) -> Gate:
    if not health:
        return Gate(name="surprise", passed=None, reason="not looked at")
    share = float(health["surprised_share"])
    reason = f"{percent(share)} of {health['rows']} unseen rows surprise it, {percent(SURPRISED)} may"
    return Gate(name="surprise", passed=share <= SURPRISED, reason=reason)


def _open_loop(results: Results, champion: Results | None) -> Gate:
    mine, theirs = results["open_loop"], (champion or {}).get("open_loop")
    if champion is None or theirs is None:
        return Gate(name="open loop", passed=None, reason="there is no champion yet")
    shared = [
        (float(entry["model"][k]["over_std"]), float(theirs[cv]["model"][k]["over_std"]))
        for cv, entry in mine.items()
        for k in entry["model"]
        if _known(entry, k) and cv in theirs and _known(theirs[cv], k)
    ]
    if not shared:
        return Gate(name="open loop", passed=None, reason="it shares no judged CV and row with the champion")
    ours, others = (sum(pair[i] for pair in shared) / len(shared) for i in (0, 1))
    same = results.get("provenance", {}).get("data") == champion.get("provenance", {}).get("data")
    reason = f"mean error {ours:.3g} spreads, the champion's {others:.3g}{'' if same else ' on other data'}"
    return Gate(name="open loop", passed=ours <= WORSE * others, reason=reason)


def _known(entry: Results, k: str) -> bool:
    return entry.get("model", {}).get(k, {}).get("over_std") is not None


def _closed_loop(mine: Results | None, theirs: Results | None) -> Gate:
    """Not shown to lose against the operators, and not below the champion's interval."""
    if not mine or mine["benefit"] is None or not mine["cost_recorded"]:
        return Gate(name="closed loop", passed=None, reason="nobody can judge it on this record")
    benefit, cost = mine["benefit"], abs(mine["cost_recorded"])
    words = f"{percent(benefit['low'] / cost)} to {percent(benefit['high'] / cost)} less cost than the operators"
    if benefit["high"] < 0:
        return Gate(name="closed loop", passed=False, reason=f"{words}: a loss")
    if theirs and theirs["benefit"] is not None and theirs["cost_recorded"]:
        least = theirs["benefit"]["low"] / abs(theirs["cost_recorded"])
        if benefit["mean"] / cost < least:
            reason = f"{percent(benefit['mean'] / cost)} less cost, the champion at least {percent(least)}"
            return Gate(name="closed loop", passed=False, reason=reason)
    return Gate(name="closed loop", passed=True, reason=words)


def _holds(backtest: Results | None) -> Gate:
    share = (backtest or {}).get("held_while_followed")
    if share is None:
        return Gate(name="holds", passed=None, reason="nobody could follow it on this record")
    reason = f"while it is followed it holds at {percent(share)} of the ticks, {percent(HELD, 0)} may"
    return Gate(name="holds", passed=share <= HELD, reason=reason)
