"""`longbel score` and `longbel fuse` from the command line: output, JSON, exit codes."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.command_line import Longbel
from tests.support.score_cases import prediction, write_predictions


@pytest.fixture
def preds(tmp_path: Path) -> Path:
    """Six scored mentions, three of them right, and a NO_CODE."""
    return write_predictions(
        tmp_path / "preds.jsonl",
        prediction("a:0", "X", "Y", gold="X"),
        prediction("a:5", "Y", "X", gold="X"),
        prediction("a:9", "X", gold="X"),
        prediction("b:0", "Z", "W", "Y", gold="Y"),
        prediction("b:3", "Y+X", gold="X+Y"),
        prediction("b:7", gold="Z"),
        prediction("b:9", "Q", gold="NO_CODE"),
    )


def test_the_json_object(longbel: Longbel, preds: Path) -> None:
    outcome = longbel("score", preds, "--json", "--k", "1,2", "--n-boot", "50")
    result = json.loads(outcome.out)
    assert outcome.code == 0
    assert (result["n_mentions"], result["n_documents"], result["n_no_code"]) == (6, 2, 1)
    assert result["recall@1"]["value"] == pytest.approx(3 / 6)
    assert result["recall@2"]["value"] == pytest.approx(4 / 6)
    assert set(result["recall@1"]) == {"value", "low", "high"}
    assert result["by"]["group"]["Disorders"]["n"] == 6
    assert result["by"]["group"]["Disorders"]["recall@1"] == result["recall@1"]
    assert result["by"]["recurring"]["recurring"]["n"] == 3
    assert result["signature"].startswith("R@1,2|kb:unknown|model:unknown|beams:unknown|")
    assert "|boot:50|seed:42|v:" in result["signature"]
    assert result["consistency"]["n_pairs"] == 3
    assert set(result["calibration"]) == {"ece", "n", "bins"}


def test_the_table_ends_with_the_signature(longbel: Longbel, preds: Path) -> None:
    outcome = longbel("score", preds)
    lines = outcome.out.rstrip("\n").split("\n")
    assert outcome.code == 0
    assert lines[-1].startswith("R@1,5|kb:")
    row = next(line for line in lines if " all " in line)
    assert "50.0 ±" in row
    assert "NO_CODE left out: 1" in lines[-3]
    assert "calibration error" in lines[-2]


@pytest.mark.parametrize(
    ("form", "start", "signature"),
    [
        ("markdown", "**Recall", "`R@1,5|"),
        ("latex", "% Recall", "% R@1,5|"),
        ("csv", "partition,part,n,", "# R@1,5|"),
    ],
)
def test_other_tables(longbel: Longbel, preds: Path, form: str, start: str, signature: str) -> None:
    outcome = longbel("score", preds, "--table", form)
    assert outcome.out.startswith(start)
    assert outcome.out.rstrip("\n").split("\n")[-1].startswith(signature)


def test_csv_holds_fractions(longbel: Longbel, preds: Path) -> None:
    outcome = longbel("score", preds, "--table", "csv")
    rows = list(csv.DictReader(io.StringIO(outcome.out)))
    first = next(row for row in rows if row["metric"] == "recall@1")
    assert (first["partition"], first["part"], first["n"]) == ("all", "all", "6")
    assert float(first["value"]) == 0.5


def test_latex_escapes(longbel: Longbel, tmp_path: Path) -> None:
    row = prediction("a:0", "X", gold="X").to_json()
    row["semantic_group"] = "Chemicals & Drugs_100%"
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(row) + "\n")
    outcome = longbel("score", path, "--table", "latex", "--quiet")
    assert r"Chemicals \& Drugs\_100\%" in outcome.out
    assert outcome.err == ""


def test_asked_for_partitions_are_shown(longbel: Longbel, preds: Path) -> None:
    outcome = longbel("score", preds, "--by", "recurring", "--by", "occurrence,group")
    for part in ("recurring: single", "occurrence: later", "Disorders"):
        assert part in outcome.out
    assert "recurring:" not in longbel("score", preds).out


def test_compared_systems(longbel: Longbel, preds: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in preds.read_text().splitlines()]
    for row in rows:
        row["beams"] = []
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = json.loads(longbel("score", preds, "--paired", other, "--json").out)
    (paired,) = result["paired"]
    assert paired["system"] == "other.jsonl"
    assert paired["recall@1"]["value"] == 0.0
    assert paired["difference"]["recall@1"]["value"] == pytest.approx(0.5)
    assert 0 < paired["difference"]["recall@1"]["p_randomization"] <= 1
    assert "lead of preds.jsonl" in longbel("score", preds, "--paired", other).out


def test_a_compared_file_without_gold_takes_that_of_the_first(
    longbel: Longbel, preds: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in preds.read_text().splitlines()]
    for row in rows:
        del row["gold_concept_code"]
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps(row) + "\n" for row in rows[:-2]))
    outcome = longbel("score", preds, "--paired", other, "--json")
    (paired,) = json.loads(outcome.out)["paired"]
    assert paired["recall@1"]["value"] == pytest.approx(3 / 6)
    assert paired["n_missing"] == 1
    assert "has no gold; that of" in outcome.err


def test_a_threshold_for_review(longbel: Longbel, preds: Path) -> None:
    outcome = longbel("score", preds, "--target-precision", "0.6", "--json")
    # All first candidates score 0.9 or are not there: 3 of 5 are right.
    triage = json.loads(outcome.out)["triage"]
    assert triage["threshold"] == 0.9
    assert triage["n_review"] == 1
    assert "--min-score" in longbel("score", preds, "--target-precision", "0.6").out


def test_plots_are_files(longbel: Longbel, preds: Path, tmp_path: Path) -> None:
    folder = tmp_path / "plots"
    for _ in range(2):  # those of an earlier score are replaced
        assert longbel("score", preds, "--plots", folder, "--paired", preds).code == 0
    assert {path.name for path in folder.iterdir()} == {
        "groups.svg", "systems.svg", "calibration.svg", "risk-coverage.svg",
    }  # fmt: skip
    for path in folder.iterdir():
        root = ElementTree.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg" and "prefers" not in path.read_text()
    taken = tmp_path / "taken"
    taken.write_text("mine")
    refused = longbel("score", preds, "--plots", taken)
    assert refused.code == 3 and "plots cannot be written" in refused.err
    preds.rename(folder / "groups.svg")
    assert longbel("score", folder / "groups.svg", "--plots", folder).code == 2


def test_a_report_is_written_beside_the_table(
    longbel: Longbel, preds: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    assert longbel("score", preds, "--report", report).code == 0
    assert report.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_report_replaces_nothing_but_a_report(
    longbel: Longbel, preds: Path, tmp_path: Path
) -> None:
    before = preds.read_bytes()
    assert longbel("score", preds, "--report", preds).code == 2
    other = tmp_path / "notes.html"
    other.write_text("another's")
    outcome = longbel("score", preds, "--report", other)
    assert outcome.code == 4
    assert f"{other}: exists and is not a page" in outcome.err
    assert preds.read_bytes() == before and other.read_text() == "another's"
    report, growing = tmp_path / "report.html", tmp_path / "report.html.part"
    growing.write_text("another's")
    report.write_text("<!DOCTYPE html><title>of last week</title>")
    assert longbel("score", preds, "--report", report).code == 0
    assert "last week" not in report.read_text(encoding="utf-8")
    assert growing.read_text() == "another's"


def test_json_has_no_numbers_that_json_lacks(longbel: Longbel, tmp_path: Path) -> None:
    rows = (prediction("a:0", "X", gold="X", scores=(math.nan,)), prediction("a:1", gold="Y"))
    path = write_predictions(tmp_path / "p.jsonl", *rows)
    outcome = longbel("score", path, "--json", "--target-precision", "0.9")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(outcome.out, parse_constant=refuse)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--k", "0"], 2, "--k starts at 1"),
        (["--k", "one"], 2, "'one' is not a list of numbers"),
        (["--by", "colour"], 2, "--by colour: choose group"),
        (["--by", "seen"], 2, "--by seen needs --train CORPUS"),
        (["--by", "ambiguous"], 2, "--by ambiguous needs --kb KB"),
        (["--n-boot", "0"], 2, "--n-boot"),
        (["--table", "word"], 2, "--table word: choose rich"),
        (["--gold-match", "some"], 2, "--gold-match some: choose exact or any"),
        (["--target-precision", "95"], 2, "--target-precision"),
        (["--target-precision", "nan"], 2, "--target-precision"),
        (["--gold", "/nowhere/corpus.jsonl"], 3, "/nowhere/corpus.jsonl"),
        (["--kb", "/nowhere/kb"], 3, "/nowhere/kb"),
        (["--paired", "/nowhere/p.jsonl"], 3, "/nowhere/p.jsonl"),
        (["--report", "/nowhere/report.html"], 3, "cannot be written"),
        (["--report", "/"], 2, "/: is a folder, but a page is one file"),
    ],
)
def test_wrong_calls(
    longbel: Longbel, preds: Path, arguments: list[str], code: int, message: str
) -> None:
    outcome = longbel("score", preds, *arguments)
    assert outcome.code == code
    assert message in outcome.err
    assert outcome.out == ""


def test_predictions_without_gold(longbel: Longbel, tmp_path: Path) -> None:
    path = write_predictions(tmp_path / "p.jsonl", prediction("a:0", "X"))
    outcome = longbel("score", path)
    assert outcome.code == 3
    assert "nothing to score" in outcome.err
    assert "--gold" in outcome.err
    assert outcome.out == ""


def test_an_empty_code_counts_as_no_prediction(longbel: Longbel, tmp_path: Path) -> None:
    path = write_predictions(
        tmp_path / "p.jsonl", prediction("a:0", "", gold="X"), prediction("a:5", "X", gold="X")
    )
    result = json.loads(longbel("score", path, "--json").out)
    assert (result["n_mentions"], result["n_without_prediction"]) == (2, 1)


def test_fuse_then_score(longbel: Longbel, preds: Path, tmp_path: Path) -> None:
    out = tmp_path / "fused.jsonl"
    outcome = longbel("fuse", preds, preds, "--out", out, "--weights", "1,2")
    assert outcome.code == 0
    assert "fused 2 predictions of 7 mentions" in outcome.err
    scored = json.loads(longbel("score", out, "--json").out)
    assert scored["recall@1"]["value"] == pytest.approx(3 / 6)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "at least two"),
        (["{preds}", "--weights", "1,x"], 2, "--weights"),
        (["{preds}", "--weights", "1"], 2, "1 weight(s) for 2 system(s)"),
        (["{preds}", "--weights", "1,nan"], 2, "weights must be finite"),
        (["/nowhere/p.jsonl"], 3, "/nowhere/p.jsonl"),
    ],
)
def test_wrong_fusions(
    longbel: Longbel, preds: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    filled = [argument.format(preds=preds) for argument in arguments]
    outcome = longbel("fuse", preds, *filled, "--out", tmp_path / "fused.jsonl")
    assert outcome.code == code
    assert message in outcome.err
    assert not (tmp_path / "fused.jsonl").exists()


def test_scoring_loads_no_torch(preds: Path) -> None:
    program = (
        "import sys; sys.argv = ['longbel', 'score', sys.argv[1], '--json']\n"
        "from longbel_cli.app import main\n"
        "main()\n"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'torch was loaded'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(preds)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n_mentions"] == 6
