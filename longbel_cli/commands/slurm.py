"""`longbel slurm`: a batch script for Slurm."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

log = logging.getLogger(__name__)


def slurm(
    link_arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="-- LINK_ARGUMENTS...",
            help="What `longbel link` is to be given, after `--`: corpus, --out, --kb, --model.",
        ),
    ],
    tasks: Annotated[int, typer.Option(metavar="N", help="Jobs of the array.")] = 1,
    processes: Annotated[
        int, typer.Option(metavar="N", help="Processes in each job, for nodes with several GPUs.")
    ] = 1,
    time: Annotated[
        str, typer.Option(metavar="TIME", help="Wall time of a job, as Slurm writes it.")
    ] = "20:00:00",
    cpus: Annotated[int, typer.Option(metavar="N", help="Cores for each process.")] = 8,
    gpus: Annotated[int, typer.Option(metavar="N", help="GPUs for each process; 0: none.")] = 1,
    memory: Annotated[
        str | None, typer.Option("--mem", metavar="SIZE", help="Memory of a job, as 64G.")
    ] = None,
    partition: Annotated[str | None, typer.Option(metavar="NAME", help="Partition.")] = None,
    account: Annotated[str | None, typer.Option(metavar="NAME", help="Account.")] = None,
    setup: Annotated[
        str | None,
        typer.Option(
            metavar="SHELL",
            help="Shell text that makes `longbel` available, as 'source venv/bin/activate'.",
        ),
    ] = None,
) -> None:
    """Print an sbatch script: array, signal, requeue, offline. It goes on until it is done."""
    from longbel_cli.runs.slurm import SlurmJob, sbatch_script

    job = SlurmJob(
        link_arguments=link_arguments,
        tasks=tasks,
        processes=processes,
        time=time,
        cpus=cpus,
        gpus=gpus,
        memory=memory,
        partition=partition,
        account=account,
        setup=setup,
    )
    typer.echo(sbatch_script(job), nl=False)
    folder = Path(job.out).parent
    if not folder.exists():
        log.warning(f"make {folder} before sbatch: Slurm writes its logs there")
