"""Which name of its gold concept a mention is trained to be answered with."""

from __future__ import annotations

import math

import pytest

from kb_builder.store.knowledge_base import KnowledgeBase
from longbel_cli.training.data.lexicon import Lexicon, Name, StoredNames, read_lexicon
from longbel_cli.training.data.target_rules import TARGET_RULES
from longbel_cli.training.data.targets import (
    NearestNames,
    document_targets,
    trigrams,
)
from longbel_cli.types import Document, Mention, Passage, Span

LEXICON = Lexicon(
    (
        Name("COPD", "C1", "Disorders", "ENG"),
        Name("Chronic Obstructive Pulmonary Disease", "C1", "Disorders", "ENG"),
        Name("Chronic obstructive pulmonary disease", "C1", "Disorders", "ENG"),
        Name("Lung disease, obstructive", "C1", "Disorders", "ENG", preferred=True),
        Name("Asthma", "C2", "Disorders", "ENG"),
        Name("Asthme", "C2", "Disorders", "FRE"),
        Name("Lung", "C3", "Anatomy", "ENG"),
    )
)


def document(*mentions: tuple[str, str, tuple[str, ...] | None]) -> Document:
    """A document of these mention texts (with group and gold), one after another."""
    text, result = "", []
    for index, (words, group, gold) in enumerate(mentions):
        span = Span(len(text), len(text) + len(words))
        result.append(Mention(f"T{index}", (span,), words, group, group, gold))
        text += words + " "
    return Document("d", (Passage(text),), tuple(result), "test")


def test_trigrams_are_of_the_cleaned_case_folded_text_with_blanks_around_it():
    assert trigrams("Ab") == {" ab": 1, "ab ": 1}
    assert trigrams("[A]") == trigrams("(a)") == {" (a": 1, "(a)": 1, "a) ": 1}
    assert trigrams("aaaa") == {" aa": 1, "aaa": 2, "aa ": 1}


def test_the_cosine_of_two_names_by_hand():
    """Two names with one trigram of three in common."""
    lexicon = Lexicon((Name("ab", "C1", "G", "ENG"), Name("abc", "C2", "G", "ENG")))
    # " ab" is in both names, "ab " in the first, "abc" and "bc " in the second.
    both, first = math.log(3 / 3) + 1, math.log(3 / 2) + 1
    expected = both * both / math.hypot(both, first) / math.sqrt(both**2 + 2 * first**2)
    name, score = NearestNames(lexicon).nearest("abc", "C1", "G")
    assert name == "ab"
    assert score == pytest.approx(expected)


@pytest.mark.parametrize(
    ("mention", "code", "group", "expected"),
    [
        ("COPD", "C1", "Disorders", "COPD"),
        ("obstructive lung disease", "C1", "Disorders", "Lung disease, obstructive"),
        # Equal but for case: as the mention has it, else the first of the table.
        (
            "Chronic obstructive pulmonary disease", "C1", "Disorders",
            "Chronic obstructive pulmonary disease",
        ),
        (
            "chronic obstructive pulmonary disease", "C1", "Disorders",
            "Chronic Obstructive Pulmonary Disease",
        ),
        ("asthme", "C2", "Disorders", "Asthme"),
        ("asthmatic", "C2", "Disorders", "Asthma"),
        # Nothing in common with any name: the first of the table.
        ("xyz", "C2", "Disorders", "Asthma"),
    ],
)  # fmt: skip
def test_the_nearest_name(mention, code, group, expected):
    assert NearestNames(LEXICON).nearest(mention, code, group)[0] == expected


def test_a_concept_is_looked_up_in_the_group_of_the_mention():
    nearest = NearestNames(LEXICON)
    assert nearest.nearest("lung", "C3", "Disorders") is None
    assert nearest.nearest("lung", "C9", "Anatomy") is None


