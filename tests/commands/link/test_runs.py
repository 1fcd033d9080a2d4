"""The runs of `longbel link`: shards, stops, what is resumed, refused or overwritten."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import Longbel, json_lines, write_json_lines
from tests.support.link_cases import DOCUMENTS, ODD, ORDER, identities


def test_a_refused_start_leaves_no_copy_of_standard_input(
    longbel: Longbel, corpus: Path, tmp_path: Path
) -> None:
    text = corpus.read_text()
    taken = tmp_path / "taken.jsonl"
    taken.write_text("of other origin\n")
    assert longbel("link", "-", "--out", taken, stdin=text).code == 4
    assert not list(tmp_path.glob("taken.jsonl.run/*input*"))
    out = tmp_path / "preds.jsonl"
    assert longbel("link", "-", "--out", out, stdin=text).code == 0
    kept = list(out.with_name("preds.jsonl.run").glob("input-*"))
    assert longbel("link", "-", "--out", out, stdin=text + "\n").code == 4
    assert longbel("link", "-", "--out", out, "--beams", 2, stdin=text).code == 4
    assert list(out.with_name("preds.jsonl.run").glob("input-*")) == kept
    assert len(kept) == 1 and longbel("link", "-", "--out", out, stdin="").code == 0
    unread = tmp_path / "unread.jsonl"
    assert longbel("link", "-", "--format", "none", "--out", unread, stdin=text + " ").code == 2
    assert not list(tmp_path.glob("unread.jsonl.run/*input*"))
    fused = tmp_path / "fused.jsonl"
    names = ("--ensemble", "hybrid_long,long", "--out", fused)
    assert longbel("link", "-", *names, stdin=text).code == 0
    assert longbel("link", "-", *names, "--beams", 2, stdin=text).code == 4
    assert len(list(fused.with_name("fused.jsonl.run").glob("input-*"))) == 1


def test_dry_run_writes_nothing(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    done = longbel("link", corpus, "--out", tmp_path / "p.jsonl", "--dry-run")
    assert done.code == 0
    assert "documents          4" in done.out and "mentions           8" in done.out
    assert {path.name for path in tmp_path.iterdir()} == {"corpus.jsonl"}


def test_dry_run_keeps_to_the_limit(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    done = longbel("link", corpus, "--out", tmp_path / "p.jsonl", "--dry-run", "--limit", 1)
    assert done.code == 0
    assert "mentions           3" in done.out and "first 1 documents" in done.out


def test_shards_merge_to_the_same_bytes(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    assert longbel("link", corpus, "--out", whole, "--window", 1).code == 0
    for shard in ("1/2", "2/2"):
        done = longbel("link", corpus, "--out", parts, "--window", 1, "--shard", shard)
        assert done.code == 0
        assert not parts.exists()
    assert longbel("status", parts).code == 0
    assert longbel("merge", parts).code == 0
    assert parts.read_bytes() == whole.read_bytes()
    assert identities(json_lines(parts)) == ORDER


def test_merge_refuses_a_gap(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.jsonl"
    assert longbel("link", corpus, "--out", out, "--window", 1, "--shard", "1/2").code == 0
    done = longbel("merge", out)
    assert done.code == 4 and not out.exists()


def test_a_finished_run_is_left_alone(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.jsonl"
    assert longbel("link", corpus, "--out", out).code == 0
    before = (out.read_bytes(), out.stat().st_mtime_ns)
    done = longbel("link", corpus, "--out", out)
    assert done.code == 0 and "already finished" in done.err
    assert (out.read_bytes(), out.stat().st_mtime_ns) == before


def test_another_configuration_is_refused(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.jsonl"
    assert longbel("link", corpus, "--out", out).code == 0
    before = out.read_bytes()
    for change in (["--beams", 3], ["--context-format", "long"], ["--composite"]):
        done = longbel("link", corpus, "--out", out, *change)
        assert done.code == 4, change
        assert "--restart" in done.err
        assert out.read_bytes() == before
    done = longbel("link", corpus, "--out", out, "--beams", 3, "--restart")
    assert done.code == 0
    assert max(len(line["beams"]) for line in json_lines(out)) == 3
    assert (tmp_path / "p.jsonl.run.1").is_dir()
    assert longbel("link", corpus, "--out", out, "--overwrite").code == 0
    assert out.read_bytes() == before


def as_0_1_0_left_it(out: Path) -> None:
    """A run's record as version 0.1.0 wrote it: one fingerprint, by another formula."""
    record = out.with_name(f"{out.name}.run") / "run.json"
    content = json.loads(record.read_text())
    del content["configuration"]["tokenizer"]
    content["configuration"] |= {"model": "0123456789abcdef", "longbel version": "0.1.0"}
    content["version"] = "0.1.0"
    record.write_text(json.dumps(content, indent=1) + "\n")


