"""Documents made from names: sound spans, the same for the same seed, no other concept's form."""

from __future__ import annotations

import random

import pytest

from longbel_cli.training.data.lexicon import Lexicon, Name, folded
from longbel_cli.training.synthetic import surfaces
from longbel_cli.training.synthetic.documents import SyntheticDocuments
from longbel_cli.training.synthetic.surfaces import CHANGES, abbreviation

NAMES = (
    Name("Diabetes Mellitus, Type 2", "C1", "Disorders", "ENG"),
    Name("Diabète de type 2", "C1", "Disorders", "FRE"),
    Name("Diabetes tipo 2", "C1", "Disorders", "SPA"),
    Name("Breast Cancer", "C2", "Disorders", "ENG"),
    Name("Ovarian Cancer", "C3", "Disorders", "ENG"),
    Name("Cold (disorder)", "C4", "Disorders", "ENG"),
    Name("Cold", "C5", "Disorders", "ENG"),
    Name("Metformin", "C6", "Chemicals & Drugs", "ENG"),
    Name("Chest X-ray", "C7", "Procedures", "ENG"),
    Name("Kidney", "C8", "Anatomy", "ENG"),
    Name("Chronic obstructive pulmonary disease", "C9", "Disorders", "ENG"),
    Name("Odd thing", "C10", "Some group", "ENG"),
)
LEXICON = Lexicon(NAMES)
DOCUMENTS = [SyntheticDocuments(LEXICON, 3).document(index) for index in range(300)]


def test_every_mention_is_its_slice_of_the_document_and_lies_in_a_passage():
    for document in DOCUMENTS:
        for mention in document.mentions:
            slices = [document.text[span.start : span.end] for span in mention.spans]
            assert mention.text == " ".join(slices)
            assert any(each.start <= mention.start < each.end for each in document.passages)


def test_a_capital_that_is_two_letters_moves_no_offset():
    sharp = Lexicon((Name("ßeta failure", "C1", "Disorders", "ENG"),))
    for index in range(100):
        document = SyntheticDocuments(sharp, 3).document(index)
        for mention in document.mentions:
            slices = [document.text[span.start : span.end] for span in mention.spans]
            assert mention.text == " ".join(slices)


def test_gold_is_a_concept_of_the_mentions_group():
    concepts = set(LEXICON.by_concept)
    for document in DOCUMENTS:
        for mention in document.mentions:
            (code,) = mention.gold
            assert (code, mention.semantic_group) in concepts


def test_a_written_form_is_never_the_name_of_another_concept():
    """But for abbreviations (`COLD`), which the document introduces."""
    for document in DOCUMENTS:
        for mention in document.mentions:
            if mention.text.isupper():
                continue
            known = LEXICON.codes_by_form.get((folded(mention.text), mention.semantic_group))
            assert known is None or set(mention.gold) <= known


def test_the_same_number_gives_the_same_document_and_another_seed_another():
    again = SyntheticDocuments(LEXICON, 3)
    assert [again.document(index) for index in range(40)] == DOCUMENTS[:40]
    other = SyntheticDocuments(LEXICON, 4)
    assert [other.document(index) for index in range(40)] != DOCUMENTS[:40]


def test_what_documents_are_made_of():
    mentions = [mention for document in DOCUMENTS for mention in document.mentions]
    assert {mention.gold[0] for mention in mentions} >= {f"C{index}" for index in range(1, 11)}
    assert any(len(mention.spans) == 2 for mention in mentions)
    assert any(mention.text == "COPD" for mention in mentions)
    assert any(len(document.passages) == 2 for document in DOCUMENTS)


@pytest.mark.parametrize(
    ("surface", "expected"),
    [
        ("chronic obstructive pulmonary disease", "COPD"),
        ("cancer of the breast", "CB"),
        ("fever", None),
        ("a of the", None),
    ],
)
def test_abbreviations(surface, expected):
    assert abbreviation(surface) == expected


@pytest.mark.parametrize(
    ("change", "text", "language", "expected"),
    [
        ("without_qualifier", "cold (disorder)", "en", "cold"),
        ("reordered", "diabetes mellitus, type 2", "en", "type 2 diabetes mellitus"),
        ("reordered", "a, b, c", "en", "a, b, c"),
        ("of_phrase", "cancer of the breast", "en", "breast cancer"),
        ("of_phrase", "cancer du sein", "fr", "cancer du sein"),
        ("without_last_word", "sildenafil citrate", "en", "sildenafil"),
        ("without_last_word", "heart attack", "en", "heart attack"),
        ("adjective", "osteoporosis", "en", "osteoporotic"),
        ("adjective", "renal necrosis", "en", "renal necrosis"),
        ("other_number", "seizure", "en", "seizures"),
        ("other_number", "seizures", "en", "seizure"),
        ("other_number", "biopsy", "en", "biopsies"),
        ("other_number", "metastasis", "en", "metastases"),
        ("other_number", "metastases", "en", "metastasis"),
        ("other_number", "tumor", "es", "tumores"),
        ("other_side_of_the_atlantic", "anaemia", "en", "anemia"),
        ("other_side_of_the_atlantic", "tumor", "en", "tumour"),
        ("related_word", "renal failure", "en", "kidney failure"),
        ("possessive", "crohn's disease", "en", "crohn disease"),
        ("without_accents", "fièvre élevée", "fr", "fievre elevee"),
        ("shouted", "fever", "en", "FEVER"),
    ],
)
def test_changes(change, text, language, expected):
    assert getattr(surfaces, change)(text, language, random.Random(0)) == expected


def test_every_change_leaves_text():
    rng = random.Random(0)
    for name in NAMES:
        for _, change in CHANGES:
            for language in ("en", "fr", "es"):
                assert change(name.text, language, rng).strip()
