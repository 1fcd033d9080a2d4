"""A row that is added to a table is found in help, messages and completion, and is used.

Each test adds one to the tables of this process: a corpus format, a prompt format, a baseline,
a source of a knowledge base.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from kb_builder import sources
from kb_builder.sources import Source, tables
from kb_builder.sources.reading import Reading
from kb_builder.store.knowledge_base import KnowledgeBase
from kb_builder.terms import Terms
from longbel_cli.commands.choices import CHOICES, completed
from longbel_cli.corpora.formats import CORPUS_FORMATS, CorpusFormat
from longbel_cli.corpora.records import CorpusFile, Draft, Item, Position, Read
from longbel_cli.corpora.writing import Answers
from longbel_cli.linking import baselines
from longbel_cli.linking.baselines import BASELINES, Baseline
from longbel_cli.linking.baselines.exact import ExactRanker
from longbel_cli.linking.options import BaselineOptions
from longbel_cli.prompting.formats import PROMPT_FORMATS, DocumentPrompts, PromptFormat
from longbel_cli.types import Document, Mention, Passage, Span
from tests.support.baseline_cases import small_kb
from tests.support.command_line import Longbel, json_lines

# The options that take each choice; those of a command that is not listed take it nowhere.
FORMAT_OPTIONS = {
    "check": "--format", "link": "--format", "convert": "--format", "score": "--gold-format",
    "explain": "--format", "train": "--format",
}  # fmt: skip
PROMPT_OPTIONS = {"link": "--context-format", "explain": "--context-format"}


def option_help(longbel: Longbel, command: str, option: str) -> str:
    """The help text of an option, on one line."""
    page = longbel(command, "--help").out
    entry = page.split(f"  {option} ", 1)[1].split("\n  --", 1)[0]
    return " ".join(entry.split())


@pytest.fixture
def kb(tmp_path: Path) -> Path:
    return small_kb(tmp_path).path


def read_words(file: CorpusFile, start: Position) -> Iterator[Item]:
    """A document a line: its id and a word, which is the mention."""
    lines = Path(file.path).read_text(encoding="utf-8").splitlines()
    for index, line in enumerate(lines):
        name, word = line.split()
        mention = Mention("T1", (Span(0, len(word)),), word, "Disorders", "Disorders")
        draft = Draft([Passage(word, 0)], [mention])
        if index >= start.offset:
            yield Item(index, index + 1, name, lambda draft=draft: draft)


class WordWriter:
    """The code of each document's mention, a line each."""

    def __init__(self, folder: Path, database: str, replace_gold: bool = False) -> None:
        self._file = (folder / "codes.txt").open("w")

    def keeps_gold(self, read: Read) -> bool:
        return False

    def write(self, read: Read, answers: Answers) -> None:
        codes = [answer.code for answer in answers.get("T1", ())]
        self._file.write(f"{read.document.id} {'+'.join(codes)}\n")

    def close(self) -> None:
        self._file.close()


def test_a_corpus_format(
    longbel: Longbel, monkeypatch: pytest.MonkeyPatch, kb: Path, tmp_path: Path
) -> None:
    row = CorpusFormat("words", "words (.words)", read_words, (".words",), writer=WordWriter)
    monkeypatch.setitem(CORPUS_FORMATS, "words", row)
    for command, option in FORMAT_OPTIONS.items():
        assert "table or words." in option_help(longbel, command, option)
    assert "pubtator, words, " in option_help(longbel, "convert", "--to")
    refused = longbel("check", tmp_path, "--format", "docx")
    assert refused.code == 2 and "table or words" in refused.err
    assert ("words", "words (.words)") in completed("corpus_formats", False)("w")

    corpus, out = tmp_path / "c.words", tmp_path / "p.jsonl"
    corpus.write_text("d1 Straße\nd2 CoLD\n", encoding="utf-8")
    assert longbel("check", corpus).code == 0
    done = longbel("link", corpus, "--linker", "exact", "--kb", kb, "--out", out)
    assert done.code == 0, done.err
    assert [line["document_id"] for line in json_lines(out)] == ["d1", "d2"]
    done = longbel("convert", out, corpus, "--to", "words", "--out", tmp_path / "written")
    assert done.code == 0, done.err
    assert (tmp_path / "written" / "codes.txt").read_text() == "d1 \nd2 C3\n"


