"""`longbel fuse`: several predictions of the same mentions into one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from longbel_cli.commands.notes import set_quiet


def fuse(
    predictions: Annotated[
        list[Path], typer.Argument(metavar="PREDS...", help="Two or more predictions files.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the fused predictions go.")],
    weights: Annotated[
        str | None, typer.Option(metavar="W,...", help="A weight for each file; default all 1.")
    ] = None,
    k: Annotated[int, typer.Option("--k", help="The constant added to ranks.")] = 60,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Candidates to keep a mention; default all.")
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Fuse although files lack mentions of others.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing output file.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No notes on stderr.")] = False,
) -> None:
    """Reciprocal rank fusion: score = sum of weight / (60 + rank), candidates by code."""
    from longbel_cli.linking.fused_file import fuse_files

    set_quiet(quiet)
    fuse_files(
        predictions,
        out,
        weights=_numbers(weights),
        k=k,
        limit=limit,
        allow_missing=allow_missing,
        overwrite=overwrite,
    )


def _numbers(text: str | None) -> tuple[float, ...]:
    from kb_builder.errors import LongbelError

    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise LongbelError(f"--weights: {text!r} is not numbers by commas", exit_code=2) from error
