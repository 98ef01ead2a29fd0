"""General solvers on the ticks of `advice_latency`, each solve in a process of its own, kept as soon as it ended.

`python -m experiments.latency_peers SIZE [PEER]` runs what is not kept yet of one size, or of one peer on it. Answers
lie in `runs/advice_latency/`, a file each, with a fingerprint of their problem: a stopped study goes on where it was,
and a changed problem is solved anew.

All start from half of the moves that are the answer, on one core, and are held against ours by our own merit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import resource
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.do_mpc_peer import planned
from experiments.latency_sizes import GATED, LARGE, SIZES, SMALL, Rig, Size, driven, rig
from experiments.latency_steps import step_of
from experiments.latency_verdicts import Run
from procmodel.control.oracle import Oracle
from procmodel.control.problem import Problem

HOME = Path("runs/advice_latency")
# Seconds beyond its patience after which a solver that does not look at its clock is ended from outside.
GRACE = 60.0
KEPT: Mapping[str, tuple[int, ...]] = {LARGE.name: (7,), SMALL.name: (7, 9, 27, 29, 47), GATED.name: (7,)}
"""Ticks that peers solve too; one where a solve takes minutes."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A solver and the form of the program it is given.

    Attributes:
        step: Who writes the model's step (`latency_steps.py`), or "do-mpc", which writes the whole program.
        sizes: On which it is run.
        patience: CPU seconds that a solve may take.
        expand: The whole program as SX.
    """

    name: str
    sizes: tuple[str, ...]
    shooting: str = "single"
    solver: str = "ipopt"
    step: str = "mx"
    expand: bool = False
    patience: float = 240.0


_ALL, _WIDE = (LARGE.name, SMALL.name, GATED.name), (LARGE.name, GATED.name)
PEERS = (
    Peer(name="IPOPT, MX, multiple shooting", sizes=_ALL, shooting="multiple", patience=600.0),
    Peer(name="IPOPT, MX, single shooting", sizes=_ALL, patience=600.0),
    Peer(name="IPOPT, SX, single shooting", sizes=(SMALL.name,), expand=True),
    Peer(name="IPOPT, step in SX, multiple shooting", sizes=_ALL, shooting="multiple", step="sx"),
    Peer(name="fatrop, MX, single shooting", sizes=(SMALL.name,), solver="fatrop"),
    Peer(name="IPOPT, ONNX import, multiple shooting", sizes=_ALL, shooting="multiple", step="onnx"),
    Peer(name="IPOPT, L4CasADi in one batch, multiple shooting", sizes=_ALL, shooting="multiple", step="l4casadi"),
    Peer(name="do-mpc", sizes=_ALL, shooting="multiple", step="do-mpc"),
)


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A tick that was planned by us.

    Attributes:
        rows_RC, setpoints: What it was planned from.
        moves_NU: Ours.
    """

    number: int
    rows_RC: np.ndarray
    setpoints: dict[str, float]
    moves_NU: np.ndarray


def ticks_kept(made: Rig, numbers: Sequence[int]) -> list[Tick]:
    """The ticks of these numbers in a closed loop from its beginning."""
    found = []
    for number, tick in enumerate(driven(made, made.make(), max(numbers) + 1)):
        if number in numbers:
            moves_NU = tick.plan.moves
            found.append(Tick(number=number, rows_RC=tick.rows_RC, setpoints=tick.setpoints, moves_NU=moves_NU))
    return found


def runs_of(
    made: Rig, ticks: Sequence[Tick], *, home: Path = HOME, only: str | None = None, patience: float = np.inf
) -> dict[str, list[Run] | str]:
    """By peer of this size: its runs on the ticks, or why there are none."""
    found: dict[str, list[Run] | str] = {}
    for peer in PEERS:
        if made.size.name in peer.sizes and only in (None, peer.name):
            answers = [kept_or_made(made, tick, peer, home, min(patience, peer.patience)) for tick in ticks]
            reasons = [answer for answer in answers if isinstance(answer, str)]
            found[peer.name] = reasons[0] if reasons else [each for each in answers if isinstance(each, Run)]
    return found


