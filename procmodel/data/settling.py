"""From what was added up in the cells to what they tell. Shapes: T rows, C tags."""

from __future__ import annotations

import math

import numpy as np

from procmodel.data.kernels import MEAN, ONE_SAMPLE, ROUND, SAMPLES, WHOLE, Grid, compiled


@compiled
def settle(rules_C: np.ndarray, starts_C: np.ndarray, grid: Grid, fraction_TC: np.ndarray) -> None:
    """Turn what was added up into values (in `held_TC`; NaN in a gap) and the share of each cell that was good.

    Args:
        starts_C: Where the circle of an angle begins [unit].
    """
    for r in range(grid.held_TC.shape[0]):
        for c in range(grid.held_TC.shape[1]):
            good, held, rule = grid.good_TC[r, c], grid.held_TC[r, c], rules_C[c]
            if rule.cell == SAMPLES and good >= ONE_SAMPLE:
                held = grid.area_TC[r, c] / (good // ONE_SAMPLE)
                good %= ONE_SAMPLE
            # All the way round points nowhere.
            nowhere = rule.cell == ROUND and math.hypot(held, grid.area_TC[r, c]) < 1e-9 * good
            if good == 0 or nowhere:
                grid.held_TC[r, c], fraction_TC[r, c] = math.nan, 0.0
                continue
            fraction_TC[r, c] = 1.0 if good == WHOLE else good / grid.step
            if rule.cell == MEAN:
                held += grid.area_TC[r, c] / good
            elif rule.cell == ROUND:
                held = math.atan2(grid.area_TC[r, c], held) * rule.turn / (2.0 * math.pi)
            if rule.turn > 0.0:
                held = starts_C[c] + (held - starts_C[c]) % rule.turn
            grid.held_TC[r, c] = held
