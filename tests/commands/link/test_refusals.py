"""What `longbel link` refuses or quarantines, what it says then, and its exit codes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kb_builder.errors import LongbelError
from longbel_cli.sample_paths import sample
from tests.support.command_line import Longbel, json_lines, write_json_lines
from tests.support.link_cases import DOCUMENTS, ODD, ORDER, identities, misplaced
from tests.support.paths import ROOT


def test_an_unknown_group_stops_the_run(longbel: Longbel, tmp_path: Path) -> None:
    corpus = write_json_lines(tmp_path / "c.jsonl", *DOCUMENTS, ODD)
    out = tmp_path / "p.jsonl"
    done = longbel("link", corpus, "--out", out)
    assert done.code == 3
    assert "Smurf (1)" in done.err
    assert "Anatomy, Chemicals & Drugs, Disorders" in done.err
    assert not out.exists() and not out.with_name("p.jsonl.part").exists()


def test_an_unknown_group_is_skipped_and_listed(longbel: Longbel, tmp_path: Path) -> None:
    corpus = write_json_lines(tmp_path / "c.jsonl", *DOCUMENTS, ODD)
    out = tmp_path / "p.jsonl"
    done = longbel("link", corpus, "--out", out, "--unknown-group", "skip")
    assert done.code == 5
    assert identities(json_lines(out)) == [*ORDER, ("odd", "T1")]
    (row,) = json_lines(tmp_path / "p.jsonl.run" / "errors.jsonl")
    assert (row["document_id"], row["mention_id"]) == ("odd", "T2")
    assert row["line"] == 5 or row["source"].endswith("c.jsonl:5")


def test_an_unknown_group_is_linked_against_all(longbel: Longbel, tmp_path: Path) -> None:
    corpus = write_json_lines(tmp_path / "c.jsonl", ODD)
    common = ("link", corpus, "--out", "-", "--unknown-group", "all", "--beams", 20)
    done = longbel(*common)
    assert done.code == 0 and identities(done.lines) == [("odd", "T1"), ("odd", "T2")]
    inside, outside = done.lines
    assert inside["semantic_group"] == "Disorders" and len(inside["beams"]) == 10
    codes = {beam["pred_concept_code"] for beam in outside["beams"]}
    assert {"C0000006", "C0000008", "C0000001"} <= codes
    reference = longbel(*common, "--decoder", "reference")
    assert [beam["pred_concept_name"] for beam in reference.lines[1]["beams"]] == [
        beam["pred_concept_name"] for beam in outside["beams"]
    ]


def test_a_type_map(longbel: Longbel, tmp_path: Path) -> None:
    corpus = write_json_lines(tmp_path / "c.jsonl", ODD)
    table = tmp_path / "types.tsv"
    table.write_text("Smurf\tAnatomy\n")
    done = longbel("link", corpus, "--out", "-", "--type-map", table)
    assert [line["semantic_group"] for line in done.lines] == ["Disorders", "Anatomy"]


def test_bad_input_is_quarantined(longbel: Longbel, tmp_path: Path) -> None:
    corpus = write_json_lines(
        tmp_path / "c.jsonl", DOCUMENTS[0], '{"broken": Zanthoma', misplaced(), DOCUMENTS[0]
    )
    out = tmp_path / "p.jsonl"
    done = longbel("link", corpus, "--out", out)
    assert done.code == 5 and "errors.jsonl" in done.err
    assert identities(json_lines(out)) == [*ORDER[:3], ("bad", "T3")]
    rows = json_lines(tmp_path / "p.jsonl.run" / "errors.jsonl")
    assert [(row["line"], row["document_id"], row["mention_id"]) for row in rows] == [
        (2, None, None), (3, "bad", "T1"), (3, "bad", "T2"), (4, "d1", None),
    ]  # fmt: skip
    assert [row["whole_document"] for row in rows] == [True, False, False, True]
    assert "Zanthoma" not in json.dumps(rows)
    assert longbel("link", corpus, "--out", out).code == 0  # already finished
    assert longbel("link", corpus, "--out", "-").code == 5


def test_on_error_fail(longbel: Longbel, tmp_path: Path) -> None:
    corpus = write_json_lines(tmp_path / "c.jsonl", DOCUMENTS[0], misplaced())
    out = tmp_path / "p.jsonl"
    done = longbel("link", corpus, "--out", out, "--on-error", "fail")
    assert done.code == 3 and "c.jsonl:2" in done.err and "T1" in done.err
    assert not out.exists()


def test_bad_corpora(longbel: Longbel, tmp_path: Path) -> None:
    """Each gives exit code 3, one message with the path, and no file under the final name."""
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "broken.jsonl").write_text("{Zanthoma\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary.jsonl").write_bytes(bytes(range(256)))
    for index, name in enumerate(
        ("empty.jsonl", "broken.jsonl", "folder", "binary.jsonl", "missing.jsonl")
    ):
        for out in (tmp_path / f"p{index}.jsonl", "-"):
            done = longbel("link", tmp_path / name, "--out", out)
            assert done.code == 3, (name, done)
            assert name in done.err and done.err.count("error:") == 1
            assert done.out == ""
        assert not (tmp_path / f"p{index}.jsonl").exists()
        assert not (tmp_path / f"p{index}.jsonl.part").exists()


def test_bad_models_and_knowledge_bases(
    longbel: Longbel, corpus: Path, model_folder: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(model_folder, bare)
    (bare / "model.safetensors").unlink()
    (tmp_path / "empty").mkdir()
    cases: list[tuple[list[Any], int, str]] = [
        (["--model", bare], 3, "no weights"),
        (["--model", tmp_path / "empty"], 3, "config.json"),
        (["--model", tmp_path / "nowhere"], 3, "nowhere"),
        (["--kb", tmp_path / "empty"], 3, "kb.json"),
        (["--kb", tmp_path / "nowhere"], 3, "nowhere"),
    ]
    for index, (arguments, code, words) in enumerate(cases):
        out = tmp_path / f"p{index}.jsonl"
        done = longbel("link", corpus, "--out", out, *arguments)
        assert (done.code, words in done.err) == (code, True), (arguments, done)
        assert done.err.count("error:") == 1
        assert not out.exists() and not out.with_name(out.name + ".part").exists()


def test_a_trie_of_another_tokenizer_is_refused(
    longbel: Longbel, corpus: Path, kb_folder: Path, tmp_path: Path
) -> None:
    """A trie under this tokenizer's name that was made for another one."""
    base = tmp_path / "kb"
    shutil.copytree(kb_folder, base, ignore=shutil.ignore_patterns("tries"))
    longbel("link", corpus, "--out", tmp_path / "made.jsonl", "--kb", base)  # makes its trie
    (mapped,) = (base / "tries").glob("*.arrow")
    other = mapped.with_name("0" * 16 + ".arrow")
    mapped.rename(other)
    other.rename(mapped)
    content = mapped.read_bytes()
    digest = mapped.stem.encode()
    assert digest in content
    mapped.write_bytes(content.replace(digest, b"f" * 16))
    out = tmp_path / "p.jsonl"
    done = longbel("link", corpus, "--out", out, "--kb", base)
    assert done.code == 3 and "tokenizer" in done.err
    assert not out.exists()


