"""The dictionary detector: which names are found, where, and as what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longbel_cli.detecting.dictionary import DictionaryDetector, Learned, LearnedName
from longbel_cli.detecting.index import (
    NameBlock,
    NameIndex,
    build_index,
    is_in_capitals,
    only_in_capitals,
)
from longbel_cli.detecting.learning import learn
from longbel_cli.detecting.options import DictionaryOptions
from longbel_cli.detecting.tokens import Tokenizer
from longbel_cli.types import Document, Mention, Passage, Span
from tests.detecting.oracle import Oracle

GROUPS = ("Anatomy", "Disorders", "Procedures")
ANAT, DISO, PROC = range(3)
NAMES = {
    ANAT: ("liver", "heart", "B cell"),
    DISO: (
        "liver cancer", "cancer", "Crohn's disease", "fever", "heart failure", "AIDS", "MS", "ALL",
        "type 2 diabetes", "multiple sclerosis", "and", "vitamin B12 deficiency",
    ),
    PROC: ("liver cancer screening", "biopsy"),
}  # fmt: skip


def block(names: Sequence[str], group: int, votes: int = 1, preferred: bool = False) -> NameBlock:
    n = len(names)
    return NameBlock(names, group, np.full(n, votes), np.full(n, preferred), np.ones(n, bool))


def index_of(names: dict[int, Sequence[str]] = NAMES) -> NameIndex:
    blocks = [block(of_group, group) for group, of_group in names.items()]
    return build_index(blocks, GROUPS, Tokenizer().key)


def document(text: str, *mentions: tuple[str, str]) -> Document:
    """A document, its mentions by their text (the first place of it) and group."""
    made = tuple(
        Mention(f"T{i}", (Span(text.index(name), text.index(name) + len(name)),), name, group)
        for i, (name, group) in enumerate(mentions)
    )
    return Document("d", (Passage(text),), made)


def result(text: str, options: DictionaryOptions | None = None, **more: object) -> list[str]:
    """What is found, as `text/G` with the first letter of its group."""
    options = replace(options or DictionaryOptions(), **more)  # type: ignore[arg-type]  # by name
    detector = DictionaryDetector(index_of(), options)
    return [
        f"{text[each.span.start : each.span.end]}/{each.group[0]}"
        for each in detector.detect(document(text))
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Liver cancers, fever.", ["Liver cancers/D", "fever/D"]),
        ("liver cancer screening", ["liver cancer screening/P"]),
        ("liver-cancer screen", ["liver-cancer/D"]),
        ("liver\ncancer", ["liver\ncancer/D"]),
        ("liver\n\ncancer", ["liver/A", "cancer/D"]),
        ("Crohn disease and Crohn’s Disease", ["Crohn disease/D", "Crohn’s Disease/D"]),
        ("aids and AIDS", ["AIDS/D"]),
        ("all of ALT", []),
        ("livers of the overliver", ["livers/A"]),
        ("B cells, not B12 cells", ["B cells/A"]),
        ("vitamin B-12 deficiency", ["vitamin B-12 deficiency/D"]),
        ("fever2", []),
        ("😀 fever", ["fever/D"]),
        ("fe\u0301ver", ["fe\u0301ver/D"]),
        ("and AND", []),
    ],
)
def test_what_is_found(text: str, expected: list[str]) -> None:
    assert result(text) == expected


def test_nested_gives_what_lies_inside_too() -> None:
    assert result("liver cancer screening of B cells", nested=True) == [
        "liver/A", "liver cancer/D", "liver cancer screening/P", "cancer/D", "B cells/A",
    ]  # fmt: skip


def test_all_groups_compete_before_those_not_asked_for_are_dropped() -> None:
    options = DictionaryOptions(semantic_groups=("Disorders",))
    assert result("liver cancer screening, liver, cancer", options) == ["cancer/D"]
    rules = replace(options.rules, all_compete=False)
    assert result("liver cancer screening", options, rules=rules) == ["liver cancer/D"]


def test_stopped_texts_are_no_mentions() -> None:
    assert result("liver cancer", stop=("Liver Cancers",)) == ["liver/A", "cancer/D"]


def test_an_abbreviation_is_what_its_long_form_is() -> None:
    text = "Heart failure (HF). HFs, hf. Mass spectrometry (MS). MS."
    assert result(text) == ["Heart failure/D", "HF/D", "HFs/D"]
    assert result(text, abbreviations="off") == ["Heart failure/D", "MS/D", "MS/D"]


def test_passages_end_matches() -> None:
    passages = (Passage("The liver"), Passage("cancer", 10))
    detections = DictionaryDetector(index_of(), DictionaryOptions()).detect(
        Document("d", passages, ())
    )
    assert [(each.span, each.group) for each in detections] == [
        ((4, 9), "Anatomy"), ((10, 16), "Disorders"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("meanings", "group"),
    [
        ([block(["tumor"], ANAT), block(["tumor"], DISO)], "Anatomy"),
        ([block(["tumor"], ANAT), block(["tumor"], DISO, votes=2)], "Disorders"),
        ([block(["tumor"], ANAT), block(["tumor", "Tumor"], DISO)], "Disorders"),
        ([block(["tumor"], ANAT), block(["tumor"], DISO, preferred=True)], "Disorders"),
        ([block(["tumor"], PROC, preferred=True), block(["tumor"], DISO, votes=2)], "Disorders"),
    ],
)
def test_a_name_of_several_groups_has_one(meanings: list[NameBlock], group: str) -> None:
    for order in (meanings, meanings[::-1]):
        index = build_index(order, GROUPS, Tokenizer().key)
        (detection,) = DictionaryDetector(index, DictionaryOptions()).detect(document("tumors"))
        assert detection.group == group


def test_names_in_capitals_count_for_text_in_capitals() -> None:
    index = build_index([block(["aids"], PROC), block(["AIDS", "Aids"], DISO, 2)], GROUPS,
                        Tokenizer().key)  # fmt: skip
    detector = DictionaryDetector(index, DictionaryOptions())
    assert [each.group for each in detector.detect(document("AIDS aids"))] == ["Disorders"] * 2
    index = build_index([block(["aids"], PROC), block(["AIDS"], DISO, 2)], GROUPS, Tokenizer().key)
    detector = DictionaryDetector(index, DictionaryOptions())
    groups = [each.group for each in detector.detect(document("AIDS aids"))]
    assert groups == ["Disorders", "Procedures"]


@pytest.mark.parametrize(
    ("name", "only"),
    [("AIDS", True), ("HIV-1", True), ("MS", True), ("flu", True), ("Aids", False),
     ("SEPSIS", False), ("fever", False), ("T-ALL", True)],
)  # fmt: skip
def test_names_that_are_met_in_capitals_alone(name: str, only: bool) -> None:
    assert only_in_capitals(name) == only


def test_a_plural_may_be_lower_case() -> None:
    assert [is_in_capitals(text) for text in ("SSRIs", "MI's", "SSRI", "Mis", "12")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_a_corpus_teaches_names_and_what_is_left_alone() -> None:
    documents = [
        document("dropsy and fever and cancer", ("dropsy", "Disorders"), ("cancer", "Disorders")),
        document("no fever, but dropsies and liver", ("dropsies", "Disorders")),
    ]
    options = DictionaryOptions()
    learned = learn(index_of(), options, documents)
    assert learned.left_alone == {"fever "}
    assert learned.names["dropsi "] == LearnedName("Disorders", 1.0, False)
    detector = DictionaryDetector(index_of(), options, learned)
    text = "Dropsy, fever, liver"
    spans = [text[each.span.start : each.span.end] for each in detector.detect(document(text))]
    assert spans == ["Dropsy", "liver"]
    assert detector.settings() != DictionaryDetector(index_of(), options).settings()


def test_a_learned_name_has_the_group_that_annotators_give_it() -> None:
    learned = Learned({"liver ": LearnedName("Disorders", 0.5, False)})
    (detection,) = DictionaryDetector(index_of(), DictionaryOptions(), learned).detect(
        document("liver")
    )
    assert (detection.group, detection.score) == ("Disorders", 0.5)


WORDS = st.sampled_from(
    ["liver", "Liver", "LIVER", "cancer", "cancers", "MS", "ms", "B", "12", "é", "e\u0301", "the",
     "and", "(", ",", "'s", "𝒜", "😀", "HER2", "all"]
)  # fmt: skip
SPACES = st.sampled_from([" ", "-", "\n", "\r\n", "\n\n", "\r\n\r\n", "\u00a0", "", "\u2013"])
STRETCHES = st.lists(st.tuples(WORDS, SPACES), max_size=12).map(
    lambda pairs: "".join(word + space for word, space in pairs)
)


@settings(deadline=None)
@given(st.lists(STRETCHES, max_size=8), STRETCHES)
def test_every_match_is_a_name_and_no_name_is_missed(names: list[str], text: str) -> None:
    index = index_of({DISO: names})
    options = DictionaryOptions(abbreviations="off")
    detections = DictionaryDetector(index, options).detect(document(text))
    assert [each.span for each in detections] == list(Oracle(names).matches(text))


@settings(deadline=None)
@given(st.lists(STRETCHES, max_size=8), STRETCHES)
def test_nested_holds_the_leftmost_longest_and_names_inside(names: list[str], text: str) -> None:
    index, oracle = index_of({DISO: names}), Oracle(names)
    options = DictionaryOptions(abbreviations="off", nested=True)
    spans = [each.span for each in DictionaryDetector(index, options).detect(document(text))]
    outer = list(oracle.matches(text))
    assert set(outer) <= set(spans) and len(set(spans)) == len(spans)
    for start, end in spans:
        assert oracle.is_name(text[start:end])
        assert any(low <= start and end <= high for low, high in outer)
