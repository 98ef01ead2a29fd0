"""Distance kept from CV limits: what was calibrated, and where members disagree about what a plan will bring.

Shapes: N rows of the horizon, Y CVs, E members. Engineering units.

    spread_ny = Q * sqrt( sum_e (y_eny - mean_e y_eny)^2 / (E - 1) ),    made never to fall along the horizon

of the members' corrected forecasts of the plan that was found, from where the plant is now. Q makes it the 90 %
quantile of a normal error, as the calibrated backoff is a 90 % quantile. A limit is kept by the larger of the two, not
by the root of their squares: the calibrated one holds the model's error over the record, so that it is the same error
seen twice, and adding it to itself would only cost. The spread is the larger one where plan or plant have left what the
record shows: there no held-back row can tell, and the members, bound by nothing, go apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from procmodel.control.problem import Problem, Solvable, Trial
from procmodel.errors import ArtifactError
from procmodel.plant import Plant

QUANTILE = 1.282


def backoff_rows(plant: Plant, backoff_HY: np.ndarray | None, steps: int) -> np.ndarray:
    """Calibrated distance per row of the horizon, [N, Y]; the last given one holds beyond its end.

    Raises:
        ArtifactError: It does not fit the plant.
    """
    outputs = len(plant.cvs)
    if backoff_HY is None:
        return np.zeros((steps, outputs))
    given = np.asarray(backoff_HY, dtype=float)
    if given.ndim != 2 or given.shape[1] != outputs or not len(given) or not (given >= 0.0).all():
        raise ArtifactError(
            f"backoff: needs one non-negative number per horizon step and CV, [H, {outputs}], got shape "
            f"{given.shape}. Calibrate it again with this plant's model."
        )
    return given[np.minimum(np.arange(steps), len(given) - 1)]


def member_spread(y_ENY: np.ndarray) -> np.ndarray:
    """How far the members' forecasts are apart, [N, Y]."""
    return np.asarray(np.maximum.accumulate(QUANTILE * np.std(y_ENY, axis=0, ddof=1), axis=0))


def kept_apart(problem: Solvable, trial: Trial, members: Sequence[Problem], soon: int | None) -> Solvable | None:
    """The problem with its limits kept by the spread along a plan, where that is more than they are kept by already.

    None where a member has no finite forecast, so that nobody can say how far they are apart.

    Args:
        trial: The plan; of several scenarios the first one counts.
        members: The problem as the other members see it.
        soon: Row after which the spread is taken to grow no more; None: it grows to the end.
    """
    shown = trial.by_scenario[0].forecast
    others = [one.forecaster.forecast(one.now, shown.moves_KNU).y_KNY[0] for one in members]
    spread_NY = member_spread(np.array([shown.y_KNY[0], *others]))
    if not np.isfinite(spread_NY).all():
        return None
    if soon is not None:
        spread_NY = np.minimum(spread_NY, spread_NY[min(soon, len(spread_NY)) - 1])
    return problem.keeping(spread_NY)
