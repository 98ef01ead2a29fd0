"""Who starts the processes of one training: torchrun, SLURM's srun, or this command itself.

Nothing here needs torch: a command that runs alone does not wait for it.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

from procmodel.errors import InputError

if TYPE_CHECKING:
    from procmodel.plant import Training

STOPPED = 130
"""Exit code after Ctrl-C, as shells have it."""
_PATIENCE = 10.0
"""Seconds that processes get to end by themselves, once one of them has failed."""
_PORTS = 15000
"""Where the first process under SLURM listens, plus the job's last four digits: no two jobs on a node meet."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One of the processes that were started together.

    Attributes:
        rank, count: Which of all it is, and how many there are; the first has rank 0.
        local_rank, local_count: The same among those of its node.
        host, port: Where the first one listens; `host` may be a SLURM list of nodes, of which the first is meant.
    """

    rank: int
    count: int
    local_rank: int
    local_count: int
    host: str
    port: int


def launched(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """What the launcher tells this process; None where it was started by itself.

    Raises:
        InputError: SLURM's tasks are not spread evenly over the nodes.
    """
    if {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= set(environment):  # torchrun, and others after it
        count = int(environment["WORLD_SIZE"])
        return Launch(
            rank=int(environment["RANK"]),
            count=count,
            local_rank=int(environment.get("LOCAL_RANK", 0)),
            local_count=int(environment.get("LOCAL_WORLD_SIZE", 1)),
            host=environment["MASTER_ADDR"],
            port=int(environment["MASTER_PORT"]),
        )
    # Set by srun for its step alone: a batch script outside of srun sees the job's tasks, and is one process.
    count = int(environment.get("SLURM_STEP_NUM_TASKS", 1))
    if count < 2 or "SLURM_PROCID" not in environment:
        return None
    spread = environment.get("SLURM_STEP_TASKS_PER_NODE", str(count))
    even = re.fullmatch(r"(\d+)(\(x\d+\))?", spread)
    if even is None:
        raise InputError(
            f"SLURM starts {spread} tasks on the nodes; training needs as many on each. Set --nodes and "
            "--ntasks-per-node of the job. Nothing was begun."
        )
    job = int(environment.get("SLURM_JOB_ID", 0))
    return Launch(
        rank=int(environment["SLURM_PROCID"]),
        count=count,
        local_rank=int(environment.get("SLURM_LOCALID", 0)),
        local_count=int(even[1]),
        host=environment.get("MASTER_ADDR") or environment.get("SLURM_STEP_NODELIST", "127.0.0.1"),
        port=int(environment.get("MASTER_PORT", _PORTS + job % 10_000)),
    )


def refuse_others(training: Training, launch: Launch | None) -> None:
    """Compare what was started with what the plant file asks for.

    Raises:
        InputError: It is not.
    """
    count, local = (launch.count, launch.local_count) if launch else (1, 1)
    nodes = count // local
    if training.strategy == "single" and count > 1:
        raise InputError(
            f"training.strategy is single, and {count} processes were started together. Start one, or write "
            "training.strategy: auto. Nothing was begun."
        )
    for key, wish, there in (("devices", training.devices, local), ("nodes", training.nodes, nodes)):
        if wish != "auto" and wish != there:
            raise InputError(
                f"training.{key} is {wish}, and {there} {'is' if there == 1 else 'are'} at work. Train with "
                f"'procmodel train', with torchrun or with srun on as many (docs/training.md), or write "
                f"training.{key}: auto. Nothing was begun."
            )
    if training.batch % count:
        raise InputError(
            f"training.batch is {training.batch}, which {count} processes cannot share equally. Make it a multiple. "
            "Nothing was begun."
        )


def processes_to_start(training: Training) -> int | None:
    """How many processes a command that was started by itself has to start; None: it trains on its own."""
    if training.nodes not in ("auto", 1) or training.strategy == "single":
        return None
    count = 1 if training.devices == "auto" else training.devices
    return count if count > 1 or training.strategy == "ddp" else None


def start(count: int, words: Sequence[str]) -> int:
    """Run `procmodel WORDS` in so many processes on this machine; the exit code of the first that failed, or 0."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"}
    if sys.platform == "linux":
        together["GLOO_SOCKET_IFNAME"] = "lo"  # a machine need not find itself by its name
    processes = []
    for rank in range(count):
        own = {**os.environ, **together, "MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank)}
        # A group of its own: Ctrl-C comes once, from here, and not from the terminal as well.
        group = 0 if os.name == "posix" else None
        processes.append(subprocess.Popen([sys.executable, "-m", "procmodel", *words], env=own, process_group=group))
    before = {sent: signal.getsignal(sent) for sent in (signal.SIGINT, signal.SIGTERM)}

    def pass_on(sent: int, frame: FrameType | None) -> None:
        for process in processes:
            with suppress(ProcessLookupError):
                process.send_signal(sent)

    for sent in before:
        signal.signal(sent, pass_on)
    try:
        return _ended(processes)
    finally:
        for sent, handler in before.items():
            signal.signal(sent, handler)


def _ended(processes: list[subprocess.Popen[bytes]]) -> int:
    """Wait for all; where one fails, the others soon end or are ended."""
    failed, since = 0, 0.0
    while any(process.poll() is None for process in processes):
        time.sleep(0.05)
        if not failed and (failed := next((process.returncode for process in processes if process.returncode), 0)):
            since = time.monotonic()
        for patience, end in ((_PATIENCE, "terminate"), (2 * _PATIENCE, "kill")):
            if failed and time.monotonic() - since > patience:
                _each(processes, end)
    failed = failed or next((process.returncode for process in processes if process.returncode), 0)
    if failed >= 0:
        return failed
    rank = next(rank for rank, process in enumerate(processes) if process.returncode == failed)
    print(
        f"procmodel: process {rank + 1} of {len(processes)} was ended by {signal.Signals(-failed).name}; what was "
        "finished is kept, and the same command goes on from there.",
        file=sys.stderr,
    )
    return 128 - failed  # as shells have it


def _each(processes: list[subprocess.Popen[bytes]], act: str) -> None:
    for process in processes:
        if process.poll() is None:
            getattr(process, act)()
