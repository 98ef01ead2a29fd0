"""How much of the network is kept where moves answer CVs: as much as lowers the error of rows held back.

There it is trained on single rows, where it nearly always finds something, which a free run over the horizon may pile
up to more than it is worth. That free run over recorded moves is no judge of gains (docs/closed-loop-data.md): it may
only take away from the network, never add to it.

Shapes: B batch, T = L + H rows of history and horizon, C tags, U MVs, Y CVs. Scaled.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from procmodel.training.settings import Settings
from procmodel.world_model.answers import LEAST_ANSWER, SETTLED, contradiction
from procmodel.world_model.held_back import WORTH
from procmodel.world_model.latent_model import LatentModel, forward_fill
from procmodel.world_model.protocol import rollout

SHARES = (0.0, 0.5, 1.0)
SIGNS_AT = 64
"""Operating points at which declared signs are looked at."""
SLACK = (0.1 * LEAST_ANSWER) ** 2
"""Mean square shortfall of declared answers that is not worth a network."""


def told_signs(settings: Settings) -> Tensor | None:
    """Declared signs [U, Y]; None where there are none."""
    return torch.tensor(settings.signs) if any(any(row) for row in settings.signs) else None


@torch.no_grad()
def settle(
    model: LatentModel,
    values_BTC: Tensor,
    mask_BTC: Tensor,
    declared_UY: Tensor | None = None,
    *,
    guarded: bool = True,
    ends: int = SETTLED,
) -> float:
    """Scale what the network adds to the share that serves the held-back windows best; that share.

    A network that takes less than `WORTH` off their error is not kept, nor one that misses more of the next row, on
    which it was trained. Shares that contradict the declared signs by a tenth more than the one that does so least are
    none.

    Args:
        guarded: Otherwise the network was trained on free runs, and as much of it is kept as the signs allow.
        ends: Rows after which the signs are judged.
    """
    if not len(values_BTC):
        return 1.0
    judged = {share: _judged(model, share, values_BTC, mask_BTC, declared_UY, ends) for share in SHARES}
    most = SLACK + 1.1 * min(each.against for each in judged.values())
    allowed = [share for share, each in judged.items() if each.against <= most]

    def asked(share: float) -> tuple[bool, float]:
        found = judged[share]
        return found.next_row > judged[0.0].next_row, found.error / (1.0 - WORTH) if share > 0.0 else found.error

    best = min(allowed, key=asked) if guarded else max(allowed)
    model.keep(best)
    return best


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """Of a share: mean square error of the free run, each CV's by what it moves; log determinant of what is missed in
    its first row; and what contradicts the declared signs."""

    error: float
    next_row: float
    against: float


def _judged(
    model: LatentModel, share: float, values_BTC: Tensor, mask_BTC: Tensor, declared_UY: Tensor | None, ends: int
) -> _Judged:
    some = copy.deepcopy(model)
    some.keep(share)
    columns, rows = some.config.columns, some.rows
    filled = forward_fill(values_BTC, mask_BTC)
    z_BD = some.encode_rows(values_BTC[:, :rows], mask_BTC[:, :rows])
    y_BHY = some.read_out(rollout(some, z_BD, filled[:, rows:, columns.mv], filled[:, rows:, columns.dv]))
    true_BHY, good_BHY = values_BTC[:, rows:, columns.cv], mask_BTC[:, rows:, columns.cv]
    first_BY = (y_BHY - true_BHY)[good_BHY[:, 0].all(dim=-1), 0].double()
    next_row = float(torch.logdet(first_BY.T @ first_BY / max(len(first_BY), 1) + 1e-12 * torch.eye(first_BY.shape[1])))
    count_Y = good_BHY.sum(dim=(0, 1)).clamp_min(1)
    error_Y = ((y_BHY - true_BHY) ** 2 * good_BHY).sum(dim=(0, 1)) / count_Y
    still_BHY = filled[:, rows - 1 : rows, columns.cv] - true_BHY  # without it, the CV that wanders most decides
    moved_Y = (still_BHY**2 * good_BHY).sum(dim=(0, 1)) / count_Y
    against = 0.0
    if declared_UY is not None:
        now, n = filled[:SIGNS_AT, rows - 1], SIGNS_AT
        asked = (now[:, columns.mv], now[:, columns.dv], ends)
        against = float(contradiction(some, z_BD[:n], *asked, declared_UY.to(z_BD.dtype)))
    return _Judged(error=float((error_Y / moved_Y.clamp_min(1e-6)).mean()), next_row=next_row, against=against)
