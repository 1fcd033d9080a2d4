"""The sample corpus as a stranger's parser sees it: offsets, ids, gold, and what it shows.

Reads the files with a few lines of its own, so that it does not lean on the readers that the
corpus is there to exercise.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from kb_builder.semantics import SEMANTIC_TYPES
from tests.support.paths import SAMPLE

CORPUS = SAMPLE / "corpus"
RELEASE = SAMPLE / "release"


@dataclass(frozen=True)
class GoldMention:
    """A mention as the files state it: its id, fragments, text, group code and gold."""

    id: str
    spans: tuple[tuple[int, int], ...]
    text: str
    group: str
    gold: tuple[str, ...]


@dataclass(frozen=True)
class GoldDocument:
    """A document's id, whole text, language (its folder or file) and mentions."""

    id: str
    text: str
    language: str
    mentions: tuple[GoldMention, ...]


def brat_documents() -> Iterator[GoldDocument]:
    for path in sorted(CORPUS.glob("brat/*/*.txt")):
        text = path.read_bytes().decode("utf-8")
        annotations = path.with_suffix(".ann").read_bytes().decode("utf-8").splitlines()
        gold: dict[str, list[str]] = {}
        for line in annotations:
            if line.startswith("N"):
                _, mention, code = line.split("\t")[1].split(" ")
                gold.setdefault(mention, []).append(code.split(":", 1)[1])
        mentions = []
        for line in annotations:
            if line.startswith("T"):
                mention_id, where, surface = line.split("\t")
                group, offsets = where.split(" ", 1)
                spans = [tuple(map(int, pair.split(" "))) for pair in offsets.split(";")]
                mentions.append(
                    GoldMention(
                        mention_id,
                        tuple((start, end) for start, end in spans),
                        surface,
                        group,
                        tuple(gold.get(mention_id, ())),
                    )
                )
        name = path.relative_to(CORPUS).with_suffix("").as_posix()
        yield GoldDocument(name, text, path.parent.name, tuple(mentions))


