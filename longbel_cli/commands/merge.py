"""`longbel merge`: the shards of a run into one file."""

from __future__ import annotations

import logging

import typer

from longbel_cli.commands import options as shared
from longbel_cli.commands.notes import set_quiet

log = logging.getLogger(__name__)

EXAMPLE = """
longbel merge preds.jsonl
"""


def merge(
    out: shared.RunPath,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
) -> None:
    """Join the shards of a run in corpus order.

    Refused while windows are missing. Exit code 5: joined, with documents or mentions quarantined.
    """
    import json
    from dataclasses import asdict

    from longbel_cli.runs.run import merge_run

    set_quiet(quiet)
    finished = merge_run(out)
    if as_json:
        typer.echo(json.dumps(asdict(finished)))
    else:
        log.info(
            f"{out}: {finished.lines:,} predictions of {finished.documents:,} documents, "
            f"{finished.windows:,} windows, sha256 {finished.sha256}"
        )
    if finished.quarantined:
        log.warning(f"{finished.quarantined:,} quarantined, see {out}.run/errors.jsonl")
        raise typer.Exit(shared.QUARANTINED)
