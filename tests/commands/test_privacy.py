"""Which files hold text of the documents, and that they are their owner's alone.

Every file that the commands write is searched for a word of the corpus; those that have it are the
ones that the page of runs lists.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from longbel_cli.runs.run import Run
from tests.support.command_line import Longbel
from tests.support.link_cases import DOCUMENTS, bigbio
from tests.support.paths import ROOT

WORD = "Zanthoma"
SECRET = bigbio("secret", f"{WORD} fever, and a cough.", ("T1", "DISO", f"{WORD} fever"))
# A row of the page, and which files of the test are its.
FILES = {
    "`preds.jsonl`": "preds.jsonl",
    "`preds.jsonl.part`": "stopped.jsonl.part",
    "`preds.jsonl.run/predictions-*.jsonl`": "shards.jsonl.run/predictions-*.jsonl",
    "`preds.jsonl.run/input-*.jsonl`": "piped.jsonl.run/input-*.jsonl",
    "`preds.jsonl.run.1/`, `.2/`, …": "preds.jsonl.run.1/*",
    "`preds.jsonl.mentions.jsonl`": "found.jsonl.mentions.jsonl",
    "`preds.jsonl.run/mentions*.jsonl`": "found.parts.jsonl.run/mentions-*.jsonl",
    "`detect --out`": "detected.jsonl",
    "`link --prompts`": "prompts.jsonl",
    "`link --saliency`": "saliency/*",
    "`explain --out`": "explained.html",
    "`score --report`": "score.html",
    "`convert --out`": "converted/*",
    "`fuse --out`": "fused.jsonl",
    "`build-kb --names-from`": "kb/names.*",
}
# Results of other commands on the same streams, and of trainings, which take too long for here.
NOT_SEARCHED = {
    "`explain --json`, `--ansi`",
    "`train --out`",
    "`train`: `MODEL.run/fold-N/`",
}


@pytest.fixture
def umask() -> Iterator[None]:
    """The usual umask, which lets everybody read."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def write_all(
    folder: Path, longbel: Longbel, monkeypatch: pytest.MonkeyPatch, kb: Path, model: Path
) -> None:
    """Every command that writes text, each to a name of its own."""
    monkeypatch.chdir(folder)
    corpus = "".join(json.dumps(document) + "\n" for document in [*DOCUMENTS, SECRET])
    Path("corpus.jsonl").write_text(corpus)
    exact = ("link", "corpus.jsonl", "--kb", kb, "--linker", "exact", "--out")
    prompted = ("link", "corpus.jsonl", "--kb", kb, "--model", model, "--beams", "2")
    commands = [
        (*prompted, "--out", "preds.jsonl", "--prompts", "prompts.jsonl", "--saliency", "saliency"),
        ("explain", "preds.jsonl", "--mention", "secret:T1", "--out", "explained.html"),
        ("score", "preds.jsonl", "--gold", "corpus.jsonl", "--report", "score.html"),
        ("convert", "preds.jsonl", "corpus.jsonl", "--to", "bigbio", "--out", "converted"),
        (*exact, "shards.jsonl", "--shard", "1/2"),
        (*exact, "shards.jsonl", "--shard", "2/2"),
        (*exact, "other.jsonl"),
        (*exact, "found.jsonl", "--detector", "dictionary"),
        (*exact, "found.parts.jsonl", "--detector", "dictionary", "--shard", "1/2"),
        ("detect", "corpus.jsonl", "--kb", kb, "--out", "detected.jsonl"),
        ("fuse", "preds.jsonl", "other.jsonl", "--out", "fused.jsonl"),
        (*prompted, "--out", "preds.jsonl", "--restart"),
        ("build-kb", "names.tsv", "--names-from", "corpus.jsonl", "--out", "kb"),
    ]
    Path("names.tsv").write_text("code\tname\tgroup\nC0000001\tFever\tDISO\n")
    for command in commands:
        done = longbel(*command)
        assert done.code == 0, (command, done.err)
    done = longbel("link", "-", "--format", "bigbio", *exact[2:], "piped.jsonl", stdin=corpus)
    assert done.code == 0, done.err
    with monkeypatch.context() as stopped:
        stopped.setattr(Run, "finish", interrupted)
        assert longbel(*exact, "stopped.jsonl").code == 130


