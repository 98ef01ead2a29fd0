"""do-mpc behind a pipe, in an environment of its own. Nothing of procmodel is imported here.

One JSON object per line, answered by one: `{"do": "plan", "files": {"step": ..., "read_out": ...}, "ipopt": {...},
"start": [[...]], ...}`, with the numbers that `experiments/do_mpc_peer.py` writes. How blocks and segments are said in
do-mpc's words stands there too.
"""

import contextlib
import json
import sys
import time

import casadi as ca
import numpy as np
from do_mpc.controller import MPC
from do_mpc.model import Model


class Watch(ca.Callback):
    """Keeps each iterate with its CPU time."""

    def __init__(self, unknowns, rows, given):
        ca.Callback.__init__(self)
        sizes = {"x": unknowns, "f": 1, "g": rows, "lam_x": unknowns, "lam_g": rows, "lam_p": given}
        self.sizes = [sizes[ca.nlpsol_out(k)] for k in range(ca.nlpsol_n_out())]
        self.kept, self.begun = [], 0.0
        self.construct("watch", {})

    def __deepcopy__(self, memo):  # do-mpc copies its settings into its records
        return "watch"

    def get_n_in(self):
        return len(self.sizes)

    def get_n_out(self):
        return 1

    def get_sparsity_in(self, at):
        return ca.Sparsity.dense(self.sizes[at], 1)

    def eval(self, args):
        self.kept.append((time.process_time() - self.begun, np.array(args[0])))
        return [0]


def model_of(asked):
    """The plant in do-mpc's words: latent, inputs, increment in force, slack in force."""
    step, read_out = (ca.Function.load(asked["files"][name]) for name in ("step", "read_out"))
    mvs, cvs, limits = len(asked["start_u"]), len(asked["bias"][0]), len(asked["limit_slope"])
    span, (centre_u, spread_u), (centre_y, spread_y) = asked["span_u"], asked["scale_u"], asked["scale_y"]
    model = Model("discrete", "MX")
    z = model.set_variable("_x", "z", (len(asked["latent"]), 1))
    u = model.set_variable("_x", "u", (mvs, 1))
    e = model.set_variable("_x", "e", (mvs, 1))
    s = model.set_variable("_x", "s", (limits, 1))
    v = model.set_variable("_u", "v", (mvs, 1))
    q = model.set_variable("_u", "q", (limits, 1))
    tvp = {
        name: model.set_variable("_tvp", name, (size, 1))
        for name, size in {
            "d": len(asked["d"][0]), "bias": cvs, "begins": 1, "holds": mvs, "segment_begins": 1, "segment_weight": 1,
            "limit_at": limits, "counts": 1,
        }.items()
    }  # fmt: skip
    increment = tvp["begins"] * v + tvp["holds"] * e
    moved = u + ca.DM(span) * increment
    y = read_out(z) * ca.DM(spread_y) + ca.DM(centre_y) + tvp["bias"]
    excess = ca.DM(asked["limit_slope"]) * y[asked["limit_column"]] + tvp["limit_at"]
    missed = y[asked["targets"]] - ca.DM(asked["setpoint"])
    cost = tvp["counts"] * ca.dot(ca.DM(asked["weight"]), missed**2)
    cost += asked["move_weight"] * ca.sumsqr(increment)
    cost += tvp["segment_weight"] * ca.sum1(q + 0.5 * asked["slack_curvature"] * q**2)
    # At the first stage nothing is forecast yet: there the row is slack by one.
    beyond = tvp["counts"] * excess - s - (1 - tvp["counts"])
    model.set_expression("cost", cost)
    model.set_expression("beyond", beyond)
    model.set_rhs("z", step(z, (moved - ca.DM(centre_u)) / ca.DM(spread_u), tvp["d"]))
    model.set_rhs("u", moved)
    model.set_rhs("e", increment)
    model.set_rhs("s", tvp["segment_begins"] * q + (1 - tvp["segment_begins"]) * s)
    model.setup()
    return model


