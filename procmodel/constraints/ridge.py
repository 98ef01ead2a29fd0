"""Ridge regression on few labels, its strength chosen by closed-form leave-block-out errors.

Shapes: N labels, F features, S strengths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Per label; features have unit variance. From nearly least squares to nearly the mean of the labels.
STRENGTHS = np.logspace(-4, 3, 36)


@dataclass(frozen=True, kw_only=True)
class Ridge:
    """`weights . features + offset`, and how well it does where labels are left out.

    Attributes:
        strength: Penalty per label that was chosen [-].
        left_out_N: Error on each label when its block is left out.
    """

    weights_F: np.ndarray
    offset: float
    strength: float
    left_out_N: np.ndarray

    @property
    def error(self) -> float:
        """Root mean square of the left-out errors."""
        return float(np.sqrt(np.mean(self.left_out_N**2)))


def fit_ridge(features_NF: np.ndarray, margins_N: np.ndarray, block_N: np.ndarray) -> Ridge:
    """Ridge with a free offset; of `STRENGTHS`, the one with the least leave-block-out error.

    A linear smoother `fitted = hat @ margins` need not be fitted again to leave a block out: the errors on block b are
    `(I - hat_bb)^-1 (margins - fitted)_b`, exactly (leave-one-out where blocks are single labels). `block_N` holds
    integers from 0 up.
    """
    count = len(margins_N)
    centre_F, mean = features_NF.mean(axis=0), margins_N.mean()
    u, s, vt = np.linalg.svd(features_NF - centre_F, full_matrices=False)
    shrink_SK = s**2 / (s**2 + count * STRENGTHS[:, None])
    residual_SN = margins_N - mean - (shrink_SK * (u.T @ margins_N)) @ u.T
    left_out_SN = residual_SN / (1 - 1 / count - shrink_SK @ u.T**2)  # right for blocks of one
    for block in np.flatnonzero(np.bincount(block_N) > 1):
        at = np.flatnonzero(block_N == block)
        hat_Sbb = (u[at] * shrink_SK[:, None]) @ u[at].T + 1 / count
        inner_Sbb = np.eye(len(at)) - hat_Sbb
        left_out_SN[:, at] = np.linalg.solve(inner_Sbb, residual_SN[:, at, None])[..., 0]
    best = int(np.argmin(np.mean(left_out_SN**2, axis=1)))
    scale_K = np.divide(s, s**2 + count * STRENGTHS[best])
    weights_F = vt.T @ (scale_K * (u.T @ (margins_N - mean)))
    return Ridge(
        weights_F=weights_F,
        offset=float(mean - centre_F @ weights_F),
        strength=float(STRENGTHS[best]),
        left_out_N=left_out_SN[best],
    )
