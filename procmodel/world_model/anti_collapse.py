"""Terms that keep a joint-embedding latent from collapsing. Each maps latents [N, D] to a scalar.

SIGReg: Balestriero & LeCun 2025, "LeJEPA" (arXiv 2511.08544), with the Epps-Pulley (1983) test of normality.
Staircase: the Cramer-von Mises statistic (Anderson 1962) in place of Epps-Pulley.
Subspaces: SIGReg inside fixed random subspaces, for latents that truly fill few dimensions.
VICReg: Bardes, Ponce & LeCun 2022 (arXiv 2105.04906), its variance and covariance terms.
Coding rate: Yu, Chan, You, Song & Ma 2020, maximal coding rate reduction (MCR2, arXiv 2006.08558), its first term.

Where training runs in several processes, SIGReg is that of all their latents together: every process must then call
it equally often. Shapes: N samples, D latent, M directions, T points of the characteristic function.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor
from torch import distributed as processes

REFERENCE_BATCH = 128
"""The statistic grows with the batch; weights are stated for this many samples and rescaled for others."""


class AntiCollapse(Protocol):
    """Low where the latents fill their space, high where they have shrunk onto less."""

    def __call__(self, z_ND: Tensor) -> Tensor: ...


def epps_pulley(x_NM: Tensor, points: int = 17, reach: float = 3.0) -> Tensor:
    """Distance of each column from the standard normal, [M].

    `T = N int |phi_N(t) - exp(-t^2/2)|^2 exp(-t^2/2) dt`, by evenness on [0, reach] with doubled trapezoid weights.
    About 1.05 in expectation for a standard normal sample of any size; 0.402 N for a column of zeros.
    """
    t_T = torch.linspace(0.0, reach, points, device=x_NM.device, dtype=x_NM.dtype)
    normal_T = torch.exp(-0.5 * t_T**2)
    is_end_T = (t_T == t_T[0]) | (t_T == t_T[-1])
    weight_T = torch.full_like(t_T, 2 * reach / (points - 1)) * torch.where(is_end_T, 0.5, 1.0)
    xt_NMT = x_NM.unsqueeze(-1) * t_T
    real_MT, imaginary_MT = _mean_of_all(xt_NMT.cos()), _mean_of_all(xt_NMT.sin())
    gap_MT = (real_MT - normal_T) ** 2 + imaginary_MT**2
    return samples_of_all(len(x_NM)) * (gap_MT * (normal_T * weight_T)).sum(dim=-1)


def epps_pulley_exact(x_N: Tensor) -> Tensor:
    """The same over all t, in closed form; quadratic in N, for tests and small samples."""
    n = x_N.shape[0]
    pairs = torch.exp(-0.5 * (x_N[:, None] - x_N[None, :]) ** 2).sum() / n
    return math.sqrt(2 * math.pi) * (pairs - math.sqrt(2) * torch.exp(-0.25 * x_N**2).sum() + n / math.sqrt(3))


def sigreg(z_ND: Tensor, directions: int = 64, generator: torch.Generator | None = None) -> Tensor:
    """Mean Epps-Pulley statistic over random unit directions, redrawn each call; about 1 when healthy."""
    with torch.autocast(device_type=z_ND.device.type, enabled=False):
        z = _single_or_better(z_ND)
        a_DM = torch.randn(z.shape[1], directions, generator=generator, dtype=z.dtype, device=z.device)
        if _several_processes():
            processes.broadcast(a_DM, src=0)
        return epps_pulley(z @ (a_DM / a_DM.norm(dim=0, keepdim=True).clamp_min(1e-6))).mean()


def staircase(x_NM: Tensor) -> Tensor:
    """Distance of each column's staircase of sorted values from the normal distribution function, [M].

    `6 sum_i ((2i - 1) / 2N - Phi(x_(i)))^2` with x sorted: Cramer-von Mises without its constant, times 6, so that
    as for Epps-Pulley a standard normal sample reads about 1 (`1 - 1 / 2N` in expectation) and a column of zeros
    `(N - 1 / N) / 2`.
    """
    n = len(x_NM)
    steps_N1 = (torch.arange(n, device=x_NM.device, dtype=x_NM.dtype)[:, None] + 0.5) / n
    normal_NM: Tensor = 0.5 * (1 + torch.erf(x_NM.sort(dim=0).values / math.sqrt(2)))
    gap_M: Tensor = ((steps_N1 - normal_NM) ** 2).sum(dim=0)
    return 6 * gap_M


def staircase_sigreg(z_ND: Tensor, directions: int = 64) -> Tensor:
    """Mean staircase statistic over random unit directions. Of the samples of this process alone."""
    with torch.autocast(device_type=z_ND.device.type, enabled=False):
        z = _single_or_better(z_ND)
        a_DM = torch.randn(z.shape[1], directions, dtype=z.dtype, device=z.device)
        return staircase(z @ (a_DM / a_DM.norm(dim=0, keepdim=True).clamp_min(1e-6))).mean()


SUBSPACES, SUBSPACE_SEED = 8, 0


def subspaces(size: int, width: int, count: int = SUBSPACES) -> Tensor:
    """Orthonormal bases of `count` random subspaces of `width` dimensions, [count, size, width]; always the same."""
    generator = torch.Generator().manual_seed(SUBSPACE_SEED)
    bases: Tensor = torch.linalg.qr(torch.randn(count, size, width, generator=generator, dtype=torch.float64))[0]
    return bases


def subspace_sigreg(z_ND: Tensor, directions: int = 8) -> Tensor:
    """Mean of SIGReg inside fixed subspaces of half the dimensions."""
    z = _single_or_better(z_ND)
    bases = subspaces(z.shape[1], max(1, z.shape[1] // 2)).to(z)
    return torch.stack([sigreg(z @ basis_DS, directions) for basis_DS in bases]).mean()


def sigreg_weight(weight: float, samples: int) -> float:
    """A weight stated for `REFERENCE_BATCH` samples, for this many: those of all processes (`samples_of_all`)."""
    return weight * REFERENCE_BATCH / samples


def vicreg(z_ND: Tensor, variance: float = 25.0, covariance: float = 1.0) -> Tensor:
    """`variance * mean_j relu(1 - sqrt(Var_j + 1e-4)) + covariance * sum_{i != j} Cov_ij^2 / D` of one branch.

    The invariance term of VICReg is the prediction error, which the objective has anyway. Of the samples of this
    process alone.
    """
    with torch.autocast(device_type=z_ND.device.type, enabled=False):
        z = _single_or_better(z_ND)
        z = z - z.mean(dim=0)
        cov_DD = z.T @ z / (len(z) - 1)
        var_D = cov_DD.diagonal()
        short_D = torch.relu(1 - torch.sqrt(var_D + 1e-4))
        return variance * short_D.mean() + covariance * (cov_DD.square().sum() - var_D.square().sum()) / len(var_D)


def coding_rate(z_ND: Tensor, distortion: float = 0.5) -> Tensor:
    """`R(Z) = 1/2 log det(I + D / (N distortion^2) Z' Z)` of centred latents, a scalar [nat]: what it takes to write
    them down to a precision of `distortion` each."""
    z = z_ND - z_ND.mean(dim=0)
    n, d = z.shape
    eye_DD = torch.eye(d, dtype=z.dtype, device=z.device)
    rate: Tensor = 0.5 * torch.linalg.slogdet(eye_DD + d / (n * distortion**2) * z.T @ z).logabsdet
    return rate


def coding_rate_short(z_ND: Tensor, distortion: float = 0.5) -> Tensor:
    """`N relu(1 - R(Z) / R(I))`: by which share the latents' coding rate falls short of that of unit covariance.

    N for a batch of zeros, 0 where they fill their space at unit size or more: the rate alone would reward growth
    without end. MCR2 holds the size by putting latents on a sphere, which the rollout of a plant is not on. Of the
    samples of this process alone.
    """
    with torch.autocast(device_type=z_ND.device.type, enabled=False):
        z = _single_or_better(z_ND)
        n, d = z.shape
        full = 0.5 * d * math.log1p(d / distortion**2)
        return n * torch.relu(1 - coding_rate(z, distortion) / full)


TERMS: dict[str, AntiCollapse] = {
    "sigreg": sigreg,
    "staircase": staircase_sigreg,
    "subspaces": subspace_sigreg,
    "vicreg": vicreg,
    "coding_rate": coding_rate_short,
}
"""By name, as the settings choose one."""


def _single_or_better(z: Tensor) -> Tensor:
    """Half precision sends cos and sin of large products to NaN, and loses the digits of a covariance."""
    return z if z.dtype == torch.float64 else z.float()


def samples_of_all(samples: int) -> int:
    """Samples of all processes together, where each has this many."""
    return samples * (processes.get_world_size() if _several_processes() else 1)


def _several_processes() -> bool:
    return processes.is_available() and processes.is_initialized() and processes.get_world_size() > 1


def _mean_of_all(x_N: Tensor) -> Tensor:
    """Mean over the first axis and over all processes, which hold equally many samples; differentiable."""
    mean: Tensor = x_N.mean(dim=0)
    if not _several_processes():
        return mean
    total: Tensor = _SumOfAll.apply(mean)  # type: ignore[no-untyped-call]
    return total / processes.get_world_size()


class _SumOfAll(torch.autograd.Function):
    """Sum over processes. Each process has its own copy of what is made of the sum, so its gradient is the sum of
    theirs; data-parallel training then takes the mean over processes, which is the gradient on the joint batch."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        processes.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return _SumOfAll.forward(ctx, grads[0])
