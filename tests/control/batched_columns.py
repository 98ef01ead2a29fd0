"""A small column for batches: a plant of two MVs and three CVs, strongly bent models of it, and objectives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from control_fakes import COLUMN, curved_head, latent_model, make_plant, unit_scaler

CURVED = curved_head(7, rank=1)
COLUMN_PLANT = make_plant(COLUMN, horizon="60 s", blocks=4, every="10 s")
COLUMN_PARTS: dict[str, Any] = {
    "plant": COLUMN_PLANT, "model": latent_model(COLUMN_PLANT), "scaler": unit_scaler(COLUMN_PLANT),
}  # fmt: skip
RECORD = np.random.default_rng(1).normal(size=(60, 6)) * 0.3
ROOTS = {"scaler": replace(COLUMN_PARTS["scaler"], bend=np.array([0.0, 0.0, 0.0, 0.4, -0.3, 0.0]))}
OBJECTIVES = {
    "setpoints alone": None,
    "linear": "3 * Reflux - 2 * Yield",
    "bent": "3 * Steam + Reflux**2 / 2 - 4 * Purity * Feed - 2 * sqrt(abs(Level) + 1) / (2 + exp(Yield))",
    "cornered": "max(Purity, 0.2, Level) - min(Yield, Steam) + 2 ** Reflux + (Purity + 9) ** 1.5 - 1 / (Level - 7)",
}
