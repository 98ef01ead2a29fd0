"""Stored advice problems solved in batches on a graphics card, or on the processor where there is none.

`python -m experiments.batch_problems runs/batch_problems` stores them. First the stored problems are solved and held
against the merits that `Optimizer.plan` reached. Then batches of each size are solved: the stored problems again and
again, each time from another latent, with other setpoints and another bias, so that no two are alike. A rate is that of
the median of some runs, from tensors in the host's memory to the plans there. A batch that would take too long is left
out, by name.

Imports torch, numpy and the solver's core; of the rest of procmodel nothing that needs another library, and no CasADi.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from experiments.contract import Outcome, run_experiment
from procmodel.control.batched_core import BatchCore
from procmodel.control.batched_data import BatchPlant, BatchProblem, BatchSolution, load_problems, on_device
from procmodel.errors import InputError

FOLDER = Path("runs/batch_problems")
BATCHES, QUICK_BATCHES = (1, 64, 1024, 16_384), (1, 16)
RUNS, SEED = 5, 7
# Seconds that all runs of one batch may take; on a card both sizes then end within a minute.
PATIENCE, QUICK_PATIENCE = 6.0, 0.5
# A batch is left out where it may take so many times the patience; rates of smaller batches than this foretell nothing.
MOST_WAIT, SETTLED = 4, 64
# How far problems are moved from the stored ones: latents and bias, relative to their spread; setpoints, of a span.
NUDGE, SETPOINT = 0.05, 0.1


def perturbed(plant: BatchPlant, problems: BatchProblem, count: int, seed: int = SEED) -> BatchProblem:
    """So many problems near the stored ones, no two alike."""
    drawn = torch.Generator().manual_seed(seed)
    given = problems.take(torch.arange(count) % len(problems))

    def noise(like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=drawn, dtype=like.dtype)

    spread_D = problems.latent_BD.std(dim=0) if len(problems) > 1 else torch.ones_like(problems.latent_BD[0])
    return replace(
        given,
        latent_BD=given.latent_BD + NUDGE * spread_D * noise(given.latent_BD),
        bias_BNY=given.bias_BNY + 0.1 * NUDGE * plant.span_Y * noise(given.bias_BNY[:, :1]),
        setpoint_BY=given.setpoint_BY + SETPOINT * plant.span_Y * noise(given.setpoint_BY),
    )


def timed(core: BatchCore, problems: BatchProblem, device: str) -> tuple[BatchSolution, float]:
    """The solution and the seconds by the clock."""
    began = time.perf_counter()
    solution = core.solve_in_pieces(problems)  # ends on the processor, so that the card is done
    if device == "cuda":
        torch.cuda.synchronize()
    return solution, time.perf_counter() - began


def checked(problems: BatchProblem, solution: BatchSolution) -> dict[str, float]:
    """What can be known of any solution: how far it is from first-order conditions and from its bounds."""
    moves_BNU, sure = solution.moves_BNU, solution.converged_B
    beyond = torch.maximum(problems.low_BNU - moves_BNU, moves_BNU - problems.high_BNU).clamp_min(0.0)
    promise = solution.promise_B[sure & solution.promise_B.isfinite()]
    return {
        "converged_share": float(sure.double().mean()),
        "linearisations_mean": float(solution.iterations_B.double().mean()),
        "linearisations_most": int(solution.iterations_B.max()),
        "median_promise_left": float(promise.median()) if len(promise) else float("nan"),
        "worst_promise_left": float(promise.max()) if len(promise) else float("nan"),
        "worst_beyond_bounds": float(beyond.max()),
    }


def one_size(path: Path, device: str, batches: Sequence[int], patience: float) -> dict[str, Any]:
    """All figures of one file."""
    plant, stored, more = load_problems(path)
    core = BatchCore(on_device(plant, device))
    solution, first = timed(core, stored, device)
    known = torch.from_numpy(more["merit_B"])
    off = ((solution.merit_B - known) / known.abs().clamp_min(1e-9))[solution.converged_B]
    found: dict[str, Any] = {
        "stored": len(stored),
        "first_call_seconds": first,
        "worst_merit_above_serial": float(off.max()),
        "worst_merit_below_serial": float(off.min()),
        "serial_cpu_seconds": float(more["cpu_seconds"]),
        **checked(stored, solution),
        "batches": {},
    }
    rate = 0.0
    for count in batches:
        # A rate only rises with the batch, so that this is the most that it may take.
        if rate and count / rate > MOST_WAIT * patience:
            found["batches"][str(count)] = f"left out: it may take {count / rate:.0f} s"
            continue
        found["batches"][str(count)] = each = _one_batch(core, plant, stored, count, device, patience)
        if count >= SETTLED:
            rate = max(rate, float(each["problems_per_s"]))
    return found


def _one_batch(
    core: BatchCore, plant: BatchPlant, stored: BatchProblem, count: int, device: str, patience: float
) -> dict[str, Any]:
    problems = perturbed(plant, stored, count)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    solution, first = timed(core, problems, device)
    seconds = [first] if first > patience / 2 else []
    while not seconds or (len(seconds) < RUNS and sum(seconds) + first < patience):
        seconds.append(timed(core, problems, device)[1])
    each = {"problems_per_s": count / statistics.median(seconds), "seconds": seconds, **checked(problems, solution)}
    if device == "cuda":
        each["peak_memory_gb"] = torch.cuda.max_memory_allocated() / 2**30
    return each


def lines_of(name: str, found: dict[str, Any]) -> list[str]:
    """The figures of one size for reading."""
    lines = [
        f"{name}: merits of {found['stored']} stored problems {found['worst_merit_below_serial']:+.1e} to "
        f"{found['worst_merit_above_serial']:+.1e} of the serial ones, {found['converged_share']:.1%} converged"
    ]
    for count, each in found["batches"].items():
        if isinstance(each, str):
            lines.append(f"  batch {count}: {each}")
            continue
        lines.append(
            f"  batch {count}: {each['problems_per_s']:,.0f} problems/s, {each['converged_share']:.2%} converged, "
            f"{each['linearisations_mean']:.1f} linearisations"
        )
    return lines


def study(quick: bool) -> Outcome:
    """Rates of batches of stored advice problems on this machine, and how far they are from plans made one by one."""
    batches, patience = (QUICK_BATCHES, QUICK_PATIENCE) if quick else (BATCHES, PATIENCE)
    return study_of(sorted(FOLDER.glob("*.npz")), batches, patience)


def study_of(paths: Sequence[Path], batches: Sequence[int], patience: float, device: str | None = None) -> Outcome:
    """Of some files, on the graphics card where there is one.

    Raises:
        InputError: There is no file.
    """
    if not paths:
        raise InputError(
            f"batch_device: no problems in {FOLDER}. Store some with: python -m experiments.batch_problems {FOLDER}"
        )
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    # Threads that wait for each other between small products take far more time than they save.
    torch.set_num_threads(1)
    sizes = {path.stem: one_size(path, device, batches, patience) for path in paths}
    lines = [f"on {name}", *(line for stem, found in sizes.items() for line in lines_of(stem, found))]
    return Outcome(
        values={"worst_merit_off_serial": max(_off_serial(found) for found in sizes.values())},
        results={"device": name, "sizes": sizes},
        seeds=(SEED,),
        lines=lines,
    )


def _off_serial(found: Mapping[str, Any]) -> float:
    return max(abs(found["worst_merit_above_serial"]), abs(found["worst_merit_below_serial"]))


if __name__ == "__main__":
    raise SystemExit(run_experiment("batch_device", study))
