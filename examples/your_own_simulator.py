"""A simulator of your own as a plant: operated, recorded, learned from and controlled like any other.

    python examples/your_own_simulator.py

Here it is a stirred tank that a heater warms and a pump feeds. All that procmodel asks of it is `step`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from procmodel.control.optimizer import Optimizer
from procmodel.data import condition
from procmodel.data.historians import open_historian
from procmodel.data.window import Columns, Scaler
from procmodel.evaluation.closed_loop import run_trials
from procmodel.evaluation.controllers import AdviceControl, HoldControl
from procmodel.evaluation.linear_peers import LinearWorld
from procmodel.plant import load_plant
from procmodel.runtime.loop import Advisor
from procmodel.simulation import own_plant, record
from procmodel.world_model.n4sid import fit_n4sid

PLANT = """
name: heated-tank
sample_time: 30 s
history: {kind: csv, path: exports/*.csv, timezone: Europe/Zurich}
tags:
  HC1.SP: {role: MV, unit: kW, limits: [15, 25], max_move: 2, max_gap: 10 min}
  FC1.SP: {role: MV, unit: L/min, limits: [5, 7], max_move: 0.5, max_gap: 10 min}
  TI1.PV: {role: CV, unit: degC, range: [0, 120], setpoint: 62, max_gap: 10 min}
  LI1.PV: {role: CV, unit: m, range: [0, 2], setpoint: 1, max_gap: 10 min}
  TI0.PV: {role: DV, unit: degC, range: [0, 40], max_gap: 10 min}
advice: {every: 1 min, horizon: 30 min}
"""


class HeatedTank:
    """100 L per metre, an outlet that the level drives; steps of a second."""

    def __init__(self) -> None:
        self.level, self.warmth = 1.0, 62.0

    def step(self, u: Sequence[float], d: Sequence[float]) -> list[float]:
        """Temperature [degC] and level [m], averaged over 30 s."""
        warmth = level = 0.0
        for _ in range(30):
            inflow = u[1] / 60.0
            self.level += (inflow - 0.1 * max(self.level, 0.0) ** 0.5) / 100.0
            self.warmth += (inflow * (d[0] - self.warmth) + u[0] / 4.19) / (100.0 * max(self.level, 0.05))
            warmth, level = warmth + self.warmth / 30, level + self.level / 30
        return [warmth, level]


def inlet(rows: int, seed: int) -> np.ndarray:
    """Temperature of the feed [degC]: it wanders."""
    return 15.0 + np.cumsum(0.05 * np.random.default_rng(seed).normal(size=(rows, 1)), axis=0)


def main() -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "plant.yaml"
        file.write_text(PLANT, encoding="utf-8")
        reference = own_plant(file, HeatedTank, u0=[19.7, 6.0], d0=[15.0], disturbances=inlet)
        recorded = record(reference, rows=4000, seed=0, folder=Path(folder) / "site")
        plant = load_plant(recorded.plant_file)
        values = condition(plant, open_historian(plant)).values
    columns, scaler = Columns.of(plant), Scaler.fit(values)
    scaled = scaler.scale(values)
    state = fit_n4sid([(scaled[:, columns.cv], scaled[:, [*columns.mv, *columns.dv]])], lags=20)
    model = LinearWorld(state, columns)
    optimizer = Optimizer(plant=plant, model=model, scaler=scaler)
    advice = AdviceControl(Advisor(plant=plant, planner=optimizer, model=model, scaler=scaler))
    trials = run_trials(reference, [advice, HoldControl()], seeds=[1, 2], rows=60, warmup=advice.history)
    for name, tried in trials.trials.items():
        end = np.mean([trial.y[-1] for trial in tried], axis=0)
        print(f"{name}: cost {trials.cost(name).mean():.2g}, at last {end[0]:.1f} degC and {end[1]:.2f} m")


if __name__ == "__main__":
    main()
