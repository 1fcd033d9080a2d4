"""What a run reads: input that changes, vanishes or is empty, standard input, folders that move."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from kb_builder.errors import LongbelError
from longbel_cli.runs.inputs import Inputs
from longbel_cli.runs.run import (
    open_run,
    spool,
)
from tests.support.run_cases import configuration, link, whole_run
from tests.support.run_driver import (
    write_corpus,
)


def test_input_that_changes_stops_the_run_before_it_is_mixed(folder: Path, corpus: Path) -> None:
    out = folder / "out.jsonl"
    whole = whole_run(folder / "whole.jsonl", corpus)
    text = corpus.read_text()
    with (
        pytest.raises(LongbelError, match="input has changed"),
        open_run(out, configuration(corpus)) as run,
    ):
        link(run, corpus, 1)
        corpus.write_text(text + text)
        link(run, corpus)
    assert not out.exists()
    corpus.write_text(text)
    with open_run(out, configuration(corpus)) as run:
        assert len(run.records) == 1
        link(run, corpus)
    assert out.read_bytes() == whole


def test_input_that_vanishes_is_told_and_waited_for(folder: Path, corpus: Path) -> None:
    out = folder / "out.jsonl"
    away = corpus.with_name("away.jsonl")
    with open_run(out, configuration(corpus)) as run:
        link(run, corpus, 1)
        corpus.rename(away)
        with pytest.raises(LongbelError, match="it is gone"):
            link(run, corpus)
    with pytest.raises(LongbelError, match="cannot be read any more"):
        open_run(out, configuration(corpus))
    away.rename(corpus)
    with open_run(out, configuration(corpus)) as run:
        assert link(run, corpus) > 0
    assert out.exists()


def test_input_that_was_only_touched_is_the_same(folder: Path, corpus: Path) -> None:
    out = folder / "out.jsonl"
    with open_run(out, configuration(corpus)) as run:
        link(run, corpus, 1)
        os.utime(corpus, (1, 1))
        link(run, corpus, 1)
    os.utime(corpus, (2, 2))
    with open_run(out, configuration(corpus)) as run:
        assert len(run.records) == 2


def test_an_empty_corpus_gives_an_empty_result(folder: Path) -> None:
    empty = folder / "empty.jsonl"
    empty.write_text("")
    assert whole_run(folder / "out.jsonl", empty) == b""


def test_spooled_input_is_named_by_content_and_survives_a_restart(folder: Path) -> None:
    out = folder / "out.jsonl"
    content = write_corpus(folder / "corpus.jsonl", 10).read_bytes()
    spooled = spool(io.BytesIO(content), out)
    assert spooled.parent == folder / "out.jsonl.run"
    assert spooled.read_bytes() == content
    assert spool(io.BytesIO(content), out) == spooled == spool(io.BytesIO(b""), out)
    whole = whole_run(out, spooled)
    with open_run(out, configuration(spooled), restart=True) as run:
        link(run, spooled)
    assert out.read_bytes() == whole
    with pytest.raises(LongbelError, match="input: "):
        open_run(out, configuration(spool(io.BytesIO(content + content), out)))


def test_an_empty_stdin_means_the_input_of_the_run_whatever_else_was_refused(folder: Path) -> None:
    out = folder / "out.jsonl"
    content = write_corpus(folder / "corpus.jsonl", 10).read_bytes()
    spooled = spool(io.BytesIO(content), out)
    whole_run(out, spooled)
    other = spool(io.BytesIO(b'{"id": "other", "mentions": 1}\n'), out)
    with pytest.raises(LongbelError, match="input: "):
        open_run(out, configuration(other))
    assert spool(io.BytesIO(b""), out) == spooled


def test_a_brat_file_keeps_its_name_and_its_folder_may_move(folder: Path) -> None:
    """A BRAT document's id is its file's name: renamed, it would come twice or not at all."""
    corpus = folder / "corpus"
    corpus.mkdir()
    pair = [corpus / "a.ann", corpus / "a.txt"]
    for path in pair:
        path.write_text("same\n")
    (corpus / "link.ann").symlink_to(corpus / "a.ann")
    known = Inputs.read([*pair, corpus / "link.ann"])
    assert known.changes([*pair, corpus / "link.ann"]) == []
    assert known.changes([*pair, corpus / "a.ann"])
    moved = corpus.rename(folder / "moved")
    paths = [moved / path.name for path in pair]
    assert Inputs(known.files[:2]).changes(paths) == []
    renamed = [path.rename(path.with_stem("b")) for path in paths]
    told = Inputs(known.files[:2]).changes(renamed)
    assert len(told) == 2
    assert "a.ann when the run began; a BRAT document's id is its file's name" in told[0]
    # Other formats have ids inside: a file of theirs is the same under any name.
    assert Inputs(known.files[1:2]).changes(renamed[1:]) == []


def test_a_change_between_head_and_tail_is_seen(folder: Path) -> None:
    """Where the time has changed the whole is hashed, since head and tail say nothing of it."""
    path = folder / "large.jsonl"
    path.write_bytes(b"a" * 300_000)
    known = Inputs.read([path])
    assert known.changes([path]) == []
    path.write_bytes(b"a" * 150_000 + b"b" + b"a" * 149_999)
    os.utime(path, ns=(0, 0))
    (change,) = known.changes([path])
    assert "its content is not that with which the run began" in change
