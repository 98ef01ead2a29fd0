"""Many convex quadratic programs of one form at once, by a primal-dual interior-point method on one device.

Shapes: B programs, P changes, A hard rows, R soft limits, N rows of the horizon, Q segments, m inequalities.

    minimise  1/2 p' H p + g' p + sum_rq price_q (s_rq + curvature / 2 s_rq^2)
    over      low <= C p <= high,  s >= 0,
    with      excess_rn + J_rn p <= s_{r, segment(n)}.

Mehrotra's predictor and corrector with one step length for both sides, in float64. Slacks are eliminated, so that one
Cholesky factor of P by P serves a step. With row weights w the rows of a segment then add

    sum_n w_n (J_n - J) (J_n - J)' + W d / (W + d) J J',    W = sum w,  J = sum w_n J_n / W,

where d is the slack's own curvature: no difference of two large matrices, so that weights may grow without bound as
the method converges. A program that is solved stands still while the others go on; nothing of one program enters
another.

Imports torch alone, for machines that have little else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

MOST_ITERATIONS = 40
# Gap between primal and dual at which one counts as solved, relative to 1 + its cost; residuals likewise [-].
GAP, PRIMAL, DUAL = 1e-8, 1e-9, 1e-7
# Where the method starts: distance from each row [spans], product of distance and price. With the slacks' own prices
# such that the others add up, programs of the measured sizes took 7 to 15 iterations; with all alike, 15 to 24.
ROOM, CENTRE = 1e-2, 1.0
# Part of the way to the boundary that a step may go [-].
SHORT_OF = 0.9995
# A row that leaves less than this between its two sides pins its change [spans].
PINNED = 1e-9


@dataclass(frozen=True, kw_only=True)
class Programs:
    """What is to be solved.

    Attributes:
        rows_AP: C, the same for all; its first P rows are those of a unit matrix, the changes' own bounds.
        low_BA, high_BA: Not above zero and not below, so that no change is always allowed.
        soft_BRNP, excess_BRN: J and the excess without a change.
        segment_N: Segment of each row, rising from 0.
        price_Q: Of a slack of each segment.
        curvature: Of the slacks' penalty.
    """

    hessian_BPP: Tensor
    gradient_BP: Tensor
    rows_AP: Tensor
    low_BA: Tensor
    high_BA: Tensor
    soft_BRNP: Tensor
    excess_BRN: Tensor
    segment_N: Tensor
    price_Q: Tensor
    curvature: float

    def take(self, at: Tensor) -> Programs:
        """Some of the programs."""
        own = ("hessian_BPP", "gradient_BP", "low_BA", "high_BA", "soft_BRNP", "excess_BRN")
        return replace(self, **{name: getattr(self, name)[at] for name in own})


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Their solutions.

    Attributes:
        change_BP: Optimal p; inside the hard rows but for rounding.
        price_BRN: Multipliers of the soft rows.
        solved_B: Whether the method converged; the change of one that did not is no answer.
        iterations_B: Made for each.
    """

    change_BP: Tensor
    price_BRN: Tensor
    solved_B: Tensor
    iterations_B: Tensor


@dataclass
class _Point:
    """Where the method stands: changes, slacks, and all distances and prices in the order high, low, soft, slack."""

    p: Tensor
    t: Tensor
    z: Tensor


