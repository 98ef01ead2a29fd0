"""Second derivatives of what an economic plan earns, by torch, for models and heads whose form is not known.

Shapes: N rows of the horizon, P tangents, Q entries of an input.

With setpoints the Gauss-Newton Hessian is enough: the residuals shrink. An economic objective is often linear in the
CVs; its optimum between limits then comes from the model's own curvature, which Gauss-Newton cannot see. With adjoint
`lambda_n = dL/dz_n` the Hessian of the Lagrangian gains

    sum_n X_n (lambda_n . step'') X_n' + T_n (g_n . read_out'') T_n',    X_n = d(z_{n-1}, u_n)/dx,  T_n = dz_n/dx;

both are products with the P tangents, taken in one batched pass over the N rows. The shipped architectures have the
same by hand (`fused.py`, `readings.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from procmodel.control.graph import pulled_back


def bent(
    function: Callable[..., Tensor], inputs_NQ: Sequence[np.ndarray], tangents_NPQ: Sequence[np.ndarray]
) -> np.ndarray:
    """Second derivative of a scalar function of several inputs, seen along P tangents of all of them, [P, P]."""
    tangents = [torch.from_numpy(np.ascontiguousarray(part.transpose(1, 0, 2))) for part in tangents_NPQ]
    with torch.enable_grad():
        inputs = [torch.from_numpy(np.ascontiguousarray(x)).requires_grad_() for x in inputs_NQ]
        value = function(*inputs)
        slopes = pulled_back((value,), inputs, (torch.ones_like(value),), batched=False)
        products = pulled_back(slopes, inputs, tangents)
    found = sum(along.flatten(1) @ product.flatten(1).T for along, product in zip(tangents, products, strict=True))
    return np.asarray(found.numpy() if isinstance(found, Tensor) else found)