def kept_or_made(made: Rig, tick: Tick, peer: Peer, home: Path, patience: float) -> Run | str:
    """One peer on one tick, from an earlier call where that had the same problem; a word of what failed otherwise."""
    folder = home / made.size.name
    folder.mkdir(parents=True, exist_ok=True)
    stored = folder / f"{tick.number} {peer.name}.json"
    problem = made.make().problem(tick.rows_RC, setpoints=tick.setpoints)
    asked = {"problem": fingerprint(problem, tick), "peer": {**asdict(peer), "patience": patience}}
    asked = json.loads(json.dumps(asked))
    if stored.exists() and (kept := json.loads(stored.read_text()))["asked"] == asked:
        return Run(**kept["run"])
    answer = in_a_process(made, tick, peer, patience, folder)
    if isinstance(answer, Run):
        stored.write_text(json.dumps({"asked": asked, "run": answer.to_dict()}))
    told = (
        answer
        if isinstance(answer, str)
        else f"{answer.seconds:.2f} s, reached after {answer.reached}, "
        + (f"excess {answer.excess:+.1e}, {answer.iterations} iterations, built in {answer.build_seconds:.1f} s")
    )
    print(f"{made.size.name}, tick {tick.number}: {peer.name}: {told}", file=sys.stderr, flush=True)
    return answer


def fingerprint(problem: Problem, tick: Tick) -> str:
    """Of what a solve's answer depends on: the tick's numbers and our merit."""
    merit = problem.evaluate(problem.as_changes(tick.moves_NU)[None]).score.merit
    words = hashlib.sha256(tick.rows_RC.tobytes() + json.dumps(tick.setpoints, sort_keys=True).encode())
    return f"{words.hexdigest()[:16]} {merit:.6e}"


def in_a_process(made: Rig, tick: Tick, peer: Peer, patience: float, folder: Path) -> Run | str:
    """One solve; what a solver ended from outside had shown by then is kept."""
    notes = folder / "notes.jsonl"
    notes.unlink(missing_ok=True)
    child = multiprocessing.get_context("spawn").Process(target=_solve, args=(made, tick, peer, patience, notes))
    child.start()
    child.join(None)
    lines = [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []
    ended = next((line for line in lines if "success" in line or "error" in line), None)
    if ended and "error" in ended:
        return str(ended["error"])
    built = next((line["build_seconds"] for line in lines if "build_seconds" in line), None)
    trace = [(line["at"], line["excess"]) for line in lines if "at" in line]
    if ended is None:
        if built is None or not trace:
            return f"it was ended after {patience:.0f} s of CPU and had shown no iterate"
        ended = {"seconds": trace[-1][0], "excess": trace[-1][1], "success": False, "iterations": -1}
    late = not ended["success"] and (ended["iterations"] < 0 or ended["seconds"] >= 0.9 * patience)
    return Run(trace=trace, build_seconds=float(built or 0.0), ran_out_of_time=bool(late), **ended)


class Notes:
    """What a child has to say, a JSON object per line, and the CPU clock of its solve."""

    def __init__(self, path: Path, problem: Problem, tick: Tick) -> None:
        self._path, self._problem = path, problem
        self.ours_MU = problem.as_changes(tick.moves_NU)
        self._merit = self._merit_of(self.ours_MU)
        self._begun = self._spent = 0.0

    def _merit_of(self, changes_MU: np.ndarray) -> float:
        return self._problem.evaluate(changes_MU[None]).score.merit

    def begin(self) -> None:
        """The solve begins now."""
        self._begun, self._spent = time.process_time(), 0.0

    def iterate(self, changes_MU: np.ndarray) -> None:
        """Judges an iterate with the clock stopped."""
        now = time.process_time()
        self.put(at=now - self._begun - self._spent, excess=self.excess(changes_MU))
        self._spent += time.process_time() - now

    def elapsed(self) -> float:
        return time.process_time() - self._begun - self._spent

    def excess(self, changes_MU: np.ndarray) -> float:
        """Merit over ours, less 1, of changes put inside the hard bounds."""
        return self._merit_of(self._problem.inside(changes_MU)) / self._merit - 1.0

    def put(self, **facts: Any) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(facts) + "\n")


