"""`longbel link` by its contract: what it writes, what it says, and what it leaves with.

Runs in this process, with a tiny random model. The texts hold the word Zanthoma, which no message
may repeat.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from longbel_cli.app import main
from longbel_cli.corpora.predictions import prediction_of_line
from tests.support.paths import ROOT

KEYS = [
    "document_id", "mention_id", "mention", "semantic_group", "spans", "pred_concept_code",
    "pred_concept_name", "beam_score", "beams",
]  # fmt: skip


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Longbel = Callable[..., Done]


@pytest.fixture
def longbel(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model_folder: Path,
    kb_folder: Path,
) -> Longbel:
    """Runs a command with the tiny model and KB, unless `environment` is False."""
    monkeypatch.delenv("LONGBEL_DEBUG", raising=False)
    monkeypatch.setenv("LONGBEL_MODEL", str(model_folder))
    monkeypatch.setenv("LONGBEL_KB", str(kb_folder))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def run(*arguments: str | Path, stdin: str | None = None) -> Done:
        monkeypatch.setattr(sys, "argv", ["longbel", *map(str, arguments)])
        if stdin is not None:
            stream = io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")
            monkeypatch.setattr(sys, "stdin", stream)
        capsys.readouterr()
        code: Any = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capsys.readouterr()
        assert "Zanthoma" not in err and "Traceback" not in err
        return Done(code, out, err)

    return run


def bigbio(name: str, text: str, *entities: tuple[str, str, str]) -> dict[str, Any]:
    """A document of two passages (text and a closing line), entities as (id, type, words)."""
    closing = "Zanthoma was seen."
    begin = len(text) + 1
    found = []
    for key, kind, words in entities:
        start = text.index(words)
        found.append(
            {
                "id": key, "type": kind, "text": [words], "offsets": [[start, start + len(words)]],
                "normalized": [{"db_name": "UMLS", "db_id": "C0000001"}] if key == "T1" else [],
            }
        )  # fmt: skip
    return {
        "id": name, "document_id": name,
        "passages": [
            {"id": "p1", "type": "text", "text": [text], "offsets": [[0, len(text)]]},
            {"id": "p2", "type": "text", "text": [closing],
             "offsets": [[begin, begin + len(closing)]]},
        ],
        "entities": found, "events": [], "coreferences": [], "relations": [],
    }  # fmt: skip


DOCUMENTS = [
    bigbio("d1", "Fever and cough; the kidney hurt.", ("T2", "DISO", "cough"),
           ("T1", "Disorders", "Fever"), ("T3", "T023", "kidney")),
    bigbio("d2", "Renal failure, then fever.", ("T1", "disorders", "Renal failure"),
           ("T2", "DISO", "fever")),
    bigbio("d3", "Nothing is marked here."),
    bigbio("d4", "Heart and aspirin, lupus nephritis.", ("T1", "ANAT", "Heart"),
           ("T2", "Chemicals & Drugs", "aspirin"), ("T3", "DISO", "lupus nephritis")),
]  # fmt: skip
ORDER = [
    ("d1", "T1"), ("d1", "T2"), ("d1", "T3"), ("d2", "T1"), ("d2", "T2"),
    ("d4", "T1"), ("d4", "T2"), ("d4", "T3"),
]  # fmt: skip


def write_corpus(path: Path, documents: list[Any]) -> Path:
    lines = [one if isinstance(one, str) else json.dumps(one) for one in documents]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus.jsonl", DOCUMENTS)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def identities(lines: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(line["document_id"], line["mention_id"]) for line in lines]


def test_what_is_written(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "preds.jsonl"
    done = longbel("link", corpus, "--out", out)
    assert done.code == 0 and done.out == ""
    lines = read(out)
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


def test_stdout_is_utf_8_in_any_locale(
    longbel: Longbel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = bigbio("d1", "Fièvre β.", ("T1", "DISO", "Fièvre β"))
    corpus = write_corpus(tmp_path / "c.jsonl", [document])
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
    for one, other in zip(packed.lines, reference.lines, strict=True):
        names = [beam["pred_concept_name"] for beam in one["beams"]]
        assert names == [beam["pred_concept_name"] for beam in other["beams"]]
        assert one["beam_score"] == pytest.approx(other["beam_score"], abs=1e-4)


def test_composite(longbel: Longbel, corpus: Path) -> None:
    done = longbel("link", corpus, "--out", "-", "--composite", "--beams", 20, "--limit", 1)
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
    rows, lines = read(prompts), read(out)
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
    assert identities(read(prompts)) == identities(read(whole)) == ORDER
    lengths = [[len(row["prompt"]) for row in read(path)] for path in (prompts, whole)]
    assert all(short <= long for short, long in zip(*lengths, strict=True))
    assert lengths[0] != lengths[1]
    done = longbel("link", corpus, "--out", out)
    assert done.code == 4 and "context_tokens" in done.err


def test_stats_file(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    stats = tmp_path / "stats.json"
    assert longbel("link", corpus, "--out", tmp_path / "p.jsonl", "--stats", stats).code == 0
    found = json.loads(stats.read_text())
    assert {
        "mentions_per_second", "prefill_tokens", "reused_tokens", "decode_forwards_per_mention",
        "forced_token_share", "padding_share", "peak_memory_bytes", "seconds",
    } <= set(found)  # fmt: skip
    assert set(found["seconds"]) >= {"model", "trie", "host"}
    assert found["mentions_per_second"] > 0 and found["prefill_tokens"] > 0
    assert found["reused_tokens"] > 0 and found["peak_memory_bytes"] > 1e6
    assert 0 <= found["forced_token_share"] <= 1 and 0 <= found["padding_share"] < 0.1
    also = tmp_path / "also.json"
    assert longbel("link", corpus, "--out", "-", "--stats", also).code == 0
    assert set(json.loads(also.read_text())) == set(found)


def test_dry_run_writes_nothing(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    done = longbel("link", corpus, "--out", tmp_path / "p.jsonl", "--dry-run")
    assert done.code == 0
    assert "documents          4" in done.out and "mentions           8" in done.out
    assert {path.name for path in tmp_path.iterdir()} == {"corpus.jsonl"}


def test_dry_run_of_an_ensemble_plans_each_format(
    longbel: Longbel, corpus: Path, tmp_path: Path
) -> None:
    done = longbel(
        "link", corpus, "--out", tmp_path / "p.jsonl", "--ensemble", "hybrid_long,hybrid_medium",
        "--dry-run",
    )  # fmt: skip
    assert done.code == 0
    assert done.out.count("expected time") == 2
    assert done.out.index("hybrid_long:") < done.out.index("hybrid_medium:")


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
    assert identities(read(parts)) == ORDER


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
    assert max(len(line["beams"]) for line in read(out)) == 3
    assert (tmp_path / "p.jsonl.run.1").is_dir()
    assert longbel("link", corpus, "--out", out, "--overwrite").code == 0
    assert out.read_bytes() == before


def test_what_overwrites_a_run_is_surveyed_first(
    longbel: Longbel, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "p.jsonl"
    assert longbel("link", corpus, "--out", out).code == 0
    before = out.read_bytes()
    odd = write_corpus(tmp_path / "odd.jsonl", [*DOCUMENTS, ODD])
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
    assert identities(read(out)) == ORDER


ODD = bigbio("odd", "Fever of Smurfs.", ("T1", "DISO", "Fever"), ("T2", "Smurf", "Smurfs"))


def test_an_unknown_group_stops_the_run(longbel: Longbel, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", [*DOCUMENTS, ODD])
    out = tmp_path / "p.jsonl"
    done = longbel("link", corpus, "--out", out)
    assert done.code == 3
    assert "Smurf (1)" in done.err
    assert "Anatomy, Chemicals & Drugs, Disorders" in done.err
    assert not out.exists() and not out.with_name("p.jsonl.part").exists()


def test_an_unknown_group_is_skipped_and_listed(longbel: Longbel, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", [*DOCUMENTS, ODD])
    out = tmp_path / "p.jsonl"
    done = longbel("link", corpus, "--out", out, "--unknown-group", "skip")
    assert done.code == 5
    assert identities(read(out)) == [*ORDER, ("odd", "T1")]
    (row,) = read(tmp_path / "p.jsonl.run" / "errors.jsonl")
    assert (row["document_id"], row["mention_id"]) == ("odd", "T2")
    assert row["line"] == 5 or row["source"].endswith("c.jsonl:5")


def test_an_unknown_group_is_linked_against_all(longbel: Longbel, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", [ODD])
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
    corpus = write_corpus(tmp_path / "c.jsonl", [ODD])
    table = tmp_path / "types.tsv"
    table.write_text("Smurf\tAnatomy\n")
    done = longbel("link", corpus, "--out", "-", "--type-map", table)
    assert [line["semantic_group"] for line in done.lines] == ["Disorders", "Anatomy"]


def misplaced() -> dict[str, Any]:
    """A document of three mentions: one past its end, one whose text is another's, one sound."""
    document = bigbio("bad", "Fever and cough.", ("T1", "DISO", "Fever"), ("T2", "DISO", "cough"),
                      ("T3", "DISO", "Fever and"))  # fmt: skip
    document["entities"][0]["offsets"] = [[5000, 5005]]
    document["entities"][1]["text"] = ["Zanthoma"]
    return document


