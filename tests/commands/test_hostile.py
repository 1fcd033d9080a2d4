"""Ids, types, file names, groups, names and codes that hold controls: none takes effect in what a
command prints, and none forges a line of it."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from kb_builder.text import no_formula, visible, visible_json, visible_line
from tests.support.command_line import Done, Longbel, write_json_lines
from tests.support.link_cases import bigbio

# Clears a screen, names the window, rings, overprints, forges, reorders; the last opens a C1 code.
EVIL = "\x1b[2J\x1b]0;owned\x07\rFORGED\nlongbel: FORGED \u202e\u2028\x9b1m\x08"
DOCUMENTS = [
    bigbio(f"d{EVIL}", "Fever and cough.", (f"T1{EVIL}", f"DISO{EVIL}", "Fever"),
           (f"T2{EVIL}", f"DISO{EVIL}", "cough")),
    bigbio(f"again{EVIL}", "Fever once more.", ("T1", f"DISO{EVIL}", "Fever")),
]  # fmt: skip
BROKEN = {**bigbio(f"broken{EVIL}", "Fever.", (f"T9{EVIL}", "DISO", "Fever"))}
CORPUS, KB, PREDS = f"corpus{EVIL}.jsonl", f"kb{EVIL}", f"preds{EVIL}.jsonl"
LINK = ("link", CORPUS, "--kb", KB, "--linker", "exact", "--out")
BROKEN["entities"] = [{**BROKEN["entities"][0], "offsets": [[500, 505]]}]


def write_names(path: Path, code: str) -> Path:
    rows = [("code", "name", "group"), (code, f"Fever {EVIL}", f"DISO{EVIL}"), (code, "", "")]
    rows += [("C2", "cough", f"DISO{EVIL}"), (f"C3{EVIL}", "cough", f"DISO{EVIL}")]
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return path


def harmless(done: Done) -> Done:
    """What was printed holds no control but line ends, and no line that a name forged."""
    for stream in (done.out, done.err):
        shown = re.sub(r"(?m)^FORGED|^longbel: FORGED", "\0", stream)
        assert shown == visible(shown) and "\0" not in shown and "\t" not in shown
    return done


@pytest.fixture
def hostile(longbel: Longbel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a corpus, a knowledge base and predictions, all of hostile names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")  # of an explanation on a terminal
    write_json_lines(Path(CORPUS), *DOCUMENTS, BROKEN)
    unknown = bigbio("d", "Fever.", ("T1", f"Unknown{EVIL}", "Fever"))
    write_json_lines(Path(f"unknown{EVIL}.jsonl"), unknown)
    for name, code in (("kb", f"C1{EVIL}"), ("newer", "C9")):
        source = write_names(Path(f"{name}{EVIL}.csv"), code)
        done = harmless(longbel("build-kb", source, "--out", f"{name}{EVIL}"))
        assert done.code in (0, 5), done.err
    return tmp_path


COMMANDS = [
    ("check", CORPUS),
    ("check", CORPUS, "--json"),
    ("check", CORPUS, "--kb", KB),
    ("check", f"nothing{EVIL}"),
    ("link", f"unknown{EVIL}.jsonl", *LINK[2:], f"other{EVIL}.jsonl"),
    ("check", f"unknown{EVIL}.jsonl", "--kb", KB),
    ("link", CORPUS, "--kb", f"nothing{EVIL}", "--linker", "exact", "--out", "x.jsonl"),
    (*LINK, "dry.jsonl", "--dry-run"),
    (*LINK, PREDS),  # already finished
    (*LINK, PREDS, "--window", "1"),
    (*LINK, CORPUS),
    ("detect", CORPUS, "--kb", KB, "--out", f"detected{EVIL}.jsonl"),
    ("status", PREDS),
    ("status", f"nothing{EVIL}"),
    ("merge", PREDS),
    ("score", PREDS),
    ("score", PREDS, "--json"),
    ("score", PREDS, "--table", "markdown", "--by", "group,type"),
    ("score", PREDS, "--table", "latex"),
    ("score", PREDS, "--gold", CORPUS, "--kb", KB, "--report", f"page{EVIL}.html"),
    ("score", PREDS, "--paired", f"second{EVIL}.jsonl"),
    ("convert", PREDS, CORPUS, "--to", "bigbio", "--out", f"as-bigbio{EVIL}"),
    ("convert", PREDS, CORPUS, "--to", "pubtator", "--out", "as-pubtator"),
    ("convert", PREDS, CORPUS, "--to", "brat", "--out", "as-brat"),
    ("fuse", PREDS, f"second{EVIL}.jsonl", "--out", f"fused{EVIL}.jsonl"),
    ("fuse", PREDS, f"nothing{EVIL}.jsonl", "--out", "y.jsonl"),
    ("kb", "info", KB),
    ("kb", "info", KB, "--json"),
    ("kb", "search", KB, "Fever"),
    ("kb", "search", KB, f"C1{EVIL}"),
    ("kb", "search", KB, "cough", "--json"),
    ("kb", "diff", KB, f"newer{EVIL}"),
    ("kb", "diff", KB, f"newer{EVIL}", "--json", "--codes", PREDS),
    ("build-kb", f"kb{EVIL}.csv", "--out", KB),
    ("build-kb", f"kb{EVIL}.csv", "--out", "dry", "--dry-run"),
    ("build-kb", f"nothing{EVIL}.obo", "--out", "z"),
    ("train", CORPUS, "--kb", KB, "--fresh", "nano", "--out", CORPUS),
    ("slurm", "--", CORPUS, "--out", PREDS),
    ("link", CORPUS, f"--no-such-flag{EVIL}"),
    ("link", CORPUS, "--window", f"many{EVIL}"),
    (f"no-such-command{EVIL}",),
    ("merge", PREDS, f"one-too-many{EVIL}"),
]


def test_nothing_that_is_printed_takes_effect(hostile: Path, longbel: Longbel) -> None:
    for out in (PREDS, f"second{EVIL}.jsonl"):
        first = harmless(longbel(*LINK, out))
        assert first.code == 5, first.err
        assert "<U+001B>" in first.err
    codes = {command: harmless(longbel(*command)).code for command in COMMANDS}
    assert 1 not in codes.values(), codes


def test_an_explanation_takes_no_effect(
    hostile: Path, longbel: Longbel, model_folder: Path
) -> None:
    command = ("link", CORPUS, "--kb", KB, "--model", model_folder, "--beams", "2", "--out", PREDS)
    assert harmless(longbel(*command)).code == 5
    explained = [
        harmless(longbel("explain", PREDS, "--top", "1", form)) for form in ("--ansi", "--json")
    ]
    assert [done.code for done in explained] == [0, 0]
    assert harmless(longbel("explain", PREDS, "--mention", f"no{EVIL}", "--json")).code == 3
    assert harmless(longbel("explain", PREDS, "--top", "1", "--out", f"page{EVIL}")).code == 0


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain, naïve, 日本, العربية", "plain, naïve, 日本, العربية"),
        ("a\nb\tc", "a<U+000A>b<U+0009>c"),
        ("\x1b[1m\x9b\x7f", "<U+001B>[1m<U+009B><U+007F>"),
        ("\u202eabc\u2069\u2028", "<U+202E>abc<U+2069><U+2028>"),
        ("\udcff", "<U+DCFF>"),
    ],
)
def test_a_line_holds_no_control(text: str, line: str) -> None:
    assert visible_line(text) == line
    shown = visible_json(json.dumps({text: text}, ensure_ascii=False, indent=1))
    assert json.loads(shown) == {text: text}
    assert visible(shown) == shown


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("=1+1", "'=1+1"), ("@SUM(A1)", "'@SUM(A1)"), ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("\t=1", "'\t=1"), ("-0.25", "-0.25"), ("+1e3", "+1e3"), ("C0000001",) * 2,
        ("", ""), ("a=b", "a=b"),
    ],
)  # fmt: skip
def test_a_spreadsheet_computes_no_cell(cell: str, shown: str) -> None:
    assert no_formula(cell) == shown


def test_csv_keeps_its_bytes_unless_it_is_for_a_spreadsheet(
    longbel: Longbel, tmp_path: Path
) -> None:
    formula = "=HYPERLINK(1)"
    (tmp_path / "names.tsv").write_text(f"code\tname\tgroup\nC0000001\tFever\t{formula}\n")
    kb, out = tmp_path / "kb", tmp_path / "preds.jsonl"
    assert longbel("build-kb", tmp_path / "names.tsv", "--out", kb).code == 0
    corpus = write_json_lines(
        tmp_path / "corpus.jsonl", bigbio("d1", "Fever.", ("T1", formula, "Fever"))
    )
    command = ("link", corpus, "--kb", kb, "--linker", "exact", "--out", out)
    assert longbel(*command).code == 0
    assert f",{formula}," in longbel("score", out, "--table", "csv").out
    assert f",'{formula}," in longbel("score", out, "--table", "csv", "--for-spreadsheet").out
    assert longbel("score", out, "--for-spreadsheet").code == 2
