"""Notes go to stderr, not with `--quiet`; whoever calls the packages from Python sees nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import write_release
from tests.support.command_line import Longbel, write_json_lines
from tests.support.link_cases import DOCUMENTS, misplaced
from tests.support.paths import ROOT


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder with a document whose mentions are partly left out, and a file that is odd."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    write_json_lines(folder / "corpus.jsonl", *DOCUMENTS, misplaced())
    (folder / "names.odd").write_text("")
    return folder


@pytest.fixture
def longbel(
    longbel: Longbel, monkeypatch: pytest.MonkeyPatch, model_folder: Path, kb_folder: Path
) -> Longbel:
    monkeypatch.setenv("LONGBEL_MODEL", str(model_folder))
    monkeypatch.setenv("LONGBEL_KB", str(kb_folder))
    return longbel


@pytest.fixture
def preds(longbel: Longbel, corpus: Path, tmp_path: Path) -> Path:
    """What the tiny model answers."""
    done = longbel("link", corpus, "--out", tmp_path / "p.jsonl", "--beams", 2, "--quiet")
    assert (done.code, done.out, done.err) == (5, "", "")
    return tmp_path / "p.jsonl"


def train_words(folder: Path, preds: Path, kb: Path) -> list[object]:
    return [
        "train", folder / "corpus", "--fresh", "nano", "--kb", kb, "--out", folder / "m", "--steps",
        1, "--validate", folder / "corpus", "--device", "cpu", "--overwrite",
    ]  # fmt: skip


# Name: what the command is given, in a folder with a corpus, and with its predictions.
COMMANDS: dict[str, Callable[[Path, Path, Path], list[object]]] = {
    "link": lambda folder, preds, kb: [
        "link", folder / "corpus", "--out", folder / "l.jsonl", "--linker", "exact", "--restart",
    ],
    "link to stdout": lambda folder, preds, kb: [
        "link", folder / "corpus", "--out", "-", "--linker", "exact",
    ],
    "score": lambda folder, preds, kb: ["score", preds, "--gold", folder / "corpus"],
    "fuse": lambda folder, preds, kb: [
        "fuse", preds, preds, "--out", folder / "f.jsonl", "--overwrite",
    ],
    "merge": lambda folder, preds, kb: ["merge", preds],
    "explain": lambda folder, preds, kb: ["explain", preds, "--top", 1, "--ansi"],
    "train": train_words,
}  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_notes_are_lines_on_stderr_unless_quiet(
    longbel: Longbel,
    preds: Path,
    kb_folder: Path,
    tmp_path: Path,
    words: Callable[[Path, Path, Path], list[object]],
) -> None:
    loud = longbel(*words(tmp_path, preds, kb_folder))
    assert loud.code in (0, 5), loud.err
    assert loud.err and all(line.startswith("longbel: ") for line in loud.err.splitlines())
    quiet = longbel(*words(tmp_path, preds, kb_folder), "--quiet")
    assert (quiet.code, quiet.err) == (loud.code, "")


def test_a_build_says_nothing_when_quiet(longbel: Longbel, tmp_path: Path) -> None:
    release = write_release(tmp_path / "release")
    done = longbel("build-kb", release, "--out", tmp_path / "kb", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("link", "longbel: note: {corpus}/names.odd: it is no corpus file by its name; it is left "
                 "out"),
        ("link", "longbel: 5 documents, 9 mentions"),
        ("score", "longbel: 2 document(s) or mention(s) of the gold corpus left out, the first: "
                  "{corpus}/corpus.jsonl:5: document bad: mention T1: its offset 5005 lies past "
                  "the end of the document (35 characters)"),
        ("explain", "longbel: 1 of 1 mentions explained"),
    ],
)  # fmt: skip
def test_notes_by_word(
    longbel: Longbel, corpus: Path, preds: Path, kb_folder: Path, tmp_path: Path, words: str,
    line: str,
) -> None:  # fmt: skip
    done = longbel(*COMMANDS[words](tmp_path, preds, kb_folder))
    assert line.format(corpus=corpus) in done.err.splitlines()


def test_what_the_packages_do_from_python_prints_nothing(corpus: Path, tmp_path: Path) -> None:
    """A process of its own: no test runner has set logging up there."""
    write_release(tmp_path / "release")
    code = f"""
from pathlib import Path
folder = Path({str(tmp_path)!r})
from kb_builder.build import BuildOptions, build_kb
from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.corpora import Corpus
from longbel_cli.corpora.converting import convert
from longbel_cli.corpora.formats import writers
from longbel_cli.corpora.prediction_index import PredictionIndex
from longbel_cli.linking.baselines import BaselineOptions, open_baseline
from longbel_cli.linking.ensemble import link_corpus
from longbel_cli.linking.fused_file import fuse_files
from longbel_cli.linking.job_options import JobOptions
from longbel_cli.linking.reading import CorpusOptions, CorpusReader
from longbel_cli.runs.run import StopSignals, set_run_aside
from longbel_cli.scoring.evaluation import evaluate_files
from longbel_cli.scoring.request import ScoreRequest

build_kb(BuildOptions(folder / "release", folder / "kb"))
linker = open_baseline("exact", KnowledgeBase.open(folder / "kb"), BaselineOptions())
corpus, out = folder / "corpus", folder / "out.jsonl"
reader = CorpusReader(CorpusOptions((corpus,)), linker.knowledge_base.groups)
outcome = link_corpus([linker], reader, JobOptions(out, threads=1), StopSignals())
assert outcome.finished and outcome.quarantined
evaluate_files(ScoreRequest(out, gold=(corpus,)))
fuse_files([out, out], folder / "fused.jsonl")
set_run_aside(out)
convert(
    PredictionIndex(folder / "fused.jsonl"),
    Corpus([corpus]).read_whole(lambda problem: None),
    writers()["pubtator"],
    folder / "converted",
    "UMLS",
)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
