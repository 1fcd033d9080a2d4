"""Names of outputs that no one expects: not UTF-8, a link that leads nowhere, a link to itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.command_line import Longbel, write_json_lines
from tests.support.link_cases import DOCUMENTS

NOT_UTF8 = os.fsdecode(b"out\xff")
# A command, and whether its output may have a name that is not UTF-8.
COMMANDS = {
    "link corpus.jsonl --kb kb --linker exact --out OUT": 0,
    "link corpus.jsonl --kb kb --linker exact --out new.jsonl --stats OUT": 0,
    "detect corpus.jsonl --kb kb --out OUT": 0,
    "fuse preds.jsonl other.jsonl --out OUT": 0,
    "convert preds.jsonl corpus.jsonl --to brat --out OUT": 0,
    "convert preds.jsonl corpus.jsonl --to bigbio --out OUT": 0,
    "convert preds.jsonl corpus.jsonl --to pubtator --out OUT": 0,
    "score preds.jsonl --n-boot 5 --report OUT": 0,
    "build-kb names.tsv --out OUT": 3,
}


@pytest.fixture
def folder(
    tmp_path: Path, longbel: Longbel, kb_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.chdir(tmp_path)
    write_json_lines(tmp_path / "corpus.jsonl", *DOCUMENTS)
    (tmp_path / "kb").symlink_to(kb_folder)
    (tmp_path / "names.tsv").write_text("code\tname\tgroup\nC1\tFever\tDISO\n")
    for out in ("preds.jsonl", "other.jsonl"):
        command = ("link", "corpus.jsonl", "--kb", "kb", "--linker", "exact", "--out", out)
        assert longbel(*command).code == 0
    return tmp_path


def words(command: str, out: str) -> list[str]:
    return [out if word == "OUT" else word for word in command.split()]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_that_is_not_utf8(folder: Path, longbel: Longbel, command: str) -> None:
    done = longbel(*words(command, NOT_UTF8))
    assert done.code == COMMANDS[command], done.err
    assert (folder / NOT_UTF8).exists() == (done.code == 0)
    if "--linker exact --out OUT" in command or command.startswith("fuse"):
        fused = ("fuse", "preds.jsonl", NOT_UTF8, "--out", "fused.jsonl")
        assert longbel(*fused).code == 0
        assert longbel("score", NOT_UTF8, "--json").code == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_a_link_that_leads_nowhere_names_a_new_output(
    folder: Path, longbel: Longbel, command: str
) -> None:
    (folder / "link").symlink_to("there")
    done = longbel(*words(command, "link"))
    assert done.code == 0, done.err
    assert (folder / "link").exists()
    assert (folder / "there").exists() == (
        "--kb kb --out OUT" not in command and "--linker exact --out OUT" not in command
    )


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("target", ["nowhere/there", "link"])
def test_a_link_to_no_folder_or_to_itself_is_refused_or_written(
    folder: Path, longbel: Longbel, command: str, target: str
) -> None:
    """Never an internal error; where it is refused, nothing is left."""
    (folder / "link").symlink_to(target)
    before = sorted(folder.rglob("*"))
    done = longbel(*words(command, "link"))
    assert done.code in (0, 2, 3, 4), done.err
    if done.code:
        assert sorted(path for path in folder.rglob("*") if "new.jsonl" not in path.name) == before