class _Method:
    """What stays the same from iteration to iteration."""

    def __init__(self, programs: Programs) -> None:
        q = self.programs = programs
        batch, changes = q.gradient_BP.shape
        _, self.limits, self.steps = q.excess_BRN.shape
        self.segments, hard = len(q.price_Q), len(q.rows_AP)
        self.sizes = [hard, hard, self.limits * self.steps, self.limits * self.segments]
        self.member_NQ = torch.nn.functional.one_hot(q.segment_N, self.segments).to(q.gradient_BP.dtype)
        pinned = (q.high_BA - q.low_BA)[:, :changes] < PINNED
        self.free_BP = (~pinned).to(q.gradient_BP.dtype)
        # A pinned change is taken out of the equations; its row then only needs an inside.
        wide = torch.nn.functional.pad(pinned, (0, hard - changes))
        self.high, self.low = torch.where(wide, 1.0, q.high_BA), torch.where(wide, -1.0, q.low_BA)
        self.soft = q.soft_BRNP.reshape(batch, -1, changes)
        self.price = q.price_Q.repeat(self.limits)
        self.levels = q.rows_AP[changes:]

    def start(self) -> _Point:
        """No change, at a distance from every row."""
        q = self.programs
        worst = torch.full(
            (*q.excess_BRN.shape[:2], self.segments), 0.0, dtype=q.excess_BRN.dtype, device=self.high.device
        )
        index = q.segment_N.expand(q.excess_BRN.shape)
        worst = worst.scatter_reduce(2, index, q.excess_BRN, "amax", include_self=True)
        slack = worst + ROOM
        t = torch.cat(
            [
                self.high.clamp_min(ROOM),
                (-self.low).clamp_min(ROOM),
                (slack[..., q.segment_N] - q.excess_BRN).flatten(1),
                slack.flatten(1),
            ],
            dim=1,
        )
        z = CENTRE / t
        soft, own = self.parts(z)[2:]
        own = torch.maximum(own, self.price * (1.0 + q.curvature * slack.flatten(1)) - self.gathered(soft))
        return _Point(p=torch.zeros_like(q.gradient_BP), t=t, z=torch.cat([z[:, : -own.shape[1]], own], dim=1))

    def parts(self, values: Tensor) -> tuple[Tensor, ...]:
        """High, low, soft and slack part of a vector of all inequalities."""
        return torch.split(values, self.sizes, dim=1)

    def gathered(self, soft: Tensor) -> Tensor:
        """Sums of the soft rows over each slack."""
        return (soft.reshape(-1, self.limits, self.steps) @ self.member_NQ).flatten(1)

    def spread(self, slack: Tensor) -> Tensor:
        """Each slack's value at each of its rows."""
        return slack.reshape(-1, self.limits, self.segments)[..., self.programs.segment_N].flatten(1)

    def along(self, p: Tensor) -> tuple[Tensor, Tensor]:
        """Hard and soft rows times a change."""
        return p @ self.programs.rows_AP.T, (self.soft @ p.unsqueeze(2)).squeeze(2)

    def against(self, hard: Tensor, soft: Tensor) -> Tensor:
        """The transpose of both."""
        return hard @ self.programs.rows_AP + (soft.unsqueeze(1) @ self.soft).squeeze(1)

    def residuals(self, at: _Point) -> tuple[Tensor, Tensor, Tensor]:
        """Of the changes' stationarity, of the slacks', and of all rows (that of a slack's own bound is none)."""
        q = self.programs
        t_high, t_low, t_soft, slack = self.parts(at.t)
        z_high, z_low, z_soft, z_slack = self.parts(at.z)
        hard, soft = self.along(at.p)
        curved = (q.hessian_BPP @ at.p.unsqueeze(2)).squeeze(2)
        by_change = (curved + q.gradient_BP + self.against(z_high - z_low, z_soft)) * self.free_BP
        by_slack = self.price * (1.0 + q.curvature * slack) - self.gathered(z_soft) - z_slack
        kept = [hard + t_high - self.high, self.low - hard + t_low]
        kept += [q.excess_BRN.flatten(1) + soft - self.spread(slack) + t_soft, torch.zeros_like(slack)]
        return by_change, by_slack, torch.cat(kept, dim=1)

    def factor(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Cholesky factor of the changes' equations for row weights w, and the slacks' diagonal."""
        q, changes = self.programs, self.soft.shape[2]
        w_high, w_low, w_soft, w_slack = self.parts(w)
        own = self.price * q.curvature + w_slack
        total = self.gathered(w_soft)
        share = (w_soft / self.spread(total)).reshape(-1, self.limits, 1, self.steps) * self.member_NQ.T
        mean = share @ q.soft_BRNP  # [B, R, Q, P]
        apart = (q.soft_BRNP - mean[:, :, q.segment_N]).flatten(1, 2)
        hard = w_high + w_low
        stacked = torch.cat(
            [
                apart * w_soft.sqrt().unsqueeze(2),
                mean.flatten(1, 2) * (total * own / (total + own)).sqrt().unsqueeze(2),
                self.levels * hard[:, changes:].sqrt().unsqueeze(2),
            ],
            dim=1,
        )
        k = q.hessian_BPP + stacked.mT @ stacked + torch.diag_embed(hard[:, :changes])
        k = k * self.free_BP.unsqueeze(1) * self.free_BP.unsqueeze(2) + torch.diag_embed(1.0 - self.free_BP)
        return torch.linalg.cholesky_ex(k)[0], total + own

    def step(
        self, at: _Point, w: Tensor, factor: tuple[Tensor, Tensor], residuals: tuple[Tensor, Tensor, Tensor], rc: Tensor
    ) -> _Point:
        """Newton's step for the complementarity residual `rc`."""
        chol, d = factor
        by_change, by_slack, kept = residuals
        k_high, k_low, k_soft, k_slack = self.parts((at.z * kept - rc) / at.t)
        w_soft = self.parts(w)[2]
        rs = self.gathered(k_soft) - by_slack + k_slack
        right = -by_change - self.against(k_high - k_low, k_soft - w_soft * self.spread(rs / d)) * self.free_BP
        p = torch.cholesky_solve(right.unsqueeze(2), chol).squeeze(2)
        hard, soft = self.along(p)
        slack = (rs + self.gathered(w_soft * soft)) / d
        soft = soft - self.spread(slack)
        given = torch.cat([hard, -hard, soft, -slack], dim=1)
        t = -kept - given
        return _Point(p=p, t=t, z=w * given + (at.z * kept - rc) / at.t)


def solve_programs(programs: Programs) -> Steps:
    """All programs at once.

    On a processor the method ends as soon as all are solved; on a graphics card, where asking stops the queue, that is
    looked at now and then.
    """
    method = _Method(programs)
    at = method.start()
    batch = len(at.t)
    every = 1 if at.t.device.type == "cpu" else 4
    done = torch.zeros(batch, dtype=torch.bool, device=at.t.device)
    made = torch.zeros(batch, dtype=torch.int64, device=at.t.device)
    lost = torch.zeros_like(done)
    for iteration in range(MOST_ITERATIONS):
        residuals = method.residuals(at)
        done = done | _solved(programs, method, at, residuals)
        if iteration % every == 0 and bool((done | lost).all()):
            break
        mu = (at.t * at.z).mean(dim=1, keepdim=True)
        w = at.z / at.t
        factor = method.factor(w)
        guess = method.step(at, w, factor, residuals, at.t * at.z)
        reach = _reach(at, guess)
        left = ((at.t + reach * guess.t) * (at.z + reach * guess.z)).mean(dim=1, keepdim=True)
        rc = at.t * at.z + guess.t * guess.z - mu * (left / mu) ** 3
        step = method.step(at, w, factor, residuals, rc)
        length = (SHORT_OF * _reach(at, step)).clamp_max(1.0)
        lost = lost | ~length.isfinite().squeeze(1)
        go = ~(done | lost).unsqueeze(1)
        at = _Point(
            p=torch.where(go, at.p + length * step.p, at.p),
            t=torch.where(go, at.t + length * step.t, at.t),
            z=torch.where(go, at.z + length * step.z, at.z),
        )
        made = made + go.squeeze(1)
    price = method.parts(at.z)[2].reshape(-1, method.limits, method.steps)
    return Steps(change_BP=at.p * method.free_BP, price_BRN=price, solved_B=done, iterations_B=made)


def _reach(at: _Point, step: _Point) -> Tensor:
    """Longest step, [B, 1], that keeps distances and prices above zero; above 1 where a full one is not the end."""
    fall = torch.maximum(-step.t / at.t, -step.z / at.z).amax(dim=1, keepdim=True)
    return 1.0 / fall.clamp_min(SHORT_OF)


def _solved(programs: Programs, method: _Method, at: _Point, residuals: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    by_change, by_slack, kept = residuals
    cost = (programs.gradient_BP * at.p).sum(dim=1).abs()
    gap = (at.t * at.z).sum(dim=1)
    # What a digit of the largest price is worth, no step takes off.
    least = DUAL + 1e-2 * DUAL * at.z.amax(dim=1)
    dual = torch.maximum(by_change.abs().amax(dim=1), by_slack.abs().amax(dim=1))
    return (gap <= GAP * (1.0 + cost)) & (kept.abs().amax(dim=1) <= PRIMAL) & (dual <= least)
