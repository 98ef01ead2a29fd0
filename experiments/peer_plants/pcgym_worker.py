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
    },
    "four_tank": {
        "tsim": 1000, "SP": {"h3": thirds(STEPS, 0.5, 0.1), "h4": thirds(STEPS, 0.2, 0.3)},
        "x0": [0.141, 0.112, 0.072, 0.42], "a": ([0.1, 0.1], [10.0, 10.0]), "o": ([0.0] * 4, [0.5] * 4), "r_scale": {},
        "R": 0.0, "horizon": 19,
    },
    "multistage_extraction": {
        "tsim": 60, "SP": {"X5": thirds(STEPS, 0.3, 0.4, 0.3)},
        "x0": [0.55, 0.3, 0.45, 0.25, 0.4, 0.2, 0.35, 0.15, 0.25, 0.1], "a": ([5.0, 10.0], [500.0, 1000.0]),
        "o": ([0.0] * 10, [1.0] * 10), "r_scale": {}, "R": 0.1, "horizon": 20,
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


ELEMENTS = (0.05, 0.15, 0.3, 0.5)
"""Shares of a step between two samples: short ones first, where a fast plant answers a new input."""
DEGREE = 3
"""Of the collocation polynomials; Radau points, which stay stable on plants that settle within a step."""
QUIET = {"ipopt.print_level": 0, "print_time": 0, "ipopt.sb": "yes"}


def collocated(model, states, inputs, dt):
    """A step of `dt` under a held input, by collocation (Biegler, Nonlinear Programming, 2010, ch. 10).

    Function of the state before [X, 1], the states at all points [X, elements * DEGREE] and the input [U, 1]; residuals
    [X * elements * DEGREE, 1]. The last point is the state after the step.
    """
    slopes, _, _ = ca.collocation_coeff(ca.collocation_points(DEGREE, "radau"))
    before, points, u = ca.SX.sym("x", states), ca.SX.sym("p", states, len(ELEMENTS) * DEGREE), ca.SX.sym("u", inputs)
    residuals, start = [], before
    for k, share in enumerate(ELEMENTS):
        mine = points[:, k * DEGREE : (k + 1) * DEGREE]
        rates = ca.horzcat(*(ca.vertcat(*model(mine[:, j], u)) for j in range(DEGREE)))
        residuals.append(ca.vec(ca.mtimes(ca.horzcat(start, mine), slopes) - share * dt * rates))
        start = mine[:, -1]
    return ca.Function("step", [before, points, u], [ca.vertcat(*residuals)])


def program(name):
    """A whole episode on pcgym's equations: `nlpsol`'s problem and bounds, and the number of its shares.

    Variables are the inputs [U, steps - 1] in shares of their range, then all states within the steps; no state may be
    below zero, where the equations mean nothing.
    """
    task, env = TASKS[name], make_env(parameters(name))
    states, inputs, steps = len(task["x0"]), len(task["a"][0]), STEPS - 1
    step = collocated(env.model, states, inputs, task["tsim"] / STEPS)
    low, high = (ca.DM(part) for part in task["a"])
    shares, within = ca.MX.sym("shares", inputs, steps), ca.MX.sym("within", states, step.size2_in(1) * steps)
    u = ca.repmat(low, 1, steps) + ca.repmat(high - low, 1, steps) * shares
    after = within[:, step.size2_in(1) - 1 :: step.size2_in(1)]
    residuals = step.map(steps)(ca.horzcat(task["x0"], after[:, :-1]), within, u)
    names, (least, most) = env.model.info()["states"], task["o"]
    cost = task["R"] * ca.sumsqr(shares[:, 1:] - shares[:, :-1])
    for each, asked in task["SP"].items():
        i = names.index(each)
        off = (after[i, :] - ca.DM(asked[1:]).T) / (most[i] - least[i])
        cost += task["r_scale"].get(each, 1) * ca.sumsqr(off)
    problem = {"x": ca.vertcat(ca.vec(shares), ca.vec(within)), "f": cost, "g": ca.vec(residuals)}
    return problem, shares.numel(), within.size2()


def optimum(name):
    """Moves [steps - 1, U] of the cheapest episode, in shares of the inputs' ranges; the best of three starts."""
    problem, moves, points = program(name)
    solver = ca.nlpsol("whole", "ipopt", problem, QUIET | {"ipopt.max_iter": 1000})
    at = np.tile(TASKS[name]["x0"], points)
    upper = np.concatenate([np.ones(moves), np.full(at.size, np.inf)])
    ends = [
        solver(x0=np.concatenate([np.full(moves, start), at]), lbx=0, ubx=upper, lbg=0, ubg=0)
        for start in (0.2, 0.5, 0.8)
    ]
    worst = [float(ca.norm_inf(end["g"])) for end in ends]
    ends = [end for end, off in zip(ends, worst, strict=True) if off < 1e-6]
    if not ends:
        raise RuntimeError(f"{name}: no start led to an episode that keeps the equations: {worst}.")
    return np.array(min(ends, key=lambda end: float(end["f"]))["x"][:moves]).reshape(STEPS - 1, -1)


def peers(name):
    """Returns of the full-horizon optimum, of the best constant input on a grid, and of pcgym's own oracle."""
    low, high = (np.array(part) for part in TASKS[name]["a"])
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 11)] * len(low)), axis=-1).reshape(-1, len(low))
    _, inputs = oracle(make_env, parameters(name), {"N": TASKS[name]["horizon"]}).mpc()
    return {
        "optimum": episode(name, low + (high - low) * optimum(name)),
        "best_constant": max(episode(name, np.tile(low + (high - low) * share, (STEPS - 1, 1))) for share in grid),
        "pcgym_oracle": episode(name, np.asarray(inputs).T),
    }


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
