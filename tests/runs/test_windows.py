"""Windows depend on corpus and bounds alone; the same wherever reading begins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb_builder.errors import LongbelError
from longbel_cli.corpora import Corpus
from longbel_cli.runs.corpus_source import corpus_source, input_files
from longbel_cli.runs.windows import Bounds, Position, Quarantine, Source, Start, Window, windows
from longbel_cli.types import Document
from tests.support.run_driver import document_of


def source_of(entries: list[Any]) -> Source:
    """Documents of (id, mentions); a text instead is a quarantine record of that id."""

    def read(start: Position, quarantine: Quarantine) -> Iterator[tuple[Position, Document]]:
        for location in range(start or 0, len(entries)):
            entry = entries[location]
            if isinstance(entry, str):
                quarantine({"document_id": entry, "whole_document": True})
            else:
                yield location + 1, document_of({"id": entry[0], "mentions": entry[1]})

    return read


def cut(entries: list[Any], bounds: Bounds, start: Start | None = None) -> list[Window]:
    return list(windows(source_of(entries), bounds, start or Start()))


def shape(result: list[Window]) -> list[tuple[int, list[str], int, bool]]:
    return [
        (window.index, [document.id for document in window.documents], len(window.problems),
         window.last)
        for window in result
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("entries", "bounds", "expected"),
    [
        ([], Bounds(2), []),
        (["broken"], Bounds(2), [(0, [], 1, True)]),
        ([("a", 1), ("b", 1)], Bounds(2), [(0, ["a", "b"], 0, False)]),
        ([("a", 1), ("b", 1), ("c", 1)], Bounds(2),
         [(0, ["a", "b"], 0, False), (1, ["c"], 0, True)]),
        # mentions close a window, whole documents stay whole
        ([("a", 4), ("b", 0), ("c", 9), ("d", 1)], Bounds(64, 5),
         [(0, ["a", "b", "c"], 0, False), (1, ["d"], 0, True)]),
        # a record belongs to the window of the document after it; at the end, to the last
        ([("a", 1), ("b", 1), "x", ("c", 1), "y"], Bounds(2),
         [(0, ["a", "b"], 0, False), (1, ["c"], 2, True)]),
        ([("a", 1), ("b", 1), "x"], Bounds(2),
         [(0, ["a", "b"], 0, False), (1, [], 1, True)]),
        # the limit counts documents that are linked
        ([("a", 1), "x", ("b", 1), ("c", 1), ("d", 1)], Bounds(2, 9, limit=3),
         [(0, ["a", "b"], 1, False), (1, ["c"], 0, True)]),
        # a repeated id is quarantined, and so is the id of a document that could not be read
        ([("a", 1), ("a", 2), "x", ("x", 1), ("b", 1)], Bounds(2),
         [(0, ["a", "b"], 3, False)]),
    ],
)  # fmt: skip
def test_where_windows_close(entries: list[Any], bounds: Bounds, expected: list[Any]) -> None:
    assert shape(cut(entries, bounds)) == expected


entry = st.one_of(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 4)), st.sampled_from("abcdefgh")
)


@given(st.lists(entry, max_size=20), st.integers(1, 4), st.integers(1, 6), st.data())
def test_reading_from_any_window_gives_the_same_windows(
    entries: list[Any], documents: int, mentions: int, data: st.DataObject
) -> None:
    bounds = Bounds(documents, mentions, data.draw(st.one_of(st.none(), st.integers(1, 20))))
    whole = cut(entries, bounds)
    done = whole[: data.draw(st.integers(0, len(whole)))]
    if done and done[-1].last:
        return
    ids = {document.id for window in done for document in window.documents}
    ids.update(problem["document_id"] for window in done for problem in window.problems)
    start = Start(
        window=len(done),
        position=done[-1].following if done else None,
        documents=sum(len(window.documents) for window in done),
        document_ids=frozenset(ids),
    )
    assert cut(entries, bounds, start) == whole[len(done) :]


def bigbio_line(document_id: str, mentions: int, passages: object = None) -> str:
    entities = [
        {
            "id": f"T{ordinal}",
            "type": "DISO",
            "text": ["abc"],
            "offsets": [[0, 3]],
            "normalized": [],
        }
        for ordinal in range(mentions)
    ]
    passage = {"id": "p", "type": "x", "text": ["abc def"], "offsets": [[0, 7]]}
    content = {
        "id": document_id, "document_id": document_id, "passages": passages or [passage],
        "entities": entities, "events": [], "coreferences": [], "relations": [],
    }  # fmt: skip
    return json.dumps(content)


def test_a_real_corpus_reads_the_same_from_any_window(tmp_path: Path) -> None:
    """Broken lines, repeated ids and unreadable documents on both sides of each start."""
    lines = ["{broken at the start"]
    for ordinal in range(14):
        lines.append(bigbio_line(f"d{ordinal}", ordinal % 4))
        lines += ["{broken"] if ordinal % 4 == 1 else []
        lines += [bigbio_line("d2", 3)] if ordinal in (3, 9) else []
        lines += [bigbio_line("odd", 1, passages=3)] if ordinal == 5 else []
        lines += [bigbio_line("odd", 1)] if ordinal == 10 else []
    lines.append("{broken at the end")
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join(lines) + "\n")

    def read(start: Start) -> list[Window]:
        return list(windows(corpus_source(Corpus([path])), Bounds(3), start))

    whole = read(Start())
    assert [len(window.documents) for window in whole] == [3, 3, 3, 3, 2]
    assert sum(len(window.problems) for window in whole) == 10
    for first in range(1, len(whole)):
        done = whole[:first]
        ids = {document.id for window in done for document in window.documents}
        ids |= {str(problem["document_id"]) for window in done for problem in window.problems}
        position = json.loads(json.dumps(done[-1].following))
        start = Start(first, position, 3 * first, frozenset(ids))
        assert read(start) == whole[first:]


def test_a_corpus_of_which_nothing_can_be_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text("{broken\n")
    with pytest.raises(LongbelError, match="no document can be read"):
        list(windows(corpus_source(Corpus([path], "bigbio")), Bounds(), Start()))


def test_both_files_of_a_brat_pair_are_input(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abc")
    (tmp_path / "a.ann").write_text("T1\tDISO 0 3\tabc\n")
    assert [path.name for path in input_files(Corpus([tmp_path]))] == ["a.ann", "a.txt"]