MENTIONS = (
    ("chronic obstructive pulmonary disease", "Disorders", ("C1",)),
    ("COPD", "Disorders", ("C1",)),
    ("the disorder", "Disorders", ("C1",)),
    ("asthma", "Disorders", ("C2",)),
)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # One name per concept and document: the one nearest to its first mention.
        ("document", ["Chronic Obstructive Pulmonary Disease"] * 3 + ["Asthma"]),
        # The nearest of each; what is near to no name keeps the first.
        (
            "nearest",
            [
                "Chronic Obstructive Pulmonary Disease", "COPD",
                "Chronic Obstructive Pulmonary Disease", "Asthma",
            ],
        ),
        # The title; a concept without one keeps its first name.
        ("preferred", ["Lung disease, obstructive"] * 3 + ["Asthma"]),
    ],
)  # fmt: skip
def test_what_a_concept_is_called_in_a_document(rule, expected):
    targets = document_targets(document(*MENTIONS), NearestNames(LEXICON), TARGET_RULES[rule])
    assert targets == [(name,) for name in expected]


@pytest.mark.parametrize(
    ("mention", "code", "expected"),
    [
        # The nearest is passed over with all that is spelled the same.
        ("chronic obstructive pulmonary disease", "C1", "Lung disease, obstructive"),
        ("asthma", "C2", "Asthme"),
        ("lung", "C3", "Lung"),  # there is no other
    ],
)
def test_a_synonym_is_the_nearest_of_the_other_names(mention, code, expected):
    group = "Anatomy" if code == "C3" else "Disorders"
    gold = document((mention, group, (code,)))
    nearest, rule = NearestNames(LEXICON), TARGET_RULES["nearest"]
    assert document_targets(gold, nearest, rule, synonym=lambda: True) == [(expected,)]


def test_documents_do_not_share_what_they_call_a_concept():
    nearest, rule = NearestNames(LEXICON), TARGET_RULES["document"]
    document_targets(document(("COPD", "Disorders", ("C1",))), nearest, rule)
    targets = document_targets(document(("obstructive lung", "Disorders", ("C1",))), nearest, rule)
    assert targets == [("Lung disease, obstructive",)]


def test_several_gold_concepts_are_named_in_the_order_of_their_codes():
    gold = document(("asthma and COPD", "Disorders", ("C2", "C1")))
    targets = document_targets(gold, NearestNames(LEXICON), TARGET_RULES["document"])
    assert targets == [("COPD", "Asthma")]


def test_a_mention_without_a_known_gold_has_no_target():
    gold = document(
        ("asthma", "Disorders", None),
        ("asthma", "Disorders", ()),
        ("asthma", "Disorders", ("NO_CODE",)),
        ("asthma", "Disorders", ("C2", "NO_CODE")),
        ("asthma", "Anatomy", ("C2",)),
        ("asthma and more", "Disorders", ("C2", "C9")),
    )
    assert document_targets(gold, NearestNames(LEXICON), TARGET_RULES["document"]) == [None] * 6


def test_names_are_the_same_on_disk_and_in_memory(kb_folder):
    """Targets need no more than the first; a group that the KB lacks has no concepts."""
    base = KnowledgeBase.open(kb_folder)
    stored, held = StoredNames(base), read_lexicon(kb_folder)
    assert len(stored) == len(held) > 10
    assert list(stored.texts()) == list(held.texts())
    asked = [("C0000001", "Disorders"), ("C0000001", "Anatomy"), ("C9", "Disorders"), ("C1", "X")]
    for concept in asked:
        assert stored.of_concept(*concept) == held.of_concept(*concept)
    assert len(stored.of_concept("C0000001", "Disorders")) == 3
    for names in (stored, held):
        nearest = NearestNames(names)
        assert nearest.nearest("pyrexias", "C0000001", "Disorders")[0] == "Pyrexia"
        assert nearest.preferred("C0000001", "Disorders") == "Fever"
        assert nearest.nearest("pyrexias", "C0000001", "X") is None
