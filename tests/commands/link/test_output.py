"""What `longbel link` writes: predictions, prompts, statistics, by each format and decoder."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import pytest

from longbel_cli.corpora.predictions import prediction_of_line
from tests.support.command_line import Longbel, json_lines, write_json_lines
from tests.support.link_cases import DOCUMENTS, ODD, ORDER, bigbio, identities

KEYS = [
    "document_id", "mention_id", "mention", "semantic_group", "spans", "pred_concept_code",
    "pred_concept_name", "beam_score", "beams",
]  # fmt: skip


def test_what_is_written(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "preds.jsonl"
    done = longbel("link", corpus, "--out", out)
    assert done.code == 0 and done.out == ""
    assert "longbel: 1 of 4 documents have no mentions" in done.err.splitlines()
    lines = json_lines(out)
    assert identities(lines) == ORDER
    groups = [line["semantic_group"] for line in lines]
    assert groups == ["Disorders", "Disorders", "Anatomy", "Disorders", "Disorders", "Anatomy",
                      "Chemicals & Drugs", "Disorders"]  # fmt: skip
    first = lines[0]
    assert list(first) == [*KEYS, "gold_concept_code"]
    assert list(lines[1]) == KEYS
    assert (first["mention"], first["spans"]) == ("Fever", [[0, 5]])
    assert first["gold_concept_code"] == "C0000001"
    for line in lines:
        beams = line["beams"]
        assert 1 <= len(beams) <= 5
        assert [beam["rank"] for beam in beams] == list(range(1, len(beams) + 1))
        assert all(list(beam) == ["rank", *KEYS[5:8]] for beam in beams)
        scores = [beam["beam_score"] for beam in beams]
        assert scores == sorted(scores, reverse=True) and all(0 < s <= 1 for s in scores)
        assert all(round(score, 6) == score for score in scores)
        assert [line[key] for key in KEYS[5:8]] == [beams[0][key] for key in KEYS[5:8]]
        assert prediction_of_line(json.dumps(line).encode(), "line").to_json() == line
    # A group of one name has one beam.
    assert len(lines[6]["beams"]) == 1 and lines[6]["pred_concept_name"] == "Aspirin"
    assert not out.with_name("preds.jsonl.part").exists()
    assert (tmp_path / "preds.jsonl.run" / "run.json").exists()


def test_stdout_and_stdin(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "preds.jsonl"
    assert longbel("link", corpus, "--out", out).code == 0
    done = longbel("link", corpus, "--out", "-")
    assert done.code == 0 and done.out == out.read_text()
    piped = longbel("link", "-", "--out", "-", stdin=corpus.read_text())
    assert piped.code == 0 and piped.out == done.out
    spooled = longbel("link", "-", "--out", tmp_path / "piped.jsonl", stdin=corpus.read_text())
    assert spooled.code == 0
    assert (tmp_path / "piped.jsonl").read_text() == done.out


def test_stdout_is_utf_8_in_any_locale(
    longbel: Longbel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = bigbio("d1", "Fièvre β.", ("T1", "DISO", "Fièvre β"))
    corpus = write_json_lines(tmp_path / "c.jsonl", document)
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", stream)
    done = longbel("link", corpus, "--out", "-")
    stream.flush()
    assert done.code == 0, done.err
    assert json.loads(stream.buffer.getvalue().decode("utf-8"))["mention"] == "Fièvre β"


def test_limit_counts_documents(longbel: Longbel, corpus: Path) -> None:
    done = longbel("link", corpus, "--out", "-", "--limit", 2)
    assert done.code == 0 and identities(done.lines) == ORDER[:5]


@pytest.mark.parametrize("beams", [1, 3, 20])
def test_beams(longbel: Longbel, corpus: Path, beams: int) -> None:
    done = longbel("link", corpus, "--out", "-", "--beams", beams)
    # Disorders has ten names, so that twenty beams are ten at most.
    assert max(len(line["beams"]) for line in done.lines) == min(beams, 10)


@pytest.mark.parametrize("form", ["short", "hybrid_medium", "hybrid_short", "hybrid_long", "long"])
def test_formats_and_decoders_agree(longbel: Longbel, corpus: Path, form: str) -> None:
    common = ("link", corpus, "--out", "-", "--context-format", form, "--language", "en")
    common += ("--dtype", "float32")  # on a GPU too: near-ties fall either way in bfloat16
    packed, reference = longbel(*common), longbel(*common, "--decoder", "reference")
    assert packed.code == reference.code == 0
    assert identities(packed.lines) == ORDER
    for single, other in zip(packed.lines, reference.lines, strict=True):
        names = [beam["pred_concept_name"] for beam in single["beams"]]
        assert names == [beam["pred_concept_name"] for beam in other["beams"]]
        assert single["beam_score"] == pytest.approx(other["beam_score"], abs=1e-4)


def test_composite(longbel: Longbel, corpus: Path) -> None:
    done = longbel("link", corpus, "--out", "-", "--composite", "--beams", 5, "--limit", 1)
    assert done.code == 0
    codes = [beam["pred_concept_code"] for line in done.lines for beam in line["beams"]]
    joined = [code for code in codes if "+" in code]
    assert joined and all(code.split("+") == sorted(code.split("+")) for code in joined)


@pytest.mark.parametrize("budget", [1, 300, 100_000])
def test_the_batch_budget_changes_nothing(longbel: Longbel, corpus: Path, budget: int) -> None:
    done = longbel("link", corpus, "--out", "-", "--max-batch-tokens", budget)
    plain = longbel("link", corpus, "--out", "-")
    assert [line["pred_concept_name"] for line in done.lines] == [
        line["pred_concept_name"] for line in plain.lines
    ]


def test_prompts_file(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    out = tmp_path / "preds.jsonl"
    assert longbel("link", corpus, "--out", out, "--prompts", prompts).code == 0
    rows, lines = json_lines(prompts), json_lines(out)
    assert identities(rows) == ORDER
    assert all(list(row) == ["document_id", "mention_id", "prompt"] for row in rows)
    name = lines[0]["pred_concept_name"]
    assert rows[1]["prompt"] == (
        "### Context\nFever and [cough]; the kidney hurt.\nZanthoma was seen.\n\n"
        f"### Previous Normalizations\n[Fever]{{Disorders}} {name}\n\n"
        "### Prediction\n[cough]{Disorders}"
    )


def test_fewer_tokens_of_context(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    """Prompts are shortened as if the model took no more; a run keeps the number."""
    prompts, whole = tmp_path / "prompts.jsonl", tmp_path / "whole.jsonl"
    out = tmp_path / "preds.jsonl"
    done = longbel("link", corpus, "--out", out, "--context-tokens", 128 + 60, "--prompts", prompts)
    assert done.code == 0 and "longer than the context" in done.err
    assert longbel("link", corpus, "--out", "-", "--prompts", whole).code == 0
    assert identities(json_lines(prompts)) == identities(json_lines(whole)) == ORDER
    lengths = [[len(row["prompt"]) for row in json_lines(path)] for path in (prompts, whole)]
    assert all(short <= long for short, long in zip(*lengths, strict=True))
    assert lengths[0] != lengths[1]
    done = longbel("link", corpus, "--out", out)
    assert done.code == 4 and "context_tokens" in done.err


def test_stats_file(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    stats = tmp_path / "stats.json"
    assert longbel("link", corpus, "--out", tmp_path / "p.jsonl", "--stats", stats).code == 0
    result = json.loads(stats.read_text())
    assert {
        "mentions_per_second", "prefill_tokens", "reused_tokens", "decode_forwards_per_mention",
        "forced_token_share", "padding_share", "peak_memory_bytes", "seconds",
    } <= set(result)  # fmt: skip
    assert set(result["seconds"]) >= {"model", "trie", "host"}
    assert result["mentions_per_second"] > 0 and result["prefill_tokens"] > 0
    assert result["reused_tokens"] > 0 and result["peak_memory_bytes"] > 1e6
    assert 0 <= result["forced_token_share"] <= 1 and 0 <= result["padding_share"] < 0.1
    also = tmp_path / "also.json"
    assert longbel("link", corpus, "--out", "-", "--stats", also).code == 0
    assert set(json.loads(also.read_text())) == set(result)


def test_quiet(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    done = longbel("link", corpus, "--out", tmp_path / "p.jsonl", "--quiet")
    assert (done.code, done.err) == (0, "")


def test_brat(longbel: Longbel, tmp_path: Path) -> None:
    """A BRAT text is one passage, and document ids are paths below the corpus."""
    folder = tmp_path / "brat" / "sub"
    folder.mkdir(parents=True)
    (folder / "x.txt").write_text("Fever and\ncough of the kidney.\n")
    (folder / "x.ann").write_text("T1\tDISO 0 5;10 15\tFever cough\nT2\tANAT 23 29\tkidney\n")
    prompts = tmp_path / "prompts.jsonl"
    done = longbel("link", tmp_path / "brat", "--out", "-", "--prompts", prompts)
    assert done.code == 0 and identities(done.lines) == [("sub/x", "T1"), ("sub/x", "T2")]
    assert done.lines[0]["spans"] == [[0, 5], [10, 15]]
    assert done.lines[0]["mention"] == "Fever cough"
    assert json_lines(prompts)[0]["prompt"].startswith(
        "### Context\n[Fever] and [cough] of the kidney.\n\n"
    )


def test_python_gives_what_the_command_gives(
    longbel: Longbel, corpus: Path, model_folder: Path, kb_folder: Path
) -> None:
    from longbel_cli import Linker

    done = longbel("link", corpus, "--out", "-", "--beams", 3)
    rows = Linker.load(model_folder, kb_folder).sample(bigbio_pages=DOCUMENTS, num_beams=3)
    expected = [
        (line["mention"], beam["pred_concept_name"], beam["pred_concept_code"])
        for line in done.lines
        for beam in line["beams"]
    ]
    result = [(row["mention"], row["pred_concept_name"], row["pred_concept_code"]) for row in rows]
    assert result == expected
    assert all(0 < row["beam_score"] <= 1 for row in rows)


def test_stdout_comes_with_pages_and_tells_all_types_first(
    longbel: Longbel, corpus: Path, tmp_path: Path
) -> None:
    pages = tmp_path / "pages"
    assert longbel("link", corpus, "--out", "-", "--saliency", pages, "--limit", 1).code == 0
    assert len(list(pages.glob("*.html"))) == 1
    odd = write_json_lines(tmp_path / "odd.jsonl", ODD)
    done = longbel("link", odd, "--out", "-")
    assert done.code == 3 and done.out == ""
    assert "entity types without a semantic group" in done.err and "(1)" in done.err


def test_a_hub_id_brings_its_own_names(
    longbel: Longbel,
    corpus: Path,
    tmp_path: Path,
    model_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    snapshot = shutil.copytree(model_folder, tmp_path / "snapshot")
    names = {"Disorders": {"Only Name": "C9"}, "Anatomy": {"Only Part": "C8"}}
    (snapshot / "text_to_code.json").write_text(json.dumps(names))
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *args, **kw: str(snapshot))
    monkeypatch.delenv("LONGBEL_KB")
    done = longbel("link", corpus, "--out", "-", "--model", "someone/published", "--limit", 1)
    assert done.code == 0, done.err
    assert {line["pred_concept_code"] for line in done.lines} <= {"C8", "C9"}
    assert "sample" not in done.err