def by_stage(asked):
    """Time-varying parameters of N + 1 stages and the end; CVs at a stage are those of the row before."""
    rows = len(asked["begins"])
    at_stage = {name: np.vstack([np.reshape(asked[name], (rows, -1)), np.zeros((2, np.size(asked[name]) // rows))])
                for name in ("d", "begins", "holds", "segment_begins", "segment_weight")}  # fmt: skip
    for name in ("bias", "limit_at"):
        values = np.reshape(asked[name], (rows, -1))
        at_stage[name] = np.vstack([values[:1], values, values[-1:]])
    at_stage["counts"] = np.concatenate([[0.0], np.ones(rows), [0.0]])[:, None]
    return at_stage


def controller_of(asked, model):
    """The controller, its program prepared and bounded, and the watch."""
    rows, stage_tvp = len(asked["begins"]), by_stage(asked)
    mpc = MPC(model)
    mpc.settings.n_horizon, mpc.settings.t_step, mpc.settings.n_robust = rows + 1, 1.0, 0
    mpc.settings.state_discretization = "discrete"
    mpc.settings.nlpsol_opts = {f"ipopt.{name}": value for name, value in asked["ipopt"].items()} | {"print_time": 0}
    mpc.set_objective(mterm=ca.MX(0), lterm=model.aux["cost"])
    mpc.set_rterm(v=0.0, q=0.0)
    mpc.set_nl_cons("limits", model.aux["beyond"], ub=0.0)
    template = mpc.get_tvp_template()
    for name, values in stage_tvp.items():
        for k in range(rows + 2):
            template["_tvp", k, name] = values[k]
    mpc.set_tvp_fun(lambda now: template)
    mpc.prepare_nlp()
    watch = Watch(mpc.n_opt_x, sum(part.shape[0] for part in mpc._nlp_cons), mpc.n_opt_p)
    mpc.settings.nlpsol_opts["iteration_callback"] = watch
    mpc.create_nlp()
    for part in (mpc.lb_opt_x, mpc.ub_opt_x):
        part["_u", :, 0] = 0.0
    block = -1
    for n in range(rows):
        if asked["begins"][n]:
            block += 1
            mpc.lb_opt_x["_u", n, 0, "v"], mpc.ub_opt_x["_u", n, 0, "v"] = asked["least"][block], asked["most"][block]
        if asked["segment_begins"][n]:
            mpc.ub_opt_x["_u", n, 0, "q"] = np.inf
    for end, low, high in zip(asked["ends"], asked["low"], asked["high"], strict=True):
        mpc.lb_opt_x["_x", end, 0, -1, "u"], mpc.ub_opt_x["_x", end, 0, -1, "u"] = low, high
    return mpc, watch


def started(asked, mpc, model):
    """Initial state, and the first guess: states row after row under the given changes."""
    rows, tvp = len(asked["begins"]), by_stage(asked)
    first = model._x(0.0)
    first["z"], first["u"] = asked["latent"], asked["start_u"]
    rates = np.array(asked["start"]) / np.array(asked["moves"])
    mpc.x0 = first
    mpc.set_initial_guess()
    ahead = ca.Function("ahead", [model.x, model.u, model.tvp], [model._rhs])
    x, block = first.cat, -1
    for k in range(rows + 1):
        u = model._u(0.0)
        if k < rows and asked["begins"][k]:
            block += 1
            u["v"] = rates[block]
        given = model._tvp(0.0)
        for name, values in tvp.items():
            given[name] = values[k]
        mpc.opt_x_num["_x", k, 0, -1], mpc.opt_x_num["_u", k, 0] = x, u.cat
        x = ahead(x, u.cat, given.cat)
    mpc.opt_x_num["_x", rows + 1, 0, -1] = x
    return first


def changes_of(asked, solution):
    """Changes of the blocks [spans], from the increments where they begin."""
    begins = np.flatnonzero(asked["begins"])
    rates = [np.array(solution["_u", int(n), 0, "v"])[:, 0] for n in begins]
    return (np.array(rates) * np.array(asked["moves"])).tolist()


def plan(asked):
    """The answer to one tick."""
    begun = time.process_time()
    model = model_of(asked)
    mpc, watch = controller_of(asked, model)
    first = started(asked, mpc, model)
    mpc.opt_p_num["_x0"], mpc.opt_p_num["_p"] = first, 0
    mpc.opt_p_num["_tvp"] = mpc.tvp_fun(0.0)["_tvp"]
    built = time.process_time() - begun
    watch.begun = time.process_time()
    mpc.solve()
    seconds = time.process_time() - watch.begun
    return {
        "build_seconds": built,
        "seconds": seconds,
        "changes": changes_of(asked, mpc.opt_x_num),
        "trace": [(at, changes_of(asked, mpc._opt_x(x))) for at, x in watch.kept],
        "success": bool(mpc.solver_stats["success"]),
        "iterations": int(mpc.solver_stats["iter_count"]),
    }


for line in sys.stdin:
    with contextlib.redirect_stdout(sys.stderr):
        answer = plan(json.loads(line))
    print(json.dumps(answer), flush=True)
