"""Which share of the windows a process links: `I/N`, or what the launcher's variables say.

Window w (from 0) belongs to shard I of N where w mod N = I - 1.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from kb_builder.errors import LongbelError

log = logging.getLogger(__name__)

# The first pair that is set counts: torchrun and accelerate, then MPI, then srun, which each of
# them may have been started by.
_RANKS = (
    ("RANK", "WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
)


@dataclass(frozen=True)
class Shard:
    """Shard `index` (from 1) of `count`."""

    index: int = 1
    count: int = 1

    @property
    def name(self) -> str:
        return f"{self.index:05d}-of-{self.count:05d}"

    def owns(self, window: int) -> bool:
        return window % self.count == self.index - 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def shard_of(text: str, environment: Mapping[str, str] = os.environ) -> Shard:
    """The shard that `--shard` names: `I/N`, or `auto` from the launcher's variables.

    `auto` multiplies the Slurm array by the ranks within a task: those that torchrun and
    `accelerate launch` set, else MPI's, else srun's. Without any launcher there is one shard.
    """
    if text.strip().lower() == "auto":
        return _launched(environment)
    match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", text)
    if match is None:
        raise _usage(f"--shard {text!r} is neither I/N nor auto")
    return _checked(int(match[1]), int(match[2]), f"--shard {text}")


def _launched(environment: Mapping[str, str]) -> Shard:
    task, tasks = _array_task(environment)
    rank, ranks = _rank(environment)
    return _checked(task * ranks + rank + 1, tasks * ranks, "--shard auto")


def _array_task(environment: Mapping[str, str]) -> tuple[int, int]:
    """Position of this Slurm array task among the array's tasks, from 0, and their number."""
    if "SLURM_ARRAY_TASK_ID" not in environment:
        return 0, 1
    first = _variable(environment, "SLURM_ARRAY_TASK_MIN", 0)
    task = _variable(environment, "SLURM_ARRAY_TASK_ID", 0) - first
    count = _variable(environment, "SLURM_ARRAY_TASK_COUNT", 1)
    last = _variable(environment, "SLURM_ARRAY_TASK_MAX", first + count - 1)
    step = _variable(environment, "SLURM_ARRAY_TASK_STEP", 1)
    if step < 1 or task % step or (last - first) // step + 1 != count:
        raise _usage(
            "--shard auto needs a Slurm array with evenly spaced task numbers, as --array=1-8"
        )
    return task // step, count


def _rank(environment: Mapping[str, str]) -> tuple[int, int]:
    for rank, ranks in _RANKS:
        if rank in environment and ranks in environment:
            return _variable(environment, rank, 0), _variable(environment, ranks, 1)
    if environment.get("ACCELERATE_USE_CPU", "").lower() == "true" and "MASTER_PORT" in environment:
        log.warning(
            "accelerate starts a single process on CPUs unless it is given --mpirun_hostfile; "
            "torchrun --nproc_per_node N starts several"
        )
    return 0, 1


def _variable(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    if not text.strip().isdigit():
        raise _usage(f"--shard auto: {name} is {text!r}, not a number")
    return int(text)


def _checked(index: int, count: int, given: str) -> Shard:
    if not 1 <= index <= count:
        raise _usage(f"{given}: there is no shard {index} of {count}; shards count from 1")
    return Shard(index, count)


def _usage(message: str) -> LongbelError:
    hint = "Give --shard I/N with I from 1 to N, or --shard auto under Slurm, accelerate, torchrun."
    return LongbelError(message, hint, exit_code=2)
