"""`longbel link --ensemble`: a run for each format, and their fusion."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.command_line import Longbel, json_lines, write_json_lines
from tests.support.link_cases import DOCUMENTS, ORDER, identities, misplaced


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
        rows = json_lines(tmp_path / f"prompts.{form}.jsonl")
        assert identities(rows) == ORDER
        memory[form] = ["### Previous Normalizations" in row["prompt"] for row in rows]
        assert json.loads((tmp_path / f"stats.{form}.json").read_text())["mentions"] == len(ORDER)
        assert list((tmp_path / "pages" / form).glob("*.html"))
        assert "review" not in json_lines(tmp_path / f"p.{form}.jsonl")[0]
    assert memory == {"hybrid_medium": [False] * 8, "hybrid_long": [True] * 8}
    # First in both lists scores 2 / 61 = 0.0328; first and second 1 / 61 + 1 / 62 = 0.0325.
    for line in json_lines(tmp_path / "p.jsonl"):
        assert line["review"] is (line["beam_score"] < 0.0327)
    assert {line["review"] for line in json_lines(tmp_path / "p.jsonl")} == {True, False}


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
    first, out = tmp_path / "one.jsonl", tmp_path / "p.jsonl"
    common = ("--linker", "tfidf", "--out", out)
    assert longbel("link", corpus, "--linker", "exact", "--out", first).code == 0
    assert longbel("fuse", first, first, "--out", out).code == 0
    assert longbel("link", corpus, *common).code == 4
    assert (tmp_path / "p.jsonl.fusion.json").exists()
    assert longbel("link", corpus, *common, "--overwrite").code == 0
    assert not (tmp_path / "p.jsonl.fusion.json").exists()
    explained = longbel("explain", out, "--top", 1, "--json")
    assert explained.code == 2 and "linked by the baseline tfidf" in explained.err

    assert longbel("fuse", first, first, "--out", out).code == 4
    assert longbel("fuse", first, first, "--out", out, "--overwrite").code == 0
    assert not (tmp_path / "p.jsonl.run" / "run.json").exists()
    signature = json.loads(longbel("score", out, "--json").out)["signature"]
    assert "linker:exact|" in signature
    explained = longbel("explain", out, "--top", 1, "--json")
    assert explained.code == 2 and "fused from " in explained.err


def test_an_ensemble_reports_what_is_quarantined_once(longbel: Longbel, tmp_path: Path) -> None:
    corpus = write_json_lines(tmp_path / "c.jsonl", DOCUMENTS[0], misplaced())
    common = ("link", corpus, "--out", tmp_path / "p.jsonl", *ENSEMBLE)
    done = longbel(*common)
    assert done.code == 5 and "p.hybrid_medium.jsonl.run/errors.jsonl" in done.err
    assert longbel(*common).code == 0  # already finished


def test_an_ensemble_over_nothing(longbel: Longbel, tmp_path: Path) -> None:
    corpus = write_json_lines(tmp_path / "c.jsonl", DOCUMENTS[2])
    out = tmp_path / "p.jsonl"
    for _ in range(2):
        done = longbel("link", corpus, "--out", out, *ENSEMBLE)
        assert done.code == 0 and out.read_bytes() == b""
