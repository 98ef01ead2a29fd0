"""From the blocked changes of many problems to rows of their MVs, within the hard bounds.

Shapes: B problems, N rows of the horizon, M blocks, U MVs, P = M * U changes [spans].

Imports torch alone, for machines that have little else.
"""

from __future__ import annotations

import torch
from torch import Tensor

from procmodel.control.batched_data import BatchPlant, BatchProblem


class BatchMoves:
    """Of one plant, on the device where its tensors are.

    Attributes:
        moved_NPU: MVs of each row per change [unit/span].
    """

    def __init__(self, plant: BatchPlant) -> None:
        self._plant, self._ends = plant, tuple(plant.end_M.tolist())
        eye = torch.eye(plant.share_NMU.shape[2], dtype=plant.share_NMU.dtype, device=plant.share_NMU.device)
        self.moved_NPU = (plant.share_NMU.unsqueeze(3) * eye).flatten(1, 2) * plant.span_U  # of [N, M, U, U]

    def rows(self, given: BatchProblem, changes_BP: Tensor) -> Tensor:
        """MV rows, [B, N, U] [unit]."""
        moves = given.start_BU.unsqueeze(1) + torch.einsum("npu,bp->bnu", self.moved_NPU, changes_BP)
        return torch.minimum(torch.maximum(moves, given.low_BNU), given.high_BNU)

    def inside(self, given: BatchProblem, changes_BP: Tensor) -> Tensor:
        """Changes put exactly inside the hard bounds, as `Horizon.changes` does."""
        plant, level, found = self._plant, given.start_BU, []
        moves_BNU = self.rows(given, changes_BP)
        for block, end in enumerate(self._ends):
            wanted = moves_BNU[:, end] - level
            change = torch.minimum(torch.maximum(wanted, given.down_BMU[:, block]), given.up_BMU[:, block])
            found.append(change / plant.span_U)
            level = level + change
        return torch.cat(found, dim=1)

    def hard(self, given: BatchProblem, changes_BP: Tensor) -> tuple[Tensor, Tensor]:
        """Room of the changes and of the MVs at the end of each block, [B, 2 P] [spans]."""
        plant = self._plant
        changes_BMU = changes_BP.reshape(-1, *plant.share_NMU.shape[1:])
        level_BMU = given.start_BU.unsqueeze(1) / plant.span_U + changes_BMU.cumsum(dim=1)
        at = plant.end_M
        low = [given.down_BMU / plant.span_U - changes_BMU, given.low_BNU[:, at] / plant.span_U - level_BMU]
        high = [given.up_BMU / plant.span_U - changes_BMU, given.high_BNU[:, at] / plant.span_U - level_BMU]
        return (
            torch.cat([part.flatten(1) for part in low], dim=1).clamp_max(0.0),
            torch.cat([part.flatten(1) for part in high], dim=1).clamp_min(0.0),
        )
