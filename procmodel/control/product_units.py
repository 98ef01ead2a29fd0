"""Products beside the linear state as bare matrices, with their derivatives.

Shapes: K plans, N states, D latent, H units of a layer, Q of them coordinates of the products. Scaled, float64.
"""

from __future__ import annotations

import numpy as np


class ProductUnits:
    """`g' quadratic g + slope g` of the last Q units g of a layer, added to the first N of a latent."""

    def __init__(self, quadratic_NQQ: np.ndarray, slope_NQ: np.ndarray, *, units: int) -> None:
        self.states, size = slope_NQ.shape
        self.at = slice(units - size, units)
        self._quadratic_NQQ, self._slope_NQ = quadratic_NQQ, slope_NQ
        self._rows = np.ascontiguousarray(quadratic_NQQ.reshape(-1, size))  # [N * Q, Q]
        self._slope_T = np.ascontiguousarray(slope_NQ.T)

    @property
    def matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """quadratic [N, Q, Q] and slope [N, Q]."""
        return self._quadratic_NQQ, self._slope_NQ

    def add(self, layer: np.ndarray, after: np.ndarray) -> None:
        """To the latent of one plan [D] or of several [K, D]."""
        g = layer[..., self.at]
        if g.ndim > 1:
            after[:, : self.states] += np.einsum("nij,ki,kj->kn", self._quadratic_NQQ, g, g, optimize=True)
            after[:, : self.states] += g @ self._slope_T
            return
        pull = (self._rows @ g).reshape(self._slope_NQ.shape)
        pull += self._slope_NQ
        after[: self.states] += pull @ g

    def slopes(self, layer_NH: np.ndarray) -> np.ndarray:
        """Derivative of what they add by each unit, [rows, Q, N]."""
        return np.asarray(2.0 * np.einsum("kij,nj->nik", self._quadratic_NQQ, layer_NH[:, self.at]) + self._slope_T)

    def curvatures(self, pull_ND: np.ndarray) -> np.ndarray:
        """Second derivative of `sum_k pull_k added_k` by the units, [rows, Q, Q]."""
        return 2.0 * np.tensordot(pull_ND[:, : self.states], self._quadratic_NQQ, axes=1)
