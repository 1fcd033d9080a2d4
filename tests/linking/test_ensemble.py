"""An ensemble from Python: its runs, their fusion, and what may lie in the fusion's place.

Exact rankers stand for the models of each format; no command line and no torch takes part.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kb_builder.errors import LongbelError
from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.linking import ensemble
from longbel_cli.linking.baselines.exact import ExactRanker
from longbel_cli.linking.ensemble import FusedFile, link_corpus, linkers_in_formats
from longbel_cli.linking.job_options import JobOptions
from longbel_cli.linking.reading import CorpusOptions, CorpusReader
from longbel_cli.linking.statistics import Outcome
from longbel_cli.runs.signals import Stopped, StopSignals
from tests.support.baseline_cases import document, small_kb
from tests.support.command_line import json_lines, write_json_lines

FORMATS = ("short", "long")


class InFormat(ExactRanker):
    """An exact ranker that says it has a prompt format."""

    def __init__(self, knowledge_base: KnowledgeBase, form: str, beams: int = 5) -> None:
        super().__init__(knowledge_base, beams)
        self.form = form

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"context_format": self.form}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> KnowledgeBase:
    return small_kb(tmp_path_factory.mktemp("kb"))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two mentions; of the second document, a third one whose offsets are wrong."""
    misplaced = document("d2", "It is cold.", ("cold", "Physiology"))
    misplaced["entities"].append({**misplaced["entities"][0], "id": "T2", "offsets": [[0, 4]]})
    return write_json_lines(
        tmp_path / "c.jsonl", document("d1", "A bad cold.", ("cold", "Disorders")),
        misplaced,
    )  # fmt: skip


@pytest.fixture
def options(tmp_path: Path) -> JobOptions:
    return JobOptions(tmp_path / "p.jsonl", threads=1)


def linked(base: KnowledgeBase, corpus: Path, options: JobOptions, beams: int = 5) -> Outcome:
    reader = CorpusReader(CorpusOptions((corpus,)), base.groups)
    with StopSignals() as stop:
        return link_corpus([InFormat(base, form, beams) for form in FORMATS], reader, options, stop)


def test_each_format_has_a_run_and_their_answers_are_fused(
    base: KnowledgeBase, corpus: Path, options: JobOptions
) -> None:
    outcome = linked(base, corpus, options)
    assert (outcome.already, outcome.finished, outcome.quarantined) == (False, True, 1)
    runs = [options.out.with_name(f"p.{form}.jsonl") for form in FORMATS]
    codes = [
        [line["pred_concept_code"] for line in json_lines(path)] for path in (*runs, options.out)
    ]
    assert codes == [["C3", "C4"]] * 3
    # First in both lists: twice 1 / (60 + 1).
    assert [line["beam_score"] for line in json_lines(options.out)] == [round(2 / 61, 6)] * 2
    record = json.loads((options.out.parent / "p.jsonl.fusion.json").read_text())
    assert [system["name"] for system in record["fusion"]["systems"]] == [run.name for run in runs]


def test_one_linker_makes_one_run(base: KnowledgeBase, corpus: Path, options: JobOptions) -> None:
    reader = CorpusReader(CorpusOptions((corpus,)), base.groups)
    with StopSignals() as stop:
        for already in (False, True):
            outcome = link_corpus([ExactRanker(base)], reader, options, stop)
            assert (outcome.already, outcome.quarantined) == (already, 1)
    assert len(json_lines(options.out)) == 2
    assert not list(options.out.parent.glob("p.*.jsonl"))


def test_what_is_finished_is_left_alone_and_fused_again_where_it_changed(
    base: KnowledgeBase, corpus: Path, options: JobOptions
) -> None:
    linked(base, corpus, options)
    fused = options.out.read_bytes()
    assert linked(base, corpus, options).already
    options.out.unlink()
    again = linked(base, corpus, options)
    assert options.out.read_bytes() == fused
    assert (again.already, again.quarantined) == (False, 1)


def test_a_call_that_fuses_what_an_earlier_one_linked_reports_as_its_own(
    base: KnowledgeBase, corpus: Path, options: JobOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(*arguments: object, **more: object) -> None:
        raise Stopped("a test", 75)

    with monkeypatch.context() as patched:
        patched.setattr(ensemble, "fuse_files", stops)
        with pytest.raises(Stopped):
            linked(base, corpus, options)
    assert not options.out.exists()
    outcome = linked(base, corpus, options)
    assert (outcome.already, outcome.quarantined) == (False, 1)
    # A fusion of what the runs were before is not one of what they are.
    replaced = replace(options, overwrite=True)
    with monkeypatch.context() as patched:
        patched.setattr(ensemble, "fuse_files", stops)
        with pytest.raises(Stopped):
            linked(base, corpus, replaced, beams=1)
    assert not linked(base, corpus, replaced, beams=1).already
    assert linked(base, corpus, replaced, beams=1).already


def test_a_strange_file_is_refused_before_anything_is_linked(
    base: KnowledgeBase, corpus: Path, options: JobOptions
) -> None:
    options.out.write_text("my notes\n")
    with pytest.raises(LongbelError, match=r"no fusion of p\.short\.jsonl, p\.long\.jsonl") as at:
        linked(base, corpus, options)
    assert at.value.exit_code == 4 and options.out.read_text() == "my notes\n"
    assert not list(options.out.parent.glob("p.*.jsonl"))
    linked(base, corpus, replace(options, overwrite=True))
    assert len(json_lines(options.out)) == 2


@pytest.mark.parametrize("how", ["restart", "overwrite"])
def test_a_run_in_its_place_is_kept_aside(
    base: KnowledgeBase, corpus: Path, options: JobOptions, how: str
) -> None:
    reader = CorpusReader(CorpusOptions((corpus,)), base.groups)
    with StopSignals() as stop:
        link_corpus([ExactRanker(base)], reader, options, stop)
    before = options.out.read_bytes()
    with pytest.raises(LongbelError, match="is no fusion"):
        linked(base, corpus, options)
    linked(base, corpus, replace(options, **{how: True}))
    assert (options.out.parent / "p.jsonl.run.1" / "p.jsonl").read_bytes() == before
    assert FusedFile(options.out, (options.out.with_name("p.short.jsonl"),)).exists() is False


def test_a_corpus_without_mentions_is_fused_to_an_empty_file(
    base: KnowledgeBase, options: JobOptions
) -> None:
    corpus = write_json_lines(
        options.out.with_name("c.jsonl"), document("d1", "Nothing is marked.")
    )
    for already in (False, True):
        assert linked(base, corpus, options).already is already
        assert options.out.read_bytes() == b""


@pytest.mark.parametrize("names", [["short"], ["short", "short"], []])
def test_one_format_is_no_ensemble(names: list[str]) -> None:
    class Formats:
        def in_format(self, name: str) -> str:
            return name

    with pytest.raises(LongbelError, match="at least two formats"):
        linkers_in_formats(Formats(), names)  # type: ignore[arg-type]  # as much as is asked of it
    assert linkers_in_formats(Formats(), ["a", "b", "a"]) == ["a", "b"]  # type: ignore[arg-type, comparison-overlap]
