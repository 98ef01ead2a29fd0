"""Gains: the model's step responses, gated by the plant file and held against the truth.

Shapes: U MVs, Y CVs, H rows, C tags.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from procmodel.control.horizon import span
from procmodel.data.window import Columns
from procmodel.evaluation.plain import plain
from procmodel.evaluation.step_response import StepResponse
from procmodel.metrics import GainFigures, judge_gains

Array = np.ndarray


@dataclass(frozen=True, kw_only=True)
class GainCheck:
    """One declared pair against the model.

    Attributes:
        mv, cv: The pair.
        declared: "+" or "-"; None where only a dead time is declared.
        gain: The model's [unit of the CV / unit of the MV].
        agreement: Share of operating points with the sign of that gain [-].
        dead_time: The model's [s]; NaN where it does not answer.
        reasons: Why the pair fails; empty where it passes.
    """

    mv: str
    cv: str
    declared: str | None
    gain: float
    agreement: float
    dead_time: float
    reasons: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.reasons


@dataclass(frozen=True, kw_only=True)
class GainGate:
    """Whether a model may advise, by what the engineer is sure of."""

    checks: tuple[GainCheck, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(reason for check in self.checks for reason in check.reasons)

    def check(self, mv: str, cv: str) -> GainCheck | None:
        """Of one pair; None where nothing is declared."""
        return next((c for c in self.checks if (c.mv, c.cv) == (mv, cv)), None)

    def to_dict(self) -> dict[str, Any]:
        return {"passed": self.passed, "checked": len(self.checks), "reasons": list(self.reasons)}


# The sign has to hold nearly everywhere: an optimizer finds the operating point where it does not.
LEAST_AGREEMENT = 0.9
# Share of the answer that may show within the declared dead time: leakage of a learned model, no answer.
EARLY = 0.1


def gain_gate(response: StepResponse) -> GainGate:
    """Check a model's step responses against the signs and dead times of the plant file."""
    plant, agreement, checks = response.plant, response.agreement(), []
    for (mv, cv), declared in plant.gains.items():
        y, u = plant.cvs.index(cv), plant.mvs.index(mv)
        gain, share = float(response.gain[y, u]), float(agreement[y, u])
        early = _early_answer(response.curves[:, y, u], gain, declared.dead_time, response.step)
        reasons = []
        if declared.sign is not None and _sign(gain) != declared.sign:
            unit = f"{plant.tags[cv].unit}/{plant.tags[mv].unit}"
            reasons.append(f"the plant file declares {declared.sign!r}, the model's gain is {gain:.3g} {unit}")
        elif declared.sign is not None and share < LEAST_AGREEMENT:
            needed = f"{100 * LEAST_AGREEMENT:.0f} % are needed"
            reasons.append(f"the sign holds at {100 * share:.0f} % of the operating points, {needed}")
        if early > EARLY:
            within = f"within the declared dead time of {declared.dead_time:g} s"
            reasons.append(f"{100 * early:.0f} % of the answer comes {within}")
        checks.append(
            GainCheck(
                mv=mv,
                cv=cv,
                declared=declared.sign,
                gain=gain,
                agreement=share,
                dead_time=response.figures(mv, cv).dead_time,
                reasons=tuple(f"{mv} -> {cv}: {reason}" for reason in reasons),
            )
        )
    return GainGate(checks=tuple(checks))


def _early_answer(curve_H: Array, gain: float, dead_time: float, step: float) -> float:
    """Largest part of the answer in rows that end within the dead time [-]."""
    rows = int(dead_time / step + 1e-9)
    if rows == 0 or gain == 0.0:
        return 0.0
    return float(np.max(np.abs(curve_H[:rows])) / abs(gain))


@dataclass(frozen=True, kw_only=True, eq=False)
class Gains:
    """The model's gains beside the truth, where it is known, and beside what the engineer declared.

    Attributes:
        model: The model's step responses.
        gate: Their check against the plant file.
        truth: True gains, [Y, U]; NaN where nobody knows them.
        figures: Comparison with the truth.
    """

    model: StepResponse
    gate: GainGate
    truth: Array
    figures: GainFigures

    def to_dict(self) -> dict[str, Any]:
        """`right` of `pairs` have the right sign or are rightly small; per pair sign and value of model and truth."""
        return {
            "right": self.figures.right_pairs,
            "pairs": self.figures.pairs,
            "mean_relative_error": plain(self.figures.mean_relative_error),
            "gate": self.gate.to_dict(),
            "table": self.table(),
        }

    def table(self) -> list[dict[str, Any]]:
        """One entry per MV-CV pair."""
        plant, out = self.model.plant, []
        known = np.isfinite(self.truth)
        for u, mv in enumerate(plant.mvs):
            for y, cv in enumerate(plant.cvs):
                found, step = float(self.model.gain[y, u]), self.model.figures(mv, cv)
                check, zero = self.gate.check(mv, cv), bool(self.figures.zero[y, u])
                out.append(
                    {
                        "mv": mv,
                        "cv": cv,
                        "unit": f"{plant.tags[cv].unit}/{plant.tags[mv].unit}",
                        "model": {"sign": _sign(found), "value": found},
                        "truth": {
                            "sign": "0" if zero else _sign(float(self.truth[y, u])),
                            "value": float(self.truth[y, u]),
                        }
                        if known[y, u]
                        else None,
                        "right": bool(self.figures.right[y, u]) if known[y, u] else None,
                        "declared": check.declared if check else None,
                        "passed": check.passed if check else None,
                        "dead_time_s": plain(step.dead_time),
                        "settling_time_s": plain(step.settling_time),
                    }
                )
        return out


def compare_gains(model: StepResponse, spread_C: Array, truth: Array | None = None) -> Gains:
    """The model's gains against the plant file and, where they are known, the true ones [Y, U]."""
    plant, columns = model.plant, Columns.of(model.plant)
    known = np.full(model.gain.shape, np.nan) if truth is None else np.asarray(truth, dtype=float)
    mv_span = np.array([span(plant.tags[n], float(spread_C[i])) for n, i in zip(plant.mvs, columns.mv, strict=True)])
    cv_span = np.array([span(plant.tags[n], float(spread_C[i])) for n, i in zip(plant.cvs, columns.cv, strict=True)])
    figures = judge_gains(model.gain, known, mv_span, cv_span)
    return Gains(model=model, gate=gain_gate(model), truth=known, figures=figures)


def _sign(value: float) -> str:
    return "+" if value > 0 else "-" if value < 0 else "0"
