"""Many problems at once: cost, derivatives and curvature against torch and against the optimizer of one problem."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from batched_columns import COLUMN_PARTS, OBJECTIVES, RECORD, ROOTS
from control_fakes import COLUMN, curved_head, latent_model, make_plant

from procmodel.control.batched import BatchedOptimizer
from procmodel.control.requests import Request
from procmodel.world_model.protocol import rollout


@pytest.mark.parametrize("products", [False, True], ids=["linear", "with products"])
def test_derivatives_agree_with_torch(products: bool) -> None:
    """d CV / d changes of a strongly bent model against automatic differentiation of the model itself."""
    model = latent_model(COLUMN_PARTS["plant"], products=products)
    optimizer = BatchedOptimizer(**COLUMN_PARTS | {"model": model})
    problems = optimizer.given([Request(rows_RC=RECORD[at : at + 18]) for at in (0, 9, 20)]).problems
    core, share_NMU = optimizer._core, torch.from_numpy(optimizer.alone.horizon.share_NMU)
    span_U = torch.from_numpy(optimizer.alone.cost.span_U)
    changes = torch.from_numpy(np.random.default_rng(2).uniform(-0.05, 0.05, size=(3, 8)))
    at, _, jacobian_BYNP, _ = core._linearised(problems, changes, torch.zeros_like(problems.offset_BRN))
    for b in range(3):

        def cvs(change_P: torch.Tensor, b: int = b) -> torch.Tensor:
            moves_NU = problems.start_BU[b] + torch.einsum("nmu,mu->nu", share_NMU, change_P.view(4, 2) * span_U)
            z_ND = rollout(model, problems.latent_BD[b : b + 1], moves_NU[None], problems.dv_BNV[b : b + 1])[0]
            return model.read_out(z_ND) + problems.bias_BNY[b]

        torch.testing.assert_close(at.y_BNY[b], cvs(changes[b]), atol=1e-12, rtol=0.0)
        known_NYP = torch.autograd.functional.jacobian(cvs, changes[b])
        torch.testing.assert_close(jacobian_BYNP[b].transpose(0, 1), known_NYP, atol=1e-12, rtol=0.0)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_cost_and_gradient_are_those_of_the_optimizer(objective: str) -> None:
    """The cost by the serial code, and the programs' gradients by its finite differences."""
    tags = COLUMN | {"Steam": COLUMN["Steam"] | {"rest_at": 1.0}, "Yield": COLUMN["Yield"] | {"price": "0.3 CHF/kg"}}
    if OBJECTIVES[objective] is None:
        del tags["Yield"]["price"]
    tags["Yield"] |= {"unit": "kg/h"}
    plant = make_plant(tags, horizon="60 s", blocks=4, move_weight=0.3, objective=OBJECTIVES[objective])
    optimizer = BatchedOptimizer(**COLUMN_PARTS | {"plant": plant, "heads": [curved_head(7)]})
    requests = [Request(rows_RC=RECORD[:18]), Request(rows_RC=RECORD[30:48])]
    problems = optimizer.given(requests).problems
    core, changes = optimizer._core, torch.full((2, 8), 0.02, dtype=torch.float64)
    at, *linear = core._linearised(problems, changes, torch.zeros_like(problems.offset_BRN))
    gradient_BP = core._program(problems, changes, at, *linear).gradient_BP
    for b, request in enumerate(requests):
        problem = optimizer.alone.problem(request.rows_RC)
        known = problem.evaluate(changes[b].numpy().reshape(1, 4, 2))
        assert float(at.cost_B[b]) == pytest.approx(known.cost_K[0], rel=1e-10)
        np.testing.assert_allclose(at.excess_BRN[b].T.numpy(), known.excess_KNR[0], atol=1e-10)
        assert float(at.merit_B[b]) == pytest.approx(known.scores[0].merit, rel=1e-10)
    for p in range(8):
        step = torch.zeros(8, dtype=torch.float64)
        step[p] = 1e-5
        up, down = (core.evaluate(problems, changes + sign * step).cost_B for sign in (1, -1))
        torch.testing.assert_close(gradient_BP[:, p], (up - down) / 2e-5, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("scales", [{}, ROOTS], ids=["straight", "roots"])
@pytest.mark.parametrize("products", [False, True], ids=["plain", "with products"])
def test_curvature_is_that_of_the_optimizer(products: bool, scales: dict[str, Any]) -> None:
    """The Hessian of the Lagrangian, with CVs and a quadratic margin priced, as taken by hand for a single problem."""
    plant = make_plant(COLUMN, horizon="60 s", blocks=4, objective=OBJECTIVES["bent"])
    parts = {"plant": plant, "model": latent_model(plant, products=products), "heads": [curved_head(7)]}
    optimizer = BatchedOptimizer(**COLUMN_PARTS | parts | scales)
    requests = [Request(rows_RC=RECORD[:18]), Request(rows_RC=RECORD[30:48])]
    problems, rng = optimizer.given(requests).problems, np.random.default_rng(3)
    changes = torch.from_numpy(rng.uniform(-0.05, 0.05, size=(2, 8)))
    price_BRN = torch.from_numpy(rng.uniform(0.0, 2.0, size=problems.offset_BRN.shape))
    core = optimizer._core
    linear = core._linearised(problems, changes, price_BRN)
    hessian_BPP = core._program(problems, changes, *linear).hessian_BPP
    for b, request in enumerate(requests):
        problem = optimizer.alone.problem(request.rows_RC)
        trial = problem.evaluate(changes[b].numpy().reshape(1, 4, 2))
        known = problem.linearised(trial, price_BRN[b].T.numpy())
        np.testing.assert_allclose(hessian_BPP[b].numpy(), known.hessian_PP, atol=1e-8, rtol=1e-7)
        np.testing.assert_allclose(linear[0].y_BNY[b, :, :3].numpy(), trial.forecast.y_KNY[0], atol=1e-9)
