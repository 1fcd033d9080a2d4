"""`longbel status`: how far a run is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def status(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="The path that link's --out was given.")
    ],
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Show windows done, rate, time left, quarantined documents and living processes."""
    import json

    from longbel_cli.runs.status import read_status, status_text

    found = read_status(out)
    typer.echo(json.dumps(found.to_json()) if json_output else status_text(found))