USAGE: dict[str, list[str]] = {
    "no out": [],
    "beams 0": ["--out", "-", "--beams", "0"],
    "beams a word": ["--out", "-", "--beams", "five"],
    "an unknown format": ["--out", "-", "--context-format", "tall"],
    "an unknown corpus format": ["--out", "-", "--format", "docx"],
    "an unknown decoder": ["--out", "-", "--decoder", "magic"],
    "an unknown dtype": ["--out", "-", "--dtype", "int3"],
    "an unknown flag": ["--out", "-", "--frobnicate"],
    "an unknown language": ["--out", "-", "--context-format", "short", "--language", "tlh"],
    "no language for sentences": ["--out", "-", "--context-format", "short"],
    "an unknown device": ["--out", "-", "--device", "tpu:7"],
    "a shard out of range": ["--out", "p.jsonl", "--shard", "3/2"],
    "a shard that is none": ["--out", "p.jsonl", "--shard", "one"],
    "a time that is none": ["--out", "p.jsonl", "--time-limit", "soon"],
    "unknown groups": ["--out", "-", "--unknown-group", "perhaps"],
    "on error": ["--out", "-", "--on-error", "cry"],
    "a budget of nothing": ["--out", "-", "--max-batch-tokens", "0"],
    "no room for a prompt": ["--out", "-", "--context-tokens", "128"],
    "a window of nothing": ["--out", "-", "--window", "0"],
    "a negative limit": ["--out", "-", "--limit", "-1"],
    "no threads": ["--out", "-", "--threads", "0"],
    "a score that is no number": ["--out", "p.jsonl", "--min-score", "nan"],
    "a score without end": ["--out", "p.jsonl", "--min-score=-inf"],
}


