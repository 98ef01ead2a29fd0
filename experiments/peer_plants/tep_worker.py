"""The Tennessee Eastman process of tep-studio under its own decentralised loops, behind a pipe.

One JSON object per line, each answered by one: `{"do": "start", "seed": S, "disturbance": 0 or IDV number, "from": h}`
and `{"do": "run", "hours": H, "setpoints": {...}}`. An answer holds the averages of the stretch: the 41 published
measurements by name, `cost` [$/h] as metered, and `true_cost` [$/h], which only judges. Nothing of procmodel is imported.
"""

import json
import sys
from dataclasses import asdict, replace

import numpy as np
from tep_studio import TennesseeEastmanProcess
from tep_studio.control.controller import RickerMultiLoopController
from tep_studio.simulation.schema import TEP_SCHEMA

STEP = 0.0005  # control interval of the loops [h]
NAMES = TEP_SCHEMA.names("measurements")


class Plant:
    """One run from the base case."""

    def __init__(self, seed, disturbance, since):
        self.sim, self.loops = TennesseeEastmanProcess(), RickerMultiLoopController()
        self.measured, _ = self.sim.reset(mode="mode1", seed=float(seed))
        self.loops.reset(self.measured, time=self.sim.time)
        self.idv, self.since = np.zeros(28), since
        self.which = disturbance

    def run(self, hours, setpoints):
        """Averages over a stretch; `terminated` where the plant's own trips ended it."""
        self.loops.setpoints = replace(self.loops.setpoints, **setpoints)
        seen, cost, true, worst, ended = [], [], [], np.inf, False
        for _ in range(round(hours / STEP)):
            self.idv[:] = 0.0
            if self.which and self.sim.time >= self.since:
                self.idv[self.which - 1] = 1.0
            action, _ = self.loops.compute_action(self.measured, time=self.sim.time)
            result = self.sim.advance(action, control_interval=STEP, disturbances=self.idv)
            self.measured = result.measurements
            seen.append(self.measured)
            cost.append(result.objective_terms["operating_cost_measured_per_hour"])
            true.append(result.objective_terms["operating_cost_internal_per_hour"])
            worst = min(worst, *result.constraint_margins.values())
            if result.shutdown_status["terminated"]:
                ended = True
                break
        return {
            "measured": dict(zip(NAMES, np.mean(seen, axis=0).tolist(), strict=True)),
            "cost": float(np.mean(cost)), "true_cost": float(np.mean(true)), "worst_margin": float(worst),
            "time": float(self.sim.time), "terminated": ended, "setpoints": asdict(self.loops.setpoints),
        }  # fmt: skip


def main():
    """Answers until the pipe closes."""
    out, plant = sys.stdout, None
    sys.stdout = sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "start":
            plant = Plant(request["seed"], request.get("disturbance", 0), request.get("from", 0.0))
            reply = {"setpoints": asdict(plant.loops.setpoints)}
        else:
            reply = plant.run(request["hours"], request["setpoints"])
        print(json.dumps(reply), file=out, flush=True)


if __name__ == "__main__":
    main()
