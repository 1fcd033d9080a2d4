"""`longbel merge`: the shards of a run into one file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from longbel_cli.commands.notes import set_quiet

log = logging.getLogger(__name__)


def merge(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="The path that link's --out was given.")
    ],
    json_output: Annotated[
        bool, typer.Option("--json", help="Print what was joined as JSON on stdout.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No notes on stderr.")] = False,
) -> None:
    """Join the shards of a finished run in corpus order. Gaps and doubles are refused."""
    import json
    from dataclasses import asdict

    from longbel_cli.runs.run import merge_run

    set_quiet(quiet)
    finished = merge_run(out)
    if json_output:
        typer.echo(json.dumps(asdict(finished)))
    else:
        log.info(
            f"{out}: {finished.lines:,} predictions of {finished.documents:,} documents, "
            f"{finished.windows:,} windows, sha256 {finished.sha256}"
        )
    if finished.quarantined:
        log.warning(f"{finished.quarantined:,} quarantined, see {out}.run/errors.jsonl")
        raise typer.Exit(5)
