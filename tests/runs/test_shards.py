"""Which shard a process is, by option or by the launcher's variables."""

from __future__ import annotations

import pytest

from kb_builder.errors import LongbelError
from longbel_cli.runs.launch import launch_of, repeats_restart
from longbel_cli.runs.shards import Shard, shard_of

ARRAY = {"SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "4", "SLURM_ARRAY_TASK_COUNT": "4"}


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("1/1", {}, (1, 1)),
        (" 3 / 8 ", {"RANK": "5", "WORLD_SIZE": "9"}, (3, 8)),
        ("auto", {}, (1, 1)),
        ("auto", {"RANK": "0", "WORLD_SIZE": "2"}, (1, 2)),
        ("AUTO", {"RANK": "1", "WORLD_SIZE": "2"}, (2, 2)),
        ("auto", {"SLURM_PROCID": "2", "SLURM_NTASKS": "3"}, (3, 3)),
        # torchrun under srun: its ranks count, not srun's one task a node
        ("auto", {"RANK": "5", "WORLD_SIZE": "8", "SLURM_PROCID": "1", "SLURM_NTASKS": "2"},
         (6, 8)),
        ("auto", {**ARRAY, "SLURM_ARRAY_TASK_ID": "1"}, (1, 4)),
        ("auto", {**ARRAY, "SLURM_ARRAY_TASK_ID": "4"}, (4, 4)),
        ("auto", {"SLURM_ARRAY_TASK_ID": "6", "SLURM_ARRAY_TASK_MIN": "0",
                  "SLURM_ARRAY_TASK_MAX": "8", "SLURM_ARRAY_TASK_COUNT": "5",
                  "SLURM_ARRAY_TASK_STEP": "2"}, (4, 5)),
        ("auto", {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "5",
                  "SLURM_ARRAY_TASK_COUNT": "3"}, (3, 3)),
        # accelerate launch --cpu --mpirun_hostfile
        ("auto", {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, (2, 2)),
        ("auto", {"PMI_RANK": "0", "PMI_SIZE": "3", "SLURM_PROCID": "0", "SLURM_NTASKS": "3"},
         (1, 3)),
        # an array of jobs of several processes each
        ("auto", {**ARRAY, "SLURM_ARRAY_TASK_ID": "3", "SLURM_PROCID": "1", "SLURM_NTASKS": "2"},
         (6, 8)),
    ],
)  # fmt: skip
def test_shard_of(text: str, environment: dict[str, str], expected: tuple[int, int]) -> None:
    assert shard_of(text, environment) == Shard(*expected)


@pytest.mark.parametrize(
    ("text", "environment"),
    [
        ("0/4", {}),
        ("5/4", {}),
        ("1/0", {}),
        ("-1/4", {}),
        ("2", {}),
        ("a/b", {}),
        ("", {}),
        ("auto", {"RANK": "two", "WORLD_SIZE": "2"}),
        ("auto", {"RANK": "2", "WORLD_SIZE": "2"}),
        # --array=1,5,9-10 has no even spacing
        ("auto", {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_MIN": "1",
                  "SLURM_ARRAY_TASK_MAX": "10", "SLURM_ARRAY_TASK_COUNT": "4"}),
    ],
)  # fmt: skip
def test_what_is_no_shard_is_a_usage_error(text: str, environment: dict[str, str]) -> None:
    with pytest.raises(LongbelError) as raised:
        shard_of(text, environment)
    assert raised.value.exit_code == 2


def test_accelerate_that_starts_one_process_is_told(caplog: pytest.LogCaptureFixture) -> None:
    environment = {"ACCELERATE_USE_CPU": "True", "MASTER_PORT": "29500"}
    assert shard_of("auto", environment) == Shard(1, 1)
    assert "single process" in caplog.text


@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_window_has_one_owner(count: int) -> None:
    shards = [Shard(index, count) for index in range(1, count + 1)]
    for window in range(30):
        assert [shard.owns(window) for shard in shards].count(True) == 1
    assert Shard(1, count).owns(0)


@pytest.mark.parametrize(
    ("environment", "shard", "expected"),
    [
        # a plain command means it each time
        ({}, Shard(1, 1), False),
        # a requeued job of the same number does not, nor do the other tasks of an array
        ({"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "1"}, Shard(1, 1), True),
        ({"SLURM_JOB_ID": "7"}, Shard(1, 1), False),
        ({"SLURM_ARRAY_JOB_ID": "7", "SLURM_JOB_ID": "9"}, Shard(2, 4), True),
        ({"SLURM_ARRAY_JOB_ID": "8", "SLURM_JOB_ID": "9"}, Shard(2, 4), False),
    ],
)
def test_a_launch_restarts_a_run_once(
    environment: dict[str, str], shard: Shard, expected: bool
) -> None:
    assert repeats_restart("slurm 7", shard, environment) is expected


def test_processes_of_one_launcher_know_each_other() -> None:
    first = launch_of({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"})
    assert first is not None
    assert first == launch_of({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"})


def test_restart_of_unrelated_shards_is_a_usage_error() -> None:
    with pytest.raises(LongbelError) as raised:
        repeats_restart(None, Shard(1, 2), {})
    assert raised.value.exit_code == 2