def test_a_prompt_format(longbel: Longbel, monkeypatch: pytest.MonkeyPatch) -> None:
    row = PromptFormat("plain", "plain_document", "section", help="the document, unmarked")
    monkeypatch.setitem(PROMPT_FORMATS, "plain", row)
    for command, option in PROMPT_OPTIONS.items():
        assert "echoed or plain." in option_help(longbel, command, option)
    for option in ("--context-format", "--ensemble"):
        refused = longbel("link", "corpus", "--out", "p.jsonl", option, "short,shout")
        assert refused.code == 2 and "echoed or plain" in refused.err
    refused = longbel("train", "corpus", "--out", "m", "--context-format", "shout")
    assert refused.code == 2 and "echoed or plain" in refused.err
    assert completed("prompt_formats", True)("short,pl") == [
        ("short,plain", "the document, unmarked")
    ]

    mention = Mention("T1", (Span(0, 5),), "Fever", "Disorders", "Disorders")
    document = Document("d", (Passage("Fever.", 0),), (mention,), "d")
    assert DocumentPrompts(document, row).render(mention, []).text == (
        "### Context\nFever.\n\n### Previous Normalizations\nNone\n\n"
        "### Prediction\n[Fever]{Disorders}"
    )


def test_a_baseline(
    longbel: Longbel, monkeypatch: pytest.MonkeyPatch, kb: Path, tmp_path: Path
) -> None:
    class One(ExactRanker):
        name = "one"

    def open_linker(knowledge_base: KnowledgeBase, options: BaselineOptions) -> One:
        return One(knowledge_base, beams=1)

    module = ModuleType("one")
    monkeypatch.setattr(module, "open_linker", open_linker, raising=False)
    monkeypatch.setitem(sys.modules, f"{baselines.__name__}.one", module)
    monkeypatch.setitem(BASELINES, "one", Baseline("one", "the best name", frozenset({"language"})))
    assert "one (the best name)." in option_help(longbel, "link", "--linker")
    corpus = tmp_path / "c.pubtator"
    corpus.write_text("1|t|A cold.\n1|a|\n1\t2\t6\tcold\tDisorders\t-\n", encoding="utf-8")
    common = ("link", corpus, "--kb", kb, "--out", tmp_path / "p.jsonl", "--linker")
    refused = longbel(*common, "many")
    assert refused.code == 2 and "seq2seq or one" in refused.err
    refused = longbel(*common, "one", "--device", "cpu")
    assert refused.code == 2 and "--device does not go with --linker one" in refused.err
    done = longbel(*common, "one", "--language", "en")
    assert done.code == 0, done.err
    assert [len(line["beams"]) for line in json_lines(tmp_path / "p.jsonl")] == [1]


def test_a_source(longbel: Longbel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file of words, each a concept of its own; read as the table that it is turned into."""

    def read_list(reading: Reading) -> Terms:
        words = reading.path.read_text(encoding="utf-8").split()
        table = tmp_path / "words.tsv"
        rows = (f"W{index}\t{word}\tDisorders\n" for index, word in enumerate(words))
        table.write_text("code\tname\tgroup\n" + "".join(rows), encoding="utf-8")
        return tables.read(replace(reading, paths=(table,)))

    module = ModuleType("words")
    monkeypatch.setattr(module, "matches", lambda path: path.suffix == ".words", raising=False)
    monkeypatch.setattr(module, "read", read_list, raising=False)
    monkeypatch.setitem(sys.modules, f"{sources.__name__}.words", module)
    row = Source("words", "words", "a list of words", ".words", frozenset({"--group"}))
    monkeypatch.setattr(sources, "SOURCES", (*sources.SOURCES, row))
    assert "table or words." in option_help(longbel, "build-kb", "--group")
    assert "a list of words (.words)" in " ".join(longbel("build-kb", "--help").out.split())
    unknown = tmp_path / "c.docx"
    unknown.write_text("fever\n")
    refused = longbel("build-kb", unknown, "--out", tmp_path / "kb")
    assert refused.code == 3 and "a list of words" in refused.err

    listed = unknown.rename(tmp_path / "c.words")
    refused = longbel("build-kb", listed, "--out", tmp_path / "kb", "--standard-only")
    assert refused.code == 2 and "does not apply to a list of words" in refused.err
    done = longbel("build-kb", listed, "--out", tmp_path / "kb", "--quiet")
    assert done.code == 0, done.err
    assert KnowledgeBase.open(tmp_path / "kb").name(0) == "Fever"


@pytest.mark.parametrize("name", sorted(CHOICES))
def test_every_choice_has_names(name: str) -> None:
    """Tables move: what the command line calls a choice is there, and completes."""
    names = list(CHOICES[name].helps())
    assert len(names) >= 1
    assert [value for value, _ in completed(name, False)("")] == names
