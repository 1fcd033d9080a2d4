"""`longbel slurm`: a batch script for Slurm."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from longbel_cli.commands.options import argument, option

log = logging.getLogger(__name__)

JOB = "Job"

EXAMPLE = """
longbel slurm --tasks 8 -- corpus/ --kb kb/ --model model/ --out preds.jsonl > link.sbatch
sbatch link.sbatch
"""


def slurm(
    link_arguments: Annotated[
        list[str],
        argument(
            "-- LINK_ARGUMENTS...",
            "Arguments of `longbel link`, after `--`: corpus, --out, --kb, --model, ...; after "
            "`detect` those of `longbel detect`.",
        ),
    ],
    tasks: Annotated[int, option("--tasks", "Jobs of the array.", JOB, metavar="N")] = 1,
    processes: Annotated[
        int,
        option(
            "--processes", "Processes in each job, for nodes with several GPUs.", JOB, metavar="N"
        ),
    ] = 1,
    time: Annotated[
        str, option("--time", "Wall time of a job, in Slurm's notation.", JOB, metavar="TIME")
    ] = "20:00:00",
    cpus: Annotated[int, option("--cpus", "Cores of each process.", JOB, metavar="N")] = 8,
    gpus: Annotated[
        int | None,
        option(
            "--gpus",
            "GPUs of each process; 0 for none.",
            JOB,
            metavar="N",
            default="1, or 0 if the linker uses none",
        ),
    ] = None,
    memory: Annotated[
        str | None, option("--mem", "Memory of a job, such as 64G.", JOB, metavar="SIZE")
    ] = None,
    partition: Annotated[
        str | None, option("--partition", "Partition to submit to.", JOB, metavar="NAME")
    ] = None,
    account: Annotated[
        str | None, option("--account", "Account to charge.", JOB, metavar="NAME")
    ] = None,
    setup: Annotated[
        str | None,
        option(
            "--setup",
            "Shell commands that make `longbel` available, such as 'source venv/bin/activate'.",
            JOB,
            metavar="SHELL",
        ),
    ] = None,
) -> None:
    """Print an sbatch script that runs `link`, or `detect`, as an array.

    Jobs stop before their time is over, and are requeued until the run is done.
    """
    from longbel_cli.commands.privacy import is_shared
    from longbel_cli.linking.linkers import MODEL_LINKER, uses_gpu
    from longbel_cli.runs.slurm import SlurmJob, command_of, sbatch_script, value_of

    command, arguments = command_of(link_arguments)
    if gpus is None:
        linker = value_of("--linker", arguments) or MODEL_LINKER
        gpus = int(command == "link" and uses_gpu(linker))
    job = SlurmJob(
        arguments=arguments,
        command=command,
        tasks=tasks,
        processes=processes,
        time=time,
        cpus=cpus,
        gpus=gpus,
        memory=memory,
        partition=partition,
        account=account,
        setup=setup,
        shared=is_shared(),
    )
    typer.echo(sbatch_script(job), nl=False)
    folder = Path(job.out).parent
    if not folder.exists():
        log.warning(f"make {folder} before sbatch: Slurm writes its logs there")
