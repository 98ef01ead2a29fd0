"""pcgym behind a pipe, run by an interpreter of its own: pcgym 0.1.8 needs a numpy older than procmodel's.

One JSON object per line, each answered by one: `{"do": "make", "task": NAME, "setpoints": {...} or null}`, `{"do":
"step", "u": [...]}` [unit of the input], `{"do": "peers", "task": NAME}`. Nothing of procmodel is imported here.

The tasks are those of the pc-gym paper (Bloor et al. 2024, arXiv:2410.22093): its setpoints, bounds, scales and
rewards, with the measurement noise off.
"""

import json
import sys

import casadi as ca
import numpy as np
from pcgym import make_env
from pcgym.oracle import oracle


def thirds(steps, *levels):
    """Setpoints that hold for equal parts of an episode."""
    return [level for level in levels for _ in range(steps // len(levels))]


STEPS = 60
TASKS = {
    "cstr": {
        "tsim": 26, "SP": {"Ca": thirds(STEPS, 0.85, 0.9, 0.87)}, "x0": [0.8, 330.0],
        "a": ([295.0], [302.0]), "o": ([0.7, 300.0], [1.0, 350.0]), "r_scale": {"Ca": 1e3}, "R": 0.1, "horizon": 15,
        "substeps": 4,
    },
    "four_tank": {
        "tsim": 1000, "SP": {"h3": thirds(STEPS, 0.5, 0.1), "h4": thirds(STEPS, 0.2, 0.3)},
        "x0": [0.141, 0.112, 0.072, 0.42], "a": ([0.1, 0.1], [10.0, 10.0]), "o": ([0.0] * 4, [0.5] * 4), "r_scale": {},
        "R": 0.0, "horizon": 19, "substeps": 4,
    },
    "multistage_extraction": {
        "tsim": 60, "SP": {"X5": thirds(STEPS, 0.3, 0.4, 0.3)},
        "x0": [0.55, 0.3, 0.45, 0.25, 0.4, 0.2, 0.35, 0.15, 0.25, 0.1], "a": ([5.0, 10.0], [500.0, 1000.0]),
        "o": ([0.0] * 10, [1.0] * 10), "r_scale": {}, "R": 0.1, "horizon": 20,
        "substeps": 150,
    },
}  # fmt: skip


def reward(self, x, u, _violated):
    """Squared errors and moves, each in shares of its range; the setpoint is that of the time reached."""
    bounds, spaces, states = self.env_params["o_space"], self.env_params["a_space"], self.model.info()["states"]
    before = getattr(self, "moved_from", u)
    self.moved_from = np.array(u)
    cost = self.env_params["R"] * np.sum(((u - before) / (spaces["high"] - spaces["low"])) ** 2)
    for name, asked in self.SP.items():
        i = states.index(name)
        off = (x[i] - asked[self.t]) / (bounds["high"][i] - bounds["low"][i])
        cost += self.env_params["r_scale"].get(name, 1) * off**2
    return -float(cost)


def parameters(name, setpoints=None):
    """pcgym's own description of one task."""
    task = TASKS[name]
    asked = setpoints or task["SP"]
    steps = len(next(iter(asked.values())))
    low, high = (np.array([*part, *[0.0] * len(asked)]) for part in task["o"])
    return {
        "N": steps, "tsim": task["tsim"] / STEPS * steps, "SP": asked, "model": name, "r_scale": task["r_scale"],
        "o_space": {"low": low, "high": high + (high == 0.0)}, "R": task["R"],
        "a_space": {"low": np.array(task["a"][0]), "high": np.array(task["a"][1])},
        "x0": np.array([*task["x0"], *(values[0] for values in asked.values())]),
        "normalise_a": False, "normalise_o": False, "noise": False, "integration_method": "casadi",
        "custom_reward": reward,
    }  # fmt: skip


def episode(name, moves):
    """Return of a sequence of inputs [steps, U] in pcgym's own environment."""
    env = make_env(parameters(name))
    env.reset()
    total, done = 0.0, False
    for u in moves:
        if done:
            break
        _, gained, done, _, _ = env.step(np.array(u))
        total += gained
    return total


def runge_kutta(model, states, inputs, dt):
    """One step of the classical method of fourth order, x -> x after dt under a held input."""
    x, u = ca.SX.sym("x", states), ca.SX.sym("u", inputs)
    rate = ca.Function("rate", [x, u], [ca.vertcat(*model(x, u))])
    k1 = rate(x, u)
    k2 = rate(x + dt / 2 * k1, u)
    k3 = rate(x + dt / 2 * k2, u)
    k4 = rate(x + dt * k3, u)
    return ca.Function("step", [x, u], [x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)])


def program(name):
    """Cost of a whole episode as a function of the inputs in shares of their range, on pcgym's equations."""
    task, env = TASKS[name], make_env(parameters(name))
    states, inputs = len(task["x0"]), len(task["a"][0])
    step = runge_kutta(env.model, states, inputs, task["tsim"] / STEPS / task["substeps"]).mapaccum(task["substeps"])
    low, high = (ca.DM(part) for part in task["a"])
    shares = ca.MX.sym("shares", inputs, STEPS - 1)
    names, (least, most) = env.model.info()["states"], task["o"]
    at, cost = ca.DM(task["x0"]), 0
    for k in range(STEPS - 1):
        at = step(at, ca.repmat(low + (high - low) * shares[:, k], 1, task["substeps"]))[:, -1]
        for each, asked in task["SP"].items():
            i = names.index(each)
            off = (at[i] - asked[k + 1]) / (most[i] - least[i])
            cost += task["r_scale"].get(each, 1) * off**2
        if k:
            cost += task["R"] * ca.sumsqr(shares[:, k] - shares[:, k - 1])
    return shares, cost


def peers(name):
    """Returns of the full-horizon optimum, of pcgym's own oracle, and of the best constant input."""
    shares, cost = program(name)
    low, high = (np.array(part) for part in TASKS[name]["a"])
    options = {"ipopt.print_level": 0, "print_time": 0, "ipopt.sb": "yes"}
    solver = ca.nlpsol("whole", "ipopt", {"x": ca.vec(shares), "f": cost}, {**options, "ipopt.max_iter": 300})
    one = ca.MX.sym("one", len(low))
    held = ca.Function("cost", [shares], [cost])(ca.repmat(one, 1, STEPS - 1))
    constant = ca.nlpsol("held", "ipopt", {"x": one, "f": held}, options)
    found = {}
    for label, solve in (("optimum", solver), ("best_constant", constant)):
        ends = [solve(x0=start, lbx=0, ubx=1) for start in (0.2, 0.5, 0.8)]
        best = np.array(min(ends, key=lambda end: float(end["f"]))["x"]).reshape(-1, len(low))
        moves = low + (high - low) * (best if len(best) > 1 else np.repeat(best, STEPS - 1, axis=0))
        found[label] = episode(name, moves)
    _, inputs = oracle(make_env, parameters(name), {"N": TASKS[name]["horizon"]}).mpc()
    found["pcgym_oracle"] = episode(name, np.asarray(inputs).T)
    return found


def answer(request, env):
    """Answer of one request and the environment it leaves behind."""
    if request["do"] == "peers":
        return peers(request["task"]), env
    if request["do"] == "make":
        env = make_env(parameters(request["task"], request.get("setpoints")))
        env.reset()
        return {"x": env.state[: env.Nx_oracle].tolist(), "setpoints": env.SP}, env
    _, gained, done, _, _ = env.step(np.array(request["u"]))
    return {"x": env.state[: env.Nx_oracle].tolist(), "reward": gained, "done": bool(done)}, env


def main():
    """Answers until the pipe closes."""
    out, env = sys.stdout, None
    sys.stdout = sys.stderr  # what pcgym and do-mpc print
    for line in sys.stdin:
        reply, env = answer(json.loads(line), env)
        print(json.dumps(reply), file=out, flush=True)


if __name__ == "__main__":
    main()
