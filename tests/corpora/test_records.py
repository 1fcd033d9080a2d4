"""A problem of a corpus in words and as JSON."""

from __future__ import annotations

import json
import os

import pytest

from longbel_cli.corpora.records import Problem


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (Problem("a.ann", 3, "a", "T1", "why", False), "a.ann:3: document a: mention T1: why"),
        (Problem("a.jsonl", None, None, None, "why", True), "a.jsonl: why"),
    ],
)
def test_a_problem_in_words_and_as_json(problem: Problem, message: str) -> None:
    assert problem.message == message
    assert Problem(**problem.to_json()) == problem


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("été", "été"),
        (os.fsdecode(b"\xe9t\xc3\xa9"), "\\xe9té"),
        ("\ud800", "\\ud800"),  # JSON may write half of a surrogate pair into an id
        ("\ud800\udcff", "\\ud800\\udcff"),
    ],
)
def test_a_problem_can_be_written_whatever_its_names_are(name: str, written: str) -> None:
    problem = Problem(name, 3, name, name, "why", True)
    assert problem.message == f"{written}:3: document {written}: mention {written}: why"
    # As errors.jsonl is written.
    line = json.dumps(problem.to_json(), ensure_ascii=False).encode()
    assert json.loads(line) == Problem(written, 3, written, written, "why", True).to_json()
