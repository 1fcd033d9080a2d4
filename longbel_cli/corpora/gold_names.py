"""What the annotators of a corpus call concepts: rows of code, name, group and document."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from kb_builder.codes import is_no_code
from kb_builder.terms import CorpusNames, CorpusRow
from longbel_cli.corpora import Corpus
from longbel_cli.corpora.records import Problem

log = logging.getLogger(__name__)


def gold_names(paths: Sequence[Path]) -> tuple[CorpusNames, ...]:
    """The annotated names of each corpus, by its file's or folder's name."""
    names = _names(paths)
    return tuple(
        CorpusNames(name, tuple(_rows(path))) for name, path in zip(names, paths, strict=True)
    )


def _names(paths: Sequence[Path]) -> list[str]:
    """Names of files or folders; with what they lie in where two are alike."""
    names = [path.resolve().name for path in paths]
    long = [f"{path.resolve().parent.name}/{name}" for path, name in zip(paths, names, strict=True)]
    names = [long[i] if names.count(name) > 1 else name for i, name in enumerate(names)]
    return [f"{name} ({names[:i].count(name) + 1})" if names.count(name) > 1 else name
            for i, name in enumerate(names)]  # fmt: skip


def _rows(path: Path) -> Iterator[CorpusRow]:
    """A row for each mention of one concept; composite gold names none of its parts."""
    problems: list[Problem] = []
    for _, document in Corpus([path]).read(problems.append):
        for mention in document.mentions:
            code = mention.gold_code
            if code is not None and "+" not in code and not is_no_code(code):
                yield CorpusRow(code, mention.text, mention.entity_type, document.id)
    if problems:
        message = "%s: %d documents or mentions could not be read, the first: %s"
        log.warning(message, path, len(problems), problems[0].message)
