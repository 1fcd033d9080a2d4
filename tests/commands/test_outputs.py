"""No output is an input: exit code 2 before anything is opened, and every input as it was."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kb_builder.errors import LongbelError
from kb_builder.files import refuse_inputs
from tests.support.command_line import Longbel
from tests.support.link_cases import DOCUMENTS


def write_corpus(path: Path) -> None:
    path.write_text("".join(json.dumps(document) + "\n" for document in DOCUMENTS))


@pytest.fixture
def place(tmp_path: Path, kb_folder: Path, longbel: Longbel) -> Path:
    """A folder with a corpus, its predictions twice, a table of names and a knowledge base."""
    write_corpus(tmp_path / "corpus.jsonl")
    for name in ("a.jsonl", "b.jsonl"):
        out = tmp_path / name
        done = longbel(
            "link", tmp_path / "corpus.jsonl", "--kb", kb_folder, "--linker", "exact", "--out", out
        )
        assert done.code == 0, done.err
    (tmp_path / "names.tsv").write_text("code\tname\tgroup\nC1\tFever\tDisorders\n")
    (tmp_path / "kb").symlink_to(kb_folder)
    return tmp_path


LINK = ("link", "corpus.jsonl", "--kb", "kb", "--linker", "exact")
# A command without its output, the flag of the output, and what it reads.
CASES = [
    (LINK, "--out", "corpus.jsonl"),
    ((*LINK, "--overwrite"), "--out", "corpus.jsonl"),
    ((*LINK, "--out", "new.jsonl"), "--stats", "corpus.jsonl"),
    ((*LINK, "--out", "new.jsonl"), "--stats", "kb/kb.json"),
    ((*LINK, "--out", "-"), "--stats", "corpus.jsonl"),
    (
        ("link", "corpus.jsonl", "--kb", "kb", "--model", "sample", "--out", "new.jsonl"),
        "--prompts",
        "corpus.jsonl",
    ),
    (("fuse", "a.jsonl", "b.jsonl", "--overwrite"), "--out", "a.jsonl"),
    (("fuse", "a.jsonl", "b.jsonl", "--overwrite"), "--out", "b.jsonl"),
    (("fuse", "a.jsonl", "b.jsonl", "--tune", "corpus.jsonl"), "--write-weights", "corpus.jsonl"),
    (("convert", "a.jsonl", "corpus.jsonl", "--to", "bigbio"), "--out", "corpus.jsonl"),
    (("convert", "a.jsonl", "corpus.jsonl", "--to", "bigbio"), "--out", "a.jsonl"),
    (("score", "a.jsonl"), "--report", "a.jsonl"),
    (("score", "a.jsonl", "--gold", "corpus.jsonl"), "--report", "corpus.jsonl"),
    (("score", "a.jsonl", "--paired", "b.jsonl"), "--report", "b.jsonl"),
    (("build-kb", "names.tsv", "--overwrite"), "--out", "names.tsv"),
    (("train", "corpus.jsonl", "--kb", "kb", "--fresh", "nano", "--overwrite"), "--out", "kb"),
    (("train", "corpus.jsonl", "--kb", "kb", "--fresh", "nano"), "--out", "corpus.jsonl"),
]


def spellings(path: Path) -> list[Path]:
    """Other names of a file or folder: with dots, by a link, by a hard link."""
    link = path.with_name("link-" + path.name)
    link.symlink_to(path)
    names = [path, path.parent / "." / ".." / path.parent.name / path.name, link]
    if path.is_file():
        hard = path.with_name("hard-" + path.name)
        os.link(path, hard)
        names.append(hard)
    return names


@pytest.mark.parametrize(("command", "flag", "read"), CASES, ids=lambda case: str(case))
def test_an_output_that_is_an_input_is_refused(
    place: Path,
    longbel: Longbel,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    flag: str,
    read: str,
) -> None:
    monkeypatch.chdir(place)
    names = spellings(place / read)
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    for name in names:
        done = longbel(*command, flag, name)
        assert done.code == 2, done.err
        assert "which is read" in done.err
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_a_run_lies_in_the_folder_of_its_corpus(
    tmp_path: Path, kb_folder: Path, longbel: Longbel
) -> None:
    """The same command again, and after a stop, finds the corpus that it found at first."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    write_corpus(folder / "notes.jsonl")
    out = folder / "preds.jsonl"
    command = ("link", folder, "--kb", kb_folder, "--linker", "exact", "--out", out)
    assert longbel(*command).code == 0
    first = out.read_bytes()
    again = longbel(*command)
    assert again.code == 0 and "already finished" in again.err
    assert longbel(*command, "--restart").code == 0
    assert out.read_bytes() == first
    shards = ["--out", folder / "shards.jsonl", "--shard"]
    for shard in ("1/2", "2/2"):
        assert longbel(*command[:6], *shards, shard).code == 0
    assert longbel("merge", folder / "shards.jsonl").code == 0
    assert (folder / "shards.jsonl").read_bytes() == first
    fused = ("fuse", out, folder / "shards.jsonl", "--out", folder / "fused.jsonl")
    assert longbel(*fused).code == 0
    assert longbel("check", folder).code == 0


def test_a_job_s_other_files_lie_there_too(
    tmp_path: Path, kb_folder: Path, longbel: Longbel
) -> None:
    write_corpus(tmp_path / "notes.jsonl")
    command = (
        "link", tmp_path, "--kb", kb_folder, "--linker", "exact", "--out", tmp_path / "p.jsonl",
        "--stats", tmp_path / "stats.json",
    )  # fmt: skip
    assert [longbel(*command).code for _ in range(2)] == [0, 0]
    assert longbel(*command, "--restart").code == 0
    assert (tmp_path / "stats.json").exists()


def test_what_is_written_beside_inputs_is_none_of_them(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("a")
    refuse_inputs([("--out", tmp_path / "folder" / "new.jsonl")], [tmp_path / "folder"])
    refuse_inputs([("--out", None), ("--out", Path("-"))], [Path("-"), None, tmp_path / "folder"])
    with pytest.raises(LongbelError, match="which is read"):
        refuse_inputs([("--out", tmp_path / "folder")], [tmp_path / "folder" / "a.txt"])
    with pytest.raises(LongbelError, match="which is read"):
        refuse_inputs([("--out", tmp_path / "folder" / "a.txt")], [tmp_path / "folder"])
