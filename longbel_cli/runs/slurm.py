"""A batch script that runs `longbel link` or `detect` under Slurm until it is done."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from kb_builder.errors import LongbelError

# Seconds before the job's end at which Slurm sends SIGUSR1; link leaves within 20 s of it.
_SIGNAL_SECONDS = 120

_ENVIRONMENT = """\
# Nothing is fetched: the model and the knowledge base lie on disk.
export HF_HUB_OFFLINE=1
export TRANSFORMERS_OFFLINE=1
export HF_HUB_DISABLE_TELEMETRY=1
export TOKENIZERS_PARALLELISM=false
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"
"""

_OWNER_ONLY = (
    "# Predictions hold text of the documents: they are for their owner alone.\numask 077\n"
)
_SHARED = "# Who may read the predictions is for the umask to say.\nexport LONGBEL_SHARED=1\n"

_REQUEUE = """\
status=0
srun {command} || status=$?

# 75: stopped early (time limit, preemption) with everything committed. The job goes to the queue
# again and this same script resumes. Any other failure needs a look.
if [ "$status" -eq 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
"""


@dataclass(frozen=True)
class SlurmJob:
    """What the script asks Slurm for. `tasks` is the size of the array, `processes` the number of
    processes in each of its jobs, each with `cpus` cores and `gpus` GPUs. `setup` is shell text
    that makes the `longbel` command available. `shared`: the umask decides who may read the
    results, else their owner alone."""

    arguments: Sequence[str]
    command: str = "link"
    tasks: int = 1
    processes: int = 1
    time: str = "20:00:00"
    cpus: int = 8
    gpus: int = 1
    memory: str | None = None
    partition: str | None = None
    account: str | None = None
    setup: str | None = None
    shared: bool = False

    def __post_init__(self) -> None:
        if min(self.tasks, self.processes, self.cpus) < 1 or self.gpus < 0:
            raise LongbelError(
                "--tasks, --processes and --cpus must be at least 1, --gpus at least 0", exit_code=2
            )
        for value in (self.time, self.memory, self.partition, self.account):
            if value is not None and (not value or not value.isprintable() or " " in value):
                raise LongbelError(f"{value!r} cannot stand in an #SBATCH line", exit_code=2)
        if any(argument.split("=")[0] == "--shard" for argument in self.arguments):
            raise LongbelError(
                "the script sets --shard itself",
                "Leave --shard out; --tasks and --processes say how many shards there are.",
                exit_code=2,
            )

    @property
    def out(self) -> str:
        """What `--out` is given."""
        out = value_of("--out", self.arguments)
        if out is not None:
            return _file(out)
        raise LongbelError(
            f"the arguments of {self.command} lack --out",
            "Give them after --, as in: longbel slurm --tasks 8 -- corpus.jsonl --out preds.jsonl",
            exit_code=2,
        )


COMMANDS = ("link", "detect")


def command_of(arguments: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The command that the arguments begin with, `link` where they name none, and those of it."""
    if arguments and arguments[0] in COMMANDS:
        return arguments[0], arguments[1:]
    return COMMANDS[0], arguments


def value_of(flag: str, arguments: Sequence[str]) -> str | None:
    """What the arguments give a flag, last where it stands twice; None without it."""
    value = None
    for argument, following in zip(arguments, (*arguments[1:], None), strict=True):
        if argument == flag:
            value = following
        elif argument.startswith(f"{flag}="):
            value = argument.removeprefix(f"{flag}=")
    return value


def _file(out: str) -> str:
    if out == "-":
        raise LongbelError("--out - cannot be resumed; name a file", exit_code=2)
    if not out.isprintable() or '"' in out:
        raise LongbelError(
            f"--out {out!r} cannot stand in an #SBATCH line",
            "Name a file without control characters and quotation marks.",
            exit_code=2,
        )
    return out


def sbatch_script(job: SlurmJob) -> str:
    """The text of the script."""
    command = shlex.join(["longbel", job.command, *job.arguments, "--shard", "auto"])
    merge = f"longbel merge {shlex.quote(job.out)}"
    parts = ["#!/bin/bash\n" + "".join(f"#SBATCH {line}\n" for line in _directives(job))]
    if job.tasks * job.processes > 1:
        parts.append(
            "# When all shards are done, join them:\n"
            f"#   sbatch --dependency=afterany:JOBID --wrap={shlex.quote(merge)}\n"
        )
    parts.append(_SHARED if job.shared else _OWNER_ONLY)
    if job.setup:
        parts.append(job.setup.rstrip("\n") + "\n")
    parts += [_ENVIRONMENT, _REQUEUE.format(command=command)]
    return "\n".join(parts)


def _directives(job: SlurmJob) -> list[str]:
    log = f"{job.out}.%A_%a.log" if job.tasks > 1 else f"{job.out}.%j.log"
    lines = [
        "--job-name=longbel",
        *([f"--array=1-{job.tasks}"] if job.tasks > 1 else []),
        f"--ntasks={job.processes}",
        f"--cpus-per-task={job.cpus}",
        *([f"--gpus-per-task={job.gpus}"] if job.gpus else []),
        f"--time={job.time}",
        f"--signal=USR1@{_SIGNAL_SECONDS}",
        "--requeue",
        "--open-mode=append",
        f"--output={_log_name(log)}",
    ]
    for name, value in (("mem", job.memory), ("partition", job.partition),
                        ("account", job.account)):  # fmt: skip
        if value is not None:
            lines.append(f"--{name}={value}")
    return lines


def _log_name(log: str) -> str:
    """Slurm reads blanks in these lines as ends unless they are quoted."""
    return f'"{log}"' if " " in log else log
