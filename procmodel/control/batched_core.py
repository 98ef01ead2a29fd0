"""Many advice problems of one plant at once: sequential quadratic programming on one device, cores or a graphics card.

Shapes: B problems, K starts, N rows of the horizon, M blocks, U MVs, P = M * U changes [spans], V DVs, Y CVs, R soft
limits, Q segments, I ranks. Engineering units but for the latents and DVs.

The problem is that of `sqp.py`: setpoints, economic objective, move suppression and resting values, hard bounds of the
moves, soft limits of CVs and margins with one slack per limit and segment. Each iteration linearises all problems that
are not finished, solves their programs (`batched_qp.py`), and tries the full steps; those that are no gain are first
corrected for what they violate, then tried shorter. Finished problems leave the batch. The host waits for the device
once or twice per iteration.

All soft limits count alike here. Where ranks differ, an answer that exceeds nothing but the least important rank is
also the answer rank by rank; `conflict_B` says where it is not.

Imports torch alone, for machines that have little else.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from procmodel.control.batched_cost import BatchCost, Slopes, convex_all
from procmodel.control.batched_data import BatchPlant, BatchProblem, BatchSolution, joined, on_device
from procmodel.control.batched_moves import BatchMoves
from procmodel.control.batched_qp import Programs, Steps, solve_programs

MOST_LINEARISATIONS, MOST_CORRECTIONS = 20, 3
SHORTER = (0.5, 0.2, 0.05)
# As in `sqp.py`: what a step must promise, relative to the cost and per row, and what counts as a straight forecast.
RELATIVE_GAIN, ROW_GAIN, EXACT = 1e-4, 1e-8, 1e-5
REGULARISATION = 1e-9
# Problems solved together, by the numbers in their derivatives: more is no faster, and 200 M take about 12 GB.
MOST_NUMBERS = {"cpu": 100_000, "cuda": 200_000_000}
# Slack above which ranks are in conflict [spans].
NOTHING = 1e-7


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """A plan of each problem and what it costs."""

    moves_BNU: Tensor
    y_BNY: Tensor
    excess_BRN: Tensor
    cost_B: Tensor
    merit_B: Tensor

    def take(self, at: Tensor) -> _Trial:
        """Those of some problems."""
        return replace(self, **{each.name: getattr(self, each.name)[at] for each in fields(self)})


@dataclass(frozen=True, kw_only=True)
class _Linear:
    """Programs around plans, the derivatives they were made of [B, O, N, P], and what their solutions promise."""

    jacobian_BYNP: Tensor
    program: Programs
    promised_B: Tensor


class BatchCore:
    """Solves problems of one plant on the device where its tensors are."""

    def __init__(self, plant: BatchPlant) -> None:
        self._plant, self._cost = plant, BatchCost(plant)
        self._rank_most = int(plant.rank_R.max()) if len(plant.rank_R) else 0
        self._begun = tuple(plant.begun_N.tolist())
        self._moves = BatchMoves(plant)
        self._moved_NPU = self._moves.moved_NPU
        self._push_NPU = self._moved_NPU / plant.model.spread_U
        blocks, mvs = plant.share_NMU.shape[1:]
        eye = torch.eye(mvs, dtype=plant.share_NMU.dtype, device=plant.share_NMU.device)
        ones = torch.tril(torch.ones((blocks, blocks), dtype=eye.dtype, device=eye.device))
        self._rows_AP = torch.cat([torch.eye(blocks * mvs, dtype=eye.dtype, device=eye.device), torch.kron(ones, eye)])
        rest = torch.einsum("npu,u,nqu->pq", self._moved_NPU, plant.rest_weight_U, self._moved_NPU)
        self._hessian_PP = 2.0 * rest + torch.diag(plant.move_P)
        self._curvature = float(plant.curvature)

    def solve_in_pieces(self, problems: BatchProblem) -> BatchSolution:
        """The same for any number of problems on the processor; the solution is there, too."""
        numbers = self._moved_NPU[..., 0].numel() * max(len(self._plant.span_Y), len(self._plant.rank_R))
        most = max(16, MOST_NUMBERS[self._rows_AP.device.type] // numbers)
        pieces = [problems.take(slice(at, at + most)) for at in range(0, len(problems), most)]
        return joined([on_device(self.solve(on_device(piece, self._rows_AP.device)), "cpu") for piece in pieces])

    @torch.no_grad()
    def solve(self, problems: BatchProblem) -> BatchSolution:
        """All problems, from the better of their starts."""
        batch = len(problems)
        changes = self._best_start(problems)
        converged, conflict = changes.new_zeros((2, batch), dtype=torch.bool)
        made, promise = changes.new_zeros(batch, dtype=torch.int64), changes.new_zeros(batch)
        outputs, mvs = len(self._plant.span_Y), len(self._plant.span_U)
        gain = changes.new_zeros((batch, outputs, mvs))
        stuck = torch.full_like(converged, not self._cost.is_economic)
        price = changes.new_zeros((batch, *problems.offset_BRN.shape[1:]))
        active, given = torch.arange(batch, device=changes.device), problems
        for iteration in range(MOST_LINEARISATIONS):
            at, slopes, jacobian, curvature = self._linearised(given, changes[active], price[active])
            if not iteration:
                gain = jacobian[:, :, -1, :mvs] / self._plant.span_U
            program = self._program(given, changes[active], at, slopes, jacobian, curvature)
            step = solve_programs(program)
            price[active] = step.price_BRN * step.solved_B[:, None, None]
            promised, conflict[active] = self._promised(program, at, step)
            lin = _Linear(jacobian_BYNP=jacobian, program=program, promised_B=promised)
            small = step.solved_B & (promised <= self._enough(at))
            made[active] += 1
            moved, better, straight = self._moved(given, changes[active], at, lin, step)
            promise[active] = torch.where(straight, 0.0, promised / at.merit_B.abs().clamp_min(1e-12))
            changes[active] = torch.where((better & ~small).unsqueeze(1), moved, changes[active])
            # With the prices of this program the model's curvature is another one: worth a second try.
            ended = small | straight | (~better & stuck[active])
            stuck[active] |= ~better
            converged[active] = small | straight | (~better & step.solved_B & (promised <= 10 * self._enough(at)))
            going = (~ended).nonzero().squeeze(1)  # the host waits here
            if not len(going):
                break
            active, given = active[going], given.take(going)
        last = self.evaluate(problems, changes)
        return BatchSolution(
            changes_BP=changes,
            moves_BNU=last.moves_BNU,
            y_BNY=last.y_BNY,
            cost_B=last.cost_B,
            merit_B=last.merit_B,
            promise_B=promise,
            gain_BYU=gain,
            converged_B=converged & last.merit_B.isfinite(),
            conflict_B=conflict,
            iterations_B=made,
        )

    def evaluate(self, problems: BatchProblem, changes_BP: Tensor) -> _Trial:
        """What one plan of each problem brings."""
        moves_BNU = self._moves.rows(problems, changes_BP)
        tape = self._plant.model.roll(problems.latent_BD, moves_BNU, problems.dv_BNV)
        return self._scored(problems, changes_BP, moves_BNU, tape.latents_NBD)

    def _scored(self, problems: BatchProblem, changes_BP: Tensor, moves_BNU: Tensor, latents_NBD: Tensor) -> _Trial:
        plant = self._plant
        y_BNY = plant.model.outputs(latents_NBD) + problems.bias_BNY
        excess_BRN = plant.slope_R[:, None] * y_BNY[:, :, plant.column_R].transpose(1, 2) + problems.offset_BRN
        cost_B = self._cost.value(problems, changes_BP, moves_BNU, y_BNY)
        finite = y_BNY.isfinite().all(dim=2).all(dim=1) & cost_B.isfinite()
        cost_B = torch.where(finite, cost_B, torch.inf)
        merit_B = torch.where(finite, cost_B + self._penalty(excess_BRN), torch.inf)
        return _Trial(moves_BNU=moves_BNU, y_BNY=y_BNY, excess_BRN=excess_BRN, cost_B=cost_B, merit_B=merit_B)

    def _slack(self, excess_BRN: Tensor) -> Tensor:
        shape = (*excess_BRN.shape[:2], len(self._plant.price_Q))
        slack = torch.zeros(shape, dtype=excess_BRN.dtype, device=excess_BRN.device)
        return slack.scatter_reduce(2, self._plant.segment_N.expand(excess_BRN.shape), excess_BRN, "amax")

    def _penalty(self, excess_BRN: Tensor) -> Tensor:
        slack = self._slack(excess_BRN)
        return (self._plant.price_Q * (slack + 0.5 * self._curvature * slack.square())).sum(dim=(1, 2))

    def _best_start(self, problems: BatchProblem) -> Tensor:
        starts = problems.starts_BKP
        best = self._moves.inside(problems, starts[:, 0])
        if starts.shape[1] == 1:
            return best
        merit = self.evaluate(problems, best).merit_B
        for k in range(1, starts.shape[1]):
            other = self._moves.inside(problems, starts[:, k])
            tried = self.evaluate(problems, other).merit_B
            better = tried < merit
            best, merit = torch.where(better.unsqueeze(1), other, best), torch.where(better, tried, merit)
        return best

    def _linearised(
        self, given: BatchProblem, changes_BP: Tensor, price_BRN: Tensor
    ) -> tuple[_Trial, Slopes, Tensor, Tensor | None]:
        """The plans' forecast, its derivatives by the changes in spans [B, O, N, P], and its curvature [B, P, P]."""
        moves_BNU = self._moves.rows(given, changes_BP)
        model = self._plant.model
        tape = model.roll(given.latent_BD, moves_BNU, given.dv_BNV, keep=True)
        at = self._scored(given, changes_BP, moves_BNU, tape.latents_NBD)
        slopes = self._cost.slopes(given, moves_BNU, at.y_BNY)
        seed = None
        if self._cost.is_economic:
            priced = (self._plant.slope_R[:, None] * price_BRN).transpose(1, 2)
            seed = slopes.by_output_BNO.index_add(2, self._plant.column_R, priced)
        return at, slopes, *model.sensitivity(tape, self._push_NPU, self._begun, seed)

    def _program(
        self,
        given: BatchProblem,
        changes_BP: Tensor,
        at: _Trial,
        slopes: Slopes,
        jacobian_BYNP: Tensor,
        curvature_BPP: Tensor | None,
    ) -> Programs:
        plant = self._plant
        seed_BYN, weight_BYN = slopes.by_output_BNO.transpose(1, 2), slopes.weight_BNO.transpose(1, 2)
        weighted = (jacobian_BYNP * weight_BYN.unsqueeze(3)).flatten(1, 2)
        hessian = weighted.mT @ jacobian_BYNP.flatten(1, 2) + self._hessian_PP
        if curvature_BPP is not None:
            hessian = convex_all(hessian + self._cost.bent(slopes, jacobian_BYNP, self._moved_NPU) + curvature_BPP)
        hessian = 0.5 * (hessian + hessian.mT)
        ridge = REGULARISATION * hessian.diagonal(dim1=1, dim2=2).amax(dim=1, keepdim=True).clamp_min(1e-3)
        gradient = (seed_BYN.flatten(1).unsqueeze(1) @ jacobian_BYNP.flatten(1, 2)).squeeze(1)
        gradient = gradient + torch.einsum("bnu,npu->bp", slopes.by_move_BNU, self._moved_NPU)
        gradient = gradient + plant.move_P * changes_BP
        low, high = self._moves.hard(given, changes_BP)
        return Programs(
            hessian_BPP=hessian + torch.diag_embed(ridge.expand_as(changes_BP)),
            gradient_BP=gradient,
            rows_AP=self._rows_AP,
            low_BA=low,
            high_BA=high,
            soft_BRNP=plant.slope_R[:, None, None] * jacobian_BYNP[:, plant.column_R],
            excess_BRN=at.excess_BRN,
            segment_N=plant.segment_N,
            price_Q=plant.price_Q,
            curvature=self._curvature,
        )

    def _promised(self, program: Programs, at: _Trial, step: Steps) -> tuple[Tensor, Tensor]:
        """What each step promises to gain, and whether it gives up a limit above the least important rank."""
        p = step.change_BP.unsqueeze(2)
        curved = 0.5 * (p.mT @ program.hessian_BPP @ p).flatten() + (program.gradient_BP * step.change_BP).sum(dim=1)
        linear = at.excess_BRN + (program.soft_BRNP @ p.unsqueeze(1)).squeeze(3)
        above = self._slack(linear)[:, self._plant.rank_R < self._rank_most]
        return at.merit_B - (at.cost_B + curved + self._penalty(linear)), (above > NOTHING).flatten(1).any(dim=1)

    def _enough(self, at: _Trial) -> Tensor:
        rows = at.y_BNY.shape[1]
        return RELATIVE_GAIN * at.cost_B.abs().clamp_max(rows) + ROW_GAIN * rows

    def _moved(
        self, given: BatchProblem, changes: Tensor, at: _Trial, lin: _Linear, step: Steps
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The best plan along each step, whether it is a gain, and whether the full step is the problem's optimum."""
        moved = self._moves.inside(given, changes + step.change_BP)
        tried = self.evaluate(given, moved)
        better = tried.merit_B < at.merit_B
        linear = at.y_BNY + (lin.jacobian_BYNP @ step.change_BP[:, None, :, None]).squeeze(3).transpose(1, 2)
        off = ((tried.y_BNY - linear).abs() / self._plant.span_Y).flatten(1).amax(dim=1)
        missed = (at.merit_B - lin.promised_B - tried.merit_B).abs()
        straight = better & step.solved_B & (off <= EXACT) & (missed <= self._enough(at))
        still = (~better & (lin.promised_B > self._enough(at))).nonzero().squeeze(1)  # the host waits here
        if len(still):
            found, gain = self._rescued(
                given.take(still),
                changes[still],
                moved[still],
                at.take(still),
                lin.program.take(still),
                tried.excess_BRN[still],
                step.change_BP[still],
            )
            moved[still], better[still] = found, gain
        return moved, better, straight

    def _rescued(
        self,
        given: BatchProblem,
        base: Tensor,
        full: Tensor,
        at: _Trial,
        program: Programs,
        excess: Tensor,
        change: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Plans for full steps that were no gain, and whether they are: corrected for what was violated, or shorter."""
        best, merit = base.clone(), at.merit_B.clone()
        for _ in range(MOST_CORRECTIONS):
            bent = excess - (program.soft_BRNP @ change[:, None, :, None]).squeeze(3)
            change = solve_programs(replace(program, excess_BRN=bent)).change_BP
            corrected = self._moves.inside(given, base + change)
            tried = self.evaluate(given, corrected)
            excess = tried.excess_BRN
            better = (tried.merit_B < merit) & (merit == at.merit_B)
            best, merit = torch.where(better.unsqueeze(1), corrected, best), torch.where(better, tried.merit_B, merit)
        corrected_B = merit < at.merit_B
        for length in SHORTER:
            shorter = base + length * (full - base)
            tried = self.evaluate(given, shorter)
            better = (tried.merit_B < merit) & ~corrected_B
            best, merit = torch.where(better.unsqueeze(1), shorter, best), torch.where(better, tried.merit_B, merit)
        return best, merit < at.merit_B