@pytest.mark.parametrize("name", USAGE)
def test_usage(
    longbel: Longbel, corpus: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = longbel("link", corpus, *USAGE[name])
    assert done.code == 2, done
    assert done.out == "" and done.err
    assert {path.name for path in tmp_path.iterdir()} == {"corpus.jsonl"}


def test_no_room_for_the_output(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    """Folders of a result are made; where a file lies in the way nothing can be."""
    out = tmp_path / "no" / "such" / "p.jsonl"
    assert longbel("link", corpus, "--out", out).code == 0 and out.exists()
    (tmp_path / "file").write_text("x")
    for arguments in (["--out", tmp_path / "file" / "p.jsonl"],
                      ["--out", "-", "--saliency", tmp_path / "file"]):  # fmt: skip
        done = longbel("link", corpus, *arguments)
        assert done.code == 3 and "file" in done.err and "internal" not in done.err


@pytest.mark.parametrize("flag", ["--stats", "--prompts"])
@pytest.mark.parametrize("name", ["no/such/file", "folder"])
def test_files_that_cannot_be_written_are_told_first(
    longbel: Longbel, corpus: Path, tmp_path: Path, flag: str, name: str
) -> None:
    (tmp_path / "folder").mkdir()
    for out in (tmp_path / "p.jsonl", "-"):
        done = longbel("link", corpus, "--out", out, flag, tmp_path / name)
        assert done.code == 2 and flag in done.err and done.out == ""
    assert {path.name for path in tmp_path.iterdir()} == {"corpus.jsonl", "folder"}


def test_names_of_files_that_are_no_utf_8(longbel: Longbel, tmp_path: Path) -> None:
    """A folder's may be anything; a document's name is its id."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    for name in (b"x", b"\xe9"):
        for suffix, text in ((".txt", "Fever.\n"), (".ann", "T1\tDISO 0 5\tFever\n")):
            (folder / os.fsdecode(name + suffix.encode())).write_text(text)
    out = tmp_path / "p.jsonl"
    command = ("link", folder, "--linker", "exact", "--out", out)
    assert longbel(*command).code == 5  # one was left out
    assert identities(json_lines(out)) == [("x", "T1")]
    again = longbel(*command)
    assert again.code == 0 and "already finished" in again.err


def test_as_a_process_of_its_own(kb_folder: Path, tmp_path: Path) -> None:
    """The exit code and both streams, as a shell sees them."""
    command = [sys.executable, "-m", "longbel_cli", "link", str(tmp_path / "missing.jsonl")]
    common = ["--out", "-", "--linker", "exact", "--kb", str(kb_folder)]
    done = subprocess.run([*command, *common], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 3 and done.stdout == ""
    assert "missing.jsonl" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "flags",
    [("--shard", "1/2"), ("--time-limit", "1h"), ("--ensemble", "hybrid_medium,hybrid_long")],
)
def test_stdout_goes_without_what_needs_a_run(
    longbel: Longbel, corpus: Path, flags: tuple[str, str]
) -> None:
    done = longbel("link", corpus, "--out", "-", *flags)
    assert done.code == 2 and done.out == "" and flags[0] in done.err


def test_beams_of_nothing_are_refused_from_python_too(model_folder: Path, kb_folder: Path) -> None:
    from longbel_cli import Linker

    with pytest.raises(LongbelError, match="--beams 0"):
        list(Linker.load(model_folder, kb_folder).link([], beams=0))


def test_the_sample_model_is_used_with_another_kb_only_where_it_is_named(
    longbel: Longbel,
    corpus: Path,
    kb_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LONGBEL_MODEL")
    monkeypatch.delenv("LONGBEL_KB")
    kb, out = shutil.copytree(kb_folder, tmp_path / "kb"), tmp_path / "p.jsonl"
    common = ("link", corpus, "--out", out, "--limit", 1, "--beams", 2, "--kb")
    done = longbel(*common, kb)
    assert done.code == 2
    assert "no --model" in done.err and "--model sample" in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.jsonl", "kb"]
    assert longbel(*common, kb, "--model", "sample").code == 0
    record = json.loads((tmp_path / "p.jsonl.run" / "run.json").read_text())
    assert record["free"]["model_path"] == str(sample("model"))
    mention = ":".join(identities(json_lines(out))[0])
    done = longbel("explain", out, "--model", "sample", "--mention", mention, "--json")
    assert done.code == 0 and json.loads(done.out)["mention_id"] in mention


def test_a_copy_of_the_sample_kb_goes_with_the_sample_model(
    longbel: Longbel, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LONGBEL_MODEL")
    kb = shutil.copytree(sample("kb"), tmp_path / "kb")
    done = longbel("link", corpus, "--out", "-", "--limit", 1, "--dry-run", "--kb", kb)
    assert done.code == 0 and "no --model: using the bundled sample model" in done.err
