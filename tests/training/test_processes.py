"""Two processes learn what one learns, and one goes on with what two began."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from training_plants import tiny_plant, tiny_record

from procmodel.errors import InputError, LostError
from procmodel.training.artifact import Artifact, load_artifact, save_artifact
from procmodel.training.launch import Launch
from procmodel.training.processes import Processes, together
from procmodel.training.train import Progress, train

EPOCH = 10  # batches


def one_of_two(rank: int, folder: str, port: int) -> None:
    """One of the two: trains and stores its artifact; then trains anew, and both are stopped in their last epoch."""
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE="2")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    torch.set_num_threads(1)

    def stop(done: int, total: int, what: str) -> None:
        if done == 2 * EPOCH + 4:
            raise KeyboardInterrupt

    plant, place = tiny_plant(epochs=3), Path(folder)

    def learned(scratch: Path, out: Path, progress: Progress | None = None) -> None:
        save_artifact(train(tiny_record(holes=0), plant, scratch, progress=progress, processes=processes), out)

    with together() as processes:
        assert processes.agree(lambda: rank) == 0
        learned(place / "whole", place / str(rank))
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            learned(place / "stopped", place / "never", stop)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes left what they learned, and where they were stopped."""
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(one_of_two, args=(str(folder), port), nprocs=2)
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """What one process learns in one go."""
    return train(tiny_record(holes=0), tiny_plant(epochs=3), tmp_path_factory.mktemp("alone"))


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(alone: Artifact, two: Path, tmp_path: Path) -> None:
    first, second = (load_artifact(two / rank, tiny_plant(epochs=3)) for rank in "01")
    for member, other, own in zip(first.members, second.members, alone.members, strict=True):
        for name, value in own.state_dict().items():
            assert torch.equal(member.state_dict()[name], other.state_dict()[name]), name
            torch.testing.assert_close(member.state_dict()[name].to(value), value, rtol=2e-2, atol=2e-3)
    for told, expected in zip(first.notes["members"], alone.notes["members"], strict=True):
        for name, curve in expected["curves"].items():
            np.testing.assert_allclose(told["curves"][name], curve, rtol=3e-2, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(first.calibration.backoff_HY, alone.calibration.backoff_HY, rtol=2e-2)
    # Neither alone would have come there: half of every batch is another training.
    half = train(tiny_record(holes=0), tiny_plant(epochs=3, batch=16), tmp_path / "half")
    apart = (half.model.state_dict()["encoder.0.weight"] - alone.model.state_dict()["encoder.0.weight"]).abs().max()
    assert float(apart) > 0.02


@pytest.mark.slow
def test_one_process_goes_on_with_what_two_began(alone: Artifact, two: Path) -> None:
    assert not (two / "never").exists()
    seen: list[int] = []
    resumed = train(
        tiny_record(holes=0), tiny_plant(epochs=3), two / "stopped", progress=lambda *at: seen.append(at[0])
    )
    assert seen[0] == 2 * EPOCH + 1
    for name, value in alone.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, rtol=2e-2, atol=2e-3)


def test_one_process_does_not_train_where_two_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"training.devices is 2, and 1 is at work"):
        train(tiny_record(), tiny_plant(devices=2), tmp_path / "scratch")
    assert not (tmp_path / "scratch").exists()


def test_alone_there_is_nobody_to_agree_with() -> None:
    with together() as processes:
        assert (processes.is_first, processes.count, processes.tells("anything")) == (True, 1, True)
        assert processes.agree(lambda: [1, "a"]) == [1, "a"]
    processes.raise_if_lost(RuntimeError("gloo: closed by peer"))  # nobody to lose


def test_a_broken_exchange_is_told_from_our_own_errors() -> None:
    two = Processes(Launch(rank=1, count=2, local_rank=1, local_count=2, host="127.0.0.1", port=1))
    two.raise_if_lost(RuntimeError("shapes do not fit"))
    for error in (RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed"), torch.distributed.DistError("x")):
        with pytest.raises(LostError, match="Process 2 of 2 has lost another one"):
            two.raise_if_lost(error)
