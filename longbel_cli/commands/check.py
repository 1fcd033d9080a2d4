"""`longbel check`: what the readers find in a corpus, before any model."""

from __future__ import annotations

import sys
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from longbel_cli.corpora.records import Problem
    from longbel_cli.corpora.survey import Survey


class OnError(StrEnum):
    """What to do with a document or mention that cannot be used."""

    fail = "fail"
    quarantine = "quarantine"


def check(
    corpus: Annotated[
        list[str], typer.Argument(help="Files or folders of the corpus, or - for JSONL on stdin.")
    ],
    kb: Annotated[
        Path | None,
        typer.Option(
            envvar="LONGBEL_KB", help="Also check that every entity type has a group in this KB."
        ),
    ] = None,
    format: Annotated[
        str, typer.Option(help="auto, bigbio, brat, pubtator or bioc.", metavar="FORMAT")
    ] = "auto",
    type_map: Annotated[
        Path | None,
        typer.Option(help="Lines of `type<TAB>group` (or a JSON object) for types of your own."),
    ] = None,
    on_error: Annotated[
        OnError, typer.Option(help="Stop at the first problem, or leave it out and go on.")
    ] = OnError.quarantine,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a corpus: offsets, texts, ids and types.

    Exit code 0: clean. 5: something would be left out, each listed with file and reason.
    3: nothing can be read, or a type has no group in the KB.
    """
    from kb_builder.errors import LongbelError
    from longbel_cli.corpora import Corpus, fail
    from longbel_cli.corpora.resolve import TypeResolver, load_type_map
    from longbel_cli.corpora.survey import Survey, survey

    if type_map is not None and kb is None:
        raise LongbelError(
            "--type-map is checked against the groups of a KB", "Add --kb.", exit_code=2
        )
    resolver = has_code = None
    if kb is not None:
        from kb_builder.store.knowledge_base import KnowledgeBase

        base = KnowledgeBase.open(kb)
        resolver = TypeResolver(base.groups, None if type_map is None else load_type_map(type_map))
        has_code = cache(base.has_code)
    found = Survey()
    try:
        survey(
            Corpus(corpus, format, found.noted.append),
            found,
            fail if on_error is OnError.fail else _print_problem,
            resolver,
            has_code,
        )
    except LongbelError:
        if as_json:
            _print_json(found)
        raise
    for problem in found.noted:
        _print_problem(problem, "warning")
    if as_json:
        _print_json(found)
    else:
        _print_table(found)
    if found.unmapped_types:
        assert resolver is not None
        resolver.require(found.types)
    if found.left_out:
        raise typer.Exit(5)


def _print_problem(problem: Problem, kind: str = "left out") -> None:
    print(f"{kind}: {problem.message}", file=sys.stderr)


def _print_json(found: Survey) -> None:
    import json

    typer.echo(json.dumps(found.to_json(), ensure_ascii=False, indent=2))


def _print_table(found: Survey) -> None:
    """The counts, one a line."""
    rows: list[tuple[str, object]] = [
        ("documents", found.documents),
        ("  without mentions", found.without_mentions),
        ("mentions", found.mentions),
        ("  discontinuous", found.discontinuous),
        ("  with gold codes", found.with_gold),
        ("  with several gold codes", found.composite_gold),
        ("  annotated as NO_CODE", found.no_code),
        ("not read as gold", found.gold_not_read),
        *(() if found.gold_in_kb is None else (("  with gold in the KB", found.gold_in_kb),)),
        ("documents left out", found.quarantined_documents),
        ("mentions left out", found.quarantined_mentions),
        ("warnings", len(found.noted)),
        ("longest document (characters)", found.longest_document),
    ]
    rows += [(f"format {name}", count) for name, count in found.formats.most_common()]
    rows += [(f"type {name}", count) for name, count in found.types.most_common()]
    rows += [(f"group {name}", count) for name, count in found.groups.most_common()]
    width = max(len(name) for name, _ in rows)
    for name, count in rows:
        typer.echo(f"{name:<{width}}  {count:>9,}")
