"""`longbel kb info`, `search` and `diff`: look into a knowledge base, or compare two."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kb_builder.text import visible_json
from longbel_cli.commands import options as shared
from longbel_cli.commands.help import Command, Group
from longbel_cli.commands.options import INPUT, OUTPUT, argument, option

if TYPE_CHECKING:
    from longbel_cli.commands.kb_tables import Table

EXAMPLE = """
longbel kb info kb/
longbel kb search kb/ fever --limit 5
"""

app = typer.Typer(
    help="Look into a knowledge base.",
    cls=Group,
    epilog=EXAMPLE,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_KB = Annotated[Path, argument("KB", "Knowledge base directory.")]


@app.command(cls=Command, epilog="longbel kb info kb/")
def info(kb: _KB, as_json: shared.AsJson = False) -> None:
    """Print counts, options, hashes and the licence line."""
    import json

    from kb_builder.store.knowledge_base import KnowledgeBase
    from longbel_cli.commands.kb_tables import info_tables, print_parts

    base = KnowledgeBase.open(kb)
    tries = sorted((kb / "tries").glob("*.parquet"))
    if as_json:
        typer.echo(json.dumps(base.info | {"tries": [path.stem for path in tries]}, indent=1))
        return
    print_parts(*info_tables(base.info, tries))


@app.command(cls=Command, epilog="longbel kb search kb/ fever --limit 5")
def search(
    kb: _KB,
    text: Annotated[str, argument("TEXT", "A name, the beginning of a name, or a code.")],
    group: Annotated[
        str | None,
        option("--group", "Only names of this group (name, code or TUI).", INPUT, metavar="GROUP"),
    ] = None,
    limit: Annotated[
        int,
        option("--limit", "Maximum number of rows in each table.", OUTPUT, metavar="N", minimum=1),
    ] = 20,
    as_json: shared.AsJson = False,
) -> None:
    """Find names and codes, and what became of names that were not kept.

    Names are matched exactly, in another casing, and by their beginning.

    With a concept's code, or one of its source vocabularies, that concept with its source codes,
    parents, children and names; with a retired code its successor. Exit 0 also when nothing is
    found.
    """
    import json

    from kb_builder.store.knowledge_base import KnowledgeBase
    from kb_builder.store.lookup import look_up
    from longbel_cli.commands.kb_tables import (
        concept_parts,
        decisions_table,
        hits_table,
        print_parts,
        successor_lines,
    )

    hits = look_up(KnowledgeBase.open(kb), text, group, limit)
    if as_json:
        typer.echo(visible_json(json.dumps(hits, indent=1, ensure_ascii=False)))
        return
    tables: list[Table | str] = []
    for concept in hits["concepts"]:
        tables += concept_parts(concept)
    tables += successor_lines(text, hits["successors"])
    if hits["names"]:
        tables.append(hits_table(hits["names"], f"{hits['n_names']} names found"))
    if hits["decisions"]:
        tables.append(decisions_table(hits["decisions"]))
    print_parts(*(tables or ["nothing found"]))


@app.command(cls=Command, epilog="longbel kb diff kb-2025/ kb-2026/ --codes corpus/")
def diff(
    old: Annotated[Path, argument("OLD", "Older knowledge base.")],
    new: Annotated[Path, argument("NEW", "Newer knowledge base.")],
    codes: Annotated[
        Path | None,
        option(
            "--codes",
            "Corpus or predictions: which of their codes are affected, and what they become.",
            INPUT,
            metavar="FILE",
        ),
    ] = None,
    limit: Annotated[
        int,
        option("--limit", "Maximum number of rows in each list.", OUTPUT, metavar="N", minimum=0),
    ] = 20,
    as_json: shared.AsJson = False,
) -> None:
    """Print what differs between two knowledge bases.

    Concepts are added, retired, replaced by others, or left without names; names are added,
    dropped, or lead to another concept: by semantic group. With --json all of them are listed.
    """
    import json
    from dataclasses import asdict

    from kb_builder.store.diff import Comparison
    from kb_builder.store.knowledge_base import KnowledgeBase
    from longbel_cli.commands.kb_tables import difference_parts, print_parts
    from longbel_cli.corpora.code_counts import counted_codes

    bases = KnowledgeBase.open(old), KnowledgeBase.open(new)
    comparison = Comparison(*bases)
    report = asdict(comparison.difference())
    report |= {"old": bases[0].signature, "new": bases[1].signature}
    if codes is not None:
        counts = counted_codes(codes)
        fates = comparison.fates(counts)
        report["codes"] = [{"code": code, **counts[code], **fate} for code, fate in fates.items()]
    if as_json:
        typer.echo(visible_json(json.dumps(report, indent=1, ensure_ascii=False)))
        return
    print_parts(*difference_parts(report, limit))
