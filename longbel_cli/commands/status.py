"""`longbel status`: progress of a run."""

from __future__ import annotations

import typer

from kb_builder.text import visible_line
from longbel_cli.commands import options as shared

EXAMPLE = """
longbel status preds.jsonl
"""


def status(
    out: shared.RunPath,
    as_json: shared.AsJson = False,
) -> None:
    """Show the progress of a run.

    Windows done, speed, time left, what is quarantined, and which processes are at work.
    """
    import json

    from longbel_cli.runs.status import read_status, status_lines

    progress = read_status(out)
    if as_json:
        typer.echo(json.dumps(progress.to_json(), allow_nan=False))
    else:
        typer.echo("\n".join(map(visible_line, status_lines(progress))))
