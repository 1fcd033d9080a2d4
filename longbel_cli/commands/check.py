"""`longbel check`: what the readers find in a corpus, before any model."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kb_builder.text import visible_json, visible_line
from longbel_cli.commands import options as shared
from longbel_cli.commands.options import option

if TYPE_CHECKING:
    from kb_builder.store.knowledge_base import KnowledgeBase
    from longbel_cli.corpora import Corpus
    from longbel_cli.corpora.records import Problem
    from longbel_cli.corpora.resolve import TypeResolver
    from longbel_cli.corpora.survey import Survey
    from longbel_cli.scoring.difficulty import Difficulty
    from longbel_cli.scoring.retired import Retired
    from longbel_cli.types import Document


EXAMPLE = """
longbel check corpus/ --kb kb/
longbel check dev/ --kb kb/ --train train/
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
    retired: shared.RetiredCodes = None,
    train: Annotated[
        list[str] | None,
        option(
            "--train",
            "Training corpus (repeatable): also say how much of the corpus it has seen.",
            shared.INPUT,
            metavar="CORPUS",
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
    from longbel_cli.scoring.retired import read_retired

    if type_map is not None and kb is None:
        raise LongbelError(
            "--type-map is checked against the groups of a KB", "Add --kb.", exit_code=2
        )
    base = resolver = has_code = None
    if kb is not None:
        from kb_builder.store.knowledge_base import KnowledgeBase

        base = KnowledgeBase.open(kb)
        resolver = TypeResolver(base.groups, None if type_map is None else load_type_map(type_map))
        has_code = cache(base.has_code)
    counts = Survey()
    successors = None if retired is None else read_retired(retired)
    files = Corpus(corpus, format, counts.remarks.append, columns=(text_column, id_column))
    try:
        survey(
            files,
            counts,
            fail if on_error == "fail" else _print_problem,
            resolver,
            has_code,
            None if successors is None else successors.document,
        )
    except LongbelError:
        if as_json:
            _print_json(counts)
        raise
    if successors is not None:
        counts.gold_retired = successors.counts["gold"]
    for problem in counts.remarks:
        _print_problem(problem, "warning")
    measured = None if train is None else _difficulty(files, train, base, resolver, successors)
    if as_json:
        _print_json(counts, measured)
    else:
        _print_table(counts, measured)
    if counts.unmapped_types:
        assert resolver is not None
        resolver.require(counts.types)
    if counts.left_out:
        raise typer.Exit(shared.QUARANTINED)


def _print_problem(problem: Problem, kind: str = "quarantined") -> None:
    print(visible_line(f"{kind}: {problem.message}"), file=sys.stderr)


def _difficulty(
    corpus: Corpus,
    train: list[str],
    base: KnowledgeBase | None,
    resolver: TypeResolver | None,
    successors: Retired | None,
) -> Difficulty:
    """What decides how hard the corpus is, for one that was trained on `train`."""
    from longbel_cli.corpora import ignore, read_corpus
    from longbel_cli.scoring.background import training_facts
    from longbel_cli.scoring.difficulty import difficulty
    from longbel_cli.scoring.gold import gold_of_corpus

    def with_successors(documents: Iterable[Document]) -> Iterable[Document]:
        return documents if successors is None else successors.documents(documents)

    def group_of(entity_type: str) -> str:
        return (resolver and resolver.group(entity_type)) or entity_type

    seen = training_facts(with_successors(read_corpus(train, on_problem=ignore)))
    documents = (document for _, document in corpus.read(ignore))
    return difficulty(gold_of_corpus(with_successors(documents)), seen, base, group_of)


def _print_json(survey: Survey, measured: Difficulty | None = None) -> None:
    import json

    content = survey.to_json()
    if measured is not None:
        content["difficulty"] = measured.to_json()
    text = json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False)
    typer.echo(visible_json(text))


def _print_table(survey: Survey, measured: Difficulty | None) -> None:
    """The counts, one a line."""
    rows: list[tuple[str, object]] = [
        ("documents", survey.documents),
        ("  without mentions", survey.without_mentions),
        ("mentions", survey.mentions),
        ("  discontinuous", survey.discontinuous),
        ("  abbreviations that the document defines", survey.abbreviations),
        ("  with gold codes", survey.with_gold),
        ("  with several gold codes", survey.composite_gold),
        ("  annotated as NO_CODE", survey.no_code),
        ("not read as gold", survey.gold_not_read),
        *(() if survey.gold_retired is None else (("  with retired gold", survey.gold_retired),)),
        *(() if survey.gold_in_kb is None else (("  with gold in the KB", survey.gold_in_kb),)),
        ("documents quarantined", survey.quarantined_documents),
        ("mentions quarantined", survey.quarantined_mentions),
        ("warnings", len(survey.remarks)),
        ("longest document (characters)", survey.longest_document),
    ]
    rows += [(f"format {name}", count) for name, count in survey.formats.most_common()]
    rows += [(f"type {name}", count) for name, count in survey.types.most_common()]
    rows += [(f"group {name}", count) for name, count in survey.groups.most_common()]
    rows = [(visible_line(name), count) for name, count in rows]
    width = max(len(name) for name, _ in rows)
    for name, count in rows:
        typer.echo(f"{name:<{width}}  {count:>9,}")
    if measured is not None:
        _print_difficulty(measured)


def _print_difficulty(measured: Difficulty) -> None:
    """Figures of mentions with gold, a line each."""
    from longbel_cli.scoring.difficulty import MEASURES

    mean = measured.mentions_per_document
    rows = [("mentions with gold a document", "–" if mean is None else f"{mean:.1f}")]
    for name, share in measured.shares.items():
        rows.append((MEASURES[name].title, "–" if share is None else f"{100 * share:.1f} %"))
    width = max(len(title) for title, _ in rows)
    for title, value in rows:
        typer.echo(f"{title:<{width}}  {value:>9}")