def bigbio_documents() -> Iterator[GoldDocument]:
    for path in sorted(CORPUS.glob("bigbio/*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            document = json.loads(line)
            text = ""
            for passage in document["passages"]:
                (body,), ((start, end),) = passage["text"], passage["offsets"]
                text += " " * (start - len(text)) + body
                assert len(text) == end, (document["id"], passage["id"])
            mentions = tuple(
                GoldMention(
                    entity["id"],
                    tuple((start, end) for start, end in entity["offsets"]),
                    " ".join(entity["text"]),
                    entity["type"],
                    tuple(code["db_id"] for code in entity["normalized"]),
                )
                for entity in document["entities"]
            )
            yield GoldDocument(document["document_id"], text, path.stem, mentions)


@cache
def documents() -> tuple[GoldDocument, ...]:
    return (*brat_documents(), *bigbio_documents())


def mentions() -> Iterator[tuple[GoldDocument, GoldMention]]:
    return ((document, mention) for document in documents() for mention in document.mentions)


@cache
def groups_of_concepts() -> dict[str, set[str]]:
    groups: dict[str, set[str]] = {}
    for line in (RELEASE / "MRSTY.RRF").read_text(encoding="utf-8").splitlines():
        cui, tui = line.split("|")[:2]
        groups.setdefault(cui, set()).add(SEMANTIC_TYPES[tui].group_code)
    return groups


def test_every_mention_is_its_slice() -> None:
    for document, mention in mentions():
        slices = [document.text[start:end] for start, end in mention.spans]
        assert " ".join(slices) == mention.text, (document.id, mention.id)
        assert all(mention.spans), (document.id, mention.id)
        assert all(part == part.strip() != "" for part in slices), (document.id, mention.id)
        flat = [offset for span in mention.spans for offset in span]
        assert flat == sorted(flat), (document.id, mention.id)


def test_mentions_come_in_document_order() -> None:
    for document in documents():
        keys = [(m.spans[0][0], m.spans[-1][1]) for m in document.mentions]
        assert keys == sorted(keys), document.id


def test_ids_are_unique() -> None:
    ids = [document.id for document in documents()]
    assert len(set(ids)) == len(ids)
    for document in documents():
        mention_ids = [mention.id for mention in document.mentions]
        assert len(set(mention_ids)) == len(mention_ids), document.id


def test_every_gold_concept_is_in_the_release_in_the_mention_s_group() -> None:
    for document, mention in mentions():
        (code,) = mention.gold
        assert mention.group in groups_of_concepts().get(code, set()), (document.id, mention.id)


def test_is_large_enough_in_each_language_and_format() -> None:
    assert len(documents()) >= 12
    assert sum(1 for _ in mentions()) >= 120
    both_formats = [*brat_documents()], [*bigbio_documents()]
    for result in both_formats:
        assert {document.language for document in result} == {"en", "fr", "es"}


def test_no_passage_boundary_runs_through_a_mention() -> None:
    for path in CORPUS.glob("bigbio/*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            document = json.loads(line)
            bounds = [passage["offsets"][0] for passage in document["passages"]]
            for entity in document["entities"]:
                inside = [
                    s <= entity["offsets"][0][0] and entity["offsets"][-1][1] <= e
                    for s, e in bounds
                ]
                assert sum(inside) == 1, entity["id"]


def contains(outer: GoldMention, inner: GoldMention) -> bool:
    (start, end), (low, high) = (
        (mention.spans[0][0], mention.spans[-1][1]) for mention in (outer, inner)
    )
    return start <= low and high <= end and (start, end) != (low, high)


def test_shows_nested_and_discontinuous_mentions() -> None:
    discontinuous = [m.text for _, m in mentions() if len(m.spans) > 1]
    nested = [
        (outer.text, inner.text)
        for document in documents()
        for outer in document.mentions
        for inner in document.mentions
        if len(outer.spans) == len(inner.spans) == 1 and contains(outer, inner)
    ]
    assert len(discontinuous) >= 5
    assert len(nested) >= 2


def test_shows_concepts_that_recur_under_other_names() -> None:
    renamed = 0
    for document in documents():
        texts: dict[str, set[str]] = {}
        for mention in document.mentions:
            texts.setdefault(mention.gold[0], set()).add(mention.text.casefold())
        renamed += sum(len(names) > 1 for names in texts.values())
    assert renamed >= 20


def test_shows_abbreviations_that_are_introduced_once_and_reused() -> None:
    reused = 0
    for document in documents():
        uses = Counter(mention.text for mention in document.mentions)
        reused += sum(
            count > 1 and name.isupper() and f"({name})" in document.text
            for name, count in uses.items()
        )
    assert reused >= 8


def test_shows_one_name_with_different_concepts_in_different_documents() -> None:
    concepts: dict[str, set[str]] = {}
    for _, mention in mentions():
        concepts.setdefault(mention.text, set()).update(mention.gold)
    assert {"MS", "PE"} <= {name for name, codes in concepts.items() if len(codes) > 1}


@cache
def make_corpus() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_corpus", SAMPLE / "make_corpus.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("marked", "text", "expected"),
    [
        ("a [cough|DISO|Cough].", "a cough.", [(((2, 7),), "DISO", "Cough")]),
        (
            "[[liver|ANAT|Liver] failure|DISO|Liver Failure]",
            "liver failure",
            [(((0, 5),), "ANAT", "Liver"), (((0, 13),), "DISO", "Liver Failure")],
        ),
        (
            "[hepatic|+a] or [renal [failure|+a|DISO|Liver Failure]|DISO|Renal Failure]",
            "hepatic or renal failure",
            [
                (((0, 7), (17, 24)), "DISO", "Liver Failure"),
                (((11, 24),), "DISO", "Renal Failure"),
            ],
        ),
        ("[œdème|DISO|MSH:D004487]", "œdème", [(((0, 5),), "DISO", "MSH:D004487")]),
    ],
)
def test_marks_are_read(marked: str, text: str, expected: list[object]) -> None:
    plain, marks = make_corpus().parse(marked)
    assert plain == text
    assert [(mark.spans, mark.group, mark.label) for mark in marks] == expected


@pytest.mark.parametrize("marked", ["[cough", "cough | cold"])
def test_a_broken_mark_is_refused(marked: str) -> None:
    module = make_corpus()
    with pytest.raises(module.SourceError):
        module.parse(marked)


def test_the_committed_corpus_is_what_the_script_makes(tmp_path: Path) -> None:
    module = make_corpus()
    release = module.read_release(RELEASE)
    count, problems = module.make_corpus(SAMPLE / "corpus_source", release, tmp_path)
    assert problems == []
    assert count == len(documents())
    made = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    kept = {p.relative_to(CORPUS): p.read_bytes() for p in CORPUS.rglob("*") if p.is_file()}
    assert made == kept


def test_a_label_that_is_no_concept_is_reported_with_its_file(tmp_path: Path) -> None:
    module = make_corpus()
    source = tmp_path / "source"
    shutil.copytree(SAMPLE / "corpus_source" / "brat" / "en", source / "brat" / "en")
    broken = source / "brat" / "en" / "neurology_relapse.txt"
    broken.write_text("a [thing|DISO|No Such Disease]", encoding="utf-8")
    _, problems = module.make_corpus(source, module.read_release(RELEASE), tmp_path / "out")
    (problem,) = problems
    assert "neurology_relapse.txt" in problem
    assert "No Such Disease" in problem
