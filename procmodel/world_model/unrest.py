"""How far forecasts have missed of late, beyond what they usually do.

Held-back rows say how large errors are and what distance keeps a limit with what confidence; they say it of the
operators' moves. Advice goes on where operators stop, to places and at a pace of which the record knows little, and the
first to show it are the CVs that are foreseen best. So all errors of late are held against the usual ones at once:

    unrest = clip( sqrt( mean over k, j, y of ( e_kjy / usual_ky )^2 ) / BEYOND, 1, MOST ),   k <= REACT, j <= RECENT

with e_kjy the error of CV y at the j-th newest row in the forecast of k rows before. On held-back rows of the reference
plants errors to come are no larger up to nearly twice the usual ones, and beyond grow with those of late on the four
whose records hold such rows.

Shapes: N rows of the horizon, m remembered targets, H rows ahead, Y CVs.
"""

from __future__ import annotations

import numpy as np

from procmodel.world_model.correction import BEYOND, BiasFilter

REACT = 10
"""Rows ahead after which an advice can be answered by the next ones."""
RECENT = 10
"""Newest rows whose errors count."""
MOST = 2.0
"""What is further off is the surprise gate's."""


def unrest_of(errors_NmY: np.ndarray, bias: BiasFilter) -> float:
    """1 where errors of late are as usual, or nobody knows what is usual; more where they are larger [-].

    Args:
        errors_NmY: Past errors, the first of lag 0, newest first; NaN where there is none [unit].
        bias: Whose trust holds what past errors usually are.
    """
    if bias.trust is None:
        return 1.0
    reach = min(REACT, len(bias.trust.usual_HY), len(errors_NmY) - 1)
    errors, usual = errors_NmY[1 : reach + 1, :RECENT], bias.trust.usual_HY[:reach, None]
    known = np.isfinite(errors) & (usual > 0.0)
    if not known.any():
        return 1.0
    squares = np.divide(errors, usual, out=np.zeros(errors.shape), where=known) ** 2
    return float(np.clip(np.sqrt(squares.sum() / known.sum()) / BEYOND, 1.0, MOST))
