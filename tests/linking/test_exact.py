"""The exact baseline, and what all baselines that rank names share: engine, job and flags."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.linking.baselines import open_baseline
from longbel_cli.linking.baselines.exact import ExactRanker
from longbel_cli.linking.baselines.ranking import RankingEngine
from longbel_cli.linking.options import BaselineOptions
from tests.support.baseline_cases import document, small_kb
from tests.support.command_line import Longbel, json_lines, write_json_lines
from tests.support.paths import ROOT, SAMPLE


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> KnowledgeBase:
    return small_kb(tmp_path_factory.mktemp("kb"))


# mention, group, beams, expected (code, name)
MATCHES = [
    # C3's title is spelled so; C1 and C2 have titles of another spelling and follow by code.
    ("cold", "Disorders", 5, [("C3", "CoLD"), ("C1", "COLD"), ("C2", "Cold")]),
    ("COLD", "Disorders", 5, [("C3", "CoLD"), ("C1", "COLD"), ("C2", "Cold")]),
    ("cold", "Disorders", 2, [("C3", "CoLD"), ("C1", "COLD")]),
    ("common COLD", "Disorders", 5, [("C2", "Common cold")]),
    ("common\u00a0cold", "Disorders", 5, [("C2", "Common cold")]),
    ("common\ncold", "Disorders", 5, [("C2", "Common cold")]),
    ("Common cold ", "Disorders", 5, [("C2", "Common cold")]),
    (" \tcommon cold\r\n", "Disorders", 5, [("C2", "Common cold")]),
    ("cold", "Physiology", 5, [("C4", "COLD")]),
    # Brackets are cleaned in mentions as they are in names.
    ("cold [temperature]", "Physiology", 5, [("C4", "Cold (temperature)")]),
    ("cold", "Anatomy", 5, []),
    ("col", "Disorders", 5, []),
    ("STRASSE", "Anatomy", 5, [("C5", "Straße")]),
    # A group that the knowledge base lacks is all of them.
    ("cold", "Smurf", 5, [("C3", "CoLD"), ("C1", "COLD"), ("C2", "Cold"), ("C4", "COLD")]),
]


@pytest.mark.parametrize(("mention", "group", "beams", "expected"), MATCHES)
def test_names_that_are_the_mention(
    base: KnowledgeBase,
    tmp_path: Path,
    mention: str,
    group: str,
    beams: int,
    expected: list[tuple[str, str]],
) -> None:
    from dataclasses import replace

    from longbel_cli.corpora import read_corpus

    text = f"See {mention} here."
    corpus = write_json_lines(tmp_path / "c.jsonl", document("d", text, (mention, "any")))
    (first,) = read_corpus([corpus])
    first = replace(first, mentions=tuple(replace(m, semantic_group=group) for m in first.mentions))
    engine = open_baseline("exact", base, BaselineOptions(beams=beams)).engine()
    (result,) = engine.link_window([first])
    assert [(c.concept_code, c.concept_name) for c in result.candidates] == expected
    assert [(c.rank, c.score) for c in result.candidates] == [
        (rank, 1.0) for rank in range(1, len(expected) + 1)
    ]
    assert result.mention == mention and result.semantic_group == group


def test_forms_of_one_hash_are_told_apart(
    base: KnowledgeBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longbel_cli.linking.baselines.exact.hash", lambda text: 7, raising=False)
    ranker = ExactRanker(base)
    rows = base.rows_of_group("Disorders")
    (cold, nothing) = ranker.rank(["common cold", "commoner cold"], rows, 5)
    assert [base.name(hit.row) for hit in cold] == ["Common cold"] and nothing == []


def test_the_sample_corpus(longbel: Longbel, tmp_path: Path) -> None:
    """Every prediction against a dictionary of all names, and the score against a count."""
    out = tmp_path / "p.jsonl"
    corpus, kb = SAMPLE / "corpus" / "bigbio", SAMPLE / "kb"
    written = ("--abbreviations", "off")
    done = longbel("link", corpus, "--linker", "exact", "--kb", kb, "--out", out, *written)
    assert done.code == 0 and "128 mentions" in done.err
    concepts = pq.read_table(kb / "concepts.parquet")["code"].to_pylist()
    codes: dict[tuple[str, str], set[str]] = {}
    for name in pq.read_table(kb / "names.parquet").to_pylist():
        form = (name["group"], name["name"].casefold())
        codes.setdefault(form, set()).add(name["code"])
        assert name["code"] in concepts
    lines = json_lines(out)
    for line in lines:
        form = (line["semantic_group"], line["mention"].replace("\n", " ").casefold())
        result = {beam["pred_concept_code"] for beam in line["beams"]}
        assert result == codes.get(form, set())
    right = sum(line["pred_concept_code"] == line["gold_concept_code"] for line in lines)
    none = [line for line in lines if not line["beams"]]
    assert none and all(line["pred_concept_code"] is None for line in none)
    done = longbel("score", out, "--json")
    report = json.loads(done.out)
    assert report["recall@1"]["value"] == pytest.approx(right / len(lines))
    assert report["n_mentions"] == len(lines) == 128
    assert "|linker:exact|model:none|" in report["signature"]
    key = f"{lines[0]['document_id']}:{lines[0]['mention_id']}"
    done = longbel("explain", out, "--mention", key, "--out", tmp_path / "page.html")
    assert done.code == 2 and "linked by the baseline exact" in done.err


def test_stopped_and_gone_on_with(
    longbel: Longbel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that dies in its third window ends as one that nothing disturbed, sharded or not."""
    corpus, kb = SAMPLE / "corpus" / "bigbio", SAMPLE / "kb"
    flags: tuple[Any, ...] = ("link", corpus, "--kb", kb, "--linker", "exact", "--window", 2)
    whole, out, parts = (tmp_path / f"{name}.jsonl" for name in ("whole", "p", "parts"))
    assert longbel(*flags, "--out", whole).code == 0
    linked = RankingEngine.link_window
    windows = 0

    def dies(self: RankingEngine, *arguments: Any) -> Any:
        nonlocal windows
        windows += 1
        if windows == 3:
            raise RuntimeError("a test")
        return linked(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(RankingEngine, "link_window", dies)
        assert longbel(*flags, "--out", out).code == 1
    assert not out.exists() and out.with_name("p.jsonl.part").exists()
    done = longbel(*flags[:4], "--linker", "tfidf", "--window", 2, "--out", out)
    assert done.code == 4 and 'linker: "exact" in the run, "tfidf" now' in done.err
    done = longbel(*flags, "--beams", 3, "--out", out)
    assert done.code == 4 and "beams: 5 in the run, 3 now" in done.err
    assert longbel(*flags, "--out", out).code == 0
    assert out.read_bytes() == whole.read_bytes()
    assert "already finished" in longbel(*flags, "--out", out).err
    for shard in ("1/2", "2/2"):
        assert longbel(*flags, "--out", parts, "--shard", shard).code == 0
    assert longbel("merge", parts).code == 0
    assert parts.read_bytes() == whole.read_bytes()
    done = longbel(*flags, "--out", "-")
    assert done.code == 0 and done.out == whole.read_text(encoding="utf-8")


def test_bad_documents_are_left_out_and_dry_runs_write_nothing(
    longbel: Longbel, base: KnowledgeBase, tmp_path: Path
) -> None:
    bad = document("bad", "A cold.", ("cold", "Disorders"))
    bad["entities"][0]["offsets"] = [[50, 54]]
    corpus = write_json_lines(
        tmp_path / "c.jsonl", document("good", "A cold.", ("cold", "Disorders")), bad
    )
    flags = ("link", corpus, "--kb", base.path, "--linker", "exact", "--out")
    done = longbel(*flags, tmp_path / "p.jsonl", "--dry-run")
    assert done.code == 0 and "mentions           1 (Disorders 1)" in done.out
    assert "quarantined        1" in done.out and "prompt tokens" not in done.out
    assert [path.name for path in tmp_path.iterdir()] == ["c.jsonl"]
    done = longbel(*flags, "-")
    assert done.code == 5 and [line["document_id"] for line in done.lines] == ["good"]
    assert longbel(*flags, "-", "--limit", 1).code == 0
    odd = write_json_lines(tmp_path / "odd.jsonl", document("odd", "A cold.", ("cold", "Smurf")))
    done = longbel("link", odd, *flags[2:], "-")
    assert done.code == 3 and "Smurf (1)" in done.err
    done = longbel("link", odd, *flags[2:], "-", "--unknown-group", "all")
    assert done.code == 0 and len(done.lines[0]["beams"]) == 4


# flags, a piece of the message
REFUSED: list[tuple[tuple[str, ...], str]] = [
    (("--linker", "magic"), "--linker magic: choose longbel, exact, tfidf, dense or seq2seq"),
    (("--linker", "dense"), "--linker dense needs the folder of an encoder"),
    (("--linker", "seq2seq"), "--linker seq2seq needs the folder of an encoder-decoder"),
    (("--pooling", "mean"), "--pooling does not go with --linker longbel"),
    *(
        (("--linker", linker, *flag), f"{flag[0]} does not go with --linker {linker}")
        for linker in ("exact", "tfidf", "dense", "seq2seq")
        for flag in (
            ("--composite",), ("--ensemble", "short,long"), ("--saliency", "pages"),
            ("--context-format", "short"), ("--decoder", "packed"), ("--dtype", "float32"),
        )
    ),
    *(
        (("--linker", linker, *flag), f"{flag[0]} does not go with --linker {linker}")
        for linker in ("exact", "tfidf")
        for flag in (
            ("--prompts", "prompts.jsonl"), ("--model", "folder"), ("--device", "cpu"),
            ("--language", "en"), ("--max-batch-tokens", "64"), ("--pooling", "cls"),
        )
    ),
    (("--linker", "exact", "--beams", "0"), "--beams 0: not between 1 and 100"),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "message"), REFUSED, ids=lambda value: str(value))
