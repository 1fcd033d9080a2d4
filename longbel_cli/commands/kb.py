"""`longbel kb info` and `longbel kb search`: look into a knowledge base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Look into a knowledge base.", no_args_is_help=True)

_KB = Annotated[Path, typer.Argument(metavar="KB", help="Directory of the knowledge base.")]
_JSON = Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")]
_SHOWN = 20


@app.command()
def info(kb: _KB, as_json: _JSON = False) -> None:
    """Counts, options, hashes and the licence line."""
    from kb_builder.store import KnowledgeBase

    base = KnowledgeBase.open(kb)
    print(json.dumps(base.info))
