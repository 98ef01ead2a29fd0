"""The Tennessee Eastman process of tep-studio under its own decentralised loops, behind a pipe.

One JSON object per line, each answered by one: `{"do": "start", "seed": S, "disturbance": 0 or IDV number, "from": h}`
and `{"do": "run", "hours": H, "setpoints": {...}}`. An answer to `run` holds what the stretch was: means of the 41
published measurements by name, least and most of those that have limits, `cost` [$/h] as metered and `true_cost` [$/h],
which only judges. Nothing of procmodel is imported here.
"""

import json
import sys
from dataclasses import asdict, replace

import numpy as np
from tep_studio import TEP_SCHEMA, RickerMultiLoopController, TennesseeEastmanProcess

STEP = 0.0005  # control interval of the loops [h], that of Ricker's own model
NAMES = TEP_SCHEMA.names("measurements")


class Plant:
    """One run from the base case; the disturbance begins at `since` [h]."""

    def __init__(self, seed, disturbance, since):
        self.sim, self.loops = TennesseeEastmanProcess(), RickerMultiLoopController()
        self.measured, _ = self.sim.reset(mode="mode1", seed=float(seed))
        self.loops.reset(self.measured, time=self.sim.time)
        self.disturbance, self.since = disturbance, since

    def run(self, hours, setpoints):
        """A stretch under held setpoints; `tripped` says why the plant's own trips ended it, or is None."""
        self.loops.setpoints = replace(self.loops.setpoints, **setpoints)
        seen, cost, true, tripped, idv = [], [], [], None, np.zeros(28)
        for _ in range(round(hours / STEP)):
            if self.disturbance and self.sim.time >= self.since:
                idv[self.disturbance - 1] = 1.0
            action, _ = self.loops.compute_action(self.measured, time=self.sim.time)
            result = self.sim.advance(action, control_interval=STEP, disturbances=idv)
            self.measured = result.measurements
            seen.append(self.measured)
            cost.append(result.objective_terms["operating_cost_measured_per_hour"])
            true.append(result.objective_terms["operating_cost_internal_per_hour"])
            if result.shutdown_status["terminated"]:
                tripped = result.shutdown_status["message"]
                break
        mean, least, most = (dict(zip(NAMES, f(seen, axis=0).tolist(), strict=True)) for f in (np.mean, np.min, np.max))
        return {
            "measured": mean, "least": least, "most": most, "cost": float(np.mean(cost)),
            "true_cost": float(np.mean(true)), "time": self.sim.time, "tripped": tripped,
        }  # fmt: skip


def main():
    """Answers until the pipe closes."""
    out, plant = sys.stdout, None
    sys.stdout = sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "start":
            plant = Plant(request["seed"], request["disturbance"], request["from"])
            reply = {"setpoints": asdict(plant.loops.setpoints)}
        else:
            reply = plant.run(request["hours"], request["setpoints"])
        print(json.dumps(reply), file=out, flush=True)


if __name__ == "__main__":
    main()
