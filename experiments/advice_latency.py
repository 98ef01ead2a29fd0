"""How long a whole tick of advice takes, against general solvers on the very same problem and against the floor.

Three sizes (`latency_sizes.py`), cold and warm, whole tick and reaction after `Optimizer.prepare`. A tick is all of
`Optimizer.plan`: history in, named plan out. Peers (`latency_peers.py`) solve the same nonlinear program from half of
the moves that are the answer. Only one that ends within 0.1 % of our merit counts, with the seconds until it was there
to stay (`latency_verdicts.py`); one that ran out of time elsewhere gives a lower bound, named so. Seconds are CPU
seconds, which on a quiet core are those of the clock; both are reported of ours. Peers' answers are kept in
`runs/advice_latency/`: a stopped study goes on, and our own ticks are timed anew.

The floor is what matrix products alone take: those of the tangent rollout with block causality, timed in this run at
the shapes that occur, and the condensing of the Hessian and one factorisation of the program at the rate of these.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from experiments.contract import Outcome, run_experiment
from experiments.latency_peers import HOME, KEPT, runs_of, ticks_kept
from experiments.latency_sizes import LARGE, SIZES, SMALL, Rig, Size, driven, rig
from experiments.latency_verdicts import judged, speed_over
from procmodel.control.threads import on_one_core

SEEDS = (0, 1)
# Ticks before the first one that counts as warm, warm ones, and first ones of new optimizers.
WARM_UP, WARM, COLD = 5, 300, 20
NOT_RUN = {
    "the whole program in SX, large and gated": "60 rows of 100 thousand weights are 12 million scalar operations "
    "before any derivative; one row in SX, mapped over the rows, is run instead.",
    "fatrop, large and gated": "it takes exact Hessians only, through 60 rows of the network for each of 50 moves in "
    "MX graphs, and looks at no clock; it is run on the small size.",
    "NeuralMPCX": "its formulation, a recurrent network as CasADi MX under IPOPT, is what `IPOPT, MX` is on the gated "
    "size, with the cell that procmodel ships in place of an LSTM, which our optimizer has no matrices for.",
}


def study(quick: bool) -> Outcome:
    """Seconds per tick of advice, against peers and against the floating-point floor."""
    results, lines = {}, []
    for size in (SMALL,) if quick else SIZES:
        found = _one(size, quick=quick)
        results[size.name] = found
        lines += _lines(size, found)
        print("\n".join(_lines(size, found)), file=sys.stderr)
    values: dict[str, float | None] = {}
    if LARGE.name in results:
        large = results[LARGE.name]
        values = {
            "speed_over_ipopt_mx": large["speed_over_ipopt_mx"]["times"],
            "speed_over_best_peer": large["speed_over_best_peer"]["times"],
            "time_over_floor": large["time_over_floor"],
        }
    return Outcome(values=values, results=results | {"not_run": NOT_RUN}, seeds=SEEDS, lines=lines)


def _one(size: Size, *, quick: bool) -> dict[str, Any]:
    made = rig(size, epochs=5 if quick else 60)
    count = WARM_UP + (12 if quick else WARM)
    cold = [next(driven(made, made.make(), 1)).cpu for _ in range(2 if quick else COLD)]
    warm = list(driven(made, made.make(), count))[WARM_UP:]
    reaction = [tick.cpu for tick in driven(made, made.make(), count, prepare=True)][WARM_UP:]
    floor = _floor(made)
    numbers, home = (KEPT[size.name][:1], HOME / "quick") if quick else (KEPT[size.name], HOME)
    runs = runs_of(made, ticks_kept(made, numbers), home=home, only="fatrop, MX, single shooting" if quick else None)
    peers = {name: judged(each) for name, each in runs.items() if not isinstance(each, str)}
    median = float(np.median([tick.cpu for tick in warm]))
    ipopt = [peer for name, peer in peers.items() if name.startswith("IPOPT, MX")]
    return {
        "parameters": made.parameters,
        "warm": _spread([tick.cpu for tick in warm]),
        "warm_clock": _spread([tick.clock for tick in warm]),
        "cold": _spread(cold),
        "reaction": _spread(reaction),
        "ticks": {"warm": len(warm), "cold": len(cold), "reaction": len(reaction)},
        "iterations_mean": float(np.mean([tick.plan.iterations for tick in warm])),
        "floor": floor,
        "time_over_floor": median / floor["seconds"],
        "peers": peers,
        "failed": {name: each for name, each in runs.items() if isinstance(each, str)},
        "speed_over_best_peer": speed_over(list(peers.values()), median),
        "speed_over_ipopt_mx": speed_over(ipopt, median),
    }


@on_one_core
def _floor(made: Rig) -> dict[str, Any]:
    """Operations of one tangent rollout, of condensing and of one factorisation, and the seconds they take at best."""
    size, horizon = made.size, made.make().horizon
    begun_N = (horizon.block_of_row + 1) * size.mvs
    latent = made.model.latent_size
    if size.is_gated:
        shapes = [(latent + size.mvs, 2 * latent), (latent, latent)]
    else:
        shapes = [
            (latent + size.mvs, size.hidden),
            (size.hidden, size.hidden),
            (size.hidden + latent + size.mvs, latent),
        ]
    changes, outputs = horizon.blocks * size.mvs, size.cvs + size.mvs
    seconds, operations = 0.0, 0.0
    for rows in np.unique(begun_N):
        times = int((begun_N == rows).sum())
        for inner, outer in shapes:
            seconds += times * _product_seconds(int(rows), inner, outer)
            operations += times * 2.0 * rows * inner * outer
    rate = operations / seconds
    rest = 2.0 * size.steps * outputs * changes**2 + 2.0 * size.steps * size.cvs * latent * changes + changes**3 / 3.0
    return {"operations": operations + rest, "gflop_per_s": rate / 1e9, "seconds": seconds + rest / rate}


def _product_seconds(rows: int, inner: int, outer: int) -> float:
    """Of one matrix product into memory that is there already: the median of 30 tries."""
    rng = np.random.default_rng(0)
    a, b, into = rng.normal(size=(rows, inner)), rng.normal(size=(inner, outer)), np.empty((rows, outer))
    tries = []
    for _ in range(30):
        begun = time.process_time_ns()
        for _ in range(5):
            np.matmul(a, b, out=into)
        tries.append((time.process_time_ns() - begun) / 5e9)
    return float(np.median(tries))


def _spread(seconds: list[float]) -> dict[str, float]:
    return {f"p{q}": float(np.percentile(seconds, q)) for q in (50, 95, 99)}


def _lines(size: Size, found: dict[str, Any]) -> list[str]:
    def shown(part: str) -> str:
        return " / ".join(f"{1e3 * found[part][q]:.1f}" for q in ("p50", "p95", "p99"))

    lines = [
        f"{size.name} ({found['parameters']} parameters): p50/p95/p99 [ms]: warm {shown('warm')}, "
        f"cold {shown('cold')}, reaction {shown('reaction')}; {found['iterations_mean']:.1f} programs per tick",
        f"  floor {1e3 * found['floor']['seconds']:.2f} ms ({found['floor']['gflop_per_s']:.0f} GFLOP/s): "
        f"{found['time_over_floor']:.1f} times",
    ]
    for name, peer in found["peers"].items():
        took = f"{peer['seconds']:.2f} s" if peer["same_optimum"] else f"not after {peer['seconds_to_its_end']:.2f} s"
        late = ", out of time" if peer["ran_out_of_time"] else ""
        lines.append(f"  {name}: {took}{late}, excess {max(peer['excess_over_ours'], key=abs):+.1e}")
    lines += [f"  {name}: {reason}" for name, reason in found["failed"].items()]
    for what in ("speed_over_ipopt_mx", "speed_over_best_peer"):
        times, least = found[what]["times"], found[what]["at_least"]
        lines.append(f"  {what}: " + (f"{times:.0f}" if times else f"at least {least:.0f}" if least else "none"))
    return lines


if __name__ == "__main__":
    sys.exit(run_experiment("advice_latency", study))
