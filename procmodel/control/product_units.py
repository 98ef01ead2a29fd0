"""Products beside the linear state as bare matrices, with their derivatives.

Shapes: K plans, N states, D latent, H units of a layer, Q of them coordinates of the products. Scaled, float64.
"""

from __future__ import annotations

import numpy as np


class ProductUnits:
    """`g' quadratic g + slope g` of the last Q units g of a layer, added to the first N of a latent."""

    def __init__(self, quadratic_NQQ: np.ndarray, slope_NQ: np.ndarray, *, units: int) -> None:
        self.states, self.size = slope_NQ.shape
        self.at = slice(units - self.size, units)
        self._quadratic_NQQ, self._slope_NQ = quadratic_NQQ, slope_NQ
        self._slope_T = np.ascontiguousarray(slope_NQ.T)
        self._pulls = np.ascontiguousarray(quadratic_NQQ.transpose(2, 1, 0).reshape(self.size, -1))

    @property
    def matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """quadratic [N, Q, Q] and slope [N, Q]."""
        return self._quadratic_NQQ, self._slope_NQ

    @property
    def by_unit(self) -> tuple[np.ndarray, np.ndarray]:
        """For `rows.roll`: what each unit pulls on, [Q, N * Q], and slope [N, Q]."""
        return np.ascontiguousarray(self._quadratic_NQQ.transpose(2, 0, 1).reshape(self.size, -1)), self._slope_NQ

    def added(self, layer_BH: np.ndarray) -> np.ndarray:
        """What they add, [B, N]."""
        own_BQ = layer_BH[:, self.at]
        pull_BQN = (own_BQ @ self._pulls).reshape(-1, self.size, self.states) + self._slope_T
        return np.asarray(np.einsum("bq,bqn->bn", own_BQ, pull_BQN))

    def slopes(self, layer_NH: np.ndarray) -> np.ndarray:
        """Derivative of what they add by each unit, [rows, Q, N]."""
        pull_NQS = (layer_NH[:, self.at] @ self._pulls).reshape(-1, self.size, self.states)
        return np.asarray(2.0 * pull_NQS + self._slope_T)

    def curvatures(self, pull_ND: np.ndarray) -> np.ndarray:
        """Second derivative of `sum_k pull_k added_k` by the units, [rows, Q, Q]."""
        return 2.0 * np.tensordot(pull_ND[:, : self.states], self._quadratic_NQQ, axes=1)
