"""The processes that train one model together: how they meet, what only the first may do, and how they end.

All of them read the same files and do the same work between batches, so that none waits for what another could tell;
only the first writes and speaks. Alone, nothing of this takes place.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from procmodel.errors import InputError, LostError, ProcmodelError
from procmodel.plant import Training
from procmodel.training.launch import STOPPED, Launch, launched, refuse_others

_LONG = timedelta(days=7)
"""For what the first does while the others wait, such as to read years of a historian."""
_MEET = timedelta(minutes=10)
_SAME = timedelta(seconds=5)
"""In which the first comes to the same error as another process, if it comes to it at all."""


class Processes:
    """Those that were started together; `Processes()` is one that is alone.

    Attributes:
        launch: Which of them this is; None where it is alone.
    """

    def __init__(self, launch: Launch | None = None, store: Any = None) -> None:
        self.launch, self._store, self._agreed = launch, store, 0

    @property
    def is_first(self) -> bool:
        return self.launch is None or self.launch.rank == 0

    @property
    def count(self) -> int:
        return self.launch.count if self.launch else 1

    def agree(self, say: Callable[[], Any]) -> Any:
        """What the first one says, as JSON; the others wait for it. All have to come here equally often."""
        if self.launch is None:
            return say()
        self._agreed += 1
        key = f"agreed-{self._agreed}"
        if self.is_first:
            word = say()
            self._store.set(key, json.dumps(word))
            return word
        self._store.wait([key], _LONG)
        return json.loads(self._store.get(key))

    def refuse_others(self, training: Training) -> None:
        """Refuse a plant file that asks for other processes than these; see `launch.refuse_others`."""
        refuse_others(training, self.launch)

    def raise_if_lost(self, error: RuntimeError) -> None:
        """Name the error of a broken exchange.

        Raises:
            LostError: It is one.
        """
        if self.count > 1 and (isinstance(error, _dist_error()) or "gloo" in str(error)):
            raise LostError(
                f"Process {self.launch.rank + 1 if self.launch else 1} of {self.count} has lost another one, whose "
                "own message says why, if it left one. What was finished is kept, and the same command goes on from "
                "there."
            ) from error

    def tells(self, message: str) -> bool:
        """Whether this process is the one to tell an error: the first, or one whose error is not the first's."""
        if self.launch is None:
            return True
        try:
            if self.is_first:
                self._store.set("told", message)
                return True
            self._store.wait(["told"], _SAME)
            return bool(self._store.get("told").decode() != message)
        except RuntimeError as error:
            # Without an answer it is this one's own error; where the store is gone, the first has ended, and told why.
            return "imeout" in str(error) or "imed out" in str(error)


@contextmanager
def together() -> Iterator[Processes]:
    """Meet the processes that were started together, if this is one of them, and part from them at the end.

    Raises:
        InputError: They cannot meet, or there are more of them than GPUs.
        SystemExit: An error that another process tells.
    """
    launch = launched()
    if launch is None:
        yield Processes()
        return
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # it warns of a lost process with pages of addresses
    import torch

    processes = Processes(launch, _met(launch))
    try:
        yield processes
    except ProcmodelError as error:
        if not processes.tells(str(error)):
            sys.exit(error.exit_code)
        raise
    except KeyboardInterrupt:
        if not processes.is_first:
            sys.exit(STOPPED)
        raise
    # After an error the process ends with its connections, which the others notice at once.
    torch.distributed.destroy_process_group()


def _met(launch: Launch) -> Any:
    """The store that all share, once they have met; with it, their group is there for PyTorch and Lightning."""
    import torch
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    gpus = torch.cuda.device_count()
    if 0 < gpus < launch.local_count:
        raise InputError(
            f"{launch.local_count} processes were started on this machine, which shows {gpus} "
            "GPU(s) to each. Start as many as there are; SLURM must not bind one GPU to one task "
            "(--gpu-bind=none). Nothing was begun."
        )
    os.environ.update(
        RANK=str(launch.rank), WORLD_SIZE=str(launch.count), LOCAL_RANK=str(launch.local_rank),
        LOCAL_WORLD_SIZE=str(launch.local_count), GROUP_RANK=str(launch.rank // launch.local_count),
        MASTER_ADDR=_first_host(launch.host), MASTER_PORT=str(launch.port),
    )  # fmt: skip
    if gpus:
        torch.cuda.set_device(launch.local_rank)
    try:
        store, rank, count = next(rendezvous("env://", timeout=_MEET))
        ours = PrefixStore("group", store)
        torch.distributed.init_process_group("nccl" if gpus else "gloo", store=ours, rank=rank, world_size=count)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"Process {launch.rank + 1} of {launch.count} did not meet the others at {os.environ['MASTER_ADDR']}:"
            f"{launch.port} ({str(error).strip().splitlines()[0]}). Are all of them started, and is the port free? "
            "Nothing was begun."
        ) from error
    return PrefixStore("procmodel", store)


def _dist_error() -> type[RuntimeError]:
    import torch

    return torch.distributed.DistError


def _first_host(host: str) -> str:
    """The first of a list of nodes as SLURM writes it, such as `gpu[03-07,9]`."""
    from pytorch_lightning.plugins.environments import SLURMEnvironment

    return str(SLURMEnvironment.resolve_root_node_address(host))
