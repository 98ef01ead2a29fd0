"""Compiled rows: tanh to the last digits, and plans that do not feel each other."""

from __future__ import annotations

import numpy as np
import pytest
from control_fakes import COLUMN, latent_model, make_plant, model_with_products

from procmodel.control import dense_cell
from procmodel.control.cells import cell_of
from procmodel.control.dense_cell import DenseCell
from procmodel.control.rows import bend


def test_units_bend_like_tanh_at_all_sizes() -> None:
    x = np.concatenate([np.linspace(-25.0, 25.0, 5001), np.geomspace(1e-300, 1e3, 2000), [0.0, np.inf, -np.inf]])
    found = x.copy()
    bend(found)
    np.testing.assert_allclose(found, np.tanh(x), rtol=1e-15)


def test_what_is_no_number_stays_none_and_zero_keeps_its_sign() -> None:
    found = np.array([np.nan, -0.0, 0.0, 1.0, np.nan])
    bend(found)
    np.testing.assert_array_equal(np.isnan(found), [True, False, False, False, True])
    assert np.signbit(found[1])
    assert not np.signbit(found[2])


@pytest.mark.parametrize("make", [latent_model, model_with_products])
def test_a_plan_does_not_depend_on_which_others_are_rolled_out_with_it(make: object) -> None:
    cell = cell_of(make(make_plant(COLUMN)))  # type: ignore[operator]
    assert isinstance(cell, DenseCell)
    rng = np.random.default_rng(1)
    latent_D, u_KNU, d_NV = rng.normal(size=7), rng.normal(size=(5, 9, 2)), rng.normal(size=(9, 1))
    together = cell.roll(latent_D, u_KNU, d_NV).latents_KND
    for k in range(5):
        np.testing.assert_array_equal(cell.roll(latent_D, u_KNU[k : k + 1], d_NV).latents_KND[0], together[k])


@pytest.mark.parametrize("make", [latent_model, model_with_products])
@pytest.mark.parametrize("bent", [False, True])
def test_compiled_tangents_are_those_of_matrix_products(
    make: object, bent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    begun_N = np.array([2, 2, 4, 4, 4, 6, 6, 6, 6])
    push_NPU = rng.normal(size=(9, 6, 2)) * (np.arange(6) < begun_N[:, None])[..., None]
    latent_D, u_KNU, d_NV = rng.normal(size=7), rng.normal(size=(2, 9, 2)), rng.normal(size=(9, 1))
    seed_ND = rng.normal(size=(9, 7))
    found = []
    for narrow in (dense_cell.NARROW, 0):
        monkeypatch.setattr(dense_cell, "NARROW", narrow)
        cell = cell_of(make(make_plant(COLUMN)))  # type: ignore[operator]
        assert isinstance(cell, DenseCell)
        tape = cell.roll(latent_D, u_KNU, d_NV)
        bends = cell.adjoint(tape, 1, seed_ND).bends if bent else ()
        found.append(cell.tangents(tape, 1, push_NPU, begun_N, bends))
    (compiled_NPD, curvature), (plain_NPD, plain_curvature) = found
    assert np.abs(plain_NPD).max() > 0.1
    np.testing.assert_allclose(compiled_NPD, plain_NPD, atol=1e-13)
    if bent:
        assert np.abs(plain_curvature).max() > 1e-3
        np.testing.assert_allclose(curvature, plain_curvature, atol=1e-12)
    else:
        assert curvature is None is plain_curvature
