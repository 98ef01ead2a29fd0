"""The optimization over several scenarios, for IPOPT: the programs of `oracle.py`, tied by the changes they share."""

from __future__ import annotations

import casadi as ca
import numpy as np

from procmodel.control.export import step_function
from procmodel.control.limits import SLACK_CURVATURE, WEIGHT
from procmodel.control.oracle import QUIET, Answer, _Program
from procmodel.control.scenarios import Scenarios


class ScenarioOracle:
    """One nonlinear program over the changes of all blocks and the slacks of all scenarios."""

    def __init__(self, like: Scenarios) -> None:
        self._like, blocks, mvs = like, int(like.block_SM.max()) + 1, len(like.nominal.bounds.start_U)
        changes = ca.MX.sym("changes", mvs, blocks)
        cost, rows, unknowns, bounds = ca.MX(0), [], [ca.vec(changes)], []
        least_BU, most_BU = np.zeros((blocks, mvs)), np.zeros((blocks, mvs))
        for scenario, block_M in zip(like.scenarios, like.block_SM, strict=True):
            one, problem = (
                _Program(scenario.problem, "single", step_function(scenario.problem.forecaster.model)),
                scenario.problem,
            )
            given = one.tick(problem, None)
            slack = ca.MX.sym("slack", one.slacks)
            program = ca.Function("one", [one.nlp["x"], one.nlp["p"]], [one.nlp["f"], one.nlp["g"]])
            paid, held = program(ca.vertcat(ca.vec(changes[:, block_M.tolist()]), slack), given["p"])
            advices = ca.DM(np.tile(problem.limits.advices_Q, len(problem.limits.limits)))
            penalty = WEIGHT * ca.sum1(advices * (slack + 0.5 * SLACK_CURVATURE * slack**2))
            cost += scenario.weight * (paid - penalty) + penalty
            rows.append(held)
            unknowns.append(slack)
            bounds.append(given)
            least_BU[block_M] = given["lbx"][: one.changes].reshape(-1, mvs)
            most_BU[block_M] = given["ubx"][: one.changes].reshape(-1, mvs)
        self._shape, slacks = (blocks, mvs), sum(u.shape[0] for u in unknowns[1:])
        self._given = {
            "x0": np.zeros(blocks * mvs + slacks),
            "lbx": np.concatenate([least_BU.ravel(), np.zeros(slacks)]),
            "ubx": np.concatenate([most_BU.ravel(), np.full(slacks, np.inf)]),
            "lbg": np.concatenate([given["lbg"] for given in bounds]),
            "ubg": np.concatenate([given["ubg"] for given in bounds]),
        }
        nlp = {"x": ca.vertcat(*unknowns), "f": cost, "g": ca.vertcat(*rows)}
        self._solver = ca.nlpsol("scenarios", "ipopt", nlp, QUIET["ipopt"])

    def solve(self) -> Answer:
        """From no move."""
        found = self._solver(**self._given)
        x, stats = np.array(found["x"])[:, 0], self._solver.stats()
        return Answer(
            changes_MU=x[: self._shape[0] * self._shape[1]].reshape(self._shape),
            merit=float(found["f"]),
            success=bool(stats["success"]),
            iterations=int(stats["iter_count"]),
            seconds=0.0,
        )
