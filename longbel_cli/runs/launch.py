"""Which launch a process belongs to, so that `--restart` restarts a run once and not again.

A requeued Slurm job runs the same command a second time, and the tasks of an array each run it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from kb_builder.errors import LongbelError
from kb_builder.files.locks import process_start, this_machine
from longbel_cli.runs.shards import Shard


def launch_of(environment: Mapping[str, str] = os.environ) -> str | None:
    """A name that the processes of one launch share, and no other; None for a plain command."""
    job = environment.get("SLURM_ARRAY_JOB_ID") or environment.get("SLURM_JOB_ID")
    if job:
        return f"slurm {job}"
    ranks = environment.get("WORLD_SIZE")
    if ranks is not None and environment.get("LOCAL_WORLD_SIZE", ranks) == ranks:
        parent = os.getppid()
        return f"launcher {this_machine()} {parent} {process_start(parent)}"
    return None


def repeats_restart(
    kept: str | None, shard: Shard, environment: Mapping[str, str] = os.environ
) -> bool:
    """Whether the launch that began a run asks to restart it again, and does not mean it."""
    launch = launch_of(environment)
    if shard.count == 1:
        requeued = environment.get("SLURM_RESTART_COUNT", "0") != "0"
        return requeued and launch == kept
    if launch is None:
        raise LongbelError(
            "--restart with shards: each would set aside what the others have begun",
            "Move the run's folder away first, or use --overwrite, which keeps a run of the same "
            "configuration.",
            exit_code=2,
        )
    return launch == kept