def test_flags_that_mean_nothing_are_refused(
    longbel: Longbel, tmp_path: Path, flags: tuple[str, ...], message: str
) -> None:
    corpus = write_json_lines(tmp_path / "c.jsonl", document("d", "A cold.", ("cold", "Disorders")))
    done = longbel("link", corpus, "--kb", SAMPLE / "kb", "--out", tmp_path / "p.jsonl", *flags)
    assert done.code == 2 and message in done.err and done.err.count("error:") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["c.jsonl"]


def test_a_model_in_the_environment_does_not_matter(
    longbel: Longbel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGBEL_MODEL", str(tmp_path / "nowhere"))
    corpus = write_json_lines(tmp_path / "c.jsonl", document("d", "A cold.", ("cold", "Disorders")))
    done = longbel("link", corpus, "--kb", SAMPLE / "kb", "--out", "-", "--linker", "exact")
    assert done.code == 0 and len(done.lines) == 1


def test_exact_and_tfidf_load_no_torch(tmp_path: Path) -> None:
    corpus = write_json_lines(tmp_path / "c.jsonl", document("d", "A cold.", ("cold", "Disorders")))
    code = (
        "import sys\n"
        "from longbel_cli.app import main\n"
        "for linker in ('exact', 'tfidf'):\n"
        f"    sys.argv = ['longbel', 'link', {str(corpus)!r}, '--kb', {str(SAMPLE / 'kb')!r},\n"
        f"                '--linker', linker, '--out', {str(tmp_path)!r} + '/' + linker]\n"
        "    try:\n        main()\n"
        "    except SystemExit as stop:\n        assert not stop.code, stop.code\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} >= {"exact", "tfidf"}
