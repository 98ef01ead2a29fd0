"""Several futures, one first move: a plan that is good on the mean of them and keeps the limits in each.

Shapes: K plans tried at once, S scenarios, N rows of the horizon, M blocks, B blocks of all scenarios together, U MVs,
P = M * U changes of one scenario, T = B * U of all (index block * U + MV), R soft limits, Y CVs.

Each scenario is a `Problem` of its own: another member of the ensemble, or another announced course of the DVs. Its
first blocks are everybody's, since nobody knows yet which scenario will come true (non-anticipativity); later ones are
its own. With all blocks shared one sequence of moves has to serve every scenario. The later blocks are not advised:
they stand for what further advice will do once the plant has shown where it goes.

    minimise  sum_s weight_s cost_s + WEIGHT * sum of penalties over all scenarios

Penalties are summed, not averaged: a limit weighs in each scenario what it would weigh alone. With scenarios that are
all alike this is the one problem again. Rows of all scenarios stand one after the other, so that limits, ranks, steps
and scores (`sqp.py`, `ranks.py`) are those of one long horizon.

Source of the formula: multi-stage NMPC with a robust horizon of one, S. Lucia, T. Finkler, S. Engell, J. Process
Control 23 (2013) 1306-1319, without products of doubts at later stages.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from procmodel.control.limits import SoftLimits
from procmodel.control.problem import Problem, Trial
from procmodel.control.qp import QuadraticProgram
from procmodel.control.subproblem import Linearisation, Subproblem, linearised, subproblem

# Excess of a limit that one scenario has and another has not, such as that of a head [spans].
_NOT_JUDGED = -1.0


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One future.

    Attributes:
        name: In words, for people.
        problem: The optimization if it came true. Its limits are the first of those of the first scenario.
        weight: Of its cost; those of all scenarios add up to 1 [-].
    """

    name: str
    problem: Problem
    weight: float


