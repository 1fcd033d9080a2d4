"""A corpus as a run reads it: from any document on, at once, and the same from wherever it begins.

The only part of a run that knows `longbel_cli.corpora`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kb_builder.errors import LongbelError
from longbel_cli.corpora import Corpus, OnProblem, Position, Problem, ignore
from longbel_cli.corpora.brat import pair_of
from longbel_cli.runs import windows
from longbel_cli.types import Document

Prepare = Callable[[Document, OnProblem], Document]


def _as_read(document: Document, on_problem: OnProblem) -> Document:
    return document


def corpus_source(
    corpus: Corpus, prepare: Prepare = _as_read, on_problem: OnProblem = ignore
) -> windows.Source:
    """The source of a run's windows.

    `prepare` changes a document before it is counted (resolves types) and passes on what it leaves
    out. `on_problem` is called with all that is left out, before it is quarantined; it may raise.
    """
    # Ids are watched by the windows, which know those of an earlier start; the reader, told that
    # no document is repeated, need not read what lies before the start.
    corpus.duplicates = set()

    def read(
        start: windows.Position, quarantine: windows.Quarantine
    ) -> Iterator[tuple[Any, Document]]:
        begin = Position(0) if start is None else Position(*start)
        past = start is None

        def leave_out(problem: Problem) -> None:
            if past:
                on_problem(problem)
                quarantine(problem.to_json())

        any_document = False
        for position, document in corpus.read(leave_out, start=begin):
            if not past:
                _expect(position, begin, corpus)
                past = True
                continue
            any_document = True
            yield list(position), prepare(document, leave_out)
        if start is None and not any_document:
            raise LongbelError(
                f"{', '.join(corpus.paths)}: no document can be read",
                "`longbel check` lists each one with its reason.",
            )

    return read


def _expect(position: Position, begin: Position, corpus: Corpus) -> None:
    """The first document read again is the last that was committed."""
    if position != begin:
        raise LongbelError(
            f"{corpus.files[begin.file].path}: no document is at byte {begin.offset} any more",
            "The input has changed. Put it back, or start over with --restart.",
            exit_code=4,
        )


def input_files(corpus: Corpus) -> list[Path]:
    """Every file that a corpus is made of, the texts of BRAT pairs among them."""
    paths: list[Path] = []
    for file in corpus.files:
        paths.append(Path(file.path))
        if file.format == "brat":
            paths.append(pair_of(file.path).text)
        elif file.text is not None:
            paths.append(Path(file.text))
    return [path for path in dict.fromkeys(paths) if path.exists()]
