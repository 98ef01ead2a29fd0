"""Each term against its closed form, or against its formula written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import cramervonmises
from torch import Tensor

from procmodel.world_model.anti_collapse import (
    AntiCollapse,
    coding_rate,
    coding_rate_short,
    epps_pulley,
    epps_pulley_exact,
    sigreg,
    sigreg_weight,
    staircase,
    subspace_sigreg,
    subspaces,
    vicreg,
)

TAIL = 2 * math.sqrt(math.pi / 2) * math.erfc(3 / math.sqrt(2))  # of exp(-t^2/2) beyond |t| = 3
SHAPES = {
    "normal": lambda g, n: torch.randn(n, generator=g, dtype=torch.float64),
    "wide": lambda g, n: 2 * torch.randn(n, generator=g, dtype=torch.float64),
    "shifted": lambda g, n: 1 + 0.3 * torch.randn(n, generator=g, dtype=torch.float64),
    "flat": lambda g, n: 4 * torch.rand(n, generator=g, dtype=torch.float64) - 2,
}


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("n", [64, 128, 512])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_statistic_is_the_closed_form_up_to_the_cut_tail(shape: str, n: int) -> None:
    x_N = SHAPES[shape](generator(n), n)
    on_grid, exact = float(epps_pulley(x_N[:, None])[0]), float(epps_pulley_exact(x_N))
    t = torch.linspace(3, 9, 500, dtype=torch.float64)[:, None]
    gap = (torch.exp(1j * t * x_N).mean(dim=1) - torch.exp(-0.5 * t[:, 0] ** 2)).abs().max()
    assert -1e-3 * max(exact, 1) <= exact - on_grid <= n * float(gap) ** 2 * TAIL + 1e-3 * max(exact, 1)


@pytest.mark.parametrize("n", [64, 512])
def test_a_fine_and_far_grid_gives_the_closed_form(n: int) -> None:
    x_NM = torch.stack([draw(generator(3), n) for draw in SHAPES.values()], dim=1)
    exact = torch.stack([epps_pulley_exact(x_N) for x_N in x_NM.T])
    torch.testing.assert_close(epps_pulley(x_NM, points=2001, reach=12.0), exact, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n", [16, 128, 1024])
def test_a_standard_normal_sample_of_any_size_reads_about_one(n: int) -> None:
    # E|phi_N - phi|^2 = (1 - phi^2) / N, so the expectation is int (1 - exp(-t^2)) exp(-t^2/2) dt, whatever N.
    t = np.linspace(-3, 3, 20_001)
    expected = np.trapezoid((1 - np.exp(-(t**2))) * np.exp(-(t**2) / 2), t)
    assert expected == pytest.approx(1.05, abs=0.01)
    readings = epps_pulley(torch.randn(n, 4000, generator=generator(n), dtype=torch.float64))
    assert float(readings.mean()) == pytest.approx(expected, abs=5 * float(readings.std()) / math.sqrt(4000))


@pytest.mark.parametrize("n", [8, 128, 500])
def test_a_batch_of_zeros_reads_0402_per_sample(n: int) -> None:
    assert float(sigreg(torch.zeros(n, 4))) == pytest.approx(0.402 * n, rel=2e-3)


def test_twice_the_spread_reads_318_at_128_samples() -> None:
    readings = epps_pulley(2 * torch.randn(128, 4000, generator=generator(0), dtype=torch.float64))
    assert float(readings.mean()) == pytest.approx(31.8, abs=0.3)


def test_a_rotated_latent_reads_the_same_on_average_over_directions() -> None:
    z_ND = torch.randn(64, 3, generator=generator(0), dtype=torch.float64) * torch.tensor([1.0, 0.2, 2.0])
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=generator(1), dtype=torch.float64)).Q
    plain = float(sigreg(z_ND, 40_000, generator(2)))
    assert float(sigreg(z_ND @ rotation, 40_000, generator(3))) == pytest.approx(plain, rel=0.02)
    assert plain > 3  # far from healthy, so that the agreement says something


def test_directions_are_redrawn_and_a_generator_fixes_them() -> None:
    z_ND = torch.rand(50, 6, generator=generator(0))
    assert sigreg(z_ND) != sigreg(z_ND)
    assert sigreg(z_ND, generator=generator(4)) == sigreg(z_ND, generator=generator(4))


def test_half_precision_is_left_before_the_cosines() -> None:
    layer = torch.nn.Linear(4, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z_ND = layer(1e4 * torch.randn(32, 4, generator=generator(0)))
        assert z_ND.dtype == torch.bfloat16
        reading = sigreg(z_ND, generator=generator(1))
        shrunk = vicreg(z_ND)
    assert reading.dtype == shrunk.dtype == torch.float32
    assert torch.equal(reading, sigreg(z_ND.float(), generator=generator(1)))
    assert torch.equal(shrunk, vicreg(z_ND.float()))
    reading.backward()
    assert torch.isfinite(layer.weight.grad).all()


def test_double_precision_is_kept() -> None:
    assert sigreg(torch.zeros(4, 2, dtype=torch.float64)).dtype == torch.float64


def test_the_gradient_is_that_of_finite_differences() -> None:
    z_ND = torch.randn(7, 3, generator=generator(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: sigreg(z, 5, generator(1)), (z_ND,))
    assert torch.autograd.gradcheck(lambda z: vicreg(0.5 * z), (z_ND,))


@given(samples=st.integers(1, 4096), weight=st.floats(1e-4, 1))
def test_the_rescaled_weight_makes_a_collapse_cost_the_same_in_any_batch(samples: int, weight: float) -> None:
    per_sample = float(sigreg(torch.zeros(1, 2, dtype=torch.float64)))
    cost = sigreg_weight(weight, samples) * samples * per_sample
    assert cost == pytest.approx(weight * 128 * per_sample)


def vicreg_written_out(z: np.ndarray) -> float:
    n, d = z.shape
    centred = z - z.mean(axis=0)
    total = 0.0
    for j in range(d):
        variance = (centred[:, j] ** 2).sum() / (n - 1)
        total += 25 * max(0.0, 1 - math.sqrt(variance + 1e-4)) / d
        for i in range(d):
            if i != j:
                total += ((centred[:, i] * centred[:, j]).sum() / (n - 1)) ** 2 / d
    return total


def test_vicreg_is_its_formula_written_out() -> None:
    z = np.random.default_rng(0).normal(size=(40, 5)) @ np.random.default_rng(1).normal(size=(5, 5)) * 0.5
    assert float(vicreg(torch.from_numpy(z))) == pytest.approx(vicreg_written_out(z), rel=1e-12)


def test_vicreg_of_zeros_is_25_times_099() -> None:
    assert float(vicreg(torch.zeros(9, 3))) == pytest.approx(25 * 0.99, rel=1e-6)


def sigreg_of_many(z_ND: Tensor) -> Tensor:
    return sigreg(z_ND, 512, generator(0))


@pytest.mark.parametrize("term", [sigreg_of_many, vicreg, coding_rate_short])
def test_every_term_is_low_where_the_space_is_filled_and_high_where_it_is_not(term: AntiCollapse) -> None:
    full = torch.randn(512, 4, generator=generator(0))
    line = full[:, :1] @ torch.ones(1, 4)
    assert 5 * term(full) < term(line)
    assert 5 * term(full) < term(0.1 * full)


@pytest.mark.parametrize("n", [2, 50, 400])
def test_the_staircase_reads_its_expectation_for_normal_samples_and_its_closed_form_for_zeros(n: int) -> None:
    normal = torch.randn(n, 4000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert float(staircase(normal).mean()) == pytest.approx(1 - 1 / (2 * n), rel=0.04)
    assert float(staircase(torch.zeros(n, 1))) == pytest.approx((n - 1 / n) / 2, rel=1e-5)


def test_the_staircase_is_scipys_statistic() -> None:
    x = torch.randn(60, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 1.3 + 0.2
    scipys = cramervonmises(x.numpy(), "norm").statistic
    assert float(staircase(x[:, None])) == pytest.approx(6 * (scipys - 1 / (12 * 60)), rel=1e-9)


def test_subspaces_are_orthonormal_and_stay_the_same() -> None:
    bases = subspaces(10, 4)
    torch.testing.assert_close(bases.mT @ bases, torch.eye(4, dtype=torch.float64).expand(len(bases), -1, -1))
    torch.testing.assert_close(bases, subspaces(10, 4))


def test_what_is_normal_in_all_directions_is_so_in_every_subspace_and_zeros_are_in_none() -> None:
    torch.manual_seed(3)
    z = torch.randn(512, 12, generator=torch.Generator().manual_seed(4))
    assert float(subspace_sigreg(z)) == pytest.approx(1.0, abs=0.5)
    assert float(subspace_sigreg(torch.zeros(100, 12))) == pytest.approx(40.2, rel=0.01)


def test_the_coding_rate_of_uncorrelated_latents_is_a_sum_of_logarithms() -> None:
    # Rows of a Hadamard matrix without its column of ones: centred, of unit variance, uncorrelated.
    square = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    z_ND = torch.kron(square, torch.kron(square, square))[:, 1:5]
    sizes = torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64)
    by_hand = sum(0.5 * math.log(1 + 4 / 0.5**2 * float(size) ** 2) for size in sizes)
    assert float(coding_rate(z_ND * sizes + 7.0)) == pytest.approx(by_hand, rel=1e-12)
    assert float(coding_rate_short(z_ND)) == pytest.approx(0.0, abs=1e-9)
    assert float(coding_rate_short(3 * z_ND)) == 0.0
    half = 8 * (1 - math.log(1 + 16 / 4) / math.log(1 + 16))
    assert float(coding_rate_short(0.5 * z_ND)) == pytest.approx(half, rel=1e-9)


@pytest.mark.parametrize("n", [9, 128])
def test_the_coding_rate_of_zeros_falls_short_by_all_of_it(n: int) -> None:
    assert float(coding_rate_short(torch.zeros(n, 3))) == pytest.approx(n)
