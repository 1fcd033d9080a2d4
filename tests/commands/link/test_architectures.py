"""Models that the packed decoder cannot compute: the way that the message names is followed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.architectures import tiny_causal_model
from tests.support.command_line import Longbel, json_lines
from tests.support.link_cases import ORDER, identities
from tests.support.tiny import tiny_tokenizer


@pytest.mark.parametrize("kind", ["diffllama", "gemma2", "bloom"])
def test_the_hint_works(longbel: Longbel, corpus: Path, tmp_path: Path, kind: str) -> None:
    model = tiny_causal_model(kind)
    folder, out = tmp_path / "model", tmp_path / "p.jsonl"
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    common = ("link", corpus, "--model", folder, "--out", out, "--beams", 2)
    done = longbel(*common)
    assert done.code == 3 and not out.exists()
    assert type(model).__name__ in done.err and "--decoder reference" in done.err
    done = longbel(*common, "--decoder", "reference")
    assert done.code == 0, done.err
    assert identities(json_lines(out)) == ORDER
    assert all(line["beams"] for line in json_lines(out))


def test_the_check_is_said_in_the_statistics(
    longbel: Longbel, corpus: Path, tmp_path: Path
) -> None:
    stats = tmp_path / "stats.json"
    assert longbel("link", corpus, "--out", tmp_path / "p.jsonl", "--stats", stats).code == 0
    check = json.loads(stats.read_text())["self_check"]
    assert set(check) == {"tokens", "seconds", "difference", "allowed"}
    assert 0 < check["tokens"] <= 64 and check["difference"] <= check["allowed"]
    reference = ("--decoder", "reference", "--stats", stats, "--overwrite")
    assert longbel("link", corpus, "--out", tmp_path / "p.jsonl", *reference).code == 0
    assert json.loads(stats.read_text())["self_check"] is None
