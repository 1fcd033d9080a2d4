"""`--names-from`: linkers that look names up know what corpora call concepts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from longbel_cli.linking.baselines.ranking import Hit, best_names, merged
from longbel_cli.runs.facts import run_facts
from longbel_cli.scoring.signature import signature
from tests.support.baseline_cases import document, small_kb
from tests.support.command_line import Longbel, json_lines, write_json_lines


def annotated(name: str, words: str, code: str, times: int = 1) -> dict[str, Any]:
    page = document(name, f"{words} here.", (words, "DISO"))
    page["entities"][0]["normalized"] = [{"db_name": "UMLS", "db_id": code}]
    return page


@pytest.fixture
def flags(tmp_path: Path) -> tuple[Any, ...]:
    train = write_json_lines(
        tmp_path / "train.jsonl",
        annotated("t1", "catarrh", "C2"),
        annotated("t2", "cold", "C3"),
        annotated("t3", "cold", "C3"),
    )
    corpus = write_json_lines(
        tmp_path / "corpus.jsonl",
        document("d1", "A catarrh, and a cold.", ("catarrh", "DISO"), ("cold", "DISO")),
    )
    kb = small_kb(tmp_path).path
    return ("link", corpus, "--kb", kb, "--names-from", train, "--out", tmp_path / "p.jsonl")


@pytest.mark.parametrize("linker", ["exact", "tfidf"])
def test_annotated_names_come_first(longbel: Longbel, flags: tuple[Any, ...], linker: str) -> None:
    """`cold` is a name of three concepts, case apart: the corpus decides."""
    done = longbel(*flags, "--linker", linker)
    assert done.code == 0, done.err
    lines = json_lines(flags[-1])
    assert [line["pred_concept_code"] for line in lines] == ["C2", "C3"]
    assert [beam["pred_concept_code"] for beam in lines[1]["beams"]][:2] == ["C3", "C1"]
    kept = json.loads((flags[-1].parent / "p.jsonl.run/run.json").read_text())["configuration"]
    assert kept["names_from"].startswith("train.jsonl:")
    line = signature(run_facts(flags[-1]), "gold", (1,), 100, 42, "exact", "0")
    assert f"|names:{kept['names_from']}|" in line
    other = longbel(*flags[:4], "--linker", linker, "--out", flags[-1])
    assert other.code == 4 and "names_from" in other.err


def test_a_document_that_names_came_from(longbel: Longbel, flags: tuple[Any, ...]) -> None:
    train = flags[5]
    done = longbel("link", train, *flags[2:], "--linker", "exact")
    assert done.code == 2
    assert "document t1: names of the knowledge base came from it" in done.err


def test_the_causal_linker_is_sent_to_build_kb(longbel: Longbel, flags: tuple[Any, ...]) -> None:
    done = longbel(*flags)
    assert done.code == 2
    assert "--names-from does not go with --linker longbel" in done.err
    assert "build-kb --names-from" in done.err


def test_an_output_that_is_such_a_corpus(longbel: Longbel, flags: tuple[Any, ...]) -> None:
    done = longbel(*flags[:-1], flags[5], "--linker", "exact")
    assert done.code == 2 and "which is read" in done.err


@pytest.mark.parametrize(
    ("of_corpora", "expected"),
    [(None, [0, 1]), ([False, True, False, False], [1, 0]), ([False, False, True, False], [2, 1])],
)
def test_ties_go_to_corpora(of_corpora: list[bool] | None, expected: list[int]) -> None:
    """Names 0 and 2 are one concept's; all but the last score alike."""
    scores, concepts = np.array([0.5, 0.5, 0.5, 0.4]), np.array([7, 8, 7, 9])
    flags = None if of_corpora is None else np.array(of_corpora)
    assert best_names(scores, concepts, 2, annotated=flags) == expected
    hits = [[Hit(float(scores[row]), row)] for row in range(4)]
    assert [hit.row for hit in merged(hits, concepts, 2, flags)] == expected
