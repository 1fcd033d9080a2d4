"""`longbel status`: how far a run is."""

from __future__ import annotations

import typer

from longbel_cli.commands import options as shared

EXAMPLE = """
longbel status preds.jsonl
"""


def status(
    out: shared.RunPath,
    as_json: shared.AsJson = False,
) -> None:
    """Show how far a run is.

    Windows done, speed, time left, what is quarantined, and which processes are at work.
    """
    import json

    from longbel_cli.runs.status import read_status, status_text

    found = read_status(out)
    typer.echo(json.dumps(found.to_json(), allow_nan=False) if as_json else status_text(found))