def interrupted(run: Run) -> None:
    raise KeyboardInterrupt


def files_with_text(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in written_in(folder)
        if path.is_file() and WORD.encode() in path.read_bytes()
    }


def written_in(folder: Path) -> list[Path]:
    """All that is there but what the test laid there itself."""
    inputs = {folder / "corpus.jsonl", folder / "names.tsv"}
    return [path for path in folder.rglob("*") if path not in inputs]


def rows_of_the_page() -> set[str]:
    page = (ROOT / "longbel_cli/runs/README.md").read_text(encoding="utf-8")
    section = page.split("## Files that hold patient text")[1].split("\n## ")[0]
    return {row.split(" | ")[0].removeprefix("| ") for row in re.findall(r"^\| `.*", section, re.M)}


def test_the_page_of_runs_lists_all_files_with_text_and_they_are_the_owner_s_alone(
    tmp_path: Path,
    longbel: Longbel,
    monkeypatch: pytest.MonkeyPatch,
    kb_folder: Path,
    model_folder: Path,
    umask: None,
) -> None:
    write_all(tmp_path, longbel, monkeypatch, kb_folder, model_folder)
    result = files_with_text(tmp_path)
    lost = [name for name, glob in FILES.items() if not any(fnmatch(file, glob) for file in result)]
    assert lost == []
    others = ("other.jsonl", "piped.jsonl", "shards.jsonl", "stopped.jsonl", "found.jsonl",
              "found.parts.jsonl.run/predictions-*.jsonl")  # fmt: skip
    listed = [*FILES.values(), *others]
    assert [file for file in result if not any(fnmatch(file, glob) for glob in listed)] == []
    assert set(FILES) | NOT_SEARCHED == rows_of_the_page()
    assert [path for path in written_in(tmp_path) if path.stat().st_mode & 0o077] == []


def test_in_a_shared_project_the_umask_decides(
    tmp_path: Path, longbel: Longbel, monkeypatch: pytest.MonkeyPatch, kb_folder: Path, umask: None
) -> None:
    monkeypatch.setenv("LONGBEL_SHARED", "1")
    os.umask(0o007)
    (tmp_path / "corpus.jsonl").write_text(json.dumps(SECRET) + "\n")
    out = tmp_path / "preds.jsonl"
    command = ("link", tmp_path / "corpus.jsonl", "--kb", kb_folder, "--linker", "exact")
    assert longbel(*command, "--out", out).code == 0
    assert out.stat().st_mode & 0o777 == 0o660
    assert out.with_name("preds.jsonl.run").stat().st_mode & 0o777 == 0o770


def test_a_trie_added_to_a_knowledge_base_is_for_whoever_may_read_that(
    tmp_path: Path, longbel: Longbel, model_folder: Path, umask: None
) -> None:
    (tmp_path / "names.tsv").write_text("code\tname\tgroup\nC0000001\tFever\tDISO\n")
    (tmp_path / "corpus.jsonl").write_text(json.dumps(SECRET) + "\n")
    kb, out = tmp_path / "kb", tmp_path / "preds.jsonl"
    assert longbel("build-kb", tmp_path / "names.tsv", "--out", kb).code == 0
    command = ("link", tmp_path / "corpus.jsonl", "--kb", kb, "--model", model_folder)
    assert longbel(*command, "--out", out).code == 0
    tries = list((kb / "tries").iterdir())
    assert {path.suffix for path in tries} == {".arrow", ".parquet", ".lock"}
    assert {path.stat().st_mode & 0o777 for path in tries} == {0o644}
    assert out.stat().st_mode & 0o777 == 0o600
