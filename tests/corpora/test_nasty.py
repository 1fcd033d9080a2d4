"""Every nasty file of the table comes to its expected outcome, and no message quotes a text."""

from __future__ import annotations

from pathlib import Path

import pytest

from kb_builder.errors import LongbelError
from longbel_cli.corpora import Corpus, Problem
from longbel_cli.types import Document
from tests.corpora.nasty.cases import CASES, Case
from tests.corpora.nasty.gold_cases import GOLD_CASES
from tests.support.files import stored

ALL = (*CASES, *GOLD_CASES)


def read_all(folder: Path) -> tuple[list[Document], list[Problem], list[Problem], str | None]:
    documents: list[Document] = []
    problems: list[Problem] = []
    warnings: list[Problem] = []
    try:
        corpus = Corpus([folder], "auto", warnings.append)
        for _, document in corpus.read(problems.append, on_remark=warnings.append):
            documents.append(document)
    except LongbelError as error:
        return documents, problems, warnings, str(error)
    return documents, problems, warnings, None


def test_the_names_are_all_different() -> None:
    assert len({case.name for case in ALL}) == len(ALL) >= 60


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_nasty(case: Case, tmp_path: Path) -> None:
    documents, problems, warnings, refused = read_all(stored(case.files, tmp_path / "corpus"))

    result = {
        document.id: [
            mention.id if mention.gold is None else f"{mention.id}={mention.gold_code}"
            for mention in document.mentions
        ]
        for document in documents
    }
    assert result == {name: list(mentions) for name, mentions in case.read.items()}
    for document in documents:
        assert document.text == case.texts.get(document.id, document.text)

    assert [(problem.document_id, problem.mention_id, problem.line) for problem in problems] == [
        left_out[:3] for left_out in case.left_out
    ]
    for problem, (_, _, _, reason) in zip(problems, case.left_out, strict=True):
        assert reason in problem.reason

    assert len(warnings) == len(case.warnings)
    for part in case.warnings:
        assert any(part in warning.message for warning in warnings)

    assert (refused is None) == (case.refused is None)
    assert case.refused is None or case.refused in (refused or "")
    for message in [problem.message for problem in (*problems, *warnings)] + [refused or ""]:
        assert "Zanthoma" not in message
    for problem in problems:
        assert Path(problem.source).is_relative_to(tmp_path / "corpus")
