"""What is given of many advice problems of one plant, and how they ended, as tensors; and both in files.

Shapes: B problems, K starts, N rows of the horizon, M blocks, U MVs, P = M * U changes [spans], V DVs, Y CVs, O
outputs (CVs and margins of heads), R soft limits, Q segments. Engineering units but for the latents and DVs.

Imports torch and numpy alone, for machines that have little else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from procmodel.control.batched_model import BatchModel

# An excess that no CV reaches [spans].
OPEN = -1e3


@dataclass(frozen=True, kw_only=True)
class BatchPlant:
    """What all problems share.

    Attributes:
        share_NMU: Part of a block's change that is made by each row [-].
        end_M: Last row of each block.
        begun_N: Changes that have moved something by each row.
        segment_N: Segment of each row.
        price_Q: Price of a slack [1/span].
        span_U, span_Y: Of the tags, [U] and of all outputs [O].
        track_Y, rest_weight_U: Cost of a squared distance from setpoint and rest, per row [1/unit^2].
        centre_V, spread_V: Of the scaler [unit].
        paid_code, paid_constant: Economic objective of a row as a tape (`batched_cost.py`), empty without one.
        bent_code, bent_constant: Its gradient and Hessian by CVs and MVs.
        paid_scale: Of what it gives, in the cost.
        rest_U: Resting values; any number where the weight is 0.
        move_P: Second derivative of the cost of moves, by changes in spans.
        slope_R, column_R, rank_R: Excess of a limit per unit of its output, the output, and the rank.
        curvature: Of the slacks' penalty.
    """

    model: BatchModel
    share_NMU: Tensor
    end_M: Tensor
    begun_N: Tensor
    segment_N: Tensor
    price_Q: Tensor
    span_U: Tensor
    span_Y: Tensor
    track_Y: Tensor
    rest_weight_U: Tensor
    rest_U: Tensor
    centre_V: Tensor
    spread_V: Tensor
    paid_code: Tensor
    paid_constant: Tensor
    bent_code: Tensor
    bent_constant: Tensor
    paid_scale: Tensor
    move_P: Tensor
    slope_R: Tensor
    column_R: Tensor
    rank_R: Tensor
    curvature: Tensor


@dataclass(frozen=True, kw_only=True)
class BatchProblem:
    """What is given of each problem.

    Attributes:
        latent_BD: Encoded histories.
        start_BU: Measured MVs.
        dv_BNV: Scaled DVs ahead.
        bias_BNY: Added to the model's outputs, [B, N, O]; of a margin less its allowance.
        setpoint_BY: NaN where there is none, [B, O].
        down_BMU, up_BMU: Smallest and largest change of each block.
        low_BNU, high_BNU: Smallest and largest MV of each row.
        offset_BRN: Excess of the limits at a CV of zero [spans]; `OPEN` for a limit that is not in force.
        starts_BKP: Plans to start from, the best of which is taken; inside the bounds.
    """

    latent_BD: Tensor
    start_BU: Tensor
    dv_BNV: Tensor
    bias_BNY: Tensor
    setpoint_BY: Tensor
    down_BMU: Tensor
    up_BMU: Tensor
    low_BNU: Tensor
    high_BNU: Tensor
    offset_BRN: Tensor
    starts_BKP: Tensor

    def take(self, at: Tensor | slice) -> Self:
        """Some of the problems."""
        return replace(self, **{each.name: getattr(self, each.name)[at] for each in fields(self)})

    def __len__(self) -> int:
        return len(self.latent_BD)


@dataclass(frozen=True, kw_only=True)
class BatchSolution:
    """How each problem ended.

    Attributes:
        changes_BP: The plans [spans].
        moves_BNU, y_BNY: The plans as MV rows, and the outputs that come of them, [B, N, O].
        cost_B, merit_B: Without and with penalties, as `Trial` has them.
        promise_B: What the last program promised to gain, relative to the merit; 0 where all of it was gained.
        gain_BYU: d output of the last row / d first change [unit/unit], where the iterations began.
        converged_B: No step promises more. A plan of one that did not converge is feasible, no more.
        conflict_B: A limit that is not of the least important rank is exceeded while others count as much.
        iterations_B: Programs solved, corrections left aside.
    """

    changes_BP: Tensor
    moves_BNU: Tensor
    y_BNY: Tensor
    cost_B: Tensor
    merit_B: Tensor
    promise_B: Tensor
    gain_BYU: Tensor
    converged_B: Tensor
    conflict_B: Tensor
    iterations_B: Tensor


def on_device(thing: Any, device: str | torch.device) -> Any:
    """The same plant, model or problems with all tensors on a device."""
    moved = {}
    for each in fields(thing):
        value = getattr(thing, each.name)
        moved[each.name] = value.to(device) if isinstance(value, Tensor) else on_device(value, device)
    return replace(thing, **moved)


def joined(pieces: Sequence[BatchSolution]) -> BatchSolution:
    """Solutions of several batches, one after the other."""
    names = [each.name for each in fields(BatchSolution)]
    return BatchSolution(**{name: torch.cat([getattr(piece, name) for piece in pieces]) for name in names})


def save_problems(path: Path, plant: BatchPlant, problems: BatchProblem, **more: np.ndarray) -> None:
    """Plant, problems and further arrays as one `.npz`."""
    arrays = {f"model.{name}": array for name, array in _arrays(plant.model).items()}
    arrays |= {f"plant.{name}": array for name, array in _arrays(plant).items()}
    arrays |= {f"problems.{name}": array for name, array in _arrays(problems).items()}
    arrays |= {f"more.{name}": array for name, array in more.items()}
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load_problems(path: Path) -> tuple[BatchPlant, BatchProblem, dict[str, np.ndarray]]:
    """What `save_problems` wrote, on the processor."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    parts: dict[str, dict[str, Any]] = {"model": {}, "plant": {}, "problems": {}, "more": {}}
    for name, array in arrays.items():
        part, _, field = name.partition(".")
        parts[part][field] = array if part == "more" else torch.from_numpy(array)
    plant = BatchPlant(model=BatchModel(**parts["model"]), **parts["plant"])
    return plant, BatchProblem(**parts["problems"]), parts["more"]


def _arrays(thing: Any) -> dict[str, np.ndarray]:
    values = {each.name: getattr(thing, each.name) for each in fields(thing)}
    return {name: value.cpu().numpy() for name, value in values.items() if isinstance(value, Tensor)}
