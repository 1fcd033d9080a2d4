"""Records of a run that someone altered: refused, or taken for none; no internal error, and no file
is moved that is not the run's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kb_builder.errors import LongbelError
from longbel_cli.runs.layout import Layout
from longbel_cli.runs.records import record_of
from longbel_cli.runs.run import merge_run, open_run
from longbel_cli.runs.status import read_status, status_lines
from tests.support.run_cases import configuration, link, whole_run


@dataclass(frozen=True)
class Pair:
    code: int
    name: str | None = None


@pytest.mark.parametrize(
    ("content", "record"),
    [
        ({"code": 1}, Pair(1)), ({"code": 1, "name": "a"}, Pair(1, "a")),
        ({"code": 1, "name": None}, Pair(1)), ({}, None), ({"name": "a"}, None),
        ({"code": "1"}, None), ({"code": True}, None), ({"code": 1, "name": 2}, None),
        ({"code": 1, "other": 2}, None), ([1], None), (None, None), ("code", None),
    ],
)  # fmt: skip
def test_what_is_a_record(content: Any, record: Pair | None) -> None:
    assert record_of(content, Pair) == record


def altered(record: dict[str, Any]) -> Iterator[Any]:
    """The record with each value of another type, and without it."""
    yield from ({}, [], None, 0, "x", {"a": 1})
    for name in record:
        yield {other: value for other, value in record.items() if other != name}
        yield from ({**record, name: value} for value in (None, "x", -1, [], {}, True))


def resume(out: Path, corpus: Path) -> None:
    with open_run(out, configuration(corpus)) as run:
        if run.finished is None:
            link(run, corpus)


USES: dict[str, Callable[[Path, Path], object]] = {
    "resume": resume,
    "merge": lambda out, corpus: merge_run(out),
    "status": lambda out, corpus: status_lines(read_status(out)),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", ["run.json", "finished.json", "corpus_end.json", "inputs.jsonl"])
def test_an_altered_record(folder: Path, corpus: Path, name: str, use: str) -> None:
    out = folder / "out.jsonl"
    whole = whole_run(out, corpus)
    path = Layout(out).folder / name
    sound = path.read_text()
    for content in altered(json.loads(sound)):
        path.write_text(json.dumps(content) + "\n")
        with suppress(LongbelError):
            USES[use](out, corpus)
        assert out.read_bytes() == whole
        path.write_text(sound)


@pytest.mark.parametrize("field", ["data_from", "errors_from", "mentions_from"])
@pytest.mark.parametrize(
    "name",
    ["notes.txt", "../notes.txt", "out.jsonl.run/../notes.txt", "/notes.txt", "", "out.jsonl"],
)
def test_no_file_is_moved_that_is_none_of_the_run(
    folder: Path, corpus: Path, field: str, name: str
) -> None:
    out = folder / "out.jsonl"
    content = whole_run(out, corpus)
    (folder / "notes.txt").write_bytes(content)
    finished = Layout(out).finished
    record = {**json.loads(finished.read_text()), field: name, "mentions_bytes": len(content)}
    finished.write_text(json.dumps(record))
    for use in USES.values():
        with pytest.raises(LongbelError, match="names a file that is none of the run") as refused:
            use(out, corpus)
        assert refused.value.exit_code == 4
    assert (folder / "notes.txt").read_bytes() == out.read_bytes() == content


def test_counts_that_are_none_are_left_out_of_the_status(folder: Path, corpus: Path) -> None:
    out = folder / "out.jsonl"
    with open_run(out, configuration(corpus)) as run:
        link(run, corpus, 1)
    path = Layout(out).configuration
    record = json.loads(path.read_text())
    for counted in ({"mentions": "many", "documents": True}, [], None):
        path.write_text(json.dumps({**record, "free": counted}))
        status = read_status(out)
        assert (status.mentions_total, status.documents_total) == (None, None)
        assert status_lines(status)