@dataclass(frozen=True, kw_only=True)
class Scenarios:
    """The optimization of one tick over several futures.

    Attributes:
        scenarios: The first one is what is shown as the plan.
        shared: First blocks that are the same in all scenarios, at least one.
    """

    scenarios: tuple[Scenario, ...]
    shared: int

    @property
    def nominal(self) -> Problem:
        """Of the first scenario."""
        return self.scenarios[0].problem

    @property
    def span_Y(self) -> np.ndarray:
        """Spans of the CVs."""
        return self.nominal.span_Y

    @property
    def is_by_hand(self) -> bool:
        """Whether the gradient at a further plan is cheap."""
        return all(scenario.problem.is_by_hand for scenario in self.scenarios)

    @cached_property
    def block_SM(self) -> np.ndarray:
        """Which of all blocks is the m-th one of each scenario, [S, M]."""
        blocks = self.nominal.forecaster.horizon.blocks
        own = blocks - self.shared
        block_M = np.arange(blocks)
        return np.array([block_M + (block_M >= self.shared) * own * s for s in range(len(self.scenarios))])

    @cached_property
    def limits(self) -> SoftLimits:
        """Those of the first scenario over the rows of all."""
        one, count = self.nominal.limits, len(self.scenarios)
        segments = len(one.advices_Q)
        return SoftLimits(
            limits=one.limits,
            segment_N=np.concatenate([one.segment_N + s * segments for s in range(count)]),
            advices_Q=np.tile(one.advices_Q, count),
        )

    def keeping(self, backoff_NY: np.ndarray) -> Scenarios:
        """The same with at least so much distance kept from the limits of CVs in each scenario [unit]."""
        kept = [replace(each, problem=each.problem.keeping(backoff_NY)) for each in self.scenarios]
        return Scenarios(scenarios=tuple(kept), shared=self.shared)

    def evaluate(self, changes_KMU: np.ndarray, moves_KNU: np.ndarray | None = None) -> Trial:
        """Forecast and cost of plans given by the changes of all blocks, [K, B, U]; `moves_KNU` are everybody's."""
        parts = tuple(
            scenario.problem.evaluate(changes_KMU[:, block_M], moves_KNU)
            for scenario, block_M in zip(self.scenarios, self.block_SM, strict=True)
        )
        weighted = [scenario.weight * part.cost_K for scenario, part in zip(self.scenarios, parts, strict=True)]
        limits = len(self.nominal.limits.limits)
        return Trial.scored(
            self.limits,
            changes_KMU=changes_KMU,
            forecast=parts[0].forecast,
            cost_K=np.sum(weighted, axis=0),
            excess_KNR=np.concatenate([_padded(part.excess_KNR, limits, _NOT_JUDGED) for part in parts], axis=1),
            parts=parts,
        )

    def linearised(self, trial: Trial, price_NR: np.ndarray | None, *, again: bool = False) -> Linearisation:
        """All derivatives at a plan, by the changes of all blocks."""
        limits = len(self.nominal.limits.limits)
        parts, outputs, soft = [], [], []
        hessian_TT = np.zeros((self._count, self._count))
        for s, scenario in enumerate(self.scenarios):
            part = linearised(scenario.problem, trial.parts[s], self._price(price_NR, s), again=again)
            parts.append(part)
            outputs.append(self._spread(part.outputs_NSP, s))
            soft.append(self._spread(_padded(part.soft_NRP.swapaxes(1, 2), limits, 0.0).swapaxes(1, 2), s))
            at_P = self._at(s)
            hessian_TT[np.ix_(at_P, at_P)] += scenario.weight * part.hessian_PP
        return Linearisation(
            changes_MU=trial.changes_KMU[0],
            sensitivity=parts[0].sensitivity,
            outputs_NSP=np.concatenate(outputs),
            soft_NRP=np.concatenate(soft),
            hessian_PP=hessian_TT,
            parts=tuple(parts),
        )

    def subproblem(self, lin: Linearisation, trial: Trial, price_NR: np.ndarray | None) -> Subproblem:
        """The program around a plan: those of the scenarios, tied together by what they share."""
        subs = [
            subproblem(scenario.problem, lin.parts[s], trial.parts[s], self._price(price_NR, s))
            for s, scenario in enumerate(self.scenarios)
        ]
        limits = len(self.nominal.limits.limits)
        return Subproblem(
            program=self._program([sub.program for sub in subs], lin.hessian_PP),
            kept_NR=np.concatenate([_padded(sub.kept_NR, limits, False) for sub in subs]),
            rank_Q=np.concatenate([sub.rank_Q for sub in subs]),
            is_exact=all(sub.is_exact for sub in subs),
        )

    def rows(self, changes_MU: np.ndarray) -> np.ndarray:
        """MV values of every row in the first scenario, [N, U]."""
        return self.nominal.rows(changes_MU[self.block_SM[0]])

    def as_changes(self, moves_NU: np.ndarray) -> np.ndarray:
        """Changes of all blocks, [B, U] [spans], where every scenario makes the same moves."""
        return self._joined([self.nominal.as_changes(moves_NU)] * len(self.scenarios))

    def inside(self, changes_MU: np.ndarray) -> np.ndarray:
        """Changes of all blocks put exactly inside the hard bounds, [B, U] [spans]."""
        # Shared blocks come out alike: they are the first ones, and the hard bounds are those of one plant.
        each = zip(self.scenarios, self.block_SM, strict=True)
        return self._joined([scenario.problem.inside(changes_MU[block_M]) for scenario, block_M in each])

    def _program(self, programs: list[QuadraticProgram], hessian_TT: np.ndarray) -> QuadraticProgram:
        gradient_T, least_T, most_T = np.zeros(self._count), np.zeros(self._count), np.zeros(self._count)
        levels, low, high, slack, slacks = [], [], [], [], 0
        for s, (scenario, program) in enumerate(zip(self.scenarios, programs, strict=True)):
            at_P = self._at(s)
            gradient_T[at_P] += scenario.weight * program.gradient_P
            least_T[at_P], most_T[at_P] = program.least_P, program.most_P
            own = slice(self.shared * self._mvs if s else 0, None)  # levels at the end of shared blocks count once
            levels.append(self._spread(program.levels_AP[own], s))
            low.append(program.level_low_A[own])
            high.append(program.level_high_A[own])
            slack.append(program.slack_B + slacks)
            slacks += len(program.price_Q)
        likely = [program.likely_B for program in programs if program.likely_B is not None]
        return QuadraticProgram(
            hessian_PP=hessian_TT,
            gradient_P=gradient_T,
            least_P=least_T,
            most_P=most_T,
            levels_AP=np.concatenate(levels),
            level_low_A=np.concatenate(low),
            level_high_A=np.concatenate(high),
            soft_BP=np.concatenate([self._spread(program.soft_BP, s) for s, program in enumerate(programs)]),
            excess_B=np.concatenate([program.excess_B for program in programs]),
            slack_B=np.concatenate(slack),
            price_Q=np.concatenate([program.price_Q for program in programs]),
            slack_most_Q=np.concatenate([program.slack_most_Q for program in programs]),
            likely_B=np.concatenate(likely) if likely else None,
        )

    @property
    def _mvs(self) -> int:
        """U."""
        return len(self.nominal.bounds.start_U)

    @property
    def _count(self) -> int:
        """T."""
        return (int(self.block_SM.max()) + 1) * self._mvs

    def _at(self, s: int) -> np.ndarray:
        """Which of all changes are a scenario's, [P]."""
        return np.asarray(self.block_SM[s][:, None] * self._mvs + np.arange(self._mvs)).ravel()

    def _spread(self, by_own: np.ndarray, s: int) -> np.ndarray:
        """Derivatives by a scenario's changes [..., P] as derivatives by all, [..., T]."""
        by_all = np.zeros((*by_own.shape[:-1], self._count))
        by_all[..., self._at(s)] = by_own
        return by_all

    def _price(self, price_NR: np.ndarray | None, s: int) -> np.ndarray | None:
        """A scenario's multipliers, for its cost with weight 1."""
        if price_NR is None:
            return None
        scenario, rows = self.scenarios[s], len(price_NR) // len(self.scenarios)
        limits = len(scenario.problem.limits.limits)
        return np.asarray(price_NR[s * rows : (s + 1) * rows, :limits] / scenario.weight)

    def _joined(self, changes_SMU: list[np.ndarray]) -> np.ndarray:
        """Changes of all blocks from those of each scenario."""
        changes_BU = np.zeros((int(self.block_SM.max()) + 1, changes_SMU[0].shape[1]))
        for block_M, changes_MU in zip(self.block_SM, changes_SMU, strict=True):
            changes_BU[block_M] = changes_MU
        return changes_BU


def of_equal_weight(problems: dict[str, Problem], shared: int) -> Scenarios:
    """Scenarios by name, each as likely as the others."""
    weight = 1.0 / len(problems)
    return Scenarios(
        scenarios=tuple(Scenario(name=name, problem=one, weight=weight) for name, one in problems.items()),
        shared=shared,
    )


def _padded(values: np.ndarray, limits: int, fill: float) -> np.ndarray:
    """Values with as many limits on their last axis as the first scenario has."""
    missing = limits - values.shape[-1]
    if not missing:
        return values
    return np.concatenate([values, np.full((*values.shape[:-1], missing), fill, dtype=values.dtype)], axis=-1)
