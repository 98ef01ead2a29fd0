"""What launchers tell a process, and whether that is what the plant file asks for."""

from __future__ import annotations

from typing import Any

import pytest

from procmodel.errors import InputError, PlantFileError
from procmodel.plant import Training
from procmodel.plant.checks import checked
from procmodel.training.launch import Launch, launched, processes_to_start, refuse_others, start

TORCHRUN = {
    "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "gpu01",
    "MASTER_PORT": "29500",
}  # fmt: skip
SRUN = {
    "SLURM_STEP_NUM_TASKS": "6", "SLURM_PROCID": "4", "SLURM_LOCALID": "1", "SLURM_STEP_TASKS_PER_NODE": "3(x2)",
    "SLURM_STEP_NODELIST": "gpu[03-04]", "SLURM_JOB_ID": "1234567",
}  # fmt: skip


def of(count: int, local: int) -> Launch:
    return Launch(rank=0, count=count, local_rank=0, local_count=local, host="127.0.0.1", port=1)


def test_torchrun_and_srun_say_which_process_this_is() -> None:
    assert launched(TORCHRUN) == Launch(rank=5, count=8, local_rank=1, local_count=4, host="gpu01", port=29500)
    assert launched(SRUN) == Launch(rank=4, count=6, local_rank=1, local_count=3, host="gpu[03-04]", port=19567)
    named = launched({**SRUN, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "4000"})
    assert named is not None
    assert (named.host, named.port) == ("10.0.0.1", 4000)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        # A batch script outside of srun: the job has tasks, this is none of them.
        {"SLURM_NTASKS": "6", "SLURM_PROCID": "0", "SLURM_JOB_ID": "7"},
        {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0", "SLURM_NTASKS": "6"},
    ],
)
def test_a_process_started_by_itself_is_alone(environment: dict[str, str]) -> None:
    assert launched(environment) is None


def test_tasks_that_are_spread_unevenly_are_refused() -> None:
    with pytest.raises(InputError, match=r"starts 2,1\(x2\) tasks.*--ntasks-per-node"):
        launched({**SRUN, "SLURM_STEP_TASKS_PER_NODE": "2,1(x2)"})


@pytest.mark.parametrize(
    ("wish", "launch", "says"),
    [
        ({"devices": 4}, None, r"training.devices is 4, and 1 is at work"),
        ({"devices": 4}, of(4, 2), r"training.devices is 4, and 2 are at work"),
        ({"nodes": 2}, of(4, 4), r"training.nodes is 2, and 1 is at work"),
        ({"strategy": "single"}, of(2, 2), r"strategy is single, and 2 processes"),
        ({"batch": 100}, of(8, 4), r"batch is 100, which 8 processes"),
    ],
)
def test_other_processes_than_the_plant_file_asks_for_are_refused(
    wish: dict[str, Any], launch: Launch | None, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        refuse_others(Training(**wish), launch)


def test_what_it_asks_for_or_leaves_open_is_taken() -> None:
    for wish, launch in (
        ({}, None),
        ({}, of(8, 4)),
        ({"devices": 4, "nodes": 2, "strategy": "ddp"}, of(8, 4)),
        ({"strategy": "single", "devices": 1}, None),
    ):
        refuse_others(Training(**wish), launch)


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"devices": 0}, "devices"),
        ({"devices": "all"}, "devices"),
        ({"nodes": -1}, "nodes"),
        ({"strategy": "fsdp"}, "strategy"),
        ({"strategy": "single", "devices": 2}, r"strategy: got single with training.devices: 2"),
        ({"devices": 3, "nodes": 2, "batch": 128}, r"batch: got 128, which 6 processes"),
    ],
)
def test_wishes_that_cannot_be_are_one_error_of_the_plant_file(wish: dict[str, Any], says: str) -> None:
    with pytest.raises(PlantFileError, match=says):
        checked(Training, wish, say=lambda complaint: str(complaint))


def test_the_command_starts_what_one_machine_is_asked_for() -> None:
    assert [
        processes_to_start(Training(**wish))
        for wish in ({}, {"devices": 2}, {"devices": 1}, {"strategy": "ddp"}, {"devices": 2, "nodes": 2})
    ] == [None, 2, None, 1, None]


def test_processes_are_told_who_they_are_and_the_first_failure_is_the_exit_code(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A package of the same name in their way, which notes what it was told."""
    package = tmp_path / "procmodel"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(
        "import os, signal, sys, pathlib\n"
        "rank, out = os.environ['RANK'], pathlib.Path(sys.argv[1])\n"
        "(out / rank).write_text(os.environ['WORLD_SIZE'] + os.environ['LOCAL_RANK'])\n"
        "if rank == '1' and sys.argv[2] == 'kill': os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.exit(int(sys.argv[2]) if rank == '1' and sys.argv[2] != 'kill' else 0)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert start(2, [str(tmp_path), "0"]) == 0
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["20", "21"]
    assert start(2, [str(tmp_path), "7"]) == 7
    assert capfd.readouterr() == ("", "")
    assert start(2, [str(tmp_path), "kill"]) == 137
    assert "process 2 of 2 was ended by SIGKILL" in capfd.readouterr().err
