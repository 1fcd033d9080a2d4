"""The instruments that count the engine's work without a card run, at tiny sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from longbel_cli.types import Document, Mention, Passage, Span
from tests.benchmarks import host_time, pass_counts


def document(index: int, mentions: int) -> Document:
    result = tuple(Mention(f"T{n}", (Span(n, n + 1),), "x", "A") for n in range(mentions))
    return Document(f"d{index}", (Passage("x" * 20),), result, "test")


def test_a_window_drains_where_its_documents_differ() -> None:
    """Two documents of three mentions and one: three passes with 2, 1 and 1 in flight."""
    result = pass_counts.shares([document(0, 3), document(1, 1)], (64, 1000))
    assert result == {"of_64": 4 / (3 * 64), "of_the_window": 4 / 6}


def test_windows_are_cut_as_a_run_cuts_them() -> None:
    documents = [document(n, 5) for n in range(5)]
    assert [len(part) for part in pass_counts.cut(documents, 2, 100)] == [2, 2, 1]
    assert [len(part) for part in pass_counts.cut(documents, 64, 8)] == [2, 2, 1]


def test_kernels_of_a_mixed_pass_are_counted() -> None:
    for attention in pass_counts.BACKENDS.values():
        assert pass_counts.layer_counts(4, attention)["kernels"] > 20


@pytest.mark.slow
def test_host_time_is_measured_in_a_process_of_each_tree(tmp_path: Path, capsys) -> None:
    small = ["--atoms", "500", "--documents", "2", "--mentions", "2", "--repeats", "1"]
    own = str(host_time.ROOT)
    host_time.main([*small, "--work", str(tmp_path), "--rows", "1", "--against", own])
    head, _, row = capsys.readouterr().out.strip().splitlines()
    assert "ms a mention" in head and row.startswith("| `long` | 400 |") and row.endswith("yes |")