def test_a_run_of_an_older_version_is_told_apart_and_still_read(
    longbel: Longbel, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "p.jsonl"
    assert longbel("link", corpus, "--out", out).code == 0
    before = out.read_bytes()
    as_0_1_0_left_it(out)
    done = longbel("link", corpus, "--out", out)
    assert done.code == 4 and out.read_bytes() == before
    assert 'model: "0123456789abcdef" in the run' in done.err
    assert "tokenizer: unset in the run" in done.err
    assert longbel("status", out).code == 0
    assert longbel("score", out, "--gold", corpus).code == 0
    assert longbel("explain", out, "--mention", "d1:T1", "--json").code == 0
    assert out.read_bytes() == before


def test_shards_of_an_older_version_are_merged(
    longbel: Longbel, corpus: Path, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole.jsonl", tmp_path / "p.jsonl"
    longbel("link", corpus, "--out", whole, "--window", 1)
    for shard in ("1/2", "2/2"):
        assert longbel("link", corpus, "--out", out, "--window", 1, "--shard", shard).code == 0
    as_0_1_0_left_it(out)
    assert longbel("merge", out).code == 0
    assert out.read_bytes() == whole.read_bytes()


def test_what_overwrites_a_run_is_surveyed_first(
    longbel: Longbel, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "p.jsonl"
    assert longbel("link", corpus, "--out", out).code == 0
    before = out.read_bytes()
    odd = write_json_lines(tmp_path / "odd.jsonl", *DOCUMENTS, ODD)
    done = longbel("link", odd, "--out", out, "--overwrite")
    assert done.code == 3 and "Smurf (1)" in done.err and out.read_bytes() == before
    done = longbel("link", odd, "--out", out, "--overwrite", "--unknown-group", "all")
    assert done.code == 0
    run = json.loads((tmp_path / "p.jsonl.run" / "run.json").read_text())
    assert run["free"]["mentions"] == len(ORDER) + 2


def test_a_file_of_other_origin_is_not_overwritten(
    longbel: Longbel, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "p.jsonl"
    out.write_text("my notes\n")
    assert longbel("link", corpus, "--out", out).code == 4
    assert out.read_text() == "my notes\n"
    assert longbel("link", corpus, "--out", out, "--overwrite").code == 0
    assert identities(json_lines(out)) == ORDER


@pytest.mark.parametrize("location", ["linking", "pages", "commit", "prompts"])
def test_a_window_stopped_and_gone_on_with(
    longbel: Longbel, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    """A run that dies in its second window ends as one that nothing disturbed. So do its prompts,
    but for those of a window that was committed just before."""
    from longbel_cli.commands import link
    from longbel_cli.linking.engine import LinkingEngine
    from longbel_cli.linking.prompt_file import PromptFile
    from longbel_cli.runs.run import Run

    whole, out = tmp_path / "whole.jsonl", tmp_path / "p.jsonl"
    arguments = ("--window", 1, "--prompts")
    assert longbel("link", corpus, "--out", whole, *arguments, tmp_path / "a.jsonl").code == 0
    calls = 0

    def dies(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("Zanthoma")
        return undisturbed(*arguments, **named)

    with monkeypatch.context() as patched:
        if location == "pages":
            undisturbed: Any = lambda documents, predictions: None  # noqa: E731
            patched.setattr(link, "_pages", lambda linker, folder: dies)
        else:
            owner: Any = {"linking": LinkingEngine, "commit": Run, "prompts": PromptFile}[location]
            name = {"linking": "link_window", "commit": "commit", "prompts": "write"}[location]
            undisturbed = getattr(owner, name)
            patched.setattr(owner, name, dies)
        pages = ("--saliency", tmp_path / "pages") if location == "pages" else ()
        done = longbel("link", corpus, "--out", out, *arguments, tmp_path / "b.jsonl", *pages)
        assert done.code == 1 and "RuntimeError" in done.err
    assert not out.exists() and out.with_name("p.jsonl.part").exists()
    with (tmp_path / "b.jsonl").open("a") as file:
        file.write('{"document_id": "half a li')
    assert longbel("link", corpus, "--out", out, *arguments, tmp_path / "b.jsonl").code == 0
    assert out.read_bytes() == whole.read_bytes()
    rows = identities(json_lines(tmp_path / "b.jsonl"))
    assert rows == [each for each in ORDER if location != "prompts" or each[0] != "d2"]


def test_a_signal_before_anything_is_linked(
    longbel: Longbel, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from longbel_cli.linking.linker import Linker
    from longbel_cli.linking.reading import CorpusReader

    for owner, name in ((Linker, "open"), (CorpusReader, "survey")):
        undisturbed = getattr(owner, name)

        def signalled(*arguments: Any, undisturbed: Any = undisturbed) -> Any:
            os.kill(os.getpid(), signal.SIGTERM)
            return undisturbed(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr(owner, name, signalled)
            done = longbel("link", corpus, "--out", tmp_path / "p.jsonl")
        assert done.code == 75 and "SIGTERM" in done.err
        assert {path.name for path in tmp_path.iterdir()} == {"corpus.jsonl"}
    done = longbel("link", corpus, "--out", tmp_path / "p.jsonl", "--time-limit", "0.0001s")
    assert done.code == 75 and "mentions" not in done.err  # it counts from the start


def test_each_shard_writes_its_own_prompts(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    for shard in ("1/2", "2/2"):
        done = longbel(
            "link", corpus, "--out", tmp_path / "p.jsonl", "--window", 1, "--shard", shard,
            "--prompts", tmp_path / "prompts.jsonl",
        )  # fmt: skip
        assert done.code == 0
    first = identities(json_lines(tmp_path / "prompts.00001-of-00002.jsonl"))
    second = identities(json_lines(tmp_path / "prompts.00002-of-00002.jsonl"))
    assert sorted(first + second) == sorted(ORDER) and first and second
