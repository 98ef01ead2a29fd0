"""What plans of many problems cost, with derivatives by what is forecast; economic objectives as lists of operations.

Shapes: B problems, N rows of the horizon, U MVs, P = M * U changes [spans], V DVs, Y CVs, O outputs (CVs and the
margins of heads), S = Y + U, K operations. Engineering units.

A `Tape` is a CasADi function of one row, operation by operation, made by `batched_given.py`; here each of them is one
torch operation on all rows of all problems. So gradient and Hessian are those that CasADi derived.

Imports torch alone, for machines that have little else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from procmodel.control.batched_data import BatchPlant, BatchProblem

TURNED = 0.3  # as in `objective.py`

ARITHMETIC: dict[str, Callable[..., Any]] = {
    "assign": lambda a: a,
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "neg": torch.neg,
    "exp": torch.exp,
    "log": torch.log,
    "pow": torch.pow,
    "constpow": torch.pow,
    "sqrt": torch.sqrt,
    "sq": torch.square,
    "twice": lambda a: 2.0 * a,
    "inv": torch.reciprocal,
    "fabs": torch.abs,
    "sign": torch.sign,
    "fmin": torch.fmin,
    "fmax": torch.fmax,
    "lt": torch.lt,
    "le": torch.le,
    "eq": torch.eq,
    "ne": torch.ne,
    "not": lambda a: a == 0.0,
    "and": lambda a, b: (a != 0.0) & (b != 0.0),
    "or": lambda a, b: (a != 0.0) | (b != 0.0),
    "if_else_zero": lambda a, b: torch.where(a != 0.0, b, 0.0),
}
"""Operations by the names that CasADi gives them."""
CODES = ("input", "output", "constant", *ARITHMETIC)
"""What stands in the first column of a tape: the place of an operation in this list."""


class Tape:
    """A function of the rows' CVs, MVs and DVs.

    Args:
        code_K4: Operation, where its result goes, and where its arguments come from; of an input, which tag of the CVs,
            MVs and DVs one after the other; of an output, which of them.
        constant_K: Of the operations that are one.
    """

    def __init__(self, code_K4: Tensor, constant_K: Tensor) -> None:
        self._code = [tuple(row) for row in code_K4.tolist()]
        self._constant = constant_K.tolist()
        self._outputs = 1 + max((to for code, to, _, _ in self._code if CODES[code] == "output"), default=-1)

    def __call__(self, tags_LT: Tensor) -> Tensor:
        """Outputs of rows, [L, outputs], from their tags [L, Y + U + V]."""
        found = torch.zeros((len(tags_LT), self._outputs), dtype=tags_LT.dtype, device=tags_LT.device)
        work: dict[int, Tensor] = {}
        for (code, to, first, second), constant in zip(self._code, self._constant, strict=True):
            match CODES[code]:
                case "input":
                    work[to] = tags_LT[:, first]
                case "constant":
                    work[to] = torch.full_like(found[:, 0], constant)
                case "output":
                    found[:, to] = work[first]
                case name:
                    arguments = (work[first],) if second < 0 else (work[first], work[second])
                    work[to] = ARITHMETIC[name](*arguments).to(found.dtype)
        return found


@dataclass(frozen=True, kw_only=True)
class Slopes:
    """Derivatives of the cost at one plan of each problem.

    Attributes:
        by_output_BNO, by_move_BNU: Of each row.
        weight_BNO: Second derivatives of squared distances by the outputs.
        bent_BNSS: Second derivatives of the economic objective by CVs and MVs; None without one.
    """

    by_output_BNO: Tensor
    by_move_BNU: Tensor
    weight_BNO: Tensor
    bent_BNSS: Tensor | None


class BatchCost:
    """The cost of one plant's plans, without penalties."""

    def __init__(self, plant: BatchPlant) -> None:
        self._plant = plant
        self.is_economic = bool(len(plant.paid_code))
        self._paid, self._bent = (
            Tape(plant.paid_code, plant.paid_constant),
            Tape(plant.bent_code, plant.bent_constant),
        )
        self._cvs = len(plant.span_Y) - len(plant.model.about)

    def value(self, given: BatchProblem, changes_BP: Tensor, moves_BNU: Tensor, y_BNO: Tensor) -> Tensor:
        """Of each problem's plan, [B]."""
        plant = self._plant
        off_BNO, known = self._off(given, y_BNO)
        cost_B = (plant.track_Y * torch.where(known, off_BNO, 0.0).square()).sum(dim=(1, 2))
        cost_B = cost_B + (plant.rest_weight_U * (moves_BNU - plant.rest_U).square()).sum(dim=(1, 2))
        cost_B = cost_B + 0.5 * (plant.move_P * changes_BP.square()).sum(dim=1)
        if self.is_economic:
            paid_BN = self._paid(self._tags(given, moves_BNU, y_BNO)).view(moves_BNU.shape[:2])
            cost_B = cost_B + plant.paid_scale * paid_BN.sum(dim=1)
        return cost_B

    def slopes(self, given: BatchProblem, moves_BNU: Tensor, y_BNO: Tensor) -> Slopes:
        """Its derivatives; those of the moves' changes are left to the program."""
        plant = self._plant
        off_BNO, known = self._off(given, y_BNO)
        weight_BNO = torch.where(known, 2.0 * plant.track_Y, 0.0)
        by_output = weight_BNO * torch.where(known, off_BNO, 0.0)
        by_move = 2.0 * plant.rest_weight_U * (moves_BNU - plant.rest_U)
        bent = None
        if self.is_economic:
            size = self._cvs + moves_BNU.shape[2]
            found = plant.paid_scale * self._bent(self._tags(given, moves_BNU, y_BNO))
            found = found.view(*moves_BNU.shape[:2], -1)
            by_output[..., : self._cvs] += found[..., : self._cvs]
            by_move = by_move + found[..., self._cvs : size]
            bent = found[..., size:].reshape(*moves_BNU.shape[:2], size, size)
        return Slopes(by_output_BNO=by_output, by_move_BNU=by_move, weight_BNO=weight_BNO, bent_BNSS=bent)

    def bent(self, slopes: Slopes, jacobian_BONP: Tensor, moved_NPU: Tensor) -> Tensor:
        """Second derivatives of the economic objective by the changes, [B, P, P], the model taken as straight."""
        assert slopes.bent_BNSS is not None
        by_cv_BNYP = jacobian_BONP[:, : self._cvs].transpose(1, 2)
        by_mv_NUP = moved_NPU.transpose(1, 2)
        both_BNSP = torch.cat([by_cv_BNYP, by_mv_NUP.expand(len(by_cv_BNYP), *by_mv_NUP.shape)], dim=2)
        return both_BNSP.flatten(1, 2).mT @ (slopes.bent_BNSS @ both_BNSP).flatten(1, 2)

    def _off(self, given: BatchProblem, y_BNO: Tensor) -> tuple[Tensor, Tensor]:
        """Distances from setpoints, and where there is one and a number."""
        off_BNO = y_BNO - given.setpoint_BY.unsqueeze(1)
        return off_BNO, off_BNO.isfinite()

    def _tags(self, given: BatchProblem, moves_BNU: Tensor, y_BNO: Tensor) -> Tensor:
        dv_BNV = given.dv_BNV * self._plant.spread_V + self._plant.centre_V
        return torch.cat([y_BNO[..., : self._cvs], moves_BNU, dv_BNV], dim=2).flatten(0, 1)


def convex_all(hessian_BPP: Tensor) -> Tensor:
    """Symmetric matrices with their negative curvature turned round, as `objective.convex` does with one."""
    values_BP, vectors_BPP = torch.linalg.eigh(0.5 * (hessian_BPP + hessian_BPP.mT))
    turned_BP = torch.where(values_BP < 0.0, -TURNED * values_BP, values_BP)
    found: Tensor = (vectors_BPP * turned_BP.unsqueeze(1)) @ vectors_BPP.mT
    return found
