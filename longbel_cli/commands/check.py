"""`longbel check`: what the readers find in a corpus, before any model."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kb_builder.text import visible_json, visible_line
from longbel_cli.commands import options as shared
from longbel_cli.commands.options import option

if TYPE_CHECKING:
    from longbel_cli.corpora.records import Problem
    from longbel_cli.corpora.survey import Survey


EXAMPLE = """
longbel check corpus/ --kb kb/
"""


def check(
    corpus: shared.CorpusPaths,
    format: shared.CorpusFormat = "auto",
    text_column: shared.TextColumn = None,
    id_column: shared.IdColumn = None,
    type_map: shared.TypeMap = None,
    on_error: shared.OnError = "quarantine",
    kb: Annotated[
        Path | None,
        option(
            "--kb",
            "Knowledge base directory, to check that it has a group for every type.",
            shared.MODEL,
            metavar="KB",
            envvar="LONGBEL_KB",
        ),
    ] = None,
    as_json: shared.AsJson = False,
) -> None:
    """Check a corpus: offsets, texts, ids and types.

    Exit code 0: clean. 5: documents or mentions would be quarantined, each is listed with its file
    and the reason. 3: nothing can be read, or a type has no group in the knowledge base.
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
    counts = Survey()
    try:
        survey(
            Corpus(corpus, format, counts.noted.append, columns=(text_column, id_column)),
            counts,
            fail if on_error == "fail" else _print_problem,
            resolver,
            has_code,
        )
    except LongbelError:
        if as_json:
            _print_json(counts)
        raise
    for problem in counts.noted:
        _print_problem(problem, "warning")
    if as_json:
        _print_json(counts)
    else:
        _print_table(counts)
    if counts.unmapped_types:
        assert resolver is not None
        resolver.require(counts.types)
    if counts.left_out:
        raise typer.Exit(shared.QUARANTINED)


def _print_problem(problem: Problem, kind: str = "quarantined") -> None:
    print(visible_line(f"{kind}: {problem.message}"), file=sys.stderr)


def _print_json(survey: Survey) -> None:
    import json

    text = json.dumps(survey.to_json(), ensure_ascii=False, indent=2, allow_nan=False)
    typer.echo(visible_json(text))


def _print_table(survey: Survey) -> None:
    """The counts, one a line."""
    rows: list[tuple[str, object]] = [
        ("documents", survey.documents),
        ("  without mentions", survey.without_mentions),
        ("mentions", survey.mentions),
        ("  discontinuous", survey.discontinuous),
        ("  with gold codes", survey.with_gold),
        ("  with several gold codes", survey.composite_gold),
        ("  annotated as NO_CODE", survey.no_code),
        ("not read as gold", survey.gold_not_read),
        *(() if survey.gold_in_kb is None else (("  with gold in the KB", survey.gold_in_kb),)),
        ("documents quarantined", survey.quarantined_documents),
        ("mentions quarantined", survey.quarantined_mentions),
        ("warnings", len(survey.noted)),
        ("longest document (characters)", survey.longest_document),
    ]
    rows += [(f"format {name}", count) for name, count in survey.formats.most_common()]
    rows += [(f"type {name}", count) for name, count in survey.types.most_common()]
    rows += [(f"group {name}", count) for name, count in survey.groups.most_common()]
    rows = [(visible_line(name), count) for name, count in rows]
    width = max(len(name) for name, _ in rows)
    for name, count in rows:
        typer.echo(f"{name:<{width}}  {count:>9,}")