def test_bad_input_is_quarantined(longbel: Longbel, tmp_path: Path) -> None:
    corpus = write_corpus(
        tmp_path / "c.jsonl", [DOCUMENTS[0], '{"broken": Zanthoma', misplaced(), DOCUMENTS[0]]
    )
    out = tmp_path / "p.jsonl"
    done = longbel("link", corpus, "--out", out)
    assert done.code == 5 and "errors.jsonl" in done.err
    assert identities(read(out)) == [*ORDER[:3], ("bad", "T3")]
    rows = read(tmp_path / "p.jsonl.run" / "errors.jsonl")
    assert [(row["line"], row["document_id"], row["mention_id"]) for row in rows] == [
        (2, None, None), (3, "bad", "T1"), (3, "bad", "T2"), (4, "d1", None),
    ]  # fmt: skip
    assert [row["whole_document"] for row in rows] == [True, False, False, True]
    assert "Zanthoma" not in json.dumps(rows)
    assert longbel("link", corpus, "--out", out).code == 0  # already finished
    assert longbel("link", corpus, "--out", "-").code == 5


def test_on_error_fail(longbel: Longbel, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", [DOCUMENTS[0], misplaced()])
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
    for number, name in enumerate(
        ("empty.jsonl", "broken.jsonl", "folder", "binary.jsonl", "missing.jsonl")
    ):
        for out in (tmp_path / f"p{number}.jsonl", "-"):
            done = longbel("link", tmp_path / name, "--out", out)
            assert done.code == 3, (name, done)
            assert name in done.err and done.err.count("error:") == 1
            assert done.out == ""
        assert not (tmp_path / f"p{number}.jsonl").exists()
        assert not (tmp_path / f"p{number}.jsonl.part").exists()


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
    for number, (arguments, code, words) in enumerate(cases):
        out = tmp_path / f"p{number}.jsonl"
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


def test_quiet(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    done = longbel("link", corpus, "--out", tmp_path / "p.jsonl", "--quiet")
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("place", ["linking", "pages", "commit", "prompts"])
def test_a_window_stopped_and_gone_on_with(
    longbel: Longbel, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
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
        if place == "pages":
            undisturbed: Any = lambda documents, predictions: None  # noqa: E731
            patched.setattr(link, "_pages", lambda linker, folder: dies)
        else:
            owner: Any = {"linking": LinkingEngine, "commit": Run, "prompts": PromptFile}[place]
            name = {"linking": "link_window", "commit": "commit", "prompts": "write"}[place]
            undisturbed = getattr(owner, name)
            patched.setattr(owner, name, dies)
        pages = ("--saliency", tmp_path / "pages") if place == "pages" else ()
        done = longbel("link", corpus, "--out", out, *arguments, tmp_path / "b.jsonl", *pages)
        assert done.code == 1 and "RuntimeError" in done.err
    assert not out.exists() and out.with_name("p.jsonl.part").exists()
    with (tmp_path / "b.jsonl").open("a") as file:
        file.write('{"document_id": "half a li')
    assert longbel("link", corpus, "--out", out, *arguments, tmp_path / "b.jsonl").code == 0
    assert out.read_bytes() == whole.read_bytes()
    rows = identities(read(tmp_path / "b.jsonl"))
    assert rows == [one for one in ORDER if place != "prompts" or one[0] != "d2"]


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
    assert read(prompts)[0]["prompt"].startswith(
        "### Context\n[Fever] and [cough] of the kidney.\n\n"
    )


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
    assert identities(read(out)) == [("x", "T1")]
    again = longbel(*command)
    assert again.code == 0 and "already finished" in again.err


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
    found = [(row["mention"], row["pred_concept_name"], row["pred_concept_code"]) for row in rows]
    assert found == expected
    assert all(0 < row["beam_score"] <= 1 for row in rows)


def test_as_a_process_of_its_own(
    corpus: Path, model_folder: Path, kb_folder: Path, tmp_path: Path
) -> None:
    """The exit code and both streams, as a shell sees them."""
    command = [sys.executable, "-m", "longbel_cli", "link", str(tmp_path / "missing.jsonl")]
    common = ["--out", "-", "--model", str(model_folder), "--kb", str(kb_folder)]
    done = subprocess.run([*command, *common], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 3 and done.stdout == ""
    assert "missing.jsonl" in done.stderr and "Traceback" not in done.stderr


def test_each_format_of_an_ensemble_has_its_own_files(
    longbel: Longbel, corpus: Path, tmp_path: Path
) -> None:
    done = longbel(
        "link", corpus, "--out", tmp_path / "p.jsonl", "--ensemble", "hybrid_medium,hybrid_long",
        "--prompts", tmp_path / "prompts.jsonl", "--stats", tmp_path / "stats.json",
        "--saliency", tmp_path / "pages", "--min-score", 0.0327,
    )  # fmt: skip
    assert done.code == 0, done.err
    memory = {}
    for form in ("hybrid_medium", "hybrid_long"):
        rows = read(tmp_path / f"prompts.{form}.jsonl")
        assert identities(rows) == ORDER
        memory[form] = ["### Previous Normalizations" in row["prompt"] for row in rows]
        assert json.loads((tmp_path / f"stats.{form}.json").read_text())["mentions"] == len(ORDER)
        assert list((tmp_path / "pages" / form).glob("*.html"))
        assert "review" not in read(tmp_path / f"p.{form}.jsonl")[0]
    assert memory == {"hybrid_medium": [False] * 8, "hybrid_long": [True] * 8}
    # First in both lists scores 2 / 61 = 0.0328; first and second 1 / 61 + 1 / 62 = 0.0325.
    for line in read(tmp_path / "p.jsonl"):
        assert line["review"] is (line["beam_score"] < 0.0327)
    assert {line["review"] for line in read(tmp_path / "p.jsonl")} == {True, False}


def test_each_shard_writes_its_own_prompts(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    for shard in ("1/2", "2/2"):
        done = longbel(
            "link", corpus, "--out", tmp_path / "p.jsonl", "--window", 1, "--shard", shard,
            "--prompts", tmp_path / "prompts.jsonl",
        )  # fmt: skip
        assert done.code == 0
    first = identities(read(tmp_path / "prompts.00001-of-00002.jsonl"))
    second = identities(read(tmp_path / "prompts.00002-of-00002.jsonl"))
    assert sorted(first + second) == sorted(ORDER) and first and second


def test_stdout_comes_with_pages_and_tells_all_types_first(
    longbel: Longbel, corpus: Path, tmp_path: Path
) -> None:
    pages = tmp_path / "pages"
    assert longbel("link", corpus, "--out", "-", "--saliency", pages, "--limit", 1).code == 0
    assert len(list(pages.glob("*.html"))) == 1
    odd = write_corpus(tmp_path / "odd.jsonl", [ODD])
    done = longbel("link", odd, "--out", "-")
    assert done.code == 3 and done.out == ""
    assert "entity types without a semantic group" in done.err and "(1)" in done.err


@pytest.mark.parametrize(
    "flags",
    [("--shard", "1/2"), ("--time-limit", "1h"), ("--ensemble", "hybrid_medium,hybrid_long")],
)
def test_stdout_goes_without_what_needs_a_run(
    longbel: Longbel, corpus: Path, flags: tuple[str, str]
) -> None:
    done = longbel("link", corpus, "--out", "-", *flags)
    assert done.code == 2 and done.out == "" and flags[0] in done.err


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


def test_beams_of_nothing_are_refused_from_python_too(model_folder: Path, kb_folder: Path) -> None:
    from kb_builder.errors import LongbelError
    from longbel_cli import Linker

    with pytest.raises(LongbelError, match="--beams 0"):
        list(Linker.load(model_folder, kb_folder).link([], beams=0))


ENSEMBLE = ("--ensemble", "hybrid_medium,hybrid_long")


def test_an_ensemble_refuses_a_strange_file_before_it_links(
    longbel: Longbel, corpus: Path, tmp_path: Path
) -> None:
    """Its own earlier fusion it replaces; one of other files, and a run, it does not."""
    out = tmp_path / "p.jsonl"
    common = ("link", corpus, "--out", out, *ENSEMBLE)
    out.write_text("my notes\n")
    done = longbel(*common)
    assert done.code == 4 and "p.jsonl" in done.err
    assert not (tmp_path / "p.hybrid_long.jsonl").exists() and out.read_text() == "my notes\n"
    assert longbel(*common, "--overwrite").code == 0
    fused = out.read_bytes()
    assert longbel(*common).code == 0 and out.read_bytes() == fused

    formats = [tmp_path / f"p.{form}.jsonl" for form in ("hybrid_medium", "hybrid_long")]
    for other in (formats[::-1], [*formats, "--weights", "1,2"]):
        assert longbel("fuse", *other, "--out", out, "--overwrite").code == 0
        assert longbel(*common).code == 4


def test_an_ensemble_in_the_place_of_a_run(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    """The run is kept aside, since a score would take what it says for the fusion's."""
    out = tmp_path / "p.jsonl"
    common = ("link", corpus, "--out", out)
    assert longbel(*common).code == 0
    before = out.read_bytes()
    assert longbel(*common, *ENSEMBLE).code == 4
    assert longbel(*common, *ENSEMBLE, "--overwrite").code == 0
    assert (tmp_path / "p.jsonl.run.1" / "p.jsonl").read_bytes() == before
    scored = longbel("score", out, "--json")
    assert "ctx:hybrid_medium+hybrid_long" in json.loads(scored.out)["signature"]


def test_a_run_in_the_place_of_a_fusion(longbel: Longbel, corpus: Path, tmp_path: Path) -> None:
    """What the fusion said of itself is not said of the run, and the other way round."""
    one, out = tmp_path / "one.jsonl", tmp_path / "p.jsonl"
    common = ("--linker", "tfidf", "--out", out)
    assert longbel("link", corpus, "--linker", "exact", "--out", one).code == 0
    assert longbel("fuse", one, one, "--out", out).code == 0
    assert longbel("link", corpus, *common).code == 4
    assert (tmp_path / "p.jsonl.fusion.json").exists()
    assert longbel("link", corpus, *common, "--overwrite").code == 0
    assert not (tmp_path / "p.jsonl.fusion.json").exists()
    explained = longbel("explain", out, "--top", 1, "--json")
    assert explained.code == 2 and "linked by the baseline tfidf" in explained.err

    assert longbel("fuse", one, out, "--out", out).code == 4
    assert longbel("fuse", one, out, "--out", out, "--overwrite").code == 0
    assert not (tmp_path / "p.jsonl.run" / "run.json").exists()
    signature = json.loads(longbel("score", out, "--json").out)["signature"]
    assert "linker:exact+tfidf" in signature
    explained = longbel("explain", out, "--top", 1, "--json")
    assert explained.code == 2 and "fused from one.jsonl, p.jsonl" in explained.err


def test_an_ensemble_reports_what_is_quarantined_once(longbel: Longbel, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", [DOCUMENTS[0], misplaced()])
    common = ("link", corpus, "--out", tmp_path / "p.jsonl", *ENSEMBLE)
    done = longbel(*common)
    assert done.code == 5 and "p.hybrid_medium.jsonl.run/errors.jsonl" in done.err
    assert longbel(*common).code == 0  # already finished


def test_an_ensemble_over_nothing(longbel: Longbel, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", [DOCUMENTS[2]])
    out = tmp_path / "p.jsonl"
    for _ in range(2):
        done = longbel("link", corpus, "--out", out, *ENSEMBLE)
        assert done.code == 0 and out.read_bytes() == b""
