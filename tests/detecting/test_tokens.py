"""Tokens: what is compared, and where it stands."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longbel_cli.detecting.tokens import END, Folding, Tokenizer, singular

TEXTS = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from("ab AB12-'’s\n\r\u0301\u00a0𝒜é😀.,")),
    max_size=60,
)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("tumor", "Tumors"),
        ("biopsy", "biopsies"),
        ("disease", "Diseases"),
        ("enfermedad", "Enfermedades"),
        ("Crohn disease", "Crohn's disease"),
        ("Crohn's disease", "Crohn’s Disease"),
        ("Sjögren syndrome", "Sjogren syndrome"),
        ("Sjögren", "Sjo\u0308gren"),
        ("œdème", "œdeme"),
        ("ﬁbrosis", "fibrosis"),
        ("T-cell lymphoma", "T cell lymphoma"),
        ("T-cell lymphoma", "T\u2011cell\u00a0lymphoma"),
        ("type 2 diabetes", "Type-2\ndiabetes"),
        ("HER2", "HER 2"),
        ("HER2", "HER-2"),
        ("parents' disease", "parents disease"),
    ],
)
def test_these_are_the_same_name(first: str, second: str) -> None:
    assert Tokenizer().key(first) == Tokenizer().key(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("diabetes, type 2", "diabetes type 2"),
        ("virus", "viru"),
        ("mass", "mas"),
        ("sinusitis", "sinusiti"),
        ("IgA", "Ig"),
        ("12", "1 2"),
        ("C++", "C"),
        ("ABO", "AB0"),
    ],
)
def test_these_are_not(first: str, second: str) -> None:
    assert Tokenizer().key(first) != Tokenizer().key(second)


@pytest.mark.parametrize(
    ("folding", "first", "second"),
    [
        (Folding(plural=False), "tumor", "tumors"),
        (Folding(plural=False), "Crohn", "Crohn's"),
        (Folding(accents=False), "Sjögren", "Sjogren"),
        (Folding(hyphens=False), "T-cell", "T cell"),
        (Folding(digits=False), "HER2", "HER 2"),
    ],
)
def test_without_a_folding_they_differ(folding: Folding, first: str, second: str) -> None:
    assert Tokenizer(folding).key(first) != Tokenizer(folding).key(second)
    assert Tokenizer().key(first) == Tokenizer().key(second)


def test_short_words_keep_their_end() -> None:
    assert [singular(form) for form in ("gas", "ics", "dye", "pus", "axis")] == [
        "gas", "ics", "dye", "pus", "axis",
    ]  # fmt: skip


def test_tokens_stand_where_they_are_in_the_text() -> None:
    text = "La 𝒜-cell\r\nnaïf (HER2's)"
    (segment,) = Tokenizer().segments(text)
    stretches = zip(segment.starts, segment.ends, strict=True)
    assert [text[start:end] for start, end in stretches] == [
        "La", "𝒜", "cell", "naïf", "(", "HER", "2", "'", "s", ")",
    ]  # fmt: skip
    assert [i for i, is_glued in enumerate(segment.glued) if is_glued] == [6]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("one\ntwo", 1),
        ("one\r\ntwo", 1),
        ("one\rtwo", 1),
        ("one\u2028two", 1),
        ("one\n\ntwo", 2),
        ("one\r\n\r\ntwo", 2),
        ("one\n \t\ntwo", 2),
        ("one\ftwo", 2),
        ("one\u2029two", 2),
        ("one\n\n\n\ntwo", 2),
        ("\n\n", 0),
        ("", 0),
    ],
)
def test_a_blank_line_ends_a_segment(text: str, parts: int) -> None:
    assert len(list(Tokenizer().segments(text))) == parts


def test_a_border_ends_a_segment() -> None:
    segments = list(Tokenizer().segments("one two", [0, 3, 4, 7]))
    assert [segment.joined for segment in segments] == ["on ".replace("on", "one"), "two "]


@settings(deadline=None)
@given(TEXTS)
def test_whatever_the_text_tokens_are_in_order_and_cover_it(text: str) -> None:
    tokenizer, behind, covered = Tokenizer(), 0, []
    for segment in tokenizer.segments(text):
        assert segment.joined == "".join(form + END for form in segment.forms)
        for index, form in enumerate(segment.forms):
            start, end = segment.starts[index], segment.ends[index]
            assert behind <= start < end and not text[start].isspace()
            assert form and not any(map(str.isspace, form))
            assert segment.joined.startswith(form + END, segment.keys[index])
            covered += range(start, end)
            behind = end
    lost = [text[i] for i in sorted(set(range(len(text))) - set(covered))]
    assert not any(char.isalnum() or unicodedata.category(char) == "Sc" for char in lost)


@settings(deadline=None)
@given(TEXTS)
def test_a_name_has_the_key_of_its_tokens_in_text(text: str) -> None:
    keys = "".join(segment.joined for segment in Tokenizer().segments(text))
    assert Tokenizer().key(text) == keys