def _solve(made: Rig, tick: Tick, peer: Peer, patience: float, path: Path) -> None:
    """In the child."""
    torch.set_num_threads(1)
    problem = made.make().problem(tick.rows_RC, setpoints=tick.setpoints)
    notes = Notes(path, problem, tick)
    try:
        solve = by_do_mpc if peer.step == "do-mpc" else _by_oracle
        # CPU seconds: building counts too, for derivatives of a wide network may never be done.
        most = int(time.process_time() + 2 * patience + GRACE)
        resource.setrlimit(resource.RLIMIT_CPU, (most, most))
        solve(problem, made, peer, patience, notes)
    except Exception as error:  # of any package that a peer brings
        traceback.print_exc()
        notes.put(error=f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}")


def ipopt_options(size: Size, patience: float) -> dict[str, Any]:
    """Of every peer that is IPOPT.

    The tolerance is what the small size needs: at 1e-6 IPOPT, whose slacks cost a thousand times what the objective
    earns, ended 0.1 to 0.4 % above the optimum and called it one.
    """
    wide = {} if size.name == SMALL.name else {"hessian_approximation": "limited-memory"}
    common = {"print_level": 0, "sb": "yes", "tol": 1e-8, "bound_relax_factor": 0.0, "max_iter": 3000}
    return common | wide | {"max_cpu_time": patience}


def _by_oracle(problem: Problem, made: Rig, peer: Peer, patience: float, notes: Notes) -> None:
    options: dict[str, Any] = {"expand": True} if peer.expand else {}
    if peer.solver == "ipopt":
        options["ipopt"] = ipopt_options(made.size, patience)
        if peer.step == "l4casadi":  # in a batch it has no second derivatives
            options["ipopt"]["hessian_approximation"] = "limited-memory"
    begun = time.process_time()
    settings: dict[str, Any] = {"solver": peer.solver, "shooting": peer.shooting, "options": options}
    oracle = Oracle(problem, step=step_of(peer.step, made, HOME), watch=notes.iterate, **settings)
    notes.put(build_seconds=time.process_time() - begun)
    notes.begin()
    answer = oracle.solve(problem, 0.5 * notes.ours_MU)
    seconds = notes.elapsed()
    notes.put(
        seconds=seconds, excess=notes.excess(answer.changes_MU), success=answer.success, iterations=answer.iterations
    )


def by_do_mpc(problem: Problem, made: Rig, peer: Peer, patience: float, notes: Notes) -> None:
    """do-mpc's own program, in do-mpc's own environment; the clock is that of its process."""
    answer = planned(problem, 0.5 * notes.ours_MU, ipopt_options(made.size, patience), HOME / "do-mpc")
    notes.put(build_seconds=answer["build_seconds"])
    for seconds, changes in answer["trace"]:
        notes.put(at=seconds, excess=notes.excess(np.array(changes)))
    excess = notes.excess(np.array(answer["changes"]))
    notes.put(excess=excess, **{key: answer[key] for key in ("seconds", "success", "iterations")})


def main(argv: Sequence[str] | None = None) -> int:
    """Peers of one size, piece by piece."""
    parser = argparse.ArgumentParser(prog="python -m experiments.latency_peers", description=main.__doc__)
    sizes: dict[str, Size] = {size.name: size for size in SIZES}
    parser.add_argument("size", choices=sizes)
    parser.add_argument("peer", nargs="?", choices=[peer.name for peer in PEERS])
    arguments = parser.parse_args(argv)
    made = rig(sizes[arguments.size], epochs=60)
    runs_of(made, ticks_kept(made, KEPT[arguments.size]), only=arguments.peer)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
